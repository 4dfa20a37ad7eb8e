"""c: search with the published accuracy predictor under a limit of the Note10's latency."""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any

from benchmarks.peer.item import Check, Comparison, Item, Lane, Options, Part, Session

#: Limit in ms -> best predicted accuracy known at resolutions 160 to 224 (found with millions of evaluations).
BEST_KNOWN = {15: 0.7868, 20: 0.8079, 25: 0.8211, 30: 0.8305, 40: 0.8414}
#: How far below it a search may end, whatever its seed, and in how many seconds.
TOLERANCE, SECONDS = 0.001, 1.0


def items(options: Options) -> list[Item]:
    return [_item(limit, options) for limit in ((25,) if options.short else BEST_KNOWN)]


def _item(limit: int, options: Options) -> Item:
    main = limit == 25
    generations = 10 if options.short else 500

    def theirs(repetition: int) -> dict[str, Any]:
        return {"limit": limit, "seed": repetition, "generations": generations}

    def ours(repetition: int) -> dict[str, Any]:
        return {"limit": limit, "seed": repetition}

    warmup = {"limit": limit, "seed": 1000, "generations": 2}
    lanes = [
        Lane("peer", "peer, classes of its tutorial", "peer", "tutorial", theirs, warmup, repeats=None if main else 5),
        Lane("ours", "ours, default settings", "ours", "search", ours),
        Lane("offline", "ours, with reading predictor and table", "ours", "offline", ours, repeats=3),
    ]
    comparisons = [
        Comparison(f"search at {limit} ms", "ours", "peer"),
        Comparison(f"predictor evaluations at {limit} ms", "ours", "peer", "rate"),
    ]
    if main:
        lanes.append(
            Lane("library", "peer, classes of its library", "library", "library", theirs, warmup, repeats=1),
        )
        comparisons.append(Comparison(f"search at {limit} ms, beside the library", "ours", "library"))
    return Item(
        key=f"c-search-{limit}",
        title=f"search at {limit} ms on the Note10: the peer's is evolution, 100 x {generations}",
        parts={
            "peer": Part("theirs", "search", {"library": False}),
            "ours": Part("ours", "search"),
            **({"library": Part("theirs", "search", {"library": True})} if main else {}),
        },
        lanes=lanes,
        comparisons=comparisons,
        repeats=2 if options.short else 10,
        minutes=0.3 if options.short else (3 if main else 1.5),
        needs_data=True,
        check=partial(_check, limit),
    )


def _check(limit: int, session: Session) -> list[Check]:
    """The quality of what was found, and whether the peer says the same of our winners."""
    ours, peer = session.records["ours"], session.records["peer"]
    lowest, slowest = min(r["accuracy"] for r in ours), max(r["seconds"] for r in ours)
    goal = BEST_KNOWN[limit] - TOLERANCE
    winners = [*ours, *session.records["offline"]]
    told = session.ask("peer", "score", {"subnets": [record["subnet"] for record in winners]})
    accuracy = max(abs(r["accuracy"] - a) for r, a in zip(winners, told["accuracies"], strict=True))
    latency = max(abs(r["latency_ms"] - ms) for r, ms in zip(winners, told["latencies"], strict=True))
    highest = max(told["latencies"])
    return [
        Check(f"every one of {len(ours)} seeds at least {goal:.4f}", f"lowest {lowest:.5f}", lowest >= goal),
        Check(f"every search in at most {SECONDS:g} s", f"slowest {slowest:.3g} s", slowest <= SECONDS),
        Check(f"within {limit} ms, as the peer has it", f"highest {highest:.4f} ms", highest <= limit),
        Check("accuracy as the peer predicts it", f"within {accuracy:.1e}", accuracy <= 1e-6),
        Check("latency as the peer predicts it", f"within {latency:.1e} ms", latency <= 1e-6),
        Check("accuracies found by us", _accuracies(ours)),
        Check("accuracies found by the peer", _accuracies(peer)),
    ]


def _accuracies(records: list[dict[str, Any]]) -> str:
    values = [record["accuracy"] for record in records]
    return f"mean {statistics.mean(values):.4f}, min {min(values):.4f}, max {max(values):.4f}, {len(values)} seeds"
