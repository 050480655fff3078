"""The ``skipw`` command. Everything heavy is imported inside the commands: ``skipw --help`` answers at once."""

from __future__ import annotations

from skipw.cli import bench, doctor, front, har, predict, pull, search, serve, stream
from skipw.cli.app import app

__all__ = ["app", "bench", "doctor", "front", "har", "predict", "pull", "search", "serve", "stream"]
