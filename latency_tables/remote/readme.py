"""The page that comes with a bundle, for whoever holds the device."""

from __future__ import annotations

from latency_tables.remote.manifest import Manifest
from latency_tables.remote.on_device.loaders import PACKAGES

_TEXT = """\
Measuring {space} on this device
{underline}

{num} models ({operators} operators, {networks} whole networks), compiled by {runtime} {version}, {precision}.

1. Install what runs them (Python 3.8 or later; nothing else is needed):

       pip install numpy {package}

2. Close other programs, plug the device in, and run

       python runner.py

   (or `python BUNDLE.zip`, without unpacking). Stop it whenever you like: the same command goes on where it was.

       --threads N        threads an inference may use (default {threads})
       --rounds N         samples of every model (default {rounds})
       --budget SECONDS   stop early after so long (default {budget:.0f})
       -o FILE            where to write (default results.json)

3. Bring results.json back to where the bundle was made:

       ofa measure --import results.json --bundle BUNDLE.zip -o TABLE.json

On a device with fast and slow cores, bind the runner to one kind (`taskset -c 7 python runner.py`), or samples of both
are mixed. For a power meter, `python runner.py --repeat KEY --seconds 60` runs one model without a pause and prints
how often; the keys are in manifest.json.
"""


def readme(manifest: Manifest) -> str:
    roles = [item.role for item in manifest.items]
    title = f"Measuring {manifest.space.name} on this device"
    settings = manifest.settings
    return _TEXT.format(
        space=manifest.space.name,
        underline="=" * len(title),
        num=len(roles),
        operators=roles.count("operator"),
        networks=roles.count("network"),
        runtime=manifest.runtime.name,
        version=manifest.runtime.version,
        precision=manifest.precision,
        package=PACKAGES.get(manifest.runtime.suffix, manifest.runtime.name),
        threads=settings.threads,
        rounds=settings.rounds,
        budget=settings.time_budget_s,
    )
