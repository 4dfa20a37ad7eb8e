"""A predictor that keeps up with a growing list of records, as a search needs it after every batch.

Choosing a model and its hyper-parameters takes cross-validation; one more record hardly changes them. So they are found
when the list has grown by a quarter, and in between the model chosen is only given the new records.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from predictors.base import Predictor, Refittable
from predictors.fit import MIN_RECORDS, fit_records, inputs_digest
from predictors.fit_job import Job
from predictors.record_file import Records
from predictors.settings import PredictorSettings
from search_spaces import SearchSpace

#: all is chosen anew when there are so many times the records of the last time
_GROWTH = 1.25


class Refitter:
    """`update(records)` gives the predictor of these records; it follows from them and their order alone.

    Everything is chosen from the first m of n records, m being the last of 10, 13, 17, 22, ... that is not above n. The
    same list thus gives the same predictor, however many at a time it arrived, and in a process that starts again. Give
    records in the order of arrival (`load_records(..., by_arrival=True)`), those of a search among them where they
    should count (`PredictorSettings.origins`).
    """

    def __init__(self, space: SearchSpace, settings: PredictorSettings, *, seed: int = 0) -> None:
        self.space, self.settings, self.seed = space, settings, seed
        self._base: Predictor | None = None

    def update(self, records: Records) -> Predictor:
        """Fit to all `records`. Grade and scale of the intervals are those of the last full fit, as its counts say.

        `UserError` with fewer than `predictors.fit.MIN_RECORDS` of them.
        """
        used = records.of(self.settings.origins)
        first = used.take(np.arange(_last_full_fit(len(used))))
        base = self._full_fit(first)
        if len(first) == len(used):
            return base
        job = Job.of(self.space, used.take(np.argsort(used.keys)), self.settings, self.seed)
        if isinstance(base.model, Refittable):
            model = base.model.refit(job.encodings, job.targets, job.groups, blocks=job.blocks)
        else:
            model = job.fit(base.name, np.arange(len(used)))
        return replace(
            base, model=model, inputs=inputs_digest(used, self.space, self.settings, seed=self.seed) + "-refitted"
        )

    def _full_fit(self, records: Records) -> Predictor:
        digest = inputs_digest(records, self.space, self.settings, seed=self.seed)
        if self._base is None or self._base.inputs != digest:
            self._base = fit_records(self.space, records, self.settings, seed=self.seed, quiet=True)
        return self._base


def _last_full_fit(num: int) -> int:
    """The number of records that all was last chosen from, of a list of `num`."""
    last = MIN_RECORDS
    while (grown := int(np.ceil(_GROWTH * last))) <= num:
        last = grown
    return min(last, num)
