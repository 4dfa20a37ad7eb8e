"""How far the rankings of a run can be trusted: of its predictor, of its supernet; and what its genes buy."""
