"""Where studies are kept: what can't be used says so, and a journal stands kills."""

from __future__ import annotations

import json
import multiprocessing
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import types
from pathlib import Path

import optuna
import pytest

from skipw.errors import ParamsError
from skipw.studies import storage
from skipw.studies.errors import StudyError
from skipw.studies.storage import dashboard_command, default_storage, hidden, open_storage, resolved

PASSWORD = "s3cret"


@pytest.fixture
def closed_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def names(where: str) -> list[str]:
    return optuna.get_all_study_names(open_storage(where))


@pytest.mark.parametrize("scheme", ["", "sqlite:///"])
def test_a_file_is_made_and_found_again(scheme: str, tmp_path: Path) -> None:
    where = f"{scheme}{tmp_path / 'new' / 'study.file'}"
    optuna.create_study(storage=open_storage(where), study_name="one")
    assert (tmp_path / "new" / "study.file").is_file()
    assert names(where) == ["one"]
    assert optuna.get_all_study_names(open_storage(where, create=False)) == ["one"]


@pytest.mark.parametrize("scheme", ["", "sqlite:///"])
def test_looking_at_a_file_that_is_not_there_makes_none(scheme: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"does not exist; start a study with `skipw search`"):
        open_storage(f"{scheme}{tmp_path / 'study.file'}", create=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scheme", ["", "sqlite:///"])
def test_a_folder_is_no_storage(scheme: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"is a folder; .* study\.journal|is a folder"):
        open_storage(f"{scheme}{tmp_path}")


@pytest.mark.parametrize("scheme", ["", "sqlite:///"])
def test_a_path_below_a_file_is_no_storage(scheme: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StudyError, match="can't be reached .*; check the path"):
        open_storage(f"{scheme}{tmp_path / 'file' / 'study.journal'}")


@pytest.mark.parametrize("content", ["# Notes\n", "# Notes", "[1, 2]\n", '{"a": 1}\n', "3\n"])
def test_nothing_is_written_into_a_file_of_another_kind(content: str, tmp_path: Path) -> None:
    file = tmp_path / "notes.md"
    file.write_text(content)
    with pytest.raises(StudyError, match="of another kind, not a study's journal"):
        open_storage(str(file))
    assert file.read_text() == content
    with pytest.raises(StudyError, match="can't be reached"):
        open_storage(f"sqlite:///{file}")
    assert file.read_text() == content


@pytest.mark.parametrize(
    "where", ["ftp://there/x", "nonsense://u:s3cret@there", "sqlite://", "sqlite:///:memory:"]
)
def test_an_address_of_no_known_kind_is_refused(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParamsError, match="expected") as caught:
        open_storage(where)
    assert PASSWORD not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_database_server_that_is_not_there(closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "CONNECT_TIMEOUT", 2)
    with pytest.raises(StudyError) as caught:
        open_storage(f"postgresql+psycopg://me:{PASSWORD}@127.0.0.1:{closed_port}/studies")
    message = str(caught.value)
    assert PASSWORD not in message and "me:***@127.0.0.1" in message
    assert "can't be reached" in message and len(message.splitlines()) == 1
    assert "check the address" in message or "skipw[postgres]" in message  # with its driver, without


def test_a_server_s_error_without_the_driver(closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What SQLAlchemy raises when nobody answers, whether or not the driver is installed here."""
    from sqlalchemy.exc import OperationalError

    where = f"postgresql+psycopg://me:{PASSWORD}@127.0.0.1:{closed_port}/studies"

    def refuse(*_: object, **__: object) -> None:
        raise OperationalError("select 1", {}, Exception(f"connection refused\nto {where}"))

    monkeypatch.setattr(storage, "Database", refuse)
    with pytest.raises(StudyError, match="check the address, that the server runs") as caught:
        open_storage(where)
    assert PASSWORD not in str(caught.value) and "connection refused" in str(caught.value)


def test_a_proxy_that_is_not_there(closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "CONNECT_TIMEOUT", 1)
    with pytest.raises(
        StudyError, match=r"can't be reached .*; (check the address|install what it needs: pip)"
    ):
        open_storage(f"grpc://127.0.0.1:{closed_port}")


def test_a_proxy_s_address_needs_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.SimpleNamespace(GrpcStorageProxy=None)
    monkeypatch.setitem(sys.modules, "optuna.storages", fake)  # type: ignore[arg-type]
    with pytest.raises(ParamsError, match="grpc://HOST:PORT, got 'grpc://there'"):
        open_storage("grpc://there")


@pytest.mark.parametrize(
    ("where", "shown"),
    [
        ("postgresql+psycopg://me:s3cret@host:5432/x", "postgresql+psycopg://me:***@host:5432/x"),
        ("postgresql://me:s3/cr@et@host/x", "postgresql://me:***@host/x"),
        ("postgresql://host/x?user=me&password=s3cret", "postgresql://host/x?user=me&password=***"),
        ("postgresql://me@host:5432/x", "postgresql://me@host:5432/x"),
        ("grpc://host:13000", "grpc://host:13000"),
        ("/a/study.journal", "/a/study.journal"),
    ],
)
def test_no_password_is_shown(where: str, shown: str) -> None:
    assert hidden(where) == shown
    assert dashboard_command(where) == f"optuna-dashboard {shlex.quote(shown)}"


def test_addresses_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SKIPW_MLRUNS", str(tmp_path / "runs"))
    assert resolved("a/b.journal") == str(tmp_path / "a" / "b.journal")
    assert resolved("sqlite:///a.db") == f"sqlite:///{tmp_path / 'a.db'}"
    assert resolved("grpc://host:1") == "grpc://host:1"
    assert default_storage("har") == str(tmp_path / "runs" / "study-har.journal")


def test_a_line_that_a_crash_cut_costs_that_line_alone(tmp_path: Path) -> None:
    file = tmp_path / "study.journal"
    study = optuna.create_study(storage=open_storage(str(file)), study_name="one")
    study.set_user_attr("kept", 1)
    study.set_user_attr("lost", 2)
    whole = file.read_bytes()
    for cut in (1, 7, len(whole.splitlines()[-1])):
        for tail in (b"", b"\0" * 50):
            file.write_bytes(whole[:-cut] + tail)
            again = optuna.load_study(storage=open_storage(str(file)), study_name="one")
            assert again.user_attrs == {"kept": 1}
            again.set_user_attr("after", 3)
            again.set_user_attr("more", 4)
            read = optuna.load_study(storage=open_storage(str(file)), study_name="one").user_attrs
            assert read == {"kept": 1, "after": 3, "more": 4}
            assert all(json.loads(line) for line in file.read_bytes().splitlines())


def test_a_journal_whose_very_first_line_was_cut_is_begun_anew(tmp_path: Path) -> None:
    file = tmp_path / "study.journal"
    optuna.create_study(storage=open_storage(str(file)), study_name="one")
    file.write_bytes(file.read_bytes().splitlines()[0][:20])
    optuna.create_study(storage=open_storage(str(file)), study_name="two")
    assert names(str(file)) == ["two"]


HOLDER = """
import sys, time
from skipw.studies.journal_file import DurableJournal
journal = DurableJournal(sys.argv[1])
journal._lock.acquire()
print("held", flush=True)
time.sleep(600)
"""


def test_a_lock_goes_with_the_process_that_held_it(tmp_path: Path) -> None:
    file = tmp_path / "study.journal"
    study = optuna.create_study(storage=open_storage(str(file)), study_name="one")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(file)], stdout=subprocess.PIPE, env=environment
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()  # type: ignore[union-attr]
    began = time.monotonic()
    study.set_user_attr("a", 1)
    assert time.monotonic() - began < 5


def _write(file: str, worker: int) -> None:
    study = optuna.load_study(storage=open_storage(file), study_name="one")
    for number in range(20):
        study.set_user_attr(f"{worker}-{number}", number)


def test_two_processes_write_side_by_side(tmp_path: Path) -> None:
    file = str(tmp_path / "study.journal")
    study = optuna.create_study(storage=open_storage(file), study_name="one")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write, args=(file, worker)) for worker in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(study.user_attrs) == 40
