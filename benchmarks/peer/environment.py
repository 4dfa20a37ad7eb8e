"""The peer's own virtual environment: installed from PyPI once, with the torch of the interpreter that runs this.

Nothing of the peer is copied or changed: what is broken in it on current versions is patched at run time
(`theirs/shim.py`).
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

PEER = "ofa==0.1.0.post202307202001"
#: Without their dependencies: these would bring a second torch.
ALONE = (PEER, "thop")
WITH_DEPENDENCIES = ("gdown", "tqdm")
#: Taken from the interpreter that runs the benchmark.
SHARED = ("torch", "torchvision", "numpy", "yaml")
_STAMP = "peer.json"


class PeerUnavailable(RuntimeError):
    """The peer cannot be installed here; the text says why."""


def ensure_peer(folder: Path) -> Path:
    """The interpreter in which `import ofa` is the peer, installed into `folder` if it is not there yet."""
    python = folder / "bin" / "python"
    stamp = json.dumps({"packages": [*ALONE, *WITH_DEPENDENCIES], "python": sys.executable, "shared": _shared_paths()})
    if python.exists() and (folder / _STAMP).exists() and (folder / _STAMP).read_text() == stamp:
        return python
    if folder.exists() and not (folder / "pyvenv.cfg").exists():
        raise PeerUnavailable(f"{folder} is there and is not a virtual environment")
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(folder)])
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--no-deps", *ALONE])
    _run([*pip, *WITH_DEPENDENCIES])
    purelib = _run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip()
    # Entries of a .pth file come after the folder it lies in (so `ofa` stays the peer's), and .pth files in the folders
    # it names are not read (so an editable install of this project stays out).
    (Path(purelib) / "zz_shared_torch.pth").write_text("".join(f"{path}\n" for path in _shared_paths()))
    found = _run([str(python), "-I", "-c", "import torch, ofa; print(ofa.__file__)"]).strip()
    if not Path(found).resolve().is_relative_to(folder.resolve()):
        raise PeerUnavailable(f"`import ofa` in {folder} finds {found}")
    (folder / _STAMP).write_text(stamp)
    return python


def peer_versions(python: Path) -> dict[str, str]:
    """Installed versions of the packages that the peer's side uses."""
    names = ["ofa", "torch", "torchvision", "numpy"]
    code = f"import importlib.metadata as m, json; print(json.dumps({{n: m.version(n) for n in {names}}}))"
    versions: dict[str, str] = json.loads(_run([str(python), "-I", "-c", code]))
    return versions


def _shared_paths() -> list[str]:
    paths = []
    for name in SHARED:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise PeerUnavailable(f"{name} is not installed in {sys.executable}")
        paths.append(str(Path(spec.origin).parents[1]))
    return list(dict.fromkeys(paths))


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise PeerUnavailable(f"{' '.join(command[:4])} ...: {' '.join(lines[-3:])}")
    return done.stdout
