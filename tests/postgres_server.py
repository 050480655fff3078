"""A PostgreSQL server for tests that ends with whoever started it, even if that one is killed.

python tests/postgres_server.py BIN_FOLDER

Makes a fresh cluster in a temporary folder, serves it on 127.0.0.1 at a free port, writes ``port N`` and waits
until its standard input ends; then stops the server and removes the folder. Standard library only.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any

USER = "skipw"  # superuser of the cluster; nobody needs a password, the loopback is the only way in
UNPRIVILEGED = ("postgres", "nobody")  # who runs the server when we are root, which PostgreSQL refuses
ATTEMPTS = 5  # another process may take the port that was free a moment ago
START_SECONDS = 60.0
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "jit": "off",
}


def main(binaries: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C stops pytest, and pytest stops us
    identity = _identity()
    folder = _folder(identity)
    try:
        server, port = _start(binaries, folder, identity)
        try:
            sys.stdout.write(f"port {port}\n")
            sys.stdout.flush()
            sys.stdin.read()
        finally:
            _stop(server)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _identity() -> dict[str, Any]:
    """What ``subprocess`` needs to run a program as somebody who is not root."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = next((known[name] for name in UNPRIVILEGED if name in known), None)
    if entry is None:
        raise SystemExit(f"PostgreSQL refuses root, and there is no user {' or '.join(UNPRIVILEGED)} here.")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _folder(identity: dict[str, Any]) -> Path:
    """A fresh folder that the server's user owns and can get into."""
    wanted = Path(tempfile.gettempdir()).resolve()
    reachable = all(part.stat().st_mode & 0o001 for part in (wanted, *wanted.parents))
    folder = Path(
        tempfile.mkdtemp(prefix="skipw-postgres-", dir=wanted if reachable or not identity else "/tmp")
    )
    if identity:
        os.chown(folder, identity["user"], identity["group"])
    return folder


def _start(binaries: Path, folder: Path, identity: dict[str, Any]) -> tuple[subprocess.Popen[bytes], int]:
    cluster = folder / "cluster"
    common: dict[str, Any] = {"cwd": folder, "stdin": subprocess.DEVNULL, **identity}
    making = [binaries / "initdb", "--pgdata", cluster, "--username", USER, "--auth", "trust"]
    made = subprocess.run(
        [*making, "--encoding", "UTF8", "--no-locale", "--no-sync"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        **common,
    )
    if made.returncode:
        raise SystemExit(f"initdb failed:\n{made.stdout.decode(errors='replace')}")
    options = [text for key, value in SETTINGS.items() for text in ("-c", f"{key}={value}")]
    log = folder / "log"
    for _ in range(ATTEMPTS):
        port = _free_port()
        with log.open("wb") as output:
            server = subprocess.Popen(
                [binaries / "postgres", "-D", cluster, "-p", str(port), *options],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **common,
            )
        if _is_up(server, port, cluster):
            return server, port
        _stop(server)
    raise SystemExit(f"PostgreSQL did not start:\n{log.read_text(errors='replace')}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_up(server: subprocess.Popen[bytes], port: int, cluster: Path) -> bool:
    """Wait until the server says in its own file that it takes connections at the port."""
    status = cluster / "postmaster.pid"
    end = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < end:
        lines = status.read_text().splitlines() if status.exists() else []
        if len(lines) >= 8 and lines[3] == str(port) and lines[7].strip() == "ready":
            return True
        time.sleep(0.05)
    return False


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server at once; open connections are cut."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        if server.poll() is None:
            server.send_signal(number)
            try:
                server.wait(timeout=15)
            except subprocess.TimeoutExpired:
                continue
    if server.poll() is None:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
