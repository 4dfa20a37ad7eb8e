"""The peer's side. Runs in the peer's environment, where `import ofa` is the peer; the shim is always there first."""

import benchmarks.peer.theirs.shim  # noqa: F401
