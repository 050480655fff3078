"""``/invocations``: what is done before and after MLflow's scoring app."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.responses import Response

from skipw.tracking.serving.refusal import Refusal, refusal_response

if TYPE_CHECKING:
    from skipw.tracking.serving.deployed import Deployed
    from skipw.tracking.serving.settings import ServeSettings

__all__ = ["Invocations", "ask"]

log = logging.getLogger(__name__)
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
JSON, CSV = "application/json", "text/csv"
DRAINED = 4  # bodies up to this many times too large are read and dropped, so that their sender hears why
BUFFERED = 8  # bodies of full size that a worker holds at a time
RETRY_AFTER = {"Retry-After": "1"}


class Invocations:
    """Takes a body in, within its limits, checks it, lets MLflow answer; one request at a time runs the model.

    What waits is bounded in number (``queue``) and in bytes (``BUFFERED`` bodies of full size); who comes too much
    is answered 503 at once. The checks and the model run in a thread, so that other paths answer meanwhile.
    """

    def __init__(self, settings: ServeSettings, deployed: Callable[[], Deployed]) -> None:
        self._settings, self._deployed = settings, deployed
        self._turn = asyncio.Lock()
        self._buffered = 0
        self.waiting = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        held = _Held(self)
        try:
            answer = await self._answer(scope, receive, held)
        except Refusal as refusal:
            answer = refusal.response()
        finally:
            held.free()
        await answer(scope, receive, send)

    async def _answer(self, scope: Message, receive: Receive, held: _Held) -> Response:
        if scope["method"] != "POST":
            message = f"expected POST, got {scope['method']}; GET / shows an example."
            raise Refusal(405, message, headers={"Allow": "POST"})
        deployed = self._deployed()
        headers = Headers(scope=scope)
        is_json = _content_type(headers) == JSON
        body = await self._body(headers, receive, held)
        if self.waiting >= self._settings.queue:
            raise Refusal(503, f"{self.waiting} requests wait already; come back later.", headers=RETRY_AFTER)
        self.waiting += 1
        try:
            async with self._turn:
                read = deployed.reader.json if is_json else deployed.reader.csv
                body = await asyncio.to_thread(read, body)
                return _cleaned(*await ask(deployed.app, scope, body, receive))
        finally:
            self.waiting -= 1

    async def _body(self, headers: Headers, receive: Receive, held: _Held) -> bytes:
        """The whole body, in time and within the limit, whatever Content-Length says."""
        most = self._settings.max_body
        announced = headers.get("content-length", "")
        too_large = Refusal(
            413,
            f"the body is larger than {most} bytes; send several requests.",
            headers={"Connection": "close"},
        )
        length = int(announced) if announced.isdecimal() else 0
        if length > most and (headers.get("expect") or length > DRAINED * most):
            raise too_large
        parts: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(self._settings.body_timeout_s):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refusal(400, "the connection ended before the body.")
                    part = message.get("body", b"")
                    size, more = size + len(part), message.get("more_body", False)
                    if size > DRAINED * most:
                        raise too_large
                    if size <= most:
                        held.take(len(part))
                        parts.append(part)
                    else:
                        parts.clear()
        except TimeoutError:
            late = f"the body did not come within {self._settings.body_timeout_s:g} s."
            raise Refusal(408, late, headers={"Connection": "close"}) from None
        if size > most:
            raise too_large
        return b"".join(parts)


class _Held:
    """The bytes that one request holds of what all together may hold."""

    def __init__(self, owner: Invocations) -> None:
        self._owner, self._size = owner, 0

    def take(self, size: int) -> None:
        owner = self._owner
        if owner._buffered + size > BUFFERED * owner._settings.max_body:
            headers = RETRY_AFTER | {"Connection": "close"}
            raise Refusal(
                503, "the requests that wait hold too many bytes; come back later.", headers=headers
            )
        owner._buffered += size
        self._size += size

    def free(self) -> None:
        self._owner._buffered -= self._size
        self._size = 0


def _content_type(headers: Headers) -> str:
    """``application/json`` or ``text/csv``.

    Raises:
        Refusal: 415.
    """
    given = headers.get("content-type", "")
    kind, *parameters = (part.strip().lower() for part in given.split(";"))
    if kind not in (JSON, CSV):
        raise Refusal(415, f"expected the Content-Type {JSON} or {CSV}, got {given or 'none'!r}.")
    if any(parameter not in ("", "charset=utf-8", 'charset="utf-8"') for parameter in parameters):
        raise Refusal(415, f"expected no parameter of {kind} but charset=utf-8, got {given!r}.")
    if (encoding := headers.get("content-encoding", "identity").lower()) != "identity":
        raise Refusal(415, f"expected a body without Content-Encoding, got {encoding!r}.")
    return kind


async def ask(app: Any, scope: Message, body: bytes, receive: Receive) -> tuple[int, bytes]:
    """Status and body of an ASGI application's answer to this request with this body."""
    content_type = [(b"content-type", CSV.encode() if _is_csv(scope) else JSON.encode())]
    inner = dict(scope) | {"headers": content_type, "state": {}, "path": scope["path"], "root_path": ""}
    status, chunks, handed = 500, [], False

    async def hand_over() -> Message:
        nonlocal handed
        if handed:
            return await receive()
        handed = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def collect(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            chunks.append(message.get("body", b""))

    await app(inner, hand_over, collect)
    return status, b"".join(chunks)


def _is_csv(scope: Message) -> bool:
    return Headers(scope=scope).get("content-type", "").strip().lower().startswith(CSV)


def _cleaned(status: int, content: bytes) -> Response:
    """MLflow's answer; of an error only the reason, without the data, the traceback and the advice on MLflow."""
    if status < 400:
        return Response(content, status, media_type=JSON)
    try:
        found = json.loads(content)
        code, message = str(found["error_code"]), str(found["message"])
    except (ValueError, TypeError, KeyError):
        return refusal_response(status, content.decode("utf-8", "replace"))
    if trace := found.get("stack_trace"):
        log.warning("MLflow answered %d: %s\n%s", status, message, trace)
    return refusal_response(status, message.rpartition("\nError: ")[2], code)
