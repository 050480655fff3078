"""The PostgreSQL server of the tests: its databases are fresh, and it never outlives whoever started it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import postgres_server
from tests.postgres import ABSENT, FreshDatabase, binaries

#: Starts the server as the fixture does, passes its port on and waits.
PARENT = """
import subprocess, sys, time
server = subprocess.Popen([sys.executable, *sys.argv[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
print(server.stdout.readline().split()[1], flush=True)
time.sleep(120)
"""


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_databases_are_fresh(postgres: FreshDatabase) -> None:
    import psycopg

    first, second = (url.replace("+psycopg", "") for url in (postgres(), postgres()))
    with psycopg.connect(first) as connection:
        connection.execute("CREATE TABLE things (name text)")
    with psycopg.connect(second) as connection:
        count = connection.execute("SELECT count(*) FROM pg_tables WHERE tablename = 'things'").fetchone()
        version = connection.execute("SHOW server_encoding").fetchone()
    assert count == (0,)
    assert version == ("UTF8",)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_server_ends_with_a_killed_parent(how: signal.Signals) -> None:
    folder = binaries()
    if folder is None:
        pytest.skip(ABSENT)
    command = [sys.executable, "-c", PARENT, postgres_server.__file__, str(folder)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        assert _answers(port)
    finally:
        parent.send_signal(how)
        parent.wait()
    end = time.monotonic() + 30
    while _answers(port) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _answers(port)


def test_the_newest_installed_version_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for version in ("9.6", "15", "17"):
        folder = tmp_path / version / "bin"
        folder.mkdir(parents=True)
        for program in ("initdb", "postgres"):
            (folder / program).touch()
    (tmp_path / "17" / "bin" / "postgres").unlink()  # a client alone
    monkeypatch.setattr("tests.postgres.FOLDERS", (f"{tmp_path}/*/bin",))
    assert binaries() == tmp_path / "15" / "bin"
    monkeypatch.setattr("tests.postgres.FOLDERS", ())
    assert binaries() is None
