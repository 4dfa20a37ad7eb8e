"""Search: budgets, certainty of feasibility, algorithms over integer matrices, and winners that were measured."""
