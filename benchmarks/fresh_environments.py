"""Every form of a network in a virtual environment of its own, which holds what its model card says and nothing else.

python -m benchmarks.fresh_environments RUN ARCH [--forms onnx,pt2] [--keep]

The network is exported, and for each form its file is copied elsewhere. There the program of the model card classifies
a picture, and its `logits` computes real images, which are compared with the network's own: exact forms to 1e-4, others
by the accuracy they lose. Forms that need the same packages share an environment; each is deleted before the next.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from ofa.export.card import FILE as CARD
from ofa.export.card import write_card
from ofa.export.card.facts import card_facts
from ofa.export.export import export_network
from ofa.export.forms.registry import FORMS, get_form
from ofa.export.session import ExportSession
from ofa.versions import installed_version
from search_spaces.common.errors import UserError
from trainers.architectures import find_architecture
from trainers.data import ImageData

#: of the logits of exact forms; points of accuracy that other forms may lose, of a transformer and of other networks
TOLERANCE, MOST_LOST, MOST_LOST_TRANSFORMER = 1e-4, 0.01, 0.02
#: images that exact forms are compared on, and the most that others are scored on
NUM_EXACT, NUM_SCORED = 64, 2000

_HEADING = re.compile(r"^#+ (?:`([\w-]+)`)?", re.MULTILINE)
_COMPUTE = """
found = np.stack([logits(one[None]) for one in np.load("images.npy")])
assert found.dtype == np.float32, found.dtype
np.save("found.npy", found)
"""


@dataclass(frozen=True)
class Sample:
    """A picture (H, W[, C]) uint8, its label, and its class as the network has it; images (N, C, R, R) as the network
    gets them, their labels (N,), and its logits (N, K).
    """

    picture: NDArray[np.uint8]
    label: int
    class_name: str
    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]


@dataclass(frozen=True)
class Environment:
    """`num_packages` besides pip, `megabytes` all of it takes on disk, `seconds` to make it."""

    python: Path
    num_packages: int
    megabytes: float
    seconds: float


@dataclass(frozen=True)
class Found:
    """`max_abs`: largest difference of a logit on the first images. `lost`: share of accuracy, of forms that are not
    exact. `problem`: what is wrong, if anything is.
    """

    form: str
    requires: tuple[str, ...]
    environment: Environment
    max_abs: float
    lost: float | None
    seconds: float
    problem: str | None


def read_programs(card: str) -> dict[str, str]:
    """form -> its program, from the text of a model card: the block of Python below the heading that is its name."""
    programs: dict[str, str] = {}
    form: str | None = None
    lines: list[str] | None = None
    for line in card.splitlines():
        if lines is not None and line == "```":
            programs[str(form)], lines = "\n".join(lines) + "\n", None
        elif lines is not None:
            lines.append(line)
        elif line == "```python":
            lines = []
        elif (heading := _HEADING.match(line)) is not None:
            form = heading[1]
    return programs


def sample(network: nn.Module, data: ImageData, *, resolution: int) -> Sample:
    """From the selection split; the picture is the image that the network is surest of."""
    images, labels = (torch.cat(parts) for parts in zip(*_first(data, resolution, NUM_SCORED), strict=True))
    with torch.inference_mode():
        logits = torch.cat([network.eval()(batch) for batch in images.split(250)])
    surest = int(logits.softmax(dim=1).amax(dim=1).argmax())
    stored = torch.cat([batch for batch, _ in _first(data, None, surest + 1)])[surest]
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (data.mean, data.std))
    pixels = ((stored * std + mean) * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    return Sample(
        picture=pixels[..., 0] if data.in_channels == 1 else pixels,
        label=int(labels[surest]),
        class_name=data.class_names[int(logits[surest].argmax())],
        images=images.numpy(),
        labels=labels.numpy(),
        logits=logits.numpy(),
    )


def check_forms(
    folder: Path, forms: Iterable[str], given: Sample, *, most_lost: float, work: Path, keep: bool = False
) -> Iterator[Found]:
    """Each of the forms of the export in `folder`, in an environment made below `work`, as they are done."""
    programs = read_programs((folder / CARD).read_text(encoding="utf-8"))
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in forms:
        groups.setdefault(tuple(sorted({_pinned(package) for package in get_form(name).requires})), []).append(name)
    for number, (packages, names) in enumerate(groups.items()):
        place = work / f"environment-{number}"
        environment = make_environment(place, packages)
        try:
            for name in names:
                yield _check(folder, name, programs[name], environment, given, most_lost=most_lost, work=work)
        finally:
            if not keep:
                shutil.rmtree(place)


def make_environment(place: Path, packages: tuple[str, ...]) -> Environment:
    """What a card says to install: numpy, pillow and `packages`, in the versions of this environment; of this project,
    the checkout. Raises `RuntimeError` where this project is there unasked, or asked for and not there.
    """
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True, env=_clean())
    python = place / "bin" / "python"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "install", "-qq", "--no-cache-dir", _pinned("numpy"), _pinned("pillow"), *packages],
        check=True,
        env=_clean(),
    )
    listed = subprocess.run([*pip, "list"], check=True, env=_clean(), capture_output=True, text=True).stdout
    names = [line.split()[0] for line in listed.splitlines()[2:]]
    size = sum(path.lstat().st_size for path in place.rglob("*")) / 1e6
    wanted = _pinned("ofa-nas") in packages
    if wanted != (_run(python, place, "-c", "import ofa").returncode == 0):
        raise RuntimeError(f"this project is {'not ' if wanted else ''}in the environment of {', '.join(packages)}")
    return Environment(
        python, len([name for name in names if name not in ("pip", "setuptools")]), size, time.monotonic() - started
    )


def _pinned(package: str) -> str:
    """In the version that is here, if it names none."""
    if package == "ofa-nas":
        return str(Path(__file__).parents[1])
    return package if "=" in package else f"{package}=={installed_version(package)}"


def _check(
    folder: Path, name: str, program: str, environment: Environment, given: Sample, *, most_lost: float, work: Path
) -> Found:
    form, place = get_form(name), work / f"copy-{name}"
    place.mkdir()
    for file in (form.file, "architecture.json"):
        copy = shutil.copytree if (folder / file).is_dir() else shutil.copyfile
        copy(folder / file, place / file)
    num = NUM_EXACT if form.exact else len(given.images)
    np.save(place / "images.npy", given.images[:num])
    Image.fromarray(given.picture).save(place / "picture.png")
    (place / "classify.py").write_text(program, encoding="utf-8")
    (place / "compute.py").write_text(program + _COMPUTE, encoding="utf-8")
    started = time.monotonic()
    said = _run(environment.python, place, "classify.py", "picture.png")
    seconds = time.monotonic() - started
    computed = _run(environment.python, place, "compute.py", "picture.png")
    facts: dict[str, Any] = {
        "form": name,
        "requires": form.requires,
        "environment": environment,
        "max_abs": float("nan"),
        "lost": None,
        "seconds": seconds,
    }
    for done in (said, computed):
        if done.returncode:
            return Found(**facts, problem=(done.stderr.strip().splitlines() or ["no message"])[-1])
    outputs = np.load(place / "found.npy", allow_pickle=False)
    difference = float(np.abs(outputs[:NUM_EXACT] - given.logits[:NUM_EXACT]).max())
    lost = None if form.exact else _accuracy(given.logits, given.labels) - _accuracy(outputs, given.labels)
    facts |= {"max_abs": difference, "lost": lost}
    if (answer := (said.stdout.strip().splitlines() or [""])[-1]) != given.class_name:
        return Found(**facts, problem=f"says {answer!r}, not {given.class_name!r}")
    if form.exact and not difference <= TOLERANCE:
        return Found(**facts, problem=f"differs by more than {TOLERANCE:g}")
    if lost is not None and not lost <= most_lost + 1e-9:
        return Found(**facts, problem=f"loses more than {most_lost:.0%}")
    return Found(**facts, problem=None)


def _accuracy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    return float((logits.argmax(axis=1) == labels).mean())


def _first(data: ImageData, resolution: int | None, num: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    found, left = [], num
    for images, labels in data.batches("selection", resolution=resolution, batch_size=250):
        found.append((images[:left], labels[:left]))
        left -= len(images)
        if left <= 0:
            break
    return found


def _clean() -> dict[str, str]:
    """The variables of this process but those that show Python other packages."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _run(python: Path, place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, *arguments], cwd=place, env=_clean(), capture_output=True, text=True)


def available_forms() -> list[str]:
    """Those that are installed here, have a program and need no board."""
    names = []
    for name in FORMS.names():
        try:
            form = get_form(name)
        except UserError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        if form.usage is not None:
            names.append(name)
    return names


HEAD = """\
| form | installs | packages | on disk, MB | installed in, s | logits differ by | accuracy lost | runs, s | |
|---|---|---|---|---|---|---|---|---|"""


def row(one: Found) -> str:
    made = one.environment
    lost = "" if one.lost is None else f"{100 * one.lost:.2f} points"
    cells = [one.form, " ".join(one.requires), f"{made.num_packages}", f"{made.megabytes:,.0f}"]
    cells += [f"{made.seconds:.0f}", f"{one.max_abs:.1e}", lost, f"{one.seconds:.1f}", one.problem or "agrees"]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("architecture", help="a budget's name, a key on record, a JSON file, smallest or largest")
    parser.add_argument("--forms", help="comma-separated; left out: all that are installed")
    parser.add_argument("--keep", action="store_true", help="do not delete environments and copies")
    given = parser.parse_args()
    from ofa.config import load_run_config

    session = ExportSession(given.run, load_run_config(given.run), quiet=True)
    architecture = find_architecture(given.architecture, session.space, given.run)
    network = session.specialized(architecture)
    forms = given.forms.split(",") if given.forms else available_forms()
    job = replace(session.job(given.architecture, architecture, network, read_test=False), devices=())
    work = Path(tempfile.mkdtemp(prefix="ofa-fresh-"))
    try:
        settings = session.config.export.model_copy(update={"forms": tuple(forms), "measure_forms": False})
        report = export_network(job, out=work / "export", settings=settings, quiet=True)
        if not (work / "export" / CARD).exists():
            from ofa.export.architecture_file import FILE, read_architecture_file

            described = read_architecture_file(work / "export" / FILE)
            write_card(work / "export", report=report, described=described, facts=card_facts(session))
        checks = check_forms(
            work / "export",
            report["forms"],
            sample(network, session.data, resolution=architecture.resolution),
            most_lost=MOST_LOST_TRANSFORMER if "transformer" in session.space.family else MOST_LOST,
            work=work,
            keep=given.keep,
        )
        print(HEAD, flush=True)
        found = []
        for one in checks:
            print(row(one), flush=True)
            found.append(one)
    finally:
        if given.keep:
            print(f"kept: {work}", file=sys.stderr)
        else:
            shutil.rmtree(work)
    failed = report.get("failed") or {}
    for name, reason in failed.items():
        print(f"{name} was not exported: {reason['message']}")
    return int(bool(failed) or any(one.problem for one in found))


if __name__ == "__main__":
    sys.exit(main())
