"""The fixture ``postgres``: fresh databases on a real PostgreSQL server that belongs to the tests alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests import postgres_server

__all__ = ["FreshDatabase", "postgres"]

FreshDatabase = Callable[[], str]
SERVER = Path(postgres_server.__file__)
FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin")
ABSENT = (
    "PostgreSQL is not installed (neither in PATH nor in /usr/lib/postgresql); "
    "`apt-get install postgresql` installs it"
)
NO_DRIVER = "psycopg is not installed; `pip install 'skipw[postgres]'` installs it"


def binaries() -> Path | None:
    """The folder of ``initdb`` and ``postgres``, of the newest version; None where there is none."""
    found = [path for pattern in FOLDERS for path in Path("/").glob(pattern.lstrip("/"))]
    found.sort(
        key=lambda path: [int(part) for part in path.parent.name.split("-")[-1].split(".") if part.isdigit()]
    )
    if (in_path := shutil.which("initdb")) is not None:
        found.append(Path(in_path).resolve().parent)
    complete = [path for path in found if (path / "initdb").exists() and (path / "postgres").exists()]
    return complete[-1] if complete else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[FreshDatabase]:
    """A function that makes an empty database and returns its URL, ``postgresql+psycopg://...``.

    Each test process has its own server, on 127.0.0.1 at a free port. It goes when the process ends, however
    it ends. Skips where PostgreSQL or psycopg is not installed; fails where the server does not start.
    """
    psycopg = pytest.importorskip("psycopg", reason=NO_DRIVER)
    folder = binaries()
    if folder is None:
        pytest.skip(ABSENT)
    server = subprocess.Popen(
        [sys.executable, SERVER, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert server.stdin is not None and server.stdout is not None and server.stderr is not None
    try:
        answer = server.stdout.readline().split()
        assert answer[:1] == ["port"], f"the server did not start: {server.stderr.read()}"
        address = f"{postgres_server.USER}@127.0.0.1:{answer[1]}"

        def fresh() -> str:
            name = f"test_{uuid4().hex[:12]}"
            with psycopg.connect(f"postgresql://{address}/postgres", autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
            return f"postgresql+psycopg://{address}/{name}"

        yield fresh
    finally:
        server.stdin.close()
        try:
            server.wait(timeout=60)
        except subprocess.TimeoutExpired:
            server.terminate()
