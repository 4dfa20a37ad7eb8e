"""Run by the interpreter of an environment with PyPI's `ofa` (once-for-all), not with this project's:

    cd /tmp; PEER/bin/python .../peer_latencies.py FOLDER < specs.json

FOLDER holds {resolution}_lookup_table.yaml, the input is a list of {"ks", "e", "d", "r"}, and the output the list of
latencies that its tutorial's `LatencyTable` gives them. Today's PyYAML wants a loader, and nothing is downloaded.
"""

from __future__ import annotations

import contextlib
import json
import sys
import types
from pathlib import Path

import yaml

if __name__ == "__main__":
    sys.modules["gdown"] = types.ModuleType("gdown")
    yaml.load.__defaults__ = (yaml.SafeLoader,)
    from ofa.tutorial import latency_table

    folder = Path(sys.argv[1])
    latency_table.download_url = lambda url, *_, **__: str(folder / url.rpartition("/")[2])
    with contextlib.redirect_stdout(sys.stderr):
        table = latency_table.LatencyTable(device="note10")
    json.dump([table.predict_efficiency(spec) for spec in json.load(sys.stdin)], sys.stdout)
