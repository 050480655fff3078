"""Starts and stops the server process and its workers."""

from __future__ import annotations

import logging
import os
import signal
import socket
from typing import Any

import uvicorn
from starlette.applications import Starlette

from skipw.errors import SkipWError
from skipw.tracking.serving.app import create_app
from skipw.tracking.serving.settings import ServeSettings
from skipw.tracking.serving.source import Source, find_source

__all__ = ["AddressInUseError", "bind", "options", "serve", "worker_app"]

log = logging.getLogger(__name__)
PROTOCOL = "skipw.tracking.serving.protocol:Protocol"
SHUTDOWN_S = 30
CONNECTIONS = 1000


class AddressInUseError(SkipWError, OSError):
    """The address to listen at is not to be had."""


def bind(settings: ServeSettings) -> socket.socket:
    """Take the address, before anything slow is done; nobody can connect yet.

    Raises:
        AddressInUseError: another process has it, or it is none of this machine.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    taken = socket.socket(family)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((settings.host, settings.port))
    except OSError as error:
        taken.close()
        raise AddressInUseError(
            f"can't listen at {settings.host}:{settings.port} ({error.strerror}); choose another --port (0 takes "
            "a free one) or --host."
        ) from error
    taken.set_inheritable(True)
    return taken


def serve(settings: ServeSettings, source: Source, taken: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C; what runs then is finished first.

    Raises:
        SkipWError: the model can't be loaded or doesn't answer.
    """
    if settings.workers > 1:
        taken.close()  # uvicorn binds for its workers
        settings.to_environment()
        uvicorn.run(f"{__name__}:worker_app", factory=True, workers=settings.workers, **options(settings))
        return
    problems: list[Exception] = []

    def stop(problem: Exception) -> None:
        problems.append(problem)
        server.should_exit = True

    app = create_app(settings, lambda: _deploy(settings, source), stop)
    server = uvicorn.Server(uvicorn.Config(app, **options(settings)))
    server.run(sockets=[taken])
    if problems:
        raise problems[0]


def worker_app() -> Starlette:
    """The application of one of several worker processes; if its model fails, all of them end."""
    settings = ServeSettings.from_environment()

    def stop(problem: Exception) -> None:
        log.error("skipw: %s", problem)
        os.kill(os.getppid(), signal.SIGTERM)

    return create_app(settings, lambda: _deploy(settings, find_source(settings.uri)), stop)


def _deploy(settings: ServeSettings, source: Source) -> Any:
    from skipw.tracking.serving.deployed import deploy

    return deploy(source, settings)


def options(settings: ServeSettings) -> dict[str, Any]:
    """uvicorn's."""
    return {
        "host": settings.host,
        "port": settings.port,
        "http": PROTOCOL,
        "ws": "none",
        "log_level": "error",  # else a line for everything that is no HTTP
        "access_log": False,
        "server_header": False,
        "limit_concurrency": CONNECTIONS,
        "timeout_graceful_shutdown": SHUTDOWN_S,
    }
