"""One form of a network: written, compared with the network, looked at and scored; or nothing left of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ofa.export.blame import blame
from ofa.export.catalog import install_hint
from ofa.export.evaluate import selection_score
from ofa.export.failures import Failure, FormFailed, reason_of, spoils_everything
from ofa.export.finished import file_facts
from ofa.export.forms.base import Examined, Form, Predict, Source
from ofa.export.forms.registry import get_form
from ofa.export.job import ExportJob
from ofa.export.settings import ExportSettings
from ofa.export.source import real_images
from ofa.export.verify import Difference, DoesNotRun, load_form, verify_form
from search_spaces.common.errors import UserError


@dataclass(frozen=True)
class FormMaker:
    """Makes forms of one network in `folder`."""

    job: ExportJob
    settings: ExportSettings
    source: Source
    folder: Path

    @cached_property
    def _images(self) -> Tensor:
        return real_images(self.job, self.settings.num_images)

    @cached_property
    def _logits(self) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = self.source.network(self._images)
            return logits

    def make(self, name: str) -> dict[str, Any]:
        """Facts of the form for the report: file, size, difference from the network, accuracy on the selection split.

        Raises `FormFailed`, with nothing of the form left in the folder; and what would fail all forms.
        """
        self._logits  # noqa: B018  (a network that cannot be computed is no form's failure)
        with _whole_or_gone(self.folder, name):
            form = get_form(name)
            self._write(form)
            predict, difference = self._verify(form)
            more = dict(form.examine(self.source, self.folder)) if isinstance(form, Examined) else {}
            data, side, batch_size = self.job.data, self.job.architecture.resolution, self.settings.batch_size
            selection = selection_score(predict, name, data, resolution=side, batch_size=batch_size)
            facts = {**file_facts(name, self.folder), "exact": form.exact, **asdict(difference), **more}
            return {**facts, "accuracy": {"selection": selection, "test": None}}

    def _write(self, form: Form) -> None:
        try:
            form.write(self.source, self.folder)
            if not (self.folder / form.file).exists():
                raise UserError("its converter ended without a file", file=form.file)
        except Exception as error:  # every converter has errors of its own
            if spoils_everything(error) or isinstance(error, ModuleNotFoundError):
                raise
            raise self._blamed(form, error, run=False) from error

    def _verify(self, form: Form) -> tuple[Predict, Difference]:
        tolerance, ties = self.settings.tolerance, self.job.has_ties
        try:
            predict = load_form(form.name, self.folder)
            return predict, verify_form(form.name, predict, self._logits, self._images, tolerance=tolerance, ties=ties)
        except DoesNotRun as error:
            if spoils_everything(error) or isinstance(error.__cause__, ModuleNotFoundError):
                raise
            raise self._blamed(form, error, run=True) from error

    def _blamed(self, form: Form, error: Exception, *, run: bool) -> FormFailed:
        found = blame(form, self.source, self.job.space.network(self.job.architecture), error, run=run)
        if found is None:
            return FormFailed(Failure(reason_of(error)))
        if found.alone:
            message = f"cannot take the operator `{found.slot}` ({found.operator}): {found.reason}"
        else:
            message = f"{found.reason} (operator `{found.slot}`: {found.operator})"
        return FormFailed(Failure(message, operator=found.operator, slot=found.slot))


@contextmanager
def _whole_or_gone(folder: Path, name: str) -> Iterator[None]:
    """Any failure inside is a `FormFailed` of the form `name`, and takes with it whatever was written."""
    before = set(folder.iterdir())
    try:
        yield
    except Exception as error:  # converters, runtimes and their Python bindings have errors of their own
        for path in set(folder.iterdir()) - before:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        if spoils_everything(error) or isinstance(error, FormFailed):
            raise
        missing = next((e for e in (error, error.__cause__) if isinstance(e, ModuleNotFoundError)), None)
        if missing is not None:
            install = install_hint(name, missing)
            package = (missing.name or str(missing)).split(".")[0]
            raise FormFailed(
                Failure(f"needs the package {package!r}, which is not installed. {install}", install=install)
            ) from error
        raise FormFailed(Failure(reason_of(error))) from error
