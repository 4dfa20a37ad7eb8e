"""d: BN recalibration over 2,000 images, and the evaluation of many subnets with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.peer import architectures
from benchmarks.peer.item import Check, Comparison, Item, Lane, Options, Part, Session
from predictors.sampling import record_groups

#: MACs at 224 px of the network that is recalibrated: about the middle of the space.
MACS = 292e6


def items(options: Options) -> list[Item]:
    batches = (16,) if options.short else (200, 50)
    return [*(_recalibration(batch, options) for batch in batches), _evaluation(options), _nested(options)]


def _recalibration(batch: int, options: Options) -> Item:
    side, num_images = (64, 32) if options.short else (224, 2000)
    space = architectures.space_of([224])
    drawn = architectures.draw(space, 200, seed=0)
    macs = space.cost("macs").evaluate(space.encode(drawn))
    chosen = architectures.at(drawn[int(abs(macs - MACS).argmin())], side)
    size = {"num_images": num_images, "batch": batch}
    warmup_size = {"num_images": min(2 * batch, num_images), "batch": batch}

    def lane(key: str, title: str, process: str, task: str, *, whole_warmup: bool = False) -> Lane:
        subnet = (architectures.theirs if process == "peer" else architectures.ours)([chosen])[0]
        warmup = {"subnet": subnet, **(size if whole_warmup else warmup_size)}
        return Lane(key, title, process, task, lambda r: {"subnet": subnet, **size}, warmup=warmup)

    what = f"{num_images} images, batch {batch}"
    return Item(
        key=f"d-recalibration-{batch}",
        title=f"BN recalibration over {what}, {side} px, one subnet",
        parts={
            "peer": Part("theirs", "recalibration"),
            "ours": Part("ours", "recalibration", {"resolution": side}),
            "fresh": Part("ours", "recalibration", {"resolution": side}),
        },
        lanes=[
            lane("peer", "peer, set_running_statistics", "peer", "recalibrate"),
            # a process that evaluates many subnets takes its memory from the system once
            lane("ours", "ours, exact statistics", "ours", "recalibrate", whole_warmup=True),
            replace(lane("fresh", "ours, the first of a process", "fresh", "recalibrate"), repeats=1),
            lane("peer-forward", "peer, plain forward", "peer", "forward"),
            lane("ours-forward", "ours, plain forward", "ours", "forward"),
            lane("ours-pieces", "ours, plain forward in small pieces", "ours", "forward_in_pieces"),
        ],
        comparisons=[
            Comparison(f"recalibration over a plain forward, {what}", "ours", "ours-forward", wanted=1.1),
            Comparison(f"recalibration over a plain forward in pieces, {what}", "ours", "ours-pieces", wanted=1.1),
            Comparison(f"recalibration over a plain forward, {what}", "peer", "peer-forward"),
            Comparison(f"recalibration, {what}", "ours", "peer"),
            Comparison(f"the first recalibration of a process, {what}", "fresh", "peer"),
            Comparison(f"plain forward, {what}", "ours-forward", "peer-forward"),
        ],
        repeats=2 if options.short else 3,
        minutes=0.3 if options.short else 20,
    )


def _evaluation(options: Options) -> Item:
    num, num_images, side, batch = (3, 32, 64, 16) if options.short else (20, 100, 224, 100)
    drawn = architectures.draw(architectures.space_of([side]), num, seed=0)
    ours = {"groups": [architectures.ours(drawn)], "batch": batch}
    theirs: dict[str, Any] = {
        "subnets": architectures.theirs(drawn),
        "batch": batch,
        "num_calibration": num_images,
        "num_images": num_images,
    }
    size = {"resolutions": [side], "num_calibration": num_images, "num_images": num_images}
    return Item(
        key="d-evaluation",
        title=f"{num} subnets: recalibrated over {num_images} images, evaluated on {num_images}, {side} px",
        parts={
            "peer": Part("theirs", "recalibration", {"num_classes": 10}),
            "ours": Part("ours", "evaluation", size),
        },
        lanes=[
            Lane("peer", "peer", "peer", "evaluate", lambda r: theirs, warmup=_first(theirs)),
            Lane("ours", "ours, separately", "ours", "separately", lambda r: ours, warmup=_first(ours)),
            Lane("together", "ours, together", "ours", "together", lambda r: ours, warmup=_first(ours)),
        ],
        comparisons=[
            Comparison(f"evaluating {num} random subnets separately", "ours", "peer"),
            Comparison(f"evaluating {num} random subnets together", "together", "peer"),
            Comparison(f"evaluating {num} random subnets together", "together", "ours"),
        ],
        check=_same_scores,
        repeats=2 if options.short else 3,
        minutes=0.3 if options.short else 18,
    )


def _nested(options: Options) -> Item:
    num, num_images, batch = (10, 32, 16) if options.short else (200, 100, 100)
    resolutions = [48, 64] if options.short else [96, 112, 128]
    space = architectures.space_of(resolutions)
    drawn = record_groups(space, num, seed=0, sampling="nested")
    groups = [architectures.ours(space.decode(rows)) for rows in drawn]
    inputs = {"groups": groups, "batch": batch}
    size = {"resolutions": resolutions, "num_calibration": num_images, "num_images": num_images}
    return Item(
        key="d-nested",
        title=f"{num} nested records: recalibrated over {num_images} images, evaluated on {num_images}, "
        f"{resolutions[0]} to {resolutions[-1]} px",
        parts={"ours": Part("ours", "evaluation", size)},
        lanes=[
            Lane("ours", "ours, separately", "ours", "separately", lambda r: inputs, warmup=_first(inputs)),
            Lane("together", "ours, in groups", "ours", "together", lambda r: inputs, warmup=_first(inputs)),
        ],
        comparisons=[Comparison(f"{num} nested records", "together", "ours", wanted=0.5)],
        repeats=1 if options.short else 3,
        minutes=0.2 if options.short else 15,
        check=_same_scores,
    )


def _first(inputs: dict[str, Any]) -> dict[str, Any]:
    """The same for the first subnet alone."""
    if "groups" in inputs:
        return {**inputs, "groups": [inputs["groups"][0][:1]]}
    return {**inputs, "subnets": inputs["subnets"][:1]}


def _same_scores(session: Session) -> list[Check]:
    """Accuracy and loss of subnets evaluated together and separately."""
    together, separately = (session.records[key][0]["scores"] for key in ("together", "ours"))
    accuracies = sum(one[0] == other[0] for one, other in zip(together, separately, strict=True))
    losses = max(abs(one[1] - other[1]) / abs(other[1]) for one, other in zip(together, separately, strict=True))
    found = f"{accuracies} of {len(separately)} accuracies, losses within {losses:.0e}"
    return [Check("together as separately, to the last digit", found, accuracies == len(separately))]
