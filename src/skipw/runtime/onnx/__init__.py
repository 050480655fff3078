"""ONNX step graphs with the gate inside, and the loop around them. Writing needs onnx, running onnxruntime; no torch."""
