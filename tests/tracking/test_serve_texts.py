"""``skipw serve`` on a folder with a model of texts: CSV, defaults of the command line, the log, huge bodies."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.tracking.served import Server, serving
from tests.tracking.small_pipeline import write_text_model
from tests.tracking.test_serve import records


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A folder with a model of texts, at a budget of 1."""
    folder = tmp_path_factory.mktemp("reviews")
    model = write_text_model(folder)
    with serving(folder, str(model), "--budget", "1", "--threshold", "0", "--access-log") as server:
        yield server


def test_texts_come_as_json_or_csv_and_a_folder_needs_no_registry(reviews: Server) -> None:
    facts = reviews.request(path="/", Accept="application/json").json
    assert facts["registered"] is False and facts["default"] == {"budget": 1, "threshold": 0.0}
    assert "a folder, served without any registry" in reviews.log.read_text()
    texts = ["a good film, really good", "bad"]
    answers = reviews.request(records(*texts)).json["predictions"]
    assert [answer["inputs_processed"] for answer in answers] == [pytest.approx(2 / 6), 1.0]
    assert {answer["prediction"] for answer in answers} <= {"negative", "positive"}
    table = b'sequence\n"a good film, really good"\nbad\n'
    assert reviews.request(table, content_type="text/csv").json["predictions"] == answers
    assert reviews.request({"instances": texts}).json["predictions"] == answers
    assert "row 1: a sequence is a text, got a list" in reviews.refused(records("good", ["bad"]))
    assert "row 0: the text holds no word" in reviews.refused(records(" "))
    log = [json.loads(line) for line in reviews.log.read_text().splitlines() if line.startswith("{")]
    asked = [line for line in log if line["path"] == "/invocations"]
    counted = {name: asked[0][name] for name in ("status", "sequences", "inputs", "processed")}
    assert counted == {"status": 200, "sequences": 2, "inputs": 7, "processed": 3}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (b"", "the body is empty"),
        (b"sequence\n\n\n", "the table has no row"),
        (b"text\ngood\n", "expected a CSV table with the one column 'sequence', got ['text']"),
        (b"sequence,sequence\ngood,bad\n", "the one column 'sequence'"),
        (b"sequence\ngood,bad\n", "row 0: expected one cell, got 2"),
        (b'sequence\n"good\n', "not a CSV table"),
        (b"sequence\n\xff\n", "not UTF-8"),
    ],
)
def test_a_malformed_table_is_named(reviews: Server, table: bytes, said: str) -> None:
    assert said in reviews.refused(table, content_type="text/csv")


def test_huge_bodies_cost_little(reviews: Server) -> None:
    mebibytes = 15 * 2**20
    before = reviews.memory
    for body, status, said in (
        (b'{"inputs":[' + b"[]," * (mebibytes // 3) + b"[]]}", 413, "values, at most"),
        (b'{"inputs":[' + b'"",' * (mebibytes // 3) + b'""]}', 413, "values, at most"),
        (b'"' * mebibytes, 400, "not JSON"),
        (b'"' + b"\\" * mebibytes, 400, "not JSON"),
        (b'{"inputs":["' + b"a" * mebibytes + b'"]}', 413, "row 0: a text has at most 131072 characters"),
        (b"[" * mebibytes, 400, "nested deeper"),
    ):
        assert said in reviews.refused(body, status=status)
    assert reviews.request(b"a," * (mebibytes // 2), content_type="text/csv").status == 400
    assert reviews.memory - before < 256 * 2**20
    assert reviews.request(records("good")).status == 200
