"""The C99 step: its sources, how they are built, and the stream that it serves in Python."""
