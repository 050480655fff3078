"""What a worker does while its model loads, while it is busy, and at its end; the model is a stand-in that waits."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import uvicorn

from skipw.tracking.serving.app import create_app
from skipw.tracking.serving.card import Card
from skipw.tracking.serving.deployed import Deployed
from skipw.tracking.serving.reading import Reader
from skipw.tracking.serving.server import options
from skipw.tracking.serving.settings import ServeSettings
from tests.tracking.served import Answer, Connection, reason

SETTINGS = ServeSettings("stand-in", port=0, queue=2, max_body=20_000, body_timeout_s=30.0)
BODY = {"inputs": [[1.0]]}


class Model:
    """In place of MLflow's app: answers when it is let go, counts how many run."""

    def __init__(self) -> None:
        self.go, self.entered = threading.Semaphore(0), threading.Semaphore(0)
        self.running = self.most = 0
        self.answer: Callable[[], tuple[int, Any]] = lambda: (200, {"predictions": []})

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["path"] == "/invocations":
            await asyncio.to_thread(self._work)
        status, content = self.answer()
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(content).encode()})

    def _work(self) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        self.entered.release()
        assert self.go.acquire(timeout=60)
        self.running -= 1

    def deployed(self) -> Deployed:
        card = Card({"name": "stand-in"}, {})
        return Deployed(self, Reader(False, lambda params: None, 10, 100), card)


@dataclasses.dataclass
class Running:
    server: uvicorn.Server
    connection: Connection
    thread: threading.Thread


@contextlib.contextmanager
def running(load: Callable[[], Deployed], settings: ServeSettings = SETTINGS) -> Iterator[Running]:
    taken = socket.create_server(("127.0.0.1", 0))
    app = create_app(settings, load)
    server = uvicorn.Server(uvicorn.Config(app, **options(settings)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]})
    thread.start()
    try:
        yield Running(server, Connection(taken.getsockname()[1]), thread)
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


def test_it_lives_before_it_is_ready(model: Model) -> None:
    loaded = threading.Event()

    def load() -> Deployed:
        assert loaded.wait(60)
        return model.deployed()

    with running(load) as service:
        ask = service.connection
        assert ask.request(path="/ping").status == ask.request(path="/health").status == 200
        for path in ("/ready", "/", "/version"):
            assert "the model is being loaded" in ask.refused(None, status=503, path=path)
        answer = ask.request(BODY)
        assert answer.status == 503 and answer.headers["retry-after"] == "1"
        assert "skipw_ready 0" in ask.request(path="/metrics").content.decode()
        loaded.set()
        while ask.request(path="/ready").status == 503:
            pass
        assert ask.request(path="/ready").json == {"ready": True, "model": "stand-in"}
        assert "skipw_ready 1" in ask.request(path="/metrics").content.decode()


def test_a_model_that_cannot_be_loaded_never_becomes_ready() -> None:
    failed = threading.Event()
    problems: list[Exception] = []

    def load() -> Deployed:
        raise RuntimeError("no such weights")

    app = create_app(SETTINGS, load, lambda problem: (problems.append(problem), failed.set()))

    async def live() -> None:
        async with app.router.lifespan_context(app):
            await asyncio.get_running_loop().run_in_executor(None, failed.wait, 60)

    asyncio.run(live())
    assert [str(problem) for problem in problems] == ["no such weights"]
    assert app.state.service.deployed is None


def asked(service: Running, pool: ThreadPoolExecutor, number: int) -> list[Future[Answer]]:
    return [pool.submit(service.connection.request, BODY) for _ in range(number)]


def until_waiting(service: Running, number: int) -> None:
    while f"skipw_waiting {number}\n" not in service.connection.request(path="/metrics").content.decode():
        pass


def test_one_request_runs_some_wait_and_the_rest_is_sent_away(model: Model, pool: ThreadPoolExecutor) -> None:
    with running(model.deployed) as service:
        ask = service.connection
        taken = asked(service, pool, 2)
        assert model.entered.acquire(timeout=60)
        until_waiting(service, 2)
        assert ask.request(path="/ping").status == 200  # while the model works
        late = ask.request(BODY)
        assert late.status == 503 and late.headers["retry-after"] == "1"
        assert "2 requests wait already" in reason(late)
        model.go.release(2)
        assert [answer.result().status for answer in taken] == [200, 200]
        assert model.most == 1
        model.go.release()
        assert ask.request(BODY).status == 200


def test_the_bytes_that_wait_are_bounded(model: Model, pool: ThreadPoolExecutor) -> None:
    settings = dataclasses.replace(SETTINGS, queue=100)
    large = b" " * 19_000 + json.dumps(BODY).encode()
    with running(model.deployed, settings) as service:
        taken = [pool.submit(service.connection.request, large) for _ in range(8)]
        until_waiting(service, 8)
        assert "hold too many bytes" in service.connection.refused(large, status=503)
        model.go.release(9)
        assert {answer.result().status for answer in taken} == {200}
        assert service.connection.request(large).status == 200


def test_it_ends_after_the_request_that_is_running(model: Model, pool: ThreadPoolExecutor) -> None:
    with running(model.deployed) as service:
        (answer,) = asked(service, pool, 1)
        assert model.entered.acquire(timeout=60)
        service.server.should_exit = True
        while True:  # nobody new is let in
            try:
                service.connection.request(path="/ping")
            except OSError:
                break
        assert service.thread.is_alive()
        model.go.release()
        assert answer.result().status == 200
        service.thread.join(60)
        assert not service.thread.is_alive()


def test_of_mlflows_errors_only_the_reason_is_passed_on(
    model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    error = {
        "error_code": "BAD_REQUEST",
        "message": "Failed to predict data '   sequence\n0  [1.0]'. \nError: row 0: odd",
        "stack_trace": "Traceback (most recent call last): ...",
    }
    model.answer = lambda: (400, error)
    model.go.release(2)
    with running(model.deployed) as service:
        assert service.connection.refused(BODY) == "row 0: odd"
        assert "Traceback" in caplog.text  # for whoever runs the server
        model.answer = lambda: (504, "Request processing time exceeded limit")
        assert "time exceeded limit" in service.connection.refused(BODY, status=504)


def test_a_defect_is_answered_in_the_same_shape(model: Model) -> None:
    def fail() -> tuple[int, Any]:
        raise RuntimeError("secret")

    model.answer = fail
    model.go.release()
    with running(model.deployed) as service:
        answer = service.connection.request(BODY)
        assert answer.status == 500 and b"secret" not in answer.content
        assert answer.json["error_code"] == "INTERNAL_ERROR"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"workers": 0}, "workers must be at least 1"),
        ({"max_body": 10}, "max_body must be at least 1024"),
        ({"port": 70_000}, "port must lie in"),
        ({"body_timeout_s": float("nan")}, "body_timeout_s must be a positive time"),
    ],
)
def test_settings_are_checked(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(SETTINGS, **changes)


def test_settings_reach_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKIPW_SERVE", "")
    settings = dataclasses.replace(SETTINGS, budget=3, host="::1")
    settings.to_environment()
    assert ServeSettings.from_environment() == settings
    assert settings.is_loopback and not dataclasses.replace(SETTINGS, host="0.0.0.0").is_loopback
