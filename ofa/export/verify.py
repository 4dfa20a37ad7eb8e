"""The forms of one network compared on real images: nothing is handed over that computes something else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ofa.export.failures import reason_of
from ofa.export.forms.base import Predict
from ofa.export.forms.registry import get_form
from search_spaces.common.errors import UserError

#: what a form in integers must keep: the class of most images, and logits that are no noise
LEAST_AGREEMENT, LEAST_SIGNAL_DB = 0.75, 6.0


class DoesNotRun(UserError):
    """A file that was written but that its runtime does not load or compute."""


@dataclass(frozen=True)
class Difference:
    """How far the logits of a form are from those of the network: the largest over all images and classes, but for
    `num_ties` images, where rounding decided.

    Of forms in integers, `num_moved` images are in another class, and `signal_db` is the power of the logits (around
    the mean of their image) over that of the differences.
    """

    max_abs: float
    num_images: int
    num_ties: int = 0
    num_moved: int = 0
    signal_db: float | None = None


def verify_forms(
    network: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    folder: Path,
    forms: tuple[str, ...],
    tolerance: float,
    ties: bool = False,
) -> dict[str, Difference]:
    """Load every form from `folder` and compare it with `network` on `images` (N, C, R, R), as `verify_form` does."""
    with torch.inference_mode():
        expected = network(images)
    return {
        name: verify_form(name, load_form(name, folder), expected, images, tolerance=tolerance, ties=ties)
        for name in forms
    }


def load_form(name: str, folder: Path) -> Predict:
    """What the file in `folder` computes. Raises `DoesNotRun` where its runtime does not load it."""
    form = get_form(name)
    try:
        return form.load(folder)
    except UserError:
        raise
    except Exception as error:  # every runtime has errors of its own
        raise _does_not_run(name, error) from error


def verify_form(
    name: str, predict: Predict, expected: Tensor, images: Tensor, *, tolerance: float, ties: bool = False
) -> Difference:
    """Compare what a loaded form computes with the network's logits `expected` (N, num_classes) on `images`.

    Batches of several sizes go through, so that a form fixed to one size is found out. Raises `DoesNotRun` where the
    file cannot be computed, and `UserError`, naming the form and the difference, where a logit is off by more than
    `tolerance` or not finite, or the most likely class is another one. Where the network is of those in which rounding
    may decide (`ties`), that is no fault for one image in 16. Forms that are not `exact` must keep three quarters of
    the classes and 6 dB of the logits instead.
    """
    allowed = len(images) // 16 if ties else 0
    with torch.inference_mode():
        try:
            found = torch.cat([predict(batch) for batch in _uneven_batches(images)])
        except UserError:
            raise
        except Exception as error:  # every runtime has errors of its own
            raise _does_not_run(name, error) from error
        return _compare(expected, found, name=name, tolerance=tolerance, ties=allowed)


def _does_not_run(name: str, error: Exception) -> DoesNotRun:
    return DoesNotRun(f"the form {name!r} does not run: {reason_of(error)}", file=get_form(name).file)


def _compare(expected: Tensor, found: Tensor, *, name: str, tolerance: float, ties: int) -> Difference:
    form = get_form(name)
    file = form.file
    if found.shape != expected.shape:
        shapes = f"{tuple(found.shape)}, not {tuple(expected.shape)}"
        raise UserError(f"the form {name!r} gives outputs of shape {shapes}", file=file)
    if not torch.isfinite(found).all():
        raise UserError(f"the form {name!r} gives outputs that are not finite", file=file)
    differences, num = (expected - found).abs().amax(dim=1), len(expected)
    difference = float(differences.max())
    if not form.exact:
        return _compare_inexact(expected, found, name=name, file=form.file)
    moved_or_off = (differences > tolerance) | (expected.argmax(dim=1) != found.argmax(dim=1))
    if 0 < (num_ties := int(moved_or_off.sum())) <= ties:
        return Difference(float(differences[~moved_or_off].max()), num, num_ties)
    if difference > tolerance:
        raise UserError(
            f"the form {name!r} differs from the network by {difference:.3g} on {num} real images; "
            f"at most {tolerance:g} is allowed",
            file=file,
        )
    moved = int((expected.argmax(dim=1) != found.argmax(dim=1)).sum())
    if moved:
        message = (
            f"the form {name!r} puts {moved} of {num} real images into another class (difference {difference:.3g})"
        )
        raise UserError(message, file=file)
    return Difference(max_abs=difference, num_images=num)


def _compare_inexact(expected: Tensor, found: Tensor, *, name: str, file: str) -> Difference:
    num, errors = len(expected), (expected - found).double()
    moved = int((expected.argmax(dim=1) != found.argmax(dim=1)).sum())
    power = (expected - expected.mean(dim=1, keepdim=True)).double().square().mean()
    noise = errors.square().mean().clamp(min=torch.finfo(torch.float64).tiny)
    signal_db = float(10 * torch.log10(power / noise))
    if moved > (1 - LEAST_AGREEMENT) * num or signal_db < LEAST_SIGNAL_DB:
        raise UserError(
            f"the form {name!r} differs from the network: {moved} of {num} real images in another class, its logits "
            f"{signal_db:.1f} dB above their noise; {LEAST_AGREEMENT:.0%} must stay, {LEAST_SIGNAL_DB:g} dB are asked",
            file=file,
            hint="8 bits do not suffice for this network as it is",
        )
    return Difference(float(errors.abs().max()), num, num_moved=moved, signal_db=signal_db)


def _uneven_batches(images: Tensor) -> list[Tensor]:
    """One image alone, then two, then the rest."""
    return [batch for batch in (images[:1], images[1:3], images[3:]) if len(batch)]
