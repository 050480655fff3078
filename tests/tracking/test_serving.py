"""``mlflow models serve`` on a registered version, over HTTP, with nothing of the repository on its path."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skipw.tracking.registry import register_front
from tests.tracking.small_pipeline import RATES, SCALE, keep_small

START_TIMEOUT = 150.0  # s; 15 on an idle machine
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(port: int, body: Any) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with OPENER.open(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture
def port(mlruns: Path, data: Path, tmp_path: Path) -> Iterator[int]:
    keep_small(data, "adding-skipw")
    register_front("adding", data, scale=SCALE, rates=RATES)
    number = free_port()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"MLFLOW_TRACKING_URI": f"sqlite:///{mlruns}/mlflow.db", "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "--host", "127.0.0.1",
        "--model-uri", "models:/skipw-adding@most-accurate", "--port", str(number),
    ]  # fmt: skip
    output = (tmp_path / "served.log").open("w")
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    server = subprocess.Popen(
        command,
        env=environment | {"PATH": path},
        stdout=output,
        stderr=output,
        cwd="/",
        start_new_session=True,
    )
    try:
        wait_until_it_answers(number, server, tmp_path / "served.log")
        yield number
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


def wait_until_it_answers(port: int, server: subprocess.Popen[bytes], output: Path) -> None:
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end:
        assert server.poll() is None, output.read_text()
        try:
            with OPENER.open(f"http://127.0.0.1:{port}/ping", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(f"no answer within {START_TIMEOUT:g} s: {output.read_text()}")


@pytest.mark.slow
def test_a_served_version_takes_its_budget_from_the_request(port: int) -> None:
    rows = [[0.5, 1.0]] * 10
    body = {"dataframe_records": [{"sequence": rows}, {"sequence": rows[:5]}]}
    shares = {}
    for budget in (1, 4):
        status, answer = ask(port, body | {"params": {"budget": budget, "threshold": 0.0}})
        assert status == 200, answer
        predictions = answer["predictions"]
        assert [set(row) for row in predictions] == [{"prediction", "scores", "inputs_processed"}] * 2
        shares[budget] = [row["inputs_processed"] for row in predictions]
    assert shares == {1: pytest.approx([0.2, 0.2]), 4: pytest.approx([0.8, 0.8])}
    assert ask(port, body)[0] == 200
    assert ask(port, {"inputs": {"sequence": [rows]}, "params": {"budget": 2}})[0] == 200

    status, answer = ask(port, body | {"params": {"budget": 99}})
    assert status == 400
    assert "budget must lie in [0, 5]" in answer["message"]
    status, answer = ask(port, {"dataframe_records": [{"sequence": [[0.5, None]]}]})
    assert status == 400
    assert "row 0: input 0 holds a value that is missing" in answer["message"]
