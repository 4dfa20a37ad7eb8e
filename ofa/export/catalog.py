"""Which forms are meant: by name, or `all` that can be had here; and what would bring those that cannot."""

from __future__ import annotations

from dataclasses import dataclass, field

from ofa.export.forms.registry import FORMS, get_form, install_hint
from ofa.export.settings import ALL, ExportSettings
from search_spaces.common.errors import UserError

__all__ = ["WantedForms", "install_hint", "wanted_forms"]


@dataclass(frozen=True)
class WantedForms:
    """`forms` to make, in order. Of `all` (`installed_only`): what brings those that are `missing`, and why some were
    `left_out`.
    """

    forms: tuple[str, ...]
    installed_only: bool = False
    missing: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def wanted_forms(settings: ExportSettings) -> WantedForms:
    """The forms that `settings.forms` means here. Of those named, installed or not, none is left out."""
    if ALL not in settings.forms:
        return WantedForms(settings.forms)
    forms, missing, left_out = [], {}, {}
    for name in FORMS.names():
        if name == "mcu" and settings.board is None:
            left_out[name] = "is for a board, and none is named: --board NAME"
            continue
        try:
            get_form(name)
        except UserError as error:  # a package, or whatever else this form cannot do without here
            missing[name] = error.hint or error.message
        else:
            forms.append(name)
    return WantedForms(tuple(forms), True, missing, left_out)
