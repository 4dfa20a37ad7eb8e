"""The once-for-all workflow: search, specialise, export, report, and the `ofa` command line.

`import ofa` offers the whole way to programs, see docs/library.md. Nothing of it is imported, torch least of all,
before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ofa.library.devices import load_table, measure
    from ofa.library.exporting import Exported, export, load
    from ofa.library.networks import evaluate, load_supernet, specialize, supernet
    from ofa.library.searching import Candidate, SearchResult, search
    from ofa.library.spaces import sample, space
    from predictors.base import Predictor, load_predictor
    from search_spaces import Architecture, SearchSpace
    from search_spaces.common.errors import Infeasible, UserError
    from trainers.data.resize import resize_batch as resize

__all__ = [
    "Architecture",
    "Candidate",
    "Exported",
    "Infeasible",
    "Predictor",
    "SearchResult",
    "SearchSpace",
    "UserError",
    "evaluate",
    "export",
    "load",
    "load_predictor",
    "load_supernet",
    "load_table",
    "measure",
    "resize",
    "sample",
    "search",
    "space",
    "specialize",
    "supernet",
]

#: name -> (module, name there)
_PLACES = {
    "Architecture": ("search_spaces", "Architecture"),
    "Candidate": ("ofa.library.searching", "Candidate"),
    "Exported": ("ofa.library.exporting", "Exported"),
    "Infeasible": ("search_spaces.common.errors", "Infeasible"),
    "Predictor": ("predictors.base", "Predictor"),
    "SearchResult": ("ofa.library.searching", "SearchResult"),
    "SearchSpace": ("search_spaces", "SearchSpace"),
    "UserError": ("search_spaces.common.errors", "UserError"),
    "evaluate": ("ofa.library.networks", "evaluate"),
    "load": ("ofa.library.exporting", "load"),
    "load_predictor": ("predictors.base", "load_predictor"),
    "load_supernet": ("ofa.library.networks", "load_supernet"),
    "load_table": ("ofa.library.devices", "load_table"),
    "measure": ("ofa.library.devices", "measure"),
    "resize": ("trainers.data.resize", "resize_batch"),
    "sample": ("ofa.library.spaces", "sample"),
    "space": ("ofa.library.spaces", "space"),
    "specialize": ("ofa.library.networks", "specialize"),
    "supernet": ("ofa.library.networks", "supernet"),
}

#: verbs whose name is that of a package here: the package is what the name means, and it can be called
_CALLABLE = ("export", "search")


def __getattr__(name: str) -> Any:
    if name in _CALLABLE:
        return import_module(f"ofa.{name}")
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, there = _PLACES[name]
    found = globals()[name] = getattr(import_module(module), there)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
