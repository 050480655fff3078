"""Downloading over HTTP: quick to give up on an unreachable host, able to resume, never leaving half a file.

What has arrived lies in ``<file>.part`` beside a note of where it came from and the server's own version mark
(ETag or Last-Modified). A later call goes on from there with an HTTP Range if the mark still holds.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import shutil
import socket
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from skipw.data.archives import CHUNK, sha256_of
from skipw.data.progress import track_bytes
from skipw.errors import ChecksumError

log = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0  # an unreachable host costs no more than this
STALL_SECONDS = 60.0  # a connection that sends nothing for so long is given up


class TransferError(OSError):
    """A download did not arrive; what did stays for the next try. ``status`` is the HTTP status, or None."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Mark:
    """Where a partial file came from: its address and the server's mark of that version, if it sent one."""

    url: str
    version: str | None

    @classmethod
    def read(cls, path: Path) -> Mark | None:
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(str(values["url"]), values["version"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def check_reachable(url: str, seconds: float = CONNECT_SECONDS) -> None:
    """Raise TransferError unless the host of ``url`` (or its proxy) accepts a connection in time.

    Looking up a name cannot be interrupted, so it runs in a thread that is left behind when time is up.
    """
    host, port = _first_hop(url)
    outcome: list[BaseException | None] = []

    def attempt() -> None:
        try:
            socket.create_connection((host, port), timeout=seconds).close()
            outcome.append(None)
        except OSError as error:
            outcome.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise TransferError(f"{host} did not answer within {seconds:g} s")
    if outcome[0] is not None:
        raise TransferError(f"{host} cannot be reached ({outcome[0]})")


def _first_hop(url: str) -> tuple[str, int]:
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(host):
        parts = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}", scheme="http")
        host = parts.hostname or host
    return host, parts.port or {"https": 443}.get(parts.scheme, 80)


def open_url(url: str, headers: Mapping[str, str] | None = None) -> Any:
    """Open an http(s) address; user and password inside it become an Authorization header.

    Raises:
        TransferError: with the status for an HTTP error, without one when the connection failed.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise TransferError(f"expected an http or https address; got {without_secrets(url)}")
    check_reachable(url)
    request = urllib.request.Request(without_secrets(url), headers={"User-Agent": "skipw", **(headers or {})})
    if parts.username:
        pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        request.add_unredirected_header("Authorization", "Basic " + b64encode(pair.encode()).decode())
    try:
        context = _tls() if parts.scheme == "https" else None
        return urllib.request.urlopen(request, timeout=STALL_SECONDS, context=context)
    except urllib.error.HTTPError as error:
        error.close()
        raise TransferError(f"HTTP {error.code} {error.reason}", error.code) from error
    except (OSError, http.client.HTTPException) as error:
        raise TransferError(str(getattr(error, "reason", error))) from error


@lru_cache(maxsize=1)  # reading the certificates takes a tenth of a second
def _tls() -> ssl.SSLContext:
    """The system's certificates, plus a bundle that the usual variables name."""
    context = ssl.create_default_context()
    for variable in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        bundle = os.environ.get(variable)
        if bundle and Path(bundle).is_file():
            context.load_verify_locations(bundle)
    return context


def without_secrets(url: str) -> str:
    """The address without a user name and password."""
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return parts._replace(netloc=f"{host}:{parts.port}" if parts.port else host).geturl()


def download(url: str, target: Path, partial: Path, *, sha256: str | None = None) -> None:
    """Fetch ``url`` into ``target``, going on from what an earlier try left.

    Args:
        url: http or https.
        target: appears only when complete (and right, if the hash is known).
        partial: folder that keeps ``<name>.part`` between tries.
        sha256: expected hash, or None if it is not known.
    Raises:
        TransferError: if it did not arrive; the part stays.
        ChecksumError: if all of it arrived with the wrong hash; the part is deleted.
    """
    partial.mkdir(parents=True, exist_ok=True)
    part = partial / f"{target.name}.part"
    note = partial / f"{target.name}.part.json"
    resumed = _receive(url, part, note, hash_is_known=sha256 is not None)
    if sha256 is not None and sha256_of(part) != sha256:
        got = sha256_of(part)
        _forget(part, note)
        if resumed:  # the kept part may have been bad: once more from the start
            log.info("%s: the resumed file has the wrong hash, starting again", target.name)
            return download(url, target, partial, sha256=sha256)
        raise ChecksumError(
            f"{without_secrets(url)}: expected SHA-256 {sha256}, got {got}; try another source"
        )
    shutil.move(part, target)
    note.unlink(missing_ok=True)


def _forget(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _receive(url: str, part: Path, note: Path, *, hash_is_known: bool) -> bool:
    """Append to or start the partial file until it is complete; True if an earlier part was used.

    A part without the server's mark of its version is only gone on with if the final hash can show a mix-up.
    """
    mark = Mark.read(note)
    have = part.stat().st_size if part.exists() else 0
    if mark is None or mark.url != without_secrets(url) or not (mark.version or hash_is_known):
        have = 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if mark is not None and mark.version:
            headers["If-Range"] = mark.version
    try:
        response = open_url(url, headers)
    except TransferError as error:
        if error.status != 416 or not have:
            raise
        _forget(part, note)  # the part is as long as the file or longer: start again
        return _receive(url, part, note, hash_is_known=hash_is_known)
    with response:
        if response.status != 206:
            have = 0
            _forget(part, note)
        total = _total_size(response, have)
        version = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if version and version.startswith("W/"):  # a weak mark says nothing about bytes
            version = response.headers.get("Last-Modified")
        note.write_text(json.dumps({"url": without_secrets(url), "version": version}), encoding="utf-8")
        _append(response, part, have, total)
    return have > 0


def _total_size(response: Any, have: int) -> int | None:
    if response.status == 206:
        start, _, size = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        if start.partition("-")[0] != str(have):
            raise TransferError(f"asked for bytes from {have}, the server sent {start or 'no range'}")
        return int(size) if size.isdigit() else None
    length = response.headers.get("Content-Length")
    return int(length) if length else None


def _append(response: Any, part: Path, have: int, total: int | None) -> None:
    started = time.monotonic()
    with part.open("r+b" if have else "wb") as file, track_bytes(part.stem, total, have) as advance:
        file.seek(have)
        file.truncate()
        while True:
            try:
                chunk = response.read(CHUNK)
            except (OSError, ValueError, http.client.HTTPException) as error:
                raise TransferError(f"the connection broke after {file.tell():,} bytes ({error})") from error
            if not chunk:
                break
            file.write(chunk)
            advance(len(chunk))
        size = file.tell()
    if total is not None and size < total:
        raise TransferError(f"the connection broke after {size:,} of {total:,} bytes")
    log.debug("%s: %d bytes in %.1f s", part.stem, size - have, time.monotonic() - started)
