"""The ASGI application of one worker: its paths, and what is done around every request."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from skipw.tracking.serving.invocations import RETRY_AFTER, Invocations, ask
from skipw.tracking.serving.metrics import Metrics, Usage, usage_of_request
from skipw.tracking.serving.refusal import Refusal, refusal_response

if TYPE_CHECKING:
    from skipw.tracking.serving.deployed import Deployed
    from skipw.tracking.serving.settings import ServeSettings

__all__ = ["Service", "create_app"]

Message = MutableMapping[str, Any]
PATHS = ("/", "/ping", "/health", "/version", "/ready", "/metrics", "/invocations")
THREADS = 2  # one runs the model; a request that MLflow gave up on may still hold the other


class Service:
    """What a worker knows: the model once it has answered its example, why it failed, counts."""

    def __init__(self, settings: ServeSettings) -> None:
        self.deployed: Deployed | None = None
        self.problem: Exception | None = None
        self.metrics = Metrics()
        self.invocations = Invocations(settings, self.ready)

    def ready(self) -> Deployed:
        """The model.

        Raises:
            Refusal: 503 while it is being loaded.
        """
        if self.deployed is None:
            raise Refusal(503, "the model is being loaded; ask /ready.", headers=RETRY_AFTER)
        return self.deployed


def create_app(
    settings: ServeSettings,
    load: Callable[[], Deployed],
    on_failure: Callable[[Exception], None] | None = None,
) -> Starlette:
    """The application; it answers at once, ``load`` runs in a thread meanwhile.

    Args:
        settings: limits.
        load: makes the model ready.
        on_failure: is told if ``load`` raised.
    """
    service = Service(settings)

    async def start() -> None:
        try:
            service.deployed = await asyncio.to_thread(load)
        except Exception as error:  # whatever a model's code may raise
            service.problem = error
            if on_failure is not None:
                on_failure(error)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="model")
        asyncio.get_running_loop().set_default_executor(pool)
        loading = asyncio.create_task(start())
        yield {"head_timeout_s": settings.body_timeout_s}
        loading.cancel()

    app = Starlette(
        routes=_routes(service),
        lifespan=lifespan,
        exception_handlers={HTTPException: _http_error, Refusal: _refusal, Exception: _failure},
    )
    app.router.redirect_slashes = False
    app.add_middleware(Observed, service=service, access_log=settings.access_log)
    app.state.service = service
    return app


def _routes(service: Service) -> list[Route]:
    async def home(request: Request) -> Response:
        card = service.ready().card
        if "application/json" in request.headers.get("accept", ""):
            return Response(
                json.dumps({**card.facts, "example": card.example}), media_type="application/json"
            )
        return PlainTextResponse(card.text(str(request.base_url).rstrip("/")))

    async def ready(_: Request) -> Response:
        name = service.ready().card.facts["name"]
        return Response(json.dumps({"ready": True, "model": name}), media_type="application/json")

    async def metrics(_: Request) -> Response:
        text = service.metrics.text(service.invocations.waiting, service.deployed is not None)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def mlflows_own(request: Request) -> Response:
        if service.deployed is None and request.url.path != "/version":
            return Response("\n", media_type="application/json")  # the process lives; /ready says more
        status, content = await ask(service.ready().app, request.scope, b"", request.receive)
        return Response(content, status, media_type="application/json")

    own = [Route("/", home), Route("/ready", ready), Route("/metrics", metrics)]
    passed_on = [Route(path, mlflows_own) for path in ("/ping", "/health", "/version")]
    return [*own, *passed_on, Route("/invocations", service.invocations)]


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = {404: f"no such path; there are {', '.join(PATHS)}.", 405: "expected GET."}
    return refusal_response(
        error.status_code, message.get(error.status_code, str(error.detail)), headers=error.headers
    )


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return error.response()


async def _failure(request: Request, error: Exception) -> Response:
    return refusal_response(500, "the server failed on this request; its log says why.")


class Observed:
    """ASGI middleware: counts every request and writes the access log."""

    def __init__(self, app: Any, service: Service, access_log: bool) -> None:
        self.app, self.service, self.access_log = app, service, access_log

    async def __call__(
        self, scope: Message, receive: Any, send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        usage, status, start = Usage(), 500, time.perf_counter()
        usage_of_request.set(usage)

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            seconds = time.perf_counter() - start
            path = scope["path"] if scope["path"] in PATHS else "other"
            self.service.metrics.count(path, status, seconds, usage)
            if self.access_log:
                self._write(scope, status, seconds, usage)

    def _write(self, scope: Message, status: int, seconds: float, usage: Usage) -> None:
        line = {
            "time": round(time.time(), 3),
            "client": (scope.get("client") or ("",))[0],
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "latency_ms": round(1000 * seconds, 3),
            "sequences": usage.sequences,
            "inputs": usage.inputs,
            "processed": usage.processed,
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
