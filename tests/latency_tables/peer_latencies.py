"""Run by the interpreter of an environment with PyPI's `ofa` (once-for-all), never by this project's:

    cd /tmp; $OFA_PEER_PYTHON .../peer_latencies.py < job.json

The job holds `files` ({resolution: lookup table}) and `specs` (a list of {"ks", "e", "d", "r"}); with `network` and
`width_mult` the latency classes of the peer's library answer, else those of its tutorial. Prints a list of ms. Today's
PyYAML wants a loader; nothing is downloaded.
"""

from __future__ import annotations

import contextlib
import json
import sys
import types

import yaml


def tutorial(job: dict) -> list[float]:
    from ofa.tutorial import latency_table

    latency_table.download_url = lambda url, *_, **__: job["files"][url.rpartition("/")[2].partition("_")[0]]
    table = latency_table.LatencyTable(device="note10", resolutions=[int(side) for side in job["files"]])
    return [table.predict_efficiency(spec) for spec in job["specs"]]


def library(job: dict) -> list[float]:
    from ofa.imagenet_classification.elastic_nn import networks
    from ofa.nas.efficiency_predictor import latency_lookup_table as lookup

    name = job["network"]
    reader = {"OFAMobileNetV3": lookup.MBv3LatencyTable, "OFAProxylessNASNets": lookup.ProxylessNASLatencyTable}[name]
    tables = {int(side): reader(url=path) for side, path in job["files"].items()}
    elastic = {"ks_list": [3, 5, 7], "expand_ratio_list": [3, 4, 6], "depth_list": [2, 3, 4]}
    net = getattr(networks, name)(width_mult=job["width_mult"], **elastic)
    found = []
    for spec in job["specs"]:
        net.set_active_subnet(spec["ks"], spec["e"], spec["d"])
        (side,) = spec["r"]
        config = net.get_active_net_config()
        found.append(tables[side].predict_network_latency_given_config(config, side))
    return found


if __name__ == "__main__":
    sys.modules["gdown"] = types.ModuleType("gdown")
    yaml.load.__defaults__ = (yaml.SafeLoader,)
    job = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        latencies = library(job) if "network" in job else tutorial(job)
    json.dump(latencies, sys.stdout)
