"""Streaming: one input at a time, a skipped one costs nothing. Needs numpy and safetensors, no torch."""
