"""Networks lowered for ExecuTorch."""
