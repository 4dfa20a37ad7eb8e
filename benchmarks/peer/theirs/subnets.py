"""Sampling, activating, describing, extracting and counting subnets in the peer."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from ofa.nas.efficiency_predictor import MBv3LatencyTable
from ofa.utils import count_net_flops, count_parameters

from benchmarks.peer.clock import timed
from benchmarks.peer.theirs.networks import Subnet, activate, extracted, supernet


class Subnets:
    """Width 1.0, 1000 classes."""

    def __init__(self) -> None:
        self.network = supernet()

    def sample(self, num: int, seed: int) -> dict[str, Any]:
        """`num` random subnets, each made the active one."""
        random.seed(seed)
        seconds, _ = timed(lambda: [self.network.sample_active_subnet() for _ in range(num)])
        return {"seconds": seconds, "count": num}

    def activate(self, subnets: Sequence[Subnet]) -> dict[str, Any]:

        def run() -> None:
            for subnet in subnets:
                activate(self.network, subnet)

        return {"seconds": timed(run)[0], "count": len(subnets)}

    def describe(self, subnets: Sequence[Subnet]) -> dict[str, Any]:
        """The full configuration of every subnet."""

        def run() -> None:
            for subnet in subnets:
                activate(self.network, subnet)
                self.network.get_active_net_config()

        return {"seconds": timed(run)[0], "count": len(subnets)}

    def extract(self, subnets: Sequence[Subnet]) -> dict[str, Any]:
        """Plain networks with weights."""

        def run() -> None:
            for subnet in subnets:
                extracted(self.network, subnet)

        return {"seconds": timed(run)[0], "count": len(subnets)}

    def count_by_configuration(self, subnets: Sequence[Subnet]) -> dict[str, Any]:
        """MACs from the configuration; the peer counts parameters on built networks only."""

        def run() -> list[float]:
            macs = []
            for subnet in subnets:
                activate(self.network, subnet)
                config = self.network.get_active_net_config()
                macs.append(MBv3LatencyTable.count_flops_given_config(config, subnet["r"][0]))
            return macs

        seconds, macs = timed(run)
        return {"seconds": seconds, "count": len(subnets), "macs": [value * 1e6 for value in macs]}

    def count_by_hooks(self, subnets: Sequence[Subnet]) -> dict[str, Any]:
        """MACs by a forward pass with hooks, and parameters, of extracted networks."""

        def run() -> list[tuple[float, int]]:
            counts = []
            for subnet in subnets:
                network = extracted(self.network, subnet)
                side = subnet["r"][0]
                counts.append((count_net_flops(network, (1, 3, side, side)), count_parameters(network)))
            return counts

        seconds, counts = timed(run)
        macs, params = [float(macs) for macs, _ in counts], [int(params) for _, params in counts]
        return {"seconds": seconds, "count": len(subnets), "macs": macs, "params": params}


load = Subnets
