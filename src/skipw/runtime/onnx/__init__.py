"""ONNX step graphs with the gate inside, and the loop around them. Neither writing nor running needs torch."""
