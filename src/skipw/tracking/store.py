"""Where the journal is kept: ``MLFLOW_TRACKING_URI``, or SQLite and plain files under ``mlruns/``.

The address may be that of an MLflow server, of an SQLite file, or of a database server, best PostgreSQL. It is
handed to the client, nothing global stays set, so one process may use several journals.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from skipw.errors import ParamsError

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient
    from sqlalchemy import Connection

__all__ = ["Store", "connect", "exists", "experiment_name", "git_commit", "mlruns_folder", "quiet"]

log = logging.getLogger(__name__)
DATABASE_FILE = "mlflow.db"
SQLITE = "sqlite:///"
POSTGRES = "postgresql"
DATABASES = (POSTGRES, "mysql", "mssql")
SERVERS = ("http://", "https://")
SERVER_TRIES, SERVER_PAUSE, SERVER_TIMEOUT = 4, 2.0, 10.0  # how often a server is asked, and seconds
DVC_WORKSPACES = (".dvc", "tmp", "exps")  # `dvc exp run --queue` and `--temp` work in copies below this
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
#: Opens the experiment as a training one, not as a GenAI one, in the web pages.
EXPERIMENT_KIND = {"mlflow.experimentKind": "custom_model_development"}


@dataclass(frozen=True)
class Store:
    """An open journal.

    Attributes:
        client: every call goes through it.
        uri: what ``--backend-store-uri`` or ``MLFLOW_TRACKING_URI`` would say.
        artifacts: folder of the artifacts; None where a server keeps them.
    """

    client: MlflowClient
    uri: str
    artifacts: Path | None

    def experiment(self, dataset: str) -> str:
        """The id of the experiment ``skipw-<dataset>``, created if need be (by any of several processes)."""
        from mlflow.exceptions import MlflowException

        name = experiment_name(dataset)
        found = self.client.get_experiment_by_name(name)
        if found is None:
            location = None if self.artifacts is None else (self.artifacts / name).as_uri()
            try:
                return self.client.create_experiment(name, location, dict(EXPERIMENT_KIND))
            except MlflowException as error:
                found = self.client.get_experiment_by_name(name)
                if found is None:
                    raise
                log.debug("%s was created by another process: %s", name, error)
        if found.lifecycle_stage != "active":
            self.client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Only one process registers under ``name`` at a time: of this machine, on PostgreSQL of all machines."""
        if self.artifacts is None:
            yield
        else:
            with _alone(self.uri, name, self.artifacts):
                yield

    @contextmanager
    def as_default(self) -> Iterator[None]:
        """Make this the default journal for a while: MLflow's registry looks models up there."""
        before = os.environ.get("MLFLOW_TRACKING_URI")
        os.environ["MLFLOW_TRACKING_URI"] = self.uri
        try:
            yield
        finally:
            if before is None:
                os.environ.pop("MLFLOW_TRACKING_URI", None)
            else:
                os.environ["MLFLOW_TRACKING_URI"] = before


def experiment_name(dataset: str) -> str:
    """Name of a data set's MLflow experiment and of its registered model."""
    return f"skipw-{dataset}"


def connect() -> Store:
    """Open the journal; a database's tables are made first, by one process while the others wait.

    A local database appears completely or not at all. Beside a database server the artifacts lie under
    ``mlruns_folder()``, as they do beside SQLite.

    Raises:
        ParamsError: if ``MLFLOW_TRACKING_URI`` names a plain folder, which MLflow 3 refuses, an address of another
            kind than MLflow knows, or a server or database that can't be reached or is damaged.
    """
    os.environ.update({key: value for key, value in SETTINGS.items() if key not in os.environ})
    uri = _address(os.environ.get("MLFLOW_TRACKING_URI", "").strip())
    artifacts = None
    if uri.startswith(SQLITE):
        database = Path(uri.removeprefix(SQLITE))
        artifacts = database.parent / "artifacts"
        _create_database(database, artifacts)
    elif uri.startswith(DATABASES):
        artifacts = mlruns_folder() / "artifacts"
        _create_tables(uri, artifacts)
    elif uri.startswith(SERVERS):
        _wait_for_server(uri)
    return Store(_client(uri), uri, artifacts)


def _client(uri: str) -> MlflowClient:
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return MlflowClient(tracking_uri=uri, registry_uri=uri)
    except (MlflowException, SQLAlchemyError) as error:
        if uri.startswith(SQLITE):
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise ParamsError(
                f"the MLflow database {uri.removeprefix(SQLITE)} can't be read ({reason}); move it aside, then `make "
                "register` makes a new one out of the models' files, or name another in MLFLOW_TRACKING_URI."
            ) from error
        scheme = uri.partition("://")[0]
        raise ParamsError(
            f"MLFLOW_TRACKING_URI: MLflow can't open an address that begins with {scheme}://; expected http:// or "
            "https:// of a server that runs, sqlite:/// and a file, or postgresql+psycopg://."
        ) from error


def exists() -> bool:
    """Whether there is a journal to connect to, without creating one."""
    uri = _address(os.environ.get("MLFLOW_TRACKING_URI", "").strip())
    if uri.startswith(DATABASES):
        from sqlalchemy import inspect

        with _connection(uri) as connection:
            return bool(inspect(connection).has_table("experiments"))
    return not uri.startswith(SQLITE) or Path(uri.removeprefix(SQLITE)).exists()


def mlruns_folder() -> Path:
    """``SKIPW_MLRUNS``, else ``mlruns`` at the top of the repository that the current folder is in.

    A DVC experiment runs in a copy below ``.dvc/tmp/exps``; its journal is the one of the repository itself.
    """
    if chosen := os.environ.get("SKIPW_MLRUNS", "").strip():
        return Path(chosen).expanduser().absolute()
    return _repository(Path.cwd()) / "mlruns"


def _repository(folder: Path) -> Path:
    for parent in (folder, *folder.parents):
        if parent.parts[-3:] == DVC_WORKSPACES:
            return parent.parents[2]
    for parent in (folder, *folder.parents):
        if (parent / ".git").exists():
            return parent
    return folder


def _address(wanted: str) -> str:
    """The tracking URI with an absolute path."""
    if not wanted:
        return f"{SQLITE}{mlruns_folder() / DATABASE_FILE}"
    if wanted.startswith(SQLITE):
        return f"{SQLITE}{Path(wanted.removeprefix(SQLITE)).expanduser().absolute()}"
    if "://" not in wanted or wanted.startswith("file:"):
        folder = Path(wanted.removeprefix("file://")).absolute()
        raise ParamsError(
            f"MLFLOW_TRACKING_URI must be the address of a server or a database, got {wanted!r}; MLflow 3 "
            f"keeps nothing in plain folders: use {SQLITE}{folder / DATABASE_FILE}."
        )
    return wanted


def _wait_for_server(uri: str) -> None:
    """Until a server answers, whatever it says, for as long as one may take to start again.

    MLflow itself asks an address at which nobody listens for four minutes, and then shows a traceback.

    Raises:
        ParamsError: if it does not answer.
    """
    import requests

    reason = ""
    for attempt in range(SERVER_TRIES):
        if attempt:
            log.info("waiting for the MLflow server of MLFLOW_TRACKING_URI: %s", reason)
            time.sleep(SERVER_PAUSE)
        try:
            requests.get(f"{uri.rstrip('/')}/health", timeout=SERVER_TIMEOUT)
            return
        except (requests.exceptions.InvalidURL, requests.exceptions.SSLError) as error:
            reason = _last_words(error)
            break
        except requests.exceptions.RequestException as error:
            reason = _last_words(error)
    raise ParamsError(
        f"no MLflow server answers at the address of MLFLOW_TRACKING_URI ({reason}); start it, correct the address, or "
        "unset the variable to keep the journal in mlruns/."
    )


def _last_words(error: BaseException) -> str:
    """What lies at the bottom of an error that wraps others."""
    while (inner := error.__cause__ or error.__context__ or getattr(error, "reason", None)) is not None:
        if not isinstance(inner, BaseException):
            break
        error = inner
    return str(error).strip() or type(error).__name__


def _create_database(database: Path, artifacts: Path) -> None:
    """Make the tables in a file beside ``database`` and rename it: a kill leaves nothing half made."""
    if database.exists() and database.stat().st_size:
        return
    with _locked(database.with_name(f".{database.name}.lock")):
        if database.exists() and database.stat().st_size:
            return
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        log.info("creating the MLflow database %s (once, a few seconds)", database)
        fresh = database.with_name(f".{database.name}.new")
        fresh.unlink(missing_ok=True)
        with quiet("alembic", "mlflow.store.db.utils"):
            store = SqlAlchemyStore(f"{SQLITE}{fresh}", artifacts.as_uri())
        store.engine.dispose()
        fresh.replace(database)


def _create_tables(uri: str, artifacts: Path) -> None:
    """Make the tables on a database server, unless they are there."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with _alone(uri, "tables", artifacts), quiet("alembic", "mlflow.store.db.utils"):
        SqlAlchemyStore(uri, artifacts.as_uri()).engine.dispose()


@contextmanager
def _alone(uri: str, name: str, artifacts: Path) -> Iterator[None]:
    """One process at a time: PostgreSQL keeps the lock itself, for the others a file on this machine does.

    The lock goes with its holder: with the connection, or with the process.
    """
    if not uri.startswith(POSTGRES):
        with _locked(artifacts / f".{name}.lock"):
            yield
        return
    from sqlalchemy import text

    key = int.from_bytes(hashlib.sha256(f"skipw {name}".encode()).digest()[:8], signed=True)
    with _connection(uri) as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
        yield


@contextmanager
def _connection(uri: str) -> Iterator[Connection]:
    """A connection of its own to a database server, without a transaction."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    try:
        connection = create_engine(uri, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect()
    except ImportError as error:
        raise ParamsError(
            f"the database of MLFLOW_TRACKING_URI needs a driver that is not installed ({error}); for "
            "PostgreSQL install the extra `postgres` and write postgresql+psycopg://USER@HOST/DATABASE."
        ) from error
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip()
        raise ParamsError(
            f"the database of MLFLOW_TRACKING_URI can't be opened ({reason}); expected an address such as "
            "postgresql+psycopg://USER@HOST/DATABASE of a server that runs and a database that exists."
        ) from error
    with connection:
        yield connection


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on ``path``; the system frees it when a process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def quiet(*names: str) -> Iterator[None]:
    """Only the warnings of these loggers."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def git_commit() -> str:
    """The commit that is checked out in the current folder, "" outside of a repository."""
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
