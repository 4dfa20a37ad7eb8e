// budgets
