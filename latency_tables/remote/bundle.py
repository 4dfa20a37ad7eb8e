"""The bundle: a zip file of compiled operators and networks, what to do with them, and a program that does it."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path
from typing import Any

from latency_tables.compiled import Compiled
from latency_tables.identity import SpaceIdentity
from latency_tables.items import EMPTY_CALL, Item, choose_sentinels, network_items, operator_items, typical_length
from latency_tables.networks import ProbeNetworks, choose_networks
from latency_tables.remote import on_device
from latency_tables.remote.manifest import FILE, BundleItem, BundleRuntime, Manifest
from latency_tables.remote.on_device.loaders import PACKAGES
from latency_tables.remote.readme import readme
from latency_tables.runtimes import Portable, get_runtime
from latency_tables.settings import DeviceSettings
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError, in_file
from search_spaces.common.files import atomic_file, file_digest
from search_spaces.common.settings import parse_settings

#: MB of items that the runner prepares at once, unless the settings say: phones have less than this machine
RUNNER_MB = 1024

#: `python runner.py` where the bundle is unpacked, `python BUNDLE.zip` where it is not
_ENTRIES = ("runner.py", "__main__.py")
_ENTRY = '''\
"""Measures the models beside it on this device; `--help` says how."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # which `python -I` leaves out

from on_device.main import main

sys.exit(main())
'''


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read and found sound: every artifact is what the manifest says, and of the space's networks."""

    path: Path
    manifest: Manifest
    sha256: str
    """Of the manifest's bytes: what results refer to."""
    space: SearchSpace
    probes: ProbeNetworks


def write_bundle(
    space: SearchSpace, device: DeviceSettings, *, path: Path, seed: int = 0, replace: bool = False
) -> Bundle:
    """Compile every operator of `space`, the empty call and whole networks for `device.runtime`, and write `path`.

    The same inputs give the same bytes; `path` is written whole or not at all. Raises `UserError` for a runtime whose
    networks are no files, and if `path` holds anything else, unless `replace`: results that were measured with another
    bundle would be lost with it.
    """
    runtime = _portable(device.runtime)
    if device.contention:
        raise UserError("a bundle's runner starts no busy processes", key="contention", value=device.contention)
    about = {
        "space": SpaceIdentity.of(space),
        "runtime": BundleRuntime(name=runtime.name, version=runtime.version, suffix=runtime.suffix),
        "precision": runtime.precision,
        "settings": device.model_copy(update={"memory_mb": device.memory_mb or RUNNER_MB}),
        "seed": seed,
    }
    if path.exists() and not replace and not _is_of(path, about):  # before the long part
        raise _another(path)
    probes = choose_networks(space, num_fit=device.fit_networks, num_heldout=device.holdout, seed=seed)
    architectures = [*probes.fit, *probes.heldout]
    operators, networks = operator_items(space), network_items(space, architectures)
    items = {**operators, **networks}
    compiled = Compiled(runtime, space, items, path.with_suffix(".compiled"))
    compiled.ahead(architectures)
    group_size = typical_length(space, architectures)

    with atomic_file(path) as stream:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:  # stored: no compressor decides the bytes
            added = list(_add_artifacts(archive, runtime.suffix, compiled, items, networks))
            manifest = Manifest.of(
                **about,
                group_size=group_size,
                sentinels=choose_sentinels(operators),
                items=added,
            )
            content = json.dumps(manifest.model_dump(mode="json", by_alias=True), indent=1).encode() + b"\n"
            _add(archive, FILE, content)
            for name in _ENTRIES:
                _add(archive, name, _ENTRY.encode())
            for module in sorted(Path(on_device.__file__).parent.glob("*.py")):
                _add(archive, f"on_device/{module.name}", module.read_bytes())
            _add(archive, "README.txt", readme(manifest).encode())
        if path.exists() and not replace and file_digest(path) != _digest_of(stream):
            compiled.remove()
            raise _another(path)
    compiled.remove()
    return Bundle(path, manifest, hashlib.sha256(content).hexdigest(), space, probes)


def read_bundle(path: Path) -> Bundle:
    """Read and check a bundle. Raises `UserError` for a file that is none, is damaged, or was changed."""
    try:
        with zipfile.ZipFile(path) as archive:
            content = archive.read(FILE)
            with in_file(path):
                manifest = parse_settings(Manifest, _json(content), prefix=FILE)
                for item in manifest.items:
                    _check_artifact(archive, item)
    except FileNotFoundError:
        raise UserError("no such bundle", file=path) from None
    except OSError as error:
        raise UserError(f"this bundle cannot be read: {error.strerror or error}", file=path) from error
    except KeyError as error:
        raise UserError(f"not a bundle, or not all of it: {error.args[0]}", file=path) from None
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError) as error:
        raise UserError(f"not a bundle, or damaged: {error}", file=path) from None
    with in_file(path):
        space = manifest.space.space(file=path)
        settings = manifest.settings
        probes = choose_networks(space, num_fit=settings.fit_networks, num_heldout=settings.holdout, seed=manifest.seed)
        _check_items(manifest, space, probes)
    return Bundle(path, manifest, hashlib.sha256(content).hexdigest(), space, probes)


def _is_of(path: Path, about: Mapping[str, object]) -> bool:
    """Whether `path` is a bundle that was made with these inputs, as far as its manifest says."""
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = parse_settings(Manifest, _json(archive.read(FILE)), prefix=FILE)
    except (UserError, OSError, KeyError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error):
        return False
    return all(getattr(manifest, name) == value for name, value in about.items())


def _another(path: Path) -> UserError:
    hint = "Results measured with another bundle fit that one alone. Give another file, or --replace"
    return UserError("holds another file", file=path, hint=hint)


def _portable(name: str) -> Portable:
    runtime = get_runtime(name)
    if not isinstance(runtime, Portable) or runtime.suffix not in PACKAGES:
        raise UserError(
            "the networks of this runtime are no files that another device could run",
            key="runtime",
            value=name,
            hint="Use another, for example onnxruntime",
        )
    return runtime


def _add_artifacts(
    archive: zipfile.ZipFile, suffix: str, compiled: Compiled, items: Mapping[str, Item], networks: Container[str]
) -> Iterator[BundleItem]:
    for index, (key, item) in enumerate(items.items()):
        content = compiled[key]
        folder = "networks" if key in networks else "operators"
        name = f"{folder}/{index:04d}-{re.sub(r'[^A-Za-z0-9._-]+', '-', key)[:80]}{suffix}"
        _add(archive, name, content)
        yield BundleItem(
            role="empty" if key == EMPTY_CALL else "network" if key in networks else "operator",
            key=key,
            file=name,
            sha256=hashlib.sha256(content).hexdigest(),
            input_shape=item.input_shape,
            num_bytes=float(item.num_bytes),
        )


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """With a fixed date, system and mode."""
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.create_system, info.external_attr = 3, 0o644 << 16
    archive.writestr(info, content)


def _digest_of(stream: BufferedRandom) -> str:
    stream.flush()
    stream.seek(0)
    return hashlib.file_digest(stream, "sha256").hexdigest()


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"not valid JSON ({error})", key=FILE) from None


def _check_artifact(archive: zipfile.ZipFile, item: BundleItem) -> None:
    found = hashlib.sha256(archive.read(item.file)).hexdigest()
    if found != item.sha256:
        hint = f"The manifest says sha256 {item.sha256}. Make the bundle again, or take the one that was measured"
        raise UserError(f"this model of {item.key!r} was changed", key=item.file, value=found, hint=hint)


def _check_items(manifest: Manifest, space: SearchSpace, probes: ProbeNetworks) -> None:
    """The manifest names exactly what a table of its space needs."""
    if space.fingerprint != manifest.space.fingerprint:
        what = f"the space described has the fingerprint {space.fingerprint}"
        raise UserError(what, key=f"{FILE}: space.fingerprint", value=manifest.space.fingerprint)
    if strange := sorted(set(manifest.sentinels) - set(space.operators())):
        raise UserError(f"{strange[0]!r} is no operator", key=f"{FILE}: sentinels")
    wanted = {**operator_items(space), **network_items(space, [*probes.fit, *probes.heldout])}
    keys = [item.key for item in manifest.items]
    for problem, some in (
        ("is not in this bundle", sorted(set(wanted) - set(keys))),
        ("is nothing that a table of this space needs", sorted(set(keys) - set(wanted))),
        ("is there twice", sorted({key for key in keys if keys.count(key) > 1})),
    ):
        if some:
            more = f", and {len(some) - 1} more" if len(some) > 1 else ""
            raise UserError(f"{some[0]!r} {problem}{more}", key=f"{FILE}: items")
