"""``python -m skipw``: the ``skipw`` command."""

from skipw.cli import app

app(prog_name="skipw")
