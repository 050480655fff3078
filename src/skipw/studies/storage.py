"""Where studies are kept: a journal file on one machine, a database or Optuna's gRPC proxy for many."""

from __future__ import annotations

import logging
import random
import re
import shlex
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import JournalStorage, RDBStorage
from sqlalchemy.exc import IntegrityError, ProgrammingError

from skipw.errors import ParamsError
from skipw.studies.errors import StudyError
from skipw.studies.heartbeat import Database, Proxy
from skipw.studies.journal_file import DurableJournal, is_journal
from skipw.tracking.store import mlruns_folder

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

__all__ = ["dashboard_command", "default_storage", "hidden", "open_storage", "resolved"]

log = logging.getLogger(__name__)
DATABASES = ("sqlite", "postgresql")
SQLITE = "sqlite:///"
CONNECT_TIMEOUT = 10  # seconds
TRIES = 6  # at a database that several machines find empty at once
SQLITE_TIMEOUT = 60  # seconds that one writer waits for another


def default_storage(dataset: str) -> str:
    """The journal file of a data set's studies, beside MLflow's database."""
    return str(mlruns_folder() / f"study-{dataset}.journal")


def resolved(where: str) -> str:
    """The same storage with an absolute path, so that workers and copies of the repository find it."""
    if where.startswith(SQLITE) and len(where) > len(SQLITE):
        return f"{SQLITE}{Path(where.removeprefix(SQLITE)).expanduser().absolute()}"
    if "://" in where:
        return where
    return str(Path(where).expanduser().absolute())


def open_storage(where: str, *, create: bool = True) -> BaseStorage:
    """Open a storage.

    In a server's database, and through the proxy, trials give signs of life; one whose worker died is put into the
    queue again by any process that looks. Elsewhere the workers' own signs tell (``places.Sign``).

    Args:
        where: a journal file's path, ``sqlite:///...``, ``postgresql+psycopg://...`` or ``grpc://host:port``.
        create: False refuses a journal or SQLite file that does not exist.
    Raises:
        ParamsError: if it is none of these.
        StudyError: if it can't be reached; the message says why.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # failed trials are told of by their workers
    where = resolved(where)
    scheme = where.partition("://")[0].partition("+")[0] if "://" in where else ""
    if scheme == "sqlite" and (not where.startswith(SQLITE) or where.endswith(("/", ":memory:"))):
        raise ParamsError(f"expected {SQLITE}FILE, got {where!r}; a study in memory ends with its process.")
    file = where.removeprefix(SQLITE)
    if scheme in ("", "sqlite"):
        _check_file(Path(file), create)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            match scheme:
                case "":
                    return _journal(file)
                case "grpc":
                    return _proxy(where)
                case _ if scheme in DATABASES:
                    return _database(where)
    except ParamsError:
        raise
    except (OSError, ImportError, ValueError) as error:
        raise StudyError(_unreachable(where, error)) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("sqlalchemy", "psycopg", "alembic", "optuna"):
            raise
        raise StudyError(_unreachable(where, error)) from error
    raise ParamsError(
        f"expected a journal file's path, sqlite:///FILE, postgresql+psycopg://USER@HOST/NAME or "
        f"grpc://HOST:PORT, got {hidden(where)!r}."
    )


def dashboard_command(where: str) -> str:
    """The command that shows a storage's studies in Optuna's dashboard."""
    return f"optuna-dashboard {shlex.quote(hidden(resolved(where)))}"


def hidden(where: str) -> str:
    """The address without its password."""
    return re.sub(r"(://[^:/@\s]*):\S*@", r"\1:***@", re.sub(r"(password=)[^&\s]*", r"\1***", where))


def _check_file(path: Path, create: bool) -> None:
    if not create and not path.is_file():
        raise StudyError(f"{path} does not exist; start a study with `skipw search`, or name its storage.")
    if path.is_dir():
        raise StudyError(
            f"{path} is a folder; a study's journal is a file, such as {path / 'study.journal'}."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(_unreachable(str(path), error)) from error


def _journal(file: str) -> JournalStorage:
    if Path(file).exists() and not is_journal(Path(file)):
        raise StudyError(f"{file} is a file of another kind, not a study's journal; name another file.")
    return JournalStorage(DurableJournal(file))


def _database(url: str) -> RDBStorage:
    if url.startswith(SQLITE):  # one machine: the workers' signs tell, and fewer writers wait for one another
        logging.getLogger("alembic").setLevel(logging.WARNING)
        return RDBStorage(url, engine_kwargs={"connect_args": {"timeout": SQLITE_TIMEOUT}})
    options: dict[str, Any] = {"pool_pre_ping": True}
    if url.startswith("postgresql"):
        options["connect_args"] = {"connect_timeout": CONNECT_TIMEOUT}
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for _ in range(TRIES - 1):
        try:
            return Database(url, options)
        except (
            IntegrityError,
            ProgrammingError,
        ) as error:  # another process makes the same tables at this moment
            if not any(words in str(error) for words in ("already exists", "duplicate key")):
                raise
            time.sleep(random.uniform(0.2, 1.0))
    return Database(url, options)


def _proxy(url: str) -> Proxy:
    host, _, port = url.removeprefix("grpc://").rstrip("/").rpartition(":")
    if not host or not port.isdigit():
        raise ParamsError(f"expected grpc://HOST:PORT, got {url!r}.")
    storage = Proxy(host=host, port=int(port))
    storage.wait_server_ready(timeout=CONNECT_TIMEOUT)
    return storage


def _unreachable(where: str, error: BaseException) -> str:
    """One line on why a storage can't be used, and what to do."""
    reason = " ".join(str(error).split())
    if isinstance(error, ImportError):
        extra = "cluster" if where.startswith("grpc") else "postgres"
        remedy = f"install what it needs: pip install 'skipw[{extra}]'"
    elif "://" in where:
        remedy = "check the address, that the server runs and that the database exists"
    else:
        remedy = "check the path and who may write there"
    return f"the storage {hidden(where)} can't be reached ({hidden(reason)[:300]}); {remedy}."
