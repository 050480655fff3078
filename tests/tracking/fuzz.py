"""Malformed requests by the thousand, the same ones from the same seed."""

from __future__ import annotations

import http.client
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

JSON = "application/json"
FORMATS = ("dataframe_records", "dataframe_split", "instances", "inputs")
#: Values where another was expected; texts are spliced into the JSON as they stand.
ODD: tuple[str, ...] = (
    "null", "true", "false", "0", "-1", "3", "2.5", "1e300", "1e999", "-1e-400", "NaN", "Infinity", "-Infinity",
    "1" + "0" * 40, "1" + "0" * 400, "9" * 5000, '""', '"3"', '"NaN"', '"sequence"', '"\\ud800"', '"\\u0000"', "[]",
    "{}", "[[]]", "[[[[[[]]]]]]", "[" * 40 + "]" * 40, "[" * 3000, '{"a": 1, "a": 2}', "[null]", "[true, 1]",
    '{"sequence": 1}', "0x10", "01", ".5", "+1", "'a'", "[1,]", "undefined", "é", "\x00", '"\x01"',
)  # fmt: skip
NAMES = (
    "budget",
    "threshold",
    "budgets",
    "Budget",
    "k",
    "params",
    "",
    "sequence",
    "dataframe_records",
    "__class__",
)
TYPES = (
    "", "text/plain", "application/xml", "application/x-www-form-urlencoded", "application/octet-stream", "json",
    "application/vnd.apache.parquet", "application/json; charset=utf-16", "application/json; a=b", "*/*", ";;;",
    "multipart/form-data; boundary=x", "text/csv",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One request: ``raw`` bytes for a connection of its own, or a body with its head."""

    kind: str
    body: bytes = b""
    content_type: str = JSON
    method: str = "POST"
    path: str = "/invocations"
    headers: tuple[tuple[str, str], ...] = ()
    raw: bytes | None = None


def cases(number: int, seed: int) -> Iterator[Case]:
    """``number`` requests, all kinds in turn."""
    rng = random.Random(seed)
    for index in range(number):
        yield MAKERS[index % len(MAKERS)](rng)


def valid(rng: random.Random) -> dict[str, Any]:
    sequences = [[[rng.random(), 1.0] for _ in range(rng.randint(1, 6))] for _ in range(rng.randint(1, 3))]
    name = rng.choice(FORMATS)
    content: Any = {"columns": ["sequence"], "data": [[sequence] for sequence in sequences]}
    if name != "dataframe_split":
        content = [{"sequence": sequence} for sequence in sequences]
    return {name: content, "params": {"budget": rng.randint(0, 5), "threshold": round(rng.random(), 2)}}


def mangled(rng: random.Random) -> Case:
    """Bytes of a valid body cut, doubled, changed or moved."""
    body = bytearray(json.dumps(valid(rng)).encode())
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(body) + 1)
        match rng.randrange(4):
            case 0:
                del body[place : place + rng.randint(1, 20)]
            case 1:
                body[place:place] = rng.randbytes(rng.randint(1, 4))
            case 2:
                body[place:place] = body[: rng.randint(1, 30)]
            case _:
                body = body[:place] or body
        body = body or bytearray(b"[")
    return Case("mangled", bytes(body))


def replaced(rng: random.Random) -> Case:
    """A valid body with odd values in places of its tree."""
    marker, document = "\ue000", valid(rng)
    for _ in range(rng.randint(1, 2)):
        places = list(_places(document))
        parent, key = rng.choice(places)
        parent[key] = marker
    text = json.dumps(document)
    for _ in range(text.count(json.dumps(marker))):
        text = text.replace(json.dumps(marker), rng.choice(ODD), 1)
    return Case("replaced", text.encode())


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    keys = node.keys() if isinstance(node, dict) else range(len(node))
    for key in keys:
        yield node, key
        if isinstance(node[key], dict | list):
            yield from _places(node[key])


def with_params(rng: random.Random) -> Case:
    """A valid body with params that are none."""
    document = valid(rng)
    params = ", ".join(
        f"{json.dumps(rng.choice(NAMES))}: {rng.choice(ODD)}" for _ in range(rng.randint(1, 3))
    )
    document["params"] = "\ue000"
    text = json.dumps(document).replace(json.dumps("\ue000"), f"{{{params}}}")
    return Case("params", text.encode())


def renamed(rng: random.Random) -> Case:
    """A valid body with a field of another name, or one field more."""
    document = valid(rng)
    name = next(iter(document))
    if rng.random() < 0.5:
        document[rng.choice(NAMES)] = document.pop(name)
    else:
        document[rng.choice((*NAMES, *FORMATS))] = rng.choice(([], 1, document[name]))
    return Case("renamed", json.dumps(document).encode())


def nonsense(rng: random.Random) -> Case:
    """No JSON object at all."""
    choices: tuple[Callable[[], bytes], ...] = (
        lambda: b"",
        lambda: rng.randbytes(rng.randint(1, 300)),
        lambda: rng.choice(ODD).encode(),
        lambda: b"[" * rng.randint(10, 20_000),
        lambda: b'{"inputs":' * rng.randint(10, 3_000),
        lambda: json.dumps(valid(rng)).encode("utf-16"),
        lambda: b" " * rng.randint(1, 5000),
        lambda: b"{" + b'"a":1,' * rng.randint(1, 3000) + b'"b":1}',
    )
    return Case("nonsense", rng.choice(choices)())


def odd_head(rng: random.Random) -> Case:
    """A body under another method, path or content type."""
    body = json.dumps(valid(rng)).encode()
    match rng.randrange(3):
        case 0:
            return Case("head", body, rng.choice(TYPES))
        case 1:
            return Case(
                "head", body, method=rng.choice(("PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"))
            )
        case _:
            path = rng.choice(
                ("/invocation", "/invocations/", "//", "/%00", "/../etc/passwd", "/docs", "/openapi.json")
            )
            return Case("head", body, path=path)


def odd_encoding(rng: random.Random) -> Case:
    """A body that is said to be packed, or is cut in the middle of a character."""
    body = json.dumps(valid(rng)).encode()
    if rng.random() < 0.5:
        return Case(
            "encoding", body, headers=(("Content-Encoding", rng.choice(("gzip", "br", "x", "utf-8"))),)
        )
    place = rng.randrange(len(body))
    return Case(
        "encoding", body[:place] + rng.choice((b"\xff", b"\xc3", b"\xed\xa0\x80", b"\x80")) + body[place:]
    )


def broken_http(rng: random.Random) -> Case:
    """What is no HTTP, or contradicts itself."""
    head = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nConnection: close\r\n"
    body = json.dumps(valid(rng)).encode()
    length = str(len(body)).encode()
    raw = rng.choice(
        (
            rng.randbytes(rng.randint(20, 200)) + b"\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET / HTTP/x\r\n\r\n",
            b"POST /invocations HTTP/1.1\r\n\r\n",  # no Host
            head + b"Content-Length: -5\r\n\r\n" + body,
            head + b"Content-Length: 5, 6\r\n\r\n" + body,
            head + b"Content-Length: x\r\n\r\n" + body,
            head + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n" + body,
            head + b"Content-Length: 10\r\n\r\n" + body,  # the rest is read as the next request
            head + b"Content-Length: 0\r\n\r\n" + body,
            head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + body,
            head + b"Transfer-Encoding: gzip\r\n\r\n" + body,
            head + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
            head + b"X: " + b"x" * 70_000,
            head + b"no colon\r\n\r\n",
            head + b"X\x00: 1\r\n\r\n",
            b"POST /inv\xffocations HTTP/1.1\r\nHost: a\r\n\r\n",
            head + b"Content-Length: " + length + b"\r\nContent-Length: 3\r\n\r\n" + body,
        )
    )
    return Case("http", raw=raw)


MAKERS = (
    *(mangled, replaced, with_params, renamed, mangled, replaced, with_params, nonsense),
    *(replaced, odd_head, mangled, odd_encoding, with_params, renamed, replaced, broken_http),
)


class Client:
    """Sends cases, over one connection as long as the server keeps it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def send(self, case: Case) -> tuple[int, bytes]:
        """Status and body of the answer."""
        headers = {"Content-Type": case.content_type} if case.content_type else {}
        self.connection.request(case.method, case.path, case.body, headers | dict(case.headers))
        answer = self.connection.getresponse()
        return answer.status, answer.read()
