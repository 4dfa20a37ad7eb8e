"""Search: budgets, certainty of feasibility, algorithms over integer matrices, and winners that were measured."""

from ofa.library.callable_package import make_callable

make_callable(__name__, module="ofa.library.searching", name="search")  # `ofa.search(...)`, see docs/library.md
