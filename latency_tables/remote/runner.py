"""Measure the models of this bundle on this device, and write results.json for `ofa measure --import`.

    python runner.py [--threads N] [--rounds N] [--budget SECONDS] [-o results.json]

Needs Python 3.8 or later, numpy, and the one runtime of the bundle: onnxruntime for .onnx, ai-edge-litert (or
tflite-runtime) for .tflite, executorch (which brings torch) for .pte. Interrupted or killed, the same command goes on
where it was. Models are measured in rounds, all of them once a round in a new random order, so that a slow minute
hurts all alike; operators in groups of as many as a network has, as one that is called back to back finds its weights
in the nearest cache and in a network does not; whole networks alone. A sample during which the operating system gave
the core to someone else is taken again, and noted as disturbed if that does not help; so is one beside which a few
sentinel models took another time than usual: a device that grew hot, or saves its battery.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
import uuid
import zipfile
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

import numpy as np

SCHEMA = 1
#: a sample is disturbed if its thread had a core for less than this share of the time
CORE_SHARE = 0.95
MAX_CALLS = 100
#: readings of the sentinels before anything is said about the speed of the device; calls of each in one
ENOUGH_READINGS = 3
SENTINEL_CALLS = 9

Call = Callable[[], object]
Load = Callable[[bytes, Sequence[int], int], Call]


class Problem(Exception):
    """Something the user can mend; the program ends with this message and code 2."""


class Bundle:
    """The folder this file lies in, or the zip file it lies in, or another one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_file():
            try:
                self._zip: zipfile.ZipFile | None = zipfile.ZipFile(str(path))
            except zipfile.BadZipFile as error:
                raise Problem(f"{path}: not a bundle: {error}. Copy it to this device again") from None
        else:
            self._zip = None
        content = self.read("manifest.json")
        self.sha256 = hashlib.sha256(content).hexdigest()
        try:
            self.manifest: dict[str, Any] = json.loads(content)
            self.items: dict[str, dict[str, Any]] = {item["key"]: item for item in self.manifest["items"]}
        except (ValueError, TypeError, KeyError):
            raise Problem(f"{path}: manifest.json is damaged. Copy the bundle to this device again") from None
        if self.manifest.get("schema") != SCHEMA:
            raise Problem(f"{path}: manifest.json: this runner knows schema {SCHEMA} only")

    def read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes() if self._zip is None else self._zip.read(name)
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise Problem(f"{self.path}: {name} cannot be read: {error}. Copy the bundle here again, whole") from None

    def artifact(self, key: str) -> bytes:
        item = self.items[key]
        content = self.read(item["file"])
        if hashlib.sha256(content).hexdigest() != item["sha256"]:
            raise Problem(f"{self.path}: {item['file']} is not what the manifest says. Copy the bundle here again")
        return content


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name; on Linux with family, model and stepping, as virtual machines often hide the name.

    Arm processors tell no name: theirs is the device's, with the kinds of cores ("CPU part").
    """
    blocks: list[dict[str, str]] = []
    if cpuinfo.exists():
        for block in cpuinfo.read_text(errors="replace").split("\n\n"):
            pairs = (line.partition(":") for line in block.splitlines())
            blocks.append({key.strip(): value.strip() for key, _, value in pairs})
    fields = blocks[0] if blocks else {}
    parts = sorted({block["CPU part"] for block in blocks if "CPU part" in block})
    name = fields.get("model name") or (_board() if parts else "")
    name = name or platform.processor() or platform.machine() or "unknown"
    about = [f"{key} {fields[key]}" for key in ("cpu family", "model", "stepping") if key in fields]
    about += [f"CPU part {', '.join(parts)}"] if parts else []
    return f"{name} ({', '.join(about)})" if about else name


def _board() -> str:
    """What a single-board computer or an Android phone calls itself; "" if it does not say."""
    try:
        return Path("/proc/device-tree/model").read_text(errors="replace").strip("\0 \n")
    except OSError:
        pass
    words = []
    for name in ("ro.product.manufacturer", "ro.product.model", "ro.soc.model"):
        try:
            words.append(subprocess.run(["getprop", name], stdout=subprocess.PIPE, timeout=5).stdout.decode().strip())
        except (OSError, subprocess.SubprocessError):
            return ""
    return " ".join(word for word in words if word)


#: what brings the runtime of models with this suffix
PACKAGES = {".onnx": "onnxruntime", ".tflite": "ai-edge-litert", ".pte": "executorch"}


def get_runtime(suffix: str) -> tuple[str, Load]:
    """(version, loader) of the installed runtime for models with this suffix."""
    if suffix not in PACKAGES:
        raise Problem(f"no runtime is known for {suffix} models; known: {', '.join(PACKAGES)}")
    known = {".onnx": (_onnxruntime,), ".tflite": (_litert, _tflite_runtime), ".pte": (_executorch,)}
    missing = ""
    for find in known[suffix]:
        try:
            return find()
        except ImportError as error:
            missing = missing or str(error)
    raise Problem(f"{suffix} models need a runtime ({missing}): pip install {PACKAGES[suffix]}")


def _onnxruntime() -> tuple[str, Load]:
    ort = import_module("onnxruntime")

    def load(content: bytes, shape: Sequence[int], threads: int) -> Call:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # many sessions live side by side: the pools of idle ones must not spin beside the one being timed
        options.add_session_config_entry("session.force_spinning_stop", "1")
        session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        types = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}
        binding, given = session.io_binding(), session.get_inputs()[0]
        array = _random(shape, np.dtype(types[given.type]))
        binding.bind_cpu_input(given.name, array)
        for result in session.get_outputs():
            binding.bind_output(result.name, "cpu")
            if all(isinstance(side, int) for side in result.shape):
                value = ort.OrtValue.ortvalue_from_shape_and_type(result.shape, types[result.type])
                binding.bind_ortvalue_output(result.name, value)

        def call(keep: np.ndarray = array) -> object:  # the binding holds the plain address of this array
            session.run_with_iobinding(binding)
            return binding

        return call

    return str(ort.__version__), load


def _litert() -> tuple[str, Load]:
    return metadata.version("ai-edge-litert"), _tflite(import_module("ai_edge_litert.interpreter"))


def _tflite_runtime() -> tuple[str, Load]:
    version = metadata.version("tflite-runtime")
    return f"tflite_runtime {version}", _tflite(import_module("tflite_runtime.interpreter"))


def _tflite(module: Any) -> Load:
    def load(content: bytes, shape: Sequence[int], threads: int) -> Call:
        interpreter = module.Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
        for about in interpreter.get_input_details():  # the model's own layout of the image: (1, H, W, C), mostly
            interpreter.set_tensor(about["index"], _random(about["shape"], np.dtype(about["dtype"])))
        # the interpreter's own check of references at every call is no part of an inference
        invoke: Call = getattr(getattr(interpreter, "_interpreter", None), "Invoke", interpreter.invoke)

        def call(keep: object = interpreter) -> object:
            return invoke()

        return call

    return load


def _executorch() -> tuple[str, Load]:
    torch, runtime = import_module("torch"), import_module("executorch.runtime").Runtime.get()
    version, pool = metadata.version("executorch"), import_module("executorch.extension.pybindings.portable_lib")

    def load(content: bytes, shape: Sequence[int], threads: int) -> Call:
        if pool._threadpool_get_thread_count() != threads:  # before there is any method that uses the old ones
            pool._unsafe_reset_threadpool(threads)
        program = runtime.load_program(content)
        method = program.load_method("forward")
        kind = {0: np.uint8, 1: np.int8, 6: np.float32}[method.metadata.input_tensor_meta(0).dtype()]
        x = torch.from_numpy(_random(shape, np.dtype(kind)))  # channels-last, as such programs take it
        inputs = [x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x]

        def call(keep: object = program) -> object:
            return method.execute(inputs)

        return call

    return version, load


def _random(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    rng = np.random.default_rng(0)
    if np.issubdtype(dtype, np.integer):
        return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, size=tuple(shape), dtype=dtype)
    return rng.standard_normal(tuple(shape)).astype(dtype)


class Journal:
    """The samples so far, one line each, synced to the disk as they come."""

    def __init__(self, path: Path, head: dict[str, Any], max_drift: float) -> None:
        self.path, self.max_drift = path, max_drift
        self.lines: list[dict[str, Any]] = []
        self.readings: list[dict[str, float]] = []
        self._after: list[int] = []  # the reading before each of the lines
        self.counts: dict[str, int] = {}
        lines = self._read()
        if lines:
            self.head = lines[0]
            for key in ("schema", "manifest_sha256", "device"):
                if self.head.get(key) != head.get(key):
                    begun = {"device": "on another device", "manifest_sha256": "with another bundle"}
                    what = f"{begun.get(key, 'by another')} ({self.head.get(key)}, here {head[key]})"
                    raise Problem(f"{path}: was begun {what}. Delete it to start anew, or give another -o")
            for line in lines[1:]:
                self._add(line)
        else:
            self.head = head
            self._append(head)

    def record(self, ms: dict[str, float], disturbed: bool) -> None:
        self._append({"ms": ms, "disturbed": disturbed})
        self._add({"ms": ms, "disturbed": disturbed})

    def read_speed(self, sentinels_ms: dict[str, float]) -> None:
        """Models that are timed again and again tell how fast the device is just then."""
        self._append({"reading": sentinels_ms})
        self._add({"reading": sentinels_ms})

    def judged(self) -> list[tuple[dict[str, float], bool]]:
        """(milliseconds at the usual speed, disturbed) of every sample; beside a reading that is off, they are, too."""
        speeds = self._speeds() if len(self.readings) >= ENOUGH_READINGS else [1.0] * len(self.readings)
        off = {i for i, speed in enumerate(speeds) if abs(speed - 1) > self.max_drift}
        off |= {i - 1 for i in off}
        smooth = [statistics.median(speeds[max(0, i - 1) : i + 2]) for i in range(len(speeds))]
        pace = [(now + after) / 2 for now, after in zip(smooth, smooth[1:] + smooth[-1:])] + [1.0]  # -1: no reading
        times = [{key: ms / pace[i] for key, ms in line["ms"].items()} for line, i in zip(self.lines, self._after)]
        return [(ms, line["disturbed"] or i in off) for ms, line, i in zip(times, self.lines, self._after)]

    def samples(self) -> dict[str, dict[str, list[float]]]:
        found: dict[str, dict[str, list[float]]] = {}
        for sample, disturbed in self.judged():
            for key, ms in sample.items():
                found.setdefault(key, {"ms": [], "disturbed_ms": []})["disturbed_ms" if disturbed else "ms"].append(ms)
        return found

    def conditions(self) -> dict[str, Any]:
        kept = [abs(speed - 1) for speed in self._speeds() if abs(speed - 1) <= self.max_drift]
        judged = [disturbed for _, disturbed in self.judged()]
        found = {"num_samples": len(judged), "num_disturbed": sum(judged), "drift": max(kept, default=0.0)}
        return {"load_start": self.head.get("load_start"), "load_end": load_average(), **found}

    def _speeds(self) -> list[float]:
        """By reading: how long the sentinels took, 1.0 for the median of all readings."""
        keys = sorted({key for reading in self.readings for key in reading})
        usual = {key: statistics.median(reading[key] for reading in self.readings if key in reading) for key in keys}
        logs = [[math.log(ms / usual[key]) for key, ms in reading.items()] for reading in self.readings]
        return [math.exp(sum(part) / len(part)) if part else 1.0 for part in logs]

    def _add(self, line: dict[str, Any]) -> None:
        if "reading" in line:
            self.readings.append(line["reading"])
            return
        self.lines.append(line)
        self._after.append(len(self.readings) - 1)
        for key in line["ms"]:
            self.counts[key] = self.counts.get(key, 0) + 1

    def _read(self) -> list[dict[str, Any]]:
        """All lines; the last one, if a crash tore it, is cut off the file."""
        if not self.path.exists():
            return []
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with open(self.path, "r+b") as stream:
                stream.truncate(whole)
        lines = []
        for number, text in enumerate(content[:whole].splitlines(), start=1):
            try:
                line = json.loads(text)
            except ValueError:
                line = None
            wanted = ({"device"},) if number == 1 else ({"ms", "disturbed"}, {"reading"})
            if not isinstance(line, dict) or not any(keys <= set(line) for keys in wanted):
                raise Problem(f"{self.path}: line {number} is damaged. Delete the file to measure from the start")
            lines.append(line)
        return lines

    def _append(self, value: dict[str, Any]) -> None:
        line = json.dumps(value, allow_nan=False).encode() + b"\n"
        start = self.path.stat().st_size if self.path.exists() else 0
        try:
            with open(self.path, "ab", buffering=0) as stream:
                if stream.write(line) != len(line):
                    raise OSError("no space left on the device")
                os.fsync(stream.fileno())
        except OSError as error:
            if self.path.exists():
                os.truncate(str(self.path), start)
            raise Problem(f"{self.path}: cannot be appended to: {error}. What was measured before is kept") from None


def time_passes(calls: Sequence[Call], passes: int) -> tuple[list[list[float]], float]:
    """(milliseconds by item and pass, share of the elapsed time that this thread had a core)."""
    clock, core_clock = time.perf_counter, getattr(time, "thread_time", time.process_time)
    times: list[list[float]] = [[0.0] * passes for _ in calls]
    core, begin = core_clock(), clock()
    for number in range(passes):
        for index, call in enumerate(calls):
            start = clock()
            call()
            times[index][number] = (clock() - start) * 1e3
    elapsed = max(clock() - begin, 1e-9)
    return times, (core_clock() - core) / elapsed


def take_sample(calls: Sequence[Call], passes: int, retries: int, single_thread: bool) -> tuple[list[float], bool]:
    """(median ms of every item, whether every attempt was interrupted); of the attempt that kept the core longest."""
    for call in calls:  # what ran before has emptied the caches
        call()
    best_share, best = -1.0, [0.0]
    for _ in range(retries + 1):
        times, share = time_passes(calls, passes)
        if not single_thread:
            share = 1.0  # other threads do the work: this one's core time says nothing
        if share > best_share:
            best_share, best = share, [statistics.median(values) for values in times]
        if share >= CORE_SHARE:
            break
    # a clock too coarse for a model that does nothing still must not say that it took no time
    return [max(ms, 1e-6) for ms in best], best_share < CORE_SHARE


class Measuring:
    """Everything between the first sample and the last."""

    def __init__(self, bundle: Bundle, load: Load, journal: Journal, plan: dict[str, Any]) -> None:
        self.bundle, self.load, self.journal, self.plan = bundle, load, journal, plan
        self.roles = {key: item["role"] for key, item in bundle.items.items()}
        self.deadline = time.monotonic() + plan["time_budget_s"]
        self.run_seed = int(journal.head["run"][:8], 16)
        self._begin, self._done_before = time.monotonic(), self._done()

    def check_all(self) -> None:
        """Every model is loaded and run once, so that one this device cannot run is found before the long part."""
        for number, key in enumerate(self.bundle.items, start=1):
            self._tell(f"checking {number} of {len(self.bundle.items)}")
            self.prepare(key)

    def prepare(self, key: str) -> Call:
        item = self.bundle.items[key]
        try:
            call = self.load(self.bundle.artifact(key), [1, *item["input_shape"]], self.plan["threads"])
            call()
        except Problem:
            raise
        except Exception as error:  # the runtimes' exceptions share no base class
            raise Problem(f"{item['file']} ({key}): this device's runtime cannot run it: {error}") from None
        return call

    def measure(self) -> None:
        plan = self.plan
        sentinels = {key: self.prepare(key) for key in self.bundle.manifest["sentinels"]}
        for rounds in self._instances():  # batches that alternate see the same slow and fast spells of the device
            for batch in self._batches():
                keys = [key for key in batch if self.journal.counts.get(key, 0) < rounds.stop]
                if not keys or (rounds.start >= plan["min_rounds"] and time.monotonic() > self.deadline):
                    continue
                calls = {key: self.prepare(key) for key in keys}
                gc.collect()
                gc.disable()
                try:
                    self._measure_rounds(calls, rounds, sentinels)
                finally:
                    gc.enable()
        sys.stderr.write("\n")

    def _measure_rounds(self, calls: dict[str, Call], rounds: range, sentinels: dict[str, Call]) -> None:
        plan, counts = self.plan, self.journal.counts
        cost_ms = {key: self._warm_up(call) for key, call in calls.items()}
        for number in rounds:
            if number >= plan["min_rounds"] and time.monotonic() > self.deadline:
                return
            if all(counts.get(key, 0) > number for key in calls):
                continue
            self.journal.read_speed(self._speed(sentinels))
            for group in self._groups(list(calls), number):
                missing = [key for key in group if counts.get(key, 0) <= number]
                if not missing:
                    continue
                passes = math.ceil(plan["sample_ms"] * len(group) / sum(cost_ms[key] for key in group))
                passes = min(max(passes, plan["min_calls"]), MAX_CALLS)
                single = plan["threads"] == 1
                times, disturbed = take_sample([calls[key] for key in group], passes, plan["retries"], single)
                ms = dict(zip(group, times))
                self.journal.record({key: ms[key] for key in missing}, disturbed)
                self._tell("measuring")
            self.journal.read_speed(self._speed(sentinels))

    def _speed(self, sentinels: dict[str, Call]) -> dict[str, float]:
        for call in sentinels.values():
            call()
        times = {key: time_passes([call], SENTINEL_CALLS)[0][0] for key, call in sentinels.items()}
        return {key: max(statistics.median(values), 1e-6) for key, values in times.items()}

    def _groups(self, keys: list[str], number: int) -> list[list[str]]:
        """Operators in random groups of about as many as a network has, networks alone, in random order."""
        rng = np.random.default_rng([self.run_seed, number])
        operators = [key for key in keys if self.roles[key] != "network"]
        shuffled = [operators[i] for i in rng.permutation(len(operators))]
        num = max(1, round(len(shuffled) / self.bundle.manifest["group_size"]))
        groups = [[shuffled[i] for i in part] for part in np.array_split(np.arange(len(shuffled)), num) if len(part)]
        groups += [[key] for key in keys if self.roles[key] == "network"]
        return [groups[i] for i in rng.permutation(len(groups))]

    def _batches(self) -> Iterator[list[str]]:
        """All models in random order, in batches that fit into the memory allowed (one at least)."""
        keys, limit = list(self.bundle.items), self.plan["memory_mb"] * 2**20
        batch: list[str] = []
        held = 0.0
        for index in np.random.default_rng([self.run_seed]).permutation(len(keys)):
            num_bytes = self.bundle.items[keys[index]]["num_bytes"]
            if batch and held + num_bytes > limit:
                yield batch
                batch, held = [], 0.0
            batch.append(keys[index])
            held += num_bytes
        yield batch

    def _instances(self) -> list[range]:
        """The rounds of each time that the models are loaded anew: where buffers happen to lie moves a latency."""
        rounds = self.plan["rounds"]
        parts = np.array_split(np.arange(rounds), min(self.plan["instances"], rounds))
        return [range(int(part[0]), int(part[-1]) + 1) for part in parts]

    def _warm_up(self, call: Call) -> float:
        for _ in range(self.plan["warmup"]):
            call()
        return max(1e-5, min(time_passes([call], 1)[0][0][0] for _ in range(3)))

    def _done(self) -> int:
        return sum(min(count, self.plan["rounds"]) for count in self.journal.counts.values())

    def _tell(self, what: str) -> None:
        done, total = self._done(), self.plan["rounds"] * len(self.roles)
        spent, new = time.monotonic() - self._begin, done - self._done_before
        rest = f", about {spent / new * (total - done) / 60:.0f} min left" if new > 20 else ""
        sys.stderr.write(f"\r{what}: {done} of {total} samples{rest}   ")
        sys.stderr.flush()


def repeat(call: Call, seconds: float) -> tuple[int, float]:
    """Call for `seconds` without a pause, for a power meter to be read meanwhile: (calls, seconds)."""
    begin, num = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        call()
        num += 1
    return num, time.perf_counter() - begin


def load_average() -> float | None:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def write_results(path: Path, value: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as stream:
            json.dump(value, stream, indent=1, allow_nan=False)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(str(temporary), str(path))
    except OSError as error:
        raise Problem(f"{path}: cannot be written: {error}. Run again: no sample is lost") from None
    finally:
        if temporary.exists():
            temporary.unlink()


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="runner.py", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--threads", type=int, help="threads an inference may use (default: the bundle's)")
    parser.add_argument("--rounds", type=int, help="samples of every model (default: the bundle's)")
    parser.add_argument(
        "--budget", type=float, metavar="SECONDS", help="stop early after so long (default: the bundle's)"
    )
    parser.add_argument("--memory", type=int, metavar="MB", help="memory for the models (default: the bundle's)")
    parser.add_argument(
        "--bundle", type=Path, default=Path(__file__).resolve().parent, help="another folder or zip file"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("results.json"))
    parser.add_argument(
        "--repeat", metavar="KEY", help="no measuring: run one model again and again, for a power meter"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to --repeat (default: 60)")
    options = parser.parse_args(arguments)
    for name in ("threads", "rounds", "budget", "memory", "seconds"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise Problem(f"--{name} must be positive, not {value}")
    return options


def run(options: argparse.Namespace) -> None:
    bundle = Bundle(options.bundle)
    plan: dict[str, Any] = dict(bundle.manifest["settings"])
    given = {"threads": options.threads, "rounds": options.rounds, "memory_mb": options.memory}
    given["time_budget_s"] = options.budget
    plan.update({key: value for key, value in given.items() if value is not None})
    if plan["threads"] > (os.cpu_count() or 1):
        raise Problem(f"this device has {os.cpu_count()} cores: --threads {plan['threads']} is too many")
    if options.repeat is None and options.output.exists():
        raise Problem(f"{options.output}: holds results already. Give another -o to measure again")
    version, load = get_runtime(bundle.manifest["runtime"]["suffix"])
    for key in bundle.items:
        bundle.artifact(key)
    device = {
        "cpu": cpu_model(),
        "cores": os.cpu_count() or 1,
        "machine": platform.machine(),
        "os": platform.system(),
        "runtime": bundle.manifest["runtime"]["name"],
        "runtime_version": version,
        "threads": plan["threads"],
        "precision": bundle.manifest["precision"],
        "contention": 0,
    }
    head = {"schema": SCHEMA, "manifest_sha256": bundle.sha256, "device": device, "run": uuid.uuid4().hex}
    head["load_start"] = load_average()
    if options.repeat is not None:
        if options.repeat not in bundle.items:
            raise Problem(
                f"--repeat {options.repeat}: no such model in the bundle. The first: {list(bundle.items)[:3]}"
            )
        call = load(bundle.artifact(options.repeat), [1, *bundle.items[options.repeat]["input_shape"]], plan["threads"])
        num, seconds = repeat(call, options.seconds)
        print(f"{options.repeat}: {num} calls in {seconds:.3f} s, {1e3 * seconds / num:.6g} ms each")
        return
    journal = Journal(options.output.with_suffix(".partial.jsonl"), head, plan["max_drift"])
    measuring = Measuring(bundle, load, journal, plan)
    if not journal.readings:
        measuring.check_all()
    measuring.measure()
    results = {key: journal.head[key] for key in ("schema", "manifest_sha256", "run", "device")}
    results["plan"] = {key: plan[key] for key in ("rounds", "threads", "time_budget_s", "memory_mb")}
    results["created"] = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    results["conditions"] = journal.conditions()
    results["samples"] = journal.samples()
    write_results(options.output, results)
    journal.path.unlink()
    print(
        f"{options.output}: {len(results['samples'])} models on {device['cpu']}. Bring it back to: ofa measure --import"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """0 done, 2 something to mend (told on stderr), 130 interrupted."""
    try:
        run(parse_arguments(arguments))
    except Problem as problem:
        sys.stderr.write(f"\nerror: {problem}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; the same command goes on here\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
