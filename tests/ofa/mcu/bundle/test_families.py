"""Networks of whole families: what was planned and counted is what is linked and run."""

from __future__ import annotations

import pytest

from benchmarks.mcu_bundles import FAMILIES, prove
from latency_tables.cortex_m.boards import get_board


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_twenty_random_networks_hold_all_claims(family: str) -> None:
    proofs = list(prove(family, num=20, num_images=10, board=get_board("stm32h743")))
    assert len(proofs) == 20
    for proved in proofs:
        found = proved.found
        assert found.holds and found.num_golden == 10 and not found.wrong
        assert proved.off("arena") == 0 and proved.off("flash") <= 0.01 and proved.off("instructions") <= 0.001
