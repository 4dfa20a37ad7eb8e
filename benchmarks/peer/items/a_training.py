"""a: a training step with four subnets and a teacher, and what elasticity costs beside static networks."""

from __future__ import annotations

from typing import Any

from benchmarks.peer import architectures
from benchmarks.peer.item import Comparison, Item, Lane, Options, Part

SUBNETS = 20


def items(options: Options) -> list[Item]:
    sides = (64,) if options.short else (64, 224)
    return [make(side, options) for make in (_step, _overhead) for side in sides]


def _step(side: int, options: Options) -> Item:
    batch = 8 if options.short else 32
    space = architectures.space_of([side])

    def drawn(repetition: int) -> list[Any]:
        return architectures.draw(space, 4, seed=repetition)

    def ours(repetition: int) -> dict[str, Any]:
        return {"subnets": architectures.ours(drawn(repetition))}

    # a training has thousands of steps: the largest networks take all memory that later steps use, and random ones
    # bring most of the shapes for which kernels are compiled at their first use
    early = space.decode(space.largest()) * 4 + architectures.draw(space, 0 if options.short else 28, seed=10_000)
    first = {"subnets": architectures.ours(early)}
    size = {"resolution": side, "batch": batch}
    what = f"training step at {side} px"
    return Item(
        key=f"a-step-{side}",
        title=f"{what}, batch {batch}: 4 subnets and a teacher, MobileNetV3 width 1.0",
        parts={
            "peer": Part("theirs", "training", size),
            "ours": Part("ours", "training", size),
            "static": Part("ours", "training", size),
            "torchvision": Part("ours", "yardstick", size),
        },
        lanes=[
            Lane(
                "peer",
                "peer",
                "peer",
                "step",
                lambda r: {"subnets": architectures.theirs(drawn(r))},
                warmup={"subnets": architectures.theirs(early)},
            ),
            Lane("ours", "ours", "ours", "step", ours, warmup=first),
            Lane("static", "ours, extracted static networks", "static", "static_step", ours, warmup=first),
            Lane("torchvision", "torchvision mobilenet_v3_large, one network", "torchvision", "step"),
        ],
        comparisons=[
            Comparison(what, "ours", "peer", wanted=0.45 if side == 64 else 0.50),
            Comparison(f"{what}, beside static networks", "ours", "static"),
            Comparison(f"{what}, in steps of torchvision's network", "peer", "torchvision"),
            Comparison(f"{what}, in steps of torchvision's network", "ours", "torchvision"),
        ],
        repeats=2 if options.short else (15 if side <= 64 else 7),
        minutes=1 if side <= 64 else 4,
    )


def _overhead(side: int, options: Options) -> Item:
    batch, num = (8, 3) if options.short else (32, SUBNETS)
    drawn = architectures.ours(architectures.draw(architectures.space_of([side]), num, seed=1000))

    def lane(mode: str, title: str) -> Lane:
        return Lane(mode, title, "ours", f"{mode}_gradients", lambda r: {"subnets": [drawn[r % num]]})

    return Item(
        key=f"a-overhead-{side}",
        title=f"forward and backward of one subnet at {side} px, batch {batch}, elastic and static, {num} subnets",
        parts={"ours": Part("ours", "training", {"resolution": side, "batch": batch, "with_teacher": False})},
        lanes=[lane("elastic", "ours, elastic"), lane("static", "ours, extracted")],
        comparisons=[
            Comparison(
                f"elastic over static at {side} px, mean of {num} subnets", "elastic", "static", wanted=1.05, groups=num
            )
        ],
        repeats=num if options.short else 3 * num,
        minutes=0.5 if side <= 64 else 3,
    )
