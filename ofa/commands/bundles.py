"""What `ofa measure` does for devices that cannot run it: bundles out, results in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ofa.commands.measure import print_table, summary
from ofa.console import emit

if TYPE_CHECKING:
    from latency_tables.settings import DeviceSettings
    from search_spaces import SearchSpace


def write_bundle(
    space: SearchSpace, settings: DeviceSettings, path: Path, seed: int, *, replace: bool, json: bool
) -> None:
    from latency_tables.remote import bundle as bundles

    bundle = bundles.write_bundle(space, settings, path=path, seed=seed, replace=replace)
    manifest, roles = bundle.manifest, [item.role for item in bundle.manifest.items]
    facts = manifest.model_dump(mode="json", by_alias=True, include={"space", "runtime", "precision", "seed"})
    facts |= {"num_operators": roles.count("operator"), "num_networks": roles.count("network")}
    facts |= {"bundle": str(path), "manifest_sha256": bundle.sha256, "num_bytes": path.stat().st_size}
    if json:
        emit(facts)
        return
    print(
        f"{path}: {facts['num_operators']} operators and {facts['num_networks']} networks of {space.name}, compiled by "
        f"{manifest.runtime.name} {manifest.runtime.version}, {facts['num_bytes'] / 1e6:.1f} MB"
    )
    print(f"  on the device: unpack it and run `python runner.py`, or run `python {path.name}`; its README says more")
    print(f"  then here: ofa measure --import results.json --bundle {path} -o TABLE.json")


def import_results(
    results: list[Path], bundle: Path, output: Path, device: str | None, *, replace: bool, json: bool
) -> None:
    from latency_tables.remote import table as remote

    table = remote.import_results(results, bundle, path=output, name=device, replace=replace)
    if json:
        emit(summary(table) | {"table": str(output)})
    else:
        print_table(table, table.measured_space(), output)
