"""`ofa fit`: fit and grade the accuracy predictor of a run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ofa.console import JsonFlag, emit

if TYPE_CHECKING:
    from predictors.base import Predictor
    from predictors.grades import Grade


def fit(
    run: Annotated[Path, typer.Argument(help="A run folder with records.")],
    json: JsonFlag = False,
) -> None:
    """Fit accuracy predictors to RUN/records.jsonl, pick one by cross-validation, grade it on held-out records."""
    from ofa.config import load_run_config
    from predictors.fit import fit_predictor

    predictor = fit_predictor(run, load_run_config(run), quiet=json)
    if json:
        emit({"predictor": str(run / "predictor"), "model": predictor.name, "grade": asdict(_grade(predictor))})
    else:
        print_grade(predictor)


def _grade(predictor: Predictor) -> Grade:
    assert predictor.grade is not None, "a fitted predictor is graded"
    return predictor.grade


def print_grade(predictor: Predictor) -> None:
    """The table that `ofa fit` prints."""
    from rich.console import Console
    from rich.table import Table

    grade, console = _grade(predictor), Console()
    picked = Table("model", "out-of-fold tau", "out-of-fold RMSE", title="picked by cross-validation")
    for name, score in grade.cross_validation.items():
        mark = " (picked)" if name == predictor.name else ""
        picked.add_row(name + mark, f"{score.tau:.3f}", f"{score.rmse:.2%}")
    console.print(picked)
    level = f"{grade.level:.0%}"
    graded = Table(
        "predictor",
        f"Kendall tau ({level} interval)",
        f"RMSE ({level} interval)",
        title=f"{grade.num_heldout} held out",
    )
    for name, held in {predictor.name: grade.predictor, **grade.baselines}.items():
        tau, rmse = held.tau, held.rmse
        graded.add_row(
            name if name == predictor.name else f"{name} alone",
            f"{tau.value:.3f} ({tau.lower:.3f} to {tau.upper:.3f})",
            f"{rmse.value:.2%} ({rmse.lower:.2%} to {rmse.upper:.2%})",
        )
    console.print(graded)
    console.print(
        f"{level} intervals cover {grade.coverage:.0%} of the held-out networks; "
        f"the saved predictor is fitted to all {grade.num_records} records"
    )
