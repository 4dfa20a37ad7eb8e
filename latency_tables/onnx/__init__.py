"""Networks as ONNX graphs, written directly: for measuring and for export."""
