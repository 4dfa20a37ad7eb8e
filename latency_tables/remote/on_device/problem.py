"""The one error of this program that its user can mend."""

from __future__ import annotations


class Problem(Exception):
    """Something the user can mend; the program ends with this message and code 2."""
