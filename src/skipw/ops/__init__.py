"""Whole sequences, the same signature in every backend."""
