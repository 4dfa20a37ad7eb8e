"""A network as C that builds with a compiler alone, for one board, with golden inputs and outputs and figures."""

from ofa.mcu.bundle.manifest import Manifest, check_files, read_manifest
from ofa.mcu.bundle.write import write_bundle

__all__ = ["Manifest", "check_files", "read_manifest", "write_bundle"]
