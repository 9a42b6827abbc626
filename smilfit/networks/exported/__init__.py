"""Networks as they are exported to ONNX."""
