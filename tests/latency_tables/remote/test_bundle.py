"""The zip file for a device: complete, the same every time, whole or not at all; one that was changed is noticed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch

from latency_tables.compiled import Compiled
from latency_tables.items import EMPTY_CALL, network_key
from latency_tables.networks import choose_networks
from latency_tables.remote.bundle import RUNNER_MB, read_bundle, write_bundle
from latency_tables.settings import DeviceSettings
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import digest

Device = Callable[..., DeviceSettings]


def test_it_holds_all_that_a_table_needs(small: SearchSpace, bundle_file: Path) -> None:
    bundle = read_bundle(bundle_file)
    probes = choose_networks(small, num_fit=4, num_heldout=20, seed=0)
    networks = [network_key(small, network) for network in (*probes.fit, *probes.heldout)]
    assert [item.key for item in bundle.manifest.items] == [EMPTY_CALL, *small.operators(), *networks]
    assert bundle.space.description == small.description and bundle.probes == probes
    assert bundle.manifest.runtime.version == onnxruntime.__version__
    with zipfile.ZipFile(bundle_file) as archive:
        content = archive.read("manifest.json")
        assert bundle.sha256 == hashlib.sha256(content).hexdigest()
        for item in json.loads(content)["items"]:
            artifact = archive.read(item["file"])
            assert hashlib.sha256(artifact).hexdigest() == item["sha256"]
            shape = onnxruntime.InferenceSession(artifact).get_inputs()[0].shape
            assert shape == [1, *item["input_shape"]]
        readme = archive.read("README.txt").decode()
    assert (
        "pip install numpy onnxruntime" in readme and "--rounds N         samples of every model (default 2)" in readme
    )


def test_same_inputs_same_bytes(
    small: SearchSpace, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiniest, path = small.restrict(kernel=[3], depth=[1], expand=[3]), tmp_path / "again.zip"
    write_bundle(tiniest, device(), path=path)
    first = path.read_bytes()
    assert read_bundle(path).manifest.settings.memory_mb == RUNNER_MB  # the runner cannot ask how much is free
    torch.manual_seed(17)
    before = torch.random.get_rng_state()
    write_bundle(tiniest, device(), path=path)  # the same again is nobody's loss
    assert path.read_bytes() == first
    assert torch.equal(before, torch.random.get_rng_state())
    with monkeypatch.context() as patch:  # what is sure to differ is not compiled for nothing
        patch.setattr(Compiled, "ahead", lambda *_: pytest.fail("compiled"))
        for space, seed in ((tiniest, 1), (small, 0)):
            with pytest.raises(UserError, match=r"again\.zip: holds another file\. .*--replace"):
                write_bundle(space, device(), path=path, seed=seed)
    assert path.read_bytes() == first and list(tmp_path.iterdir()) == [path]
    write_bundle(tiniest, device(), path=path, seed=1, replace=True)
    assert path.read_bytes() != first


def test_networks_that_are_no_files(small: SearchSpace, device: Device, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"runtime: .*no files.*torch"):
        write_bundle(small, device(runtime="torch"), path=tmp_path / "out.zip")
    with pytest.raises(UserError, match=r"contention: .*no busy processes.*2"):
        write_bundle(small, device(contention=2), path=tmp_path / "out.zip")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_old_file(
    small: SearchSpace, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.zip"
    path.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"out\.compiled.*: cannot be written: No space left on device"):
        write_bundle(small, device(), path=path, replace=True)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def artifact(manifest: Any, role: str) -> str:
    return next(item["file"] for item in manifest["items"] if item["role"] == role)


def test_a_changed_bundle_is_noticed(bundle_file: Path, repacked: Callable[..., Path], tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle_file) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        name = artifact(manifest, "network")
        content = archive.read(name)
    with pytest.raises(UserError, match=rf"repacked\.zip: {name}: this model of 'network .*' was changed"):
        read_bundle(repacked({name: content[:-1] + bytes([content[-1] ^ 1])}))
    with pytest.raises(UserError, match="not all of it"):
        read_bundle(repacked({name: None}))
    with pytest.raises(UserError, match=r"not all of it: .*manifest\.json"):
        read_bundle(repacked({"manifest.json": None}))
    with pytest.raises(UserError, match=r"manifest\.json: not valid JSON"):
        read_bundle(repacked({"manifest.json": b"{"}))
    edited = json.dumps(manifest | {"seed": 3}).encode()
    with pytest.raises(UserError, match=r"repacked\.zip: manifest\.json\.digest: was changed after"):
        read_bundle(repacked({"manifest.json": edited}))
    for missing in ("operator", "network", "empty"):  # by someone who knows how to make the digest right
        items = [item for item in manifest["items"] if item["file"] != artifact(manifest, missing)]
        with pytest.raises(UserError, match=r"manifest\.json: items: '.*' is not in this bundle"):
            read_bundle(repacked({"manifest.json": forged(manifest | {"items": items})}))
    strange = manifest["items"] + [manifest["items"][0] | {"key": "conv-of-mine"}]
    with pytest.raises(UserError, match="'conv-of-mine' is nothing that a table of this space needs"):
        read_bundle(repacked({"manifest.json": forged(manifest | {"items": strange})}))
    with pytest.raises(UserError, match="'empty call' is there twice"):
        read_bundle(
            repacked({"manifest.json": forged(manifest | {"items": manifest["items"] + manifest["items"][:1]})})
        )
    path = tmp_path / "no.zip"
    with pytest.raises(UserError, match="no such bundle"):
        read_bundle(path)
    path.write_bytes(bundle_file.read_bytes()[:5000])
    with pytest.raises(UserError, match="not a bundle, or damaged"):
        read_bundle(path)


def forged(content: dict[str, Any]) -> bytes:
    plain = {key: value for key, value in content.items() if key != "digest"}
    return json.dumps(plain | {"digest": digest(plain)}).encode()
