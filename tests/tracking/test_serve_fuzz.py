"""10,000 malformed requests over real HTTP: each is refused, and the server answers afterwards as it did before."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.tracking.fuzz import Case, Client, cases
from tests.tracking.served import Server

NUMBER = 10_000
GOOD = {"inputs": [[[0.5, 1], [0.25, 0], [1, 1]]], "params": {"budget": 2, "threshold": 0.25}}
GROWTH = 64 * 2**20  # bytes; a leak of 10 kB a request would be 100 MB


@pytest.mark.slow
def test_ten_thousand_malformed_requests_leave_the_server_as_it_was(version: Server) -> None:
    before = version.request(GOOD).content
    client = Client(version.port)
    for case in cases(500, seed=1):  # what is made once is made now
        answered(version, client, case)
    memory = version.memory
    statuses: Counter[int] = Counter()
    for case in cases(NUMBER, seed=0):
        statuses[answered(version, client, case)] += 1
    assert statuses.total() == NUMBER
    assert set(statuses) <= {200, 400, 404, 405, 408, 413, 415}, statuses
    assert statuses[200] < 0.2 * NUMBER and min(statuses[404], statuses[405], statuses[415]) > 50, statuses
    assert version.memory - memory < GROWTH
    assert version.request(GOOD).content == before
    assert "Traceback" not in version.log.read_text()


def answered(version: Server, client: Client, case: Case) -> int:
    """The status; an answer is of one of two shapes."""
    if case.raw is not None:
        head, _, content = version.raw(case.raw).partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        if b"HTTP/1.1 " in content:  # an answer to what followed
            content = content.partition(b"HTTP/1.1 ")[0]
    else:
        status, content = client.send(case)
    found = json.loads(content)
    if status == 200:
        assert {"prediction", "scores", "inputs_processed"} == set(found["predictions"][0]), case
    else:
        assert 400 <= status < 500 and set(found) == {"error_code", "message"}, (case, status, content)
        assert b"Traceback" not in content and len(content) < 2000, (case, content)
    return status


def test_bodies_that_never_come_are_given_up_and_hold_nobody_back(version: Server) -> None:
    head = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n"
    stalls = [head + b"{" * number for number in range(50)] + [head[:number] for number in range(1, 100, 10)]
    with ThreadPoolExecutor(len(stalls)) as pool:
        answers = pool.map(version.raw, stalls)
        assert version.request(GOOD).status == 200
        assert {answer.split(b" ", 2)[1] for answer in answers} == {b"408"}
    assert "Traceback" not in version.log.read_text()
