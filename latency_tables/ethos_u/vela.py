"""What a whole network costs on an Ethos-U, as Arm's compiler Vela estimates it.

Vela merges, reorders and cascades operators, so what a network costs is not the sum of what its blocks cost alone: it
is asked about the whole int8 network. https://gitlab.arm.com/artificial-intelligence/ethos-u/ethos-u-vela
"""

from __future__ import annotations

import csv
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import fx

from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError, unknown_name
from search_spaces.common.files import append_line, read_lines
from search_spaces.common.progress import progress_bar
from search_spaces.operators import Operator
from search_spaces.plain import build_network, build_operator

#: accelerator -> the system and memory that Vela counts with, sections of its own `Arm/vela.ini`
ACCELERATORS = {
    **{f"ethos-u55-{macs}": ("Ethos_U55_High_End_Embedded", "Shared_Sram") for macs in (32, 64, 128, 256)},
    **{f"ethos-u65-{macs}": ("Ethos_U65_High_End", "Dedicated_Sram") for macs in (256, 512)},
}
_CONFIG = "Arm/vela.ini"
_EXTRA = "pip install 'ofa-nas[ethosu]'"


@dataclass(frozen=True)
class VelaCosts:
    """Of one inference. `cycles` are those of the NPU with its memories: operators of `cpu_operators`, which it does
    not know, run on the CPU beside it and are not counted. `npu_share` is the share of operators that it does know.

    `sram_bytes` is the peak, `flash_bytes` what lies outside: weights, as compressed, and commands.
    """

    cycles: int
    sram_bytes: int
    flash_bytes: int
    npu_share: float
    cpu_operators: tuple[str, ...] = ()


class VelaOracle:
    """Costs of networks of a space on one accelerator. Answers are kept in `cache`, a JSON-lines file, by space,
    architecture, accelerator, version of Vela and what writes the networks: nothing is asked twice.

    Weights are random but always the same: Vela compresses them, so that cycles depend a little on their values.
    """

    def __init__(self, space: SearchSpace, accelerator: str, *, cache: Path | None = None) -> None:
        """Raises `UserError` for an unknown accelerator or without the packages of the extra `ethosu`."""
        if accelerator not in ACCELERATORS:
            raise unknown_name("accelerator", accelerator, ACCELERATORS)
        self.space, self.accelerator, self.cache = space, accelerator, cache
        self.version, self.writer = vela_version(), writer_digest()
        self._known: dict[str, VelaCosts] = {}
        for line in [] if cache is None else read_lines(cache, "file of Vela's answers"):
            key, costs = _entry(line, cache)
            self._known[key] = costs

    def costs(self, architectures: Sequence[Architecture]) -> list[VelaCosts]:
        """One each, in their order. Raises `UserError` if Vela refuses a network."""
        keys = [f"{self.space.fingerprint} {network.key}" for network in architectures]
        return self._answers(keys, [partial(int8_network, self.space, network) for network in architectures])

    def operator_costs(self, operators: Sequence[Operator]) -> list[VelaCosts]:
        """One each, of an operator that is a network of its own: what it reads and gives passes through memory."""
        keys = [f"operator {operator.key}" for operator in operators]
        return self._answers(keys, [partial(int8_operator, operator) for operator in operators])

    def _answers(self, names: Sequence[str], models: Sequence[Callable[[], bytes]]) -> list[VelaCosts]:
        keys = [" ".join([name, self.accelerator, self.version, self.writer]) for name in names]
        todo = {key: model for key, model in zip(keys, models, strict=True) if key not in self._known}
        with progress_bar(f"asking Vela about {self.accelerator}", len(todo)) as advance:
            for key, model in todo.items():
                self._known[key] = compile_costs(model(), self.accelerator)
                if self.cache is not None:
                    append_line(self.cache, {"key": key, **asdict(self._known[key])})
                advance(1)
        return [self._known[key] for key in keys]


def int8_network(space: SearchSpace, architecture: Architecture) -> bytes:
    """A `.tflite` file of the network in int8, with random weights and ranges; always the same bytes."""
    shape = (space.in_channels, architecture.resolution, architecture.resolution)
    return _int8(lambda: build_network(space, architecture), shape)


def int8_operator(operator: Operator) -> bytes:
    """As `int8_network`, of one operator."""
    return _int8(lambda: build_operator(operator), operator.input_shape)


def _int8(build: Callable[[], fx.GraphModule], shape: tuple[int, ...]) -> bytes:
    from latency_tables.runtimes.litert import LiteRTInt8

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LiteRTInt8().compile(build(), shape)


@dataclass(frozen=True)
class Compiled:
    """A `.tflite` file whose operators are streams of commands for the accelerator, as far as it knows them."""

    content: bytes
    costs: VelaCosts


def compile_costs(model: bytes, accelerator: str) -> VelaCosts:
    """What Vela says of an int8 `.tflite` file. Raises `UserError` with its own words if it refuses it."""
    return compile_model(model, accelerator).costs


def compile_model(model: bytes, accelerator: str) -> Compiled:
    """What Vela makes of an int8 `.tflite` file, and says of it; equal for equal files. Raises as `compile_costs`."""
    from ai_edge_litert import schema_py_generated as schema
    from ethosu.vela import vela

    system, memory = ACCELERATORS[accelerator]
    with tempfile.TemporaryDirectory(prefix="vela-") as folder:
        path = Path(folder, "network.tflite")
        path.write_bytes(model)
        arguments = [str(path), "--accelerator-config", accelerator, "--output-dir", folder]
        arguments += ["--config", _CONFIG, "--system-config", system, "--memory-mode", memory]
        said = Path(folder, "said.txt")
        with _spoken_into(said):
            try:
                failed = vela.main(arguments)
            except (Exception, SystemExit) as error:  # its own errors share no base class with those of its parser
                failed = f"{type(error).__name__}: {error}"
        results = list(Path(folder).glob("network_summary_*.csv"))
        if failed or not results:
            words = str(failed) if isinstance(failed, str) else "".join(said.read_text().strip().splitlines()[-1:])
            raise UserError(f"Vela cannot compile this network ({words})", key="accelerator", value=accelerator)
        (row,) = csv.DictReader(results[0].read_text().splitlines())
        content = Path(folder, "network_vela.tflite").read_bytes()
    left = [kind for kind in operator_kinds(schema.ModelT.InitFromPackedBuf(content)) if kind != "CUSTOM"]
    num_operators = len(operator_kinds(schema.ModelT.InitFromPackedBuf(model)))
    costs = VelaCosts(
        cycles=round(float(row["cycles_total"])),
        sram_bytes=_bytes(row, "sram_memory_used"),
        flash_bytes=_bytes(row, "off_chip_flash_memory_used", "on_chip_flash_memory_used", "dram_memory_used"),
        npu_share=1 - len(left) / num_operators,
        cpu_operators=tuple(left),
    )
    return Compiled(content, costs)


@contextmanager
def _spoken_into(file: Path) -> Iterator[None]:
    """What is printed goes into `file`: by descriptor, since most of Vela is no Python."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [(descriptor, os.dup(descriptor)) for descriptor in (1, 2)]
    try:
        with open(file, "w") as stream:
            for descriptor, _ in kept:
                os.dup2(stream.fileno(), descriptor)
            yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, copy in kept:
            os.dup2(copy, descriptor)
            os.close(copy)


def _bytes(row: dict[str, str], *columns: str) -> int:
    """Vela's file gives KiB."""
    return round(1024 * sum(float(row[column]) for column in columns))


def operator_kinds(model: Any) -> list[str]:
    """Of the operators of a model: those that Vela takes over become one CUSTOM each run of them."""
    names = _kind_names()
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    return [names[codes[operator.opcodeIndex]] for operator in model.subgraphs[0].operators]


@cache
def _kind_names() -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    return {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}


def vela_version() -> str:
    """Raises `UserError` if a package of the extra is missing."""
    for package in ("ai-edge-litert", "ethos-u-vela"):
        try:
            found = version(package)
        except PackageNotFoundError:
            raise UserError(f"needs the package {package!r}, which is not installed", hint=_EXTRA) from None
    return found


@cache
def writer_digest() -> str:
    """Of the code that writes the networks: another one may write others."""
    tables = Path(__file__).parent.parent
    files = [*sorted(tables.glob("tflite/*.py")), tables / "folding.py", tables / "runtimes" / "litert.py"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def _entry(line: object, file: Path | None) -> tuple[str, VelaCosts]:
    try:
        assert isinstance(line, dict)
        return str(line["key"]), VelaCosts(
            int(line["cycles"]),
            int(line["sram_bytes"]),
            int(line["flash_bytes"]),
            float(line["npu_share"]),
            tuple(map(str, line["cpu_operators"])),
        )
    except (AssertionError, KeyError, TypeError, ValueError):
        raise UserError("holds something else than Vela's answers", file=file) from None
