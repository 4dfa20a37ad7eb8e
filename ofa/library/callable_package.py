"""`ofa.search` and `ofa.export` are packages, and what a program calls: such a package can be called."""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class CallablePackage(ModuleType):
    """A package whose call is that of a function elsewhere, which is imported then and no earlier."""

    _verb: tuple[str, str]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)

    @property
    def __wrapped__(self) -> Any:
        """The function, for `help` and `inspect.signature` too."""
        module, name = self._verb
        return getattr(import_module(module), name)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.__wrapped__)


def make_callable(package: str, *, module: str, name: str) -> None:
    """Let the package of that name be called: calls go to the function `name` of `module`."""
    found = sys.modules[package]
    found.__class__ = CallablePackage
    vars(found)["_verb"] = (module, name)
