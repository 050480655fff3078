"""uvicorn's HTTP/1.1 protocol with a deadline for request heads, and errors in this server's shape."""

from __future__ import annotations

import asyncio
import json
import socket
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from skipw.tracking.serving.refusal import CODES

__all__ = ["Protocol"]


class Protocol(H11Protocol):
    """Closes a connection whose next request's head is not complete in time (``head_timeout_s`` of the app's state).

    uvicorn's own timer runs only until a connection's next byte, so a client that drips bytes would stay for ever.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        # an answer is written in three parts; asyncio sees to that only where a socket's proto says TCP
        if (connection := transport.get_extra_info("socket")) is not None:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Called for what is not HTTP, also in the middle of a body."""
        self._refuse(400, "MALFORMED_REQUEST", msg)

    def _watch(self) -> None:
        """The clock runs while no request is being answered."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._unwatch()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.app_state["head_timeout_s"], self._too_slow)

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if self.cycle is None or self.cycle.response_complete:
            self._refuse(
                408, CODES[408], f"no complete request came within {self.app_state['head_timeout_s']:g} s."
            )

    def _refuse(self, status: int, error_code: str, message: str) -> None:
        """Answer if an answer is still due, then close."""
        if self.transport.is_closing():
            return
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            content = json.dumps({"error_code": error_code, "message": message}).encode("ascii")
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(content)).encode("ascii")),
                (b"connection", b"close"),
            ]
            reason = HTTPStatus(status).phrase.encode("ascii")
            head = h11.Response(status_code=status, headers=headers, reason=reason)
            for event in (head, h11.Data(data=content), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
