"""``skipw serve`` on a registered version and on a folder, over real HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import shlex
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from skipw.tracking.predictor import load_predictor
from tests.tracking.served import Server, serving

ROWS = [[0.5, 1], [0.25, 0], [1, 1], [0.5, 0], [0.125, 0], [0.75, 1], [0.5, 0]]


def records(*sequences: Any) -> dict[str, Any]:
    return {"dataframe_records": [{"sequence": sequence} for sequence in sequences]}


def test_every_format_answers_like_the_model_itself(version: Server, finished: Path) -> None:
    predictor = load_predictor(str(finished / "models" / "adding" / "adding-skipw"))
    params = {"budget": 2, "threshold": 0.25}
    expected = predictor.predict([ROWS, ROWS[:3]], params).to_dict(orient="records")
    both = [ROWS, ROWS[:3]]
    for body in (
        records(*both),
        {"dataframe_split": {"columns": ["sequence"], "data": [[ROWS], [ROWS[:3]]]}},
        {"dataframe_split": {"columns": ["sequence"], "index": ["a", "b"], "data": [[ROWS], [ROWS[:3]]]}},
        {"instances": both},
        {"instances": [{"sequence": ROWS}, {"sequence": ROWS[:3]}]},
        {"instances": {"sequence": both}},
        {"inputs": both},
        {"inputs": {"sequence": both}},
        {"inputs": [{"sequence": ROWS}, {"sequence": ROWS[:3]}]},
    ):
        answer = version.request(body | {"params": params})
        assert answer.status == 200, answer
        for got, wanted in zip(answer.json["predictions"], expected, strict=True):
            assert got["scores"] == pytest.approx(wanted["scores"], rel=1e-6)
            assert got["prediction"] == got["scores"][0]
            assert got["inputs_processed"] == wanted["inputs_processed"]


def test_the_point_of_a_request_holds_and_the_default_is_the_versions_own(version: Server) -> None:
    shares = {}
    for budget in (0, 1, 4, 5):
        answer = version.request(records(ROWS[:5]) | {"params": {"budget": budget, "threshold": 0}})
        shares[budget] = answer.json["predictions"][0]["inputs_processed"]
    assert shares == {0: 0.0, 1: 0.2, 4: 0.8, 5: 1.0}
    plain = version.request(records(ROWS))
    facts = version.request(path="/", Accept="application/json").json
    for absent in (None, {}, {"budget": None}, facts["default"]):
        assert version.request(records(ROWS) | {"params": absent}).content == plain.content


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"budgets": 2}, "params are budget and threshold, got budgets"),
        ({"budget": "3"}, "budget must be a whole number, got '3'"),
        ({"budget": True}, "budget must be a whole number, got True"),
        ({"budget": 2.0}, "budget must be a whole number, got 2.0"),
        ({"budget": 6}, r"budget must lie in [0, 5]"),
        ({"budget": -1}, "budget must be at least 0"),
        ({"budget": 10**30}, r"budget must lie in [0, 5]"),
        ({"budget": [1]}, "budget must be a whole number"),
        ({"threshold": "0.5"}, r"threshold must be a number in [0, 1], got '0.5'"),
        ({"threshold": False}, "threshold must be a number"),
        ({"threshold": 10**400}, r"threshold must lie in [0, 1]"),
        ({"threshold": 1.5}, r"threshold must lie in [0, 1]"),
        ([3], "'params' must be an object"),
    ],
)
def test_params_that_the_model_cannot_follow_are_refused(version: Server, params: Any, said: str) -> None:
    assert said in version.refused(records(ROWS) | {"params": params})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body is empty"),
        (b'{"inputs": [', "not JSON: Expecting value (line 1, column 13)"),
        (b'{"inputs": [[[0.5, NaN]]]}', "NaN is not JSON"),
        (b'{"inputs": [[[0.5, -Infinity]]]}', "-Infinity is not JSON"),
        (b'{"inputs": [[[0.5, 1e999]]]}', "row 0: input 0 holds a value that is missing, NaN or infinite"),
        (b'{"inputs": [[[0.5, 1e300]]]}', "row 0: holds a number too large"),
        (b'{"inputs": [[[0.5, 1' + b"0" * 400 + b"]]]}", "row 0: holds a number beyond float64's range"),
        (b'{"inputs": [[[0.5, 1' + b"0" * 5000 + b"]]]}", "whole number of too many digits"),
        (b'{"inputs": [[[0.5, 1]]], "inputs": [[[1, 1]]]}', "the key 'inputs' occurs twice"),
        (b'{"inputs": [[[0.5, 1]]], "params": {"budget": 1, "budget": 5}}', "the key 'budget' occurs twice"),
        (b'{"inputs": ' + b"[" * 100_000, "nested deeper than 16 levels"),
        (b'{"inputs": "\xff"}', "the body is not UTF-8 (byte 12"),
        (b'{"inputs": ["\\ud800"]}', "half of a surrogate pair"),
        (b'\xef\xbb\xbf{"inputs": [[[0.5, 1]]]}', "not JSON"),
        ([ROWS], "expected a JSON object with one of 'dataframe_records'"),
        ({}, "expected exactly one of"),
        ({"inputs": [ROWS], "instances": [ROWS]}, "expected exactly one of"),
        ({"inputs": [ROWS], "parms": {"budget": 2}}, "unknown field 'parms'"),
        ({"inputs": []}, "'inputs' holds no sequence"),
        ({"dataframe_records": []}, "'dataframe_records' holds no sequence"),
        ({"inputs": "text"}, "'inputs' must be a list"),
        ({"inputs": {"sequence": 3}}, "'sequence' must be a list of sequences, got a number"),
        ({"inputs": {"sequenc": [ROWS]}}, "expected the column 'sequence', got 'sequenc'"),
        ({"dataframe_records": [{"sequence": ROWS, "id": 3}]}, "got also 'id'"),
        ({"dataframe_records": [{"sequence": ROWS}, 3]}, "row 1: expected {'sequence': ...}, got a number"),
        ({"dataframe_split": {"columns": ["sequence"], "data": [ROWS]}}, "expected a list of one cell"),
        ({"dataframe_split": {"data": [[ROWS]]}}, "columns and data must be lists"),
        ({"dataframe_split": {"columns": ["sequence"], "data": [[ROWS]], "index": [[]]}}, "labels of index"),
        (records("0.5"), "row 0: a sequence is a list of numbers, or of rows of numbers, got a string"),
        (records(ROWS, None), "row 1: a sequence is a list of numbers, or of rows of numbers, got null"),
        (records(ROWS, []), "row 1: the sequence is empty"),
        (records(ROWS, [[]]), "row 1: a sequence is a list of rows of 2 numbers"),
        (
            records([[0.5, 1], [0.5]]),
            "row 0: a sequence is a list of rows of 2 numbers, all of the same width",
        ),
        (records([[0.5, 1, 2]]), "got 3 instead of 2"),
        (records([["0.5", 1]]), "got a text or a boolean"),
        (records([[0.5, True]]), "got a text or a boolean"),
        (records([[0.5, None]]), "input 0 holds a value that is missing"),
        (records([[0.5, {"a": 1}]]), "row 0: a sequence is a list of rows of 2 numbers"),
        (records([[0.5, [1]]]), "row 0: a sequence is a list of rows of 2 numbers"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_malformed_body_is_named(version: Server, body: Any, said: str) -> None:
    assert said in version.refused(body)


def test_what_is_too_much_is_refused(version: Server) -> None:
    assert "more than 100 sequences" in version.refused(records(*[ROWS[:1]] * 101), status=413)
    assert "holds 10001 inputs" in version.refused(records(ROWS[:1] * 10_001), status=413)
    assert version.request(records(ROWS[:1] * 10_000)).status == 200
    spaces = b" " * 900_000 + json.dumps(records(ROWS)).encode()
    assert version.request(spaces).status == 200
    for size in (1_000_001, 3_000_000, 50_000_000):
        try:
            said = version.refused(b" " * size, status=413)
        except (BrokenPipeError, ConnectionResetError):
            assert size > 4_000_000  # far beyond the limit nobody waits for the rest
            continue
        assert "the body is larger than 1000000 bytes" in said
    chunks = iter([b" " * 100_000] * 15)  # without Content-Length
    assert "larger than" in version.refused_chunks(chunks, 413)


@pytest.mark.parametrize(
    ("content_type", "headers", "said"),
    [
        (None, {}, "expected the Content-Type application/json or text/csv, got 'none'"),
        ("text/plain", {}, "got 'text/plain'"),
        ("application/vnd.apache.parquet", {}, "expected the Content-Type"),
        ("application/json; charset=latin-1", {}, "charset=utf-8"),
        ("application/json", {"Content_Encoding": "gzip"}, "without Content-Encoding, got 'gzip'"),
    ],
)
def test_a_wrong_content_type_is_refused(
    version: Server, content_type: str | None, headers: dict[str, str], said: str
) -> None:
    body = json.dumps(records(ROWS)).encode()
    assert said in version.refused(body, status=415, content_type=content_type, **headers)
    assert version.request(body, content_type="Application/JSON; charset=UTF-8").status == 200


def test_wrong_paths_and_methods_have_the_same_shape(version: Server) -> None:
    assert "no such path; there are /" in version.refused(None, status=404, path="/predict")
    assert "expected POST, got GET" in version.refused(None, status=405, path="/invocations")
    assert version.request(path="/invocations").headers["allow"] == "POST"
    assert "expected GET" in version.refused(b"", status=405, path="/ready")


def test_what_is_no_http_gets_400_and_a_body_that_never_comes_408(version: Server) -> None:
    assert version.raw(b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert version.raw(b"POST /invocations HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000).startswith(
        b"HTTP/1.1 400"
    )
    head = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    assert version.raw(head + b"Content-Length: 500\r\n\r\n{").startswith(b"HTTP/1.1 408 ")
    assert version.raw(head).startswith(b"HTTP/1.1 408 ")
    bad_chunk = head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
    assert version.raw(bad_chunk).startswith(b"HTTP/1.1 400 ")


def test_a_newcomer_is_told_how_to_ask(version: Server) -> None:
    page = version.request(path="/").content.decode()
    assert "SkipW serves skipw-adding version " in page
    assert "budget      0 to 5: most inputs processed in each window of 5, never exceeded" in page
    line = shlex.split(next(line for line in page.splitlines() if line.startswith("curl ")))
    assert line[1] == f"http://127.0.0.1:{version.port}/invocations"
    assert version.request(line[-1].encode(), content_type=line[3].split(": ")[1]).status == 200
    facts = version.request(path="/", Accept="application/json").json
    assert facts["registered"] is True and "cheapest" in facts["aliases"]
    budgets = [point["budget"] for point in facts["operating_points"]]
    assert budgets == sorted(budgets) and "cheapest" in facts["operating_points"][0]["aliases"]
    assert facts["default"] == {"budget": min(budgets), "threshold": 0.5}  # of the alias it was named by


def test_the_other_paths(version: Server) -> None:
    import mlflow

    assert version.request(path="/ready").json["ready"] is True
    for path in ("/ping", "/health"):
        assert (version.request(path=path).status, version.request(path=path).content) == (200, b"\n")
    assert version.request(path="/version").content.decode() == mlflow.__version__


def test_metrics_count_requests_and_inputs(version: Server) -> None:
    def counted() -> dict[str, float]:
        lines = version.request(path="/metrics").content.decode().splitlines()
        return {name: float(value) for name, value in (li.rsplit(" ", 1) for li in lines if li[0] != "#")}

    before = counted()
    body = records(ROWS[:5] * 2, ROWS[:5]) | {"params": {"budget": 1, "threshold": 0.0}}
    assert version.request(body).status == 200
    version.refused({})
    more = {name: value - before.get(name, 0) for name, value in counted().items()}
    assert more['skipw_requests_total{path="/invocations",status="200"}'] == 1
    assert more['skipw_requests_total{path="/invocations",status="400"}'] == 1
    assert more["skipw_sequences_total"] == 2
    assert more["skipw_inputs_total"] == 15
    assert more["skipw_inputs_processed_total"] == 3  # one in each of three windows
    assert more["skipw_prediction_seconds_count"] == more['skipw_prediction_seconds_bucket{le="+Inf"}'] == 1


def test_a_table_cannot_hold_numbers(version: Server) -> None:
    assert "CSV holds texts only" in version.refused(b"sequence\n0.5\n", content_type="text/csv")


def test_answers_on_a_kept_connection_are_not_delayed(version: Server) -> None:
    body = json.dumps(records(ROWS)).encode()
    connection = http.client.HTTPConnection("127.0.0.1", version.port, timeout=60)
    seconds = []
    with contextlib.closing(connection):
        for _ in range(60):
            start = time.perf_counter()
            connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
            assert len(connection.getresponse().read()) > 10
            seconds.append(time.perf_counter() - start)
    assert min(seconds[30:]) < 0.035  # a delayed acknowledgement is 0.04 s, on every answer


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_several_workers_share_a_port_and_end_together(
    registry: dict[str, str], tmp_path: Path, sent: signal.Signals
) -> None:
    arguments = ("models:/skipw-adding@cheapest", "--workers", "2", "--budget", "1")
    with serving(tmp_path, *arguments, environment=registry) as server:
        facts = server.request(path="/", Accept="application/json").json
        assert facts["default"]["budget"] == 1 and facts["uri"].startswith("models:/skipw-adding/")
        answer = server.request(records(ROWS))
        for _ in range(
            300
        ):  # the port is shared: the worker that answers may be the one that is loading still
            if answer.status != 503:
                break
            time.sleep(0.2)
            answer = server.request(records(ROWS))
        assert answer.status == 200
        server.process.send_signal(sent)
        assert server.process.wait(timeout=60) in (0, 130, -sent)
        with pytest.raises(OSError, match="refused"):
            server.request(path="/ping")
    assert "Traceback" not in server.log.read_text()


def test_a_server_that_cannot_start_says_why(finished: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from skipw.cli.app import app

    folder = str(finished / "models" / "adding" / "adding-skipw")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        outcome = CliRunner().invoke(app, ["serve", folder, "--port", port])
        assert outcome.exit_code == 1 and f"can't listen at 127.0.0.1:{port}" in outcome.output
    for arguments, said in (
        ([str(tmp_path)], "holds neither model.json nor MLmodel"),
        ([folder, "--workers", "0"], "workers must be at least 1"),
        ([folder, "--budget", "99", "--port", "0"], "budget must lie in [0, 5]"),
        (
            [folder.replace("skipw", "dense"), "--budget", "1", "--port", "0"],
            "dense model processes every input",
        ),
    ):
        outcome = CliRunner().invoke(app, ["serve", *arguments])
        assert outcome.exit_code == 1 and said in outcome.output, outcome.output
        assert "curl" not in outcome.output
