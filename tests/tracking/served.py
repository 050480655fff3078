"""Starts ``skipw serve`` as a user does and talks to it over sockets."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_TIMEOUT_S = 150.0
JSON = "application/json"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class Connection:
    """Requests to a port of this machine."""

    port: int

    def request(
        self,
        body: Any = None,
        path: str = "/invocations",
        method: str | None = None,
        content_type: str | None = JSON,
        **headers: str,
    ) -> Answer:
        """One request on a connection of its own; anything but bytes is sent as JSON."""
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if content_type is not None and body is not None:
            given["Content-Type"] = content_type
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method or ("GET" if body is None else "POST"), path, content, given)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def refused(self, body: Any, **how: Any) -> str:
        """The reason of a refusal, whose shape is checked; ``status`` is 400 unless given."""
        wanted = how.pop("status", 400)
        answer = self.request(body, **how)
        assert answer.status == wanted, answer
        return reason(answer)

    def refused_chunks(self, chunks: Iterator[bytes], status: int) -> str:
        """The reason of a refusal of a body that is sent without Content-Length."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("POST", "/invocations", chunks, {"Content-Type": JSON}, encode_chunked=True)
            answer = connection.getresponse()
            assert answer.status == status
            return reason(Answer(answer.status, {"content-type": JSON}, answer.read()))

    def raw(self, content: bytes) -> bytes:
        """What comes back for these bytes until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(content)
            return b"".join(iter(lambda: connection.recv(65536), b""))


@dataclass
class Server(Connection):
    """A running server; ``log`` holds its standard output and error."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def memory(self) -> int:
        """Resident bytes of the server's process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return 1024 * int(line.split()[1])


def reason(answer: Answer) -> str:
    """The message of an error, in the one shape that errors have."""
    assert answer.headers["content-type"] == JSON, answer
    found = answer.json
    assert set(found) == {"error_code", "message"}, found
    assert "Traceback" not in found["message"] and len(found["message"]) < 1100
    return str(found["message"])


@contextlib.contextmanager
def serving(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> Iterator[Server]:
    """A server of its own on a free port, ready; its log lies in ``folder``."""
    log = folder / "served.log"
    command = [sys.executable, "-m", "skipw", "serve", *arguments, "--port", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=os.environ | (environment or {}), stdout=output, stderr=output, cwd=folder
        )
    try:
        yield Server(wait_until_ready(process, log), process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> int:
    """The port, read from the banner, once /ready says so."""
    end = time.monotonic() + START_TIMEOUT_S
    port = 0
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        text = log.read_text()
        if "http://127.0.0.1:" in text:
            port = int(text.split("http://127.0.0.1:", 1)[1].split("/", 1)[0].split()[0])
            with contextlib.suppress(OSError, http.client.HTTPException):
                if Connection(port).request(path="/ready").status == 200:
                    return port
        time.sleep(0.1)
    raise TimeoutError(f"not ready within {START_TIMEOUT_S:g} s: {log.read_text()}")
