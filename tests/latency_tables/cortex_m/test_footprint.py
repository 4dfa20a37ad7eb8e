"""What a network takes of flash and SRAM follows from its operators, exactly."""

from __future__ import annotations

from latency_tables.cortex_m.counting import network_program, operator_program
from latency_tables.cortex_m.footprint import flash, peak_memory
from latency_tables.networks import choose_networks
from search_spaces import get_space


def test_networks_follow_from_operators() -> None:
    space = get_space({"name": "mobilenet_v3_digits"}, num_classes=10, in_channels=1)
    for architecture in choose_networks(space, num_fit=0, num_heldout=8, seed=0).heldout:
        whole = network_program(space, architecture)
        parts = [operator_program(operator) for _, operator in space.network(architecture)]
        assert flash(whole) == sum(map(flash, parts))
        assert peak_memory(whole) == max(map(peak_memory, parts))
