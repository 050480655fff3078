"""What a version answers, before any registry: packed on disk, loaded as a server loads it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc.scoring_server import _parse_json_data

import skipw.tracking.predictor
from skipw.errors import BudgetError, ParamsError, ShapeError
from skipw.models.saved import load_model, save_model
from skipw.tracking.examples import input_example
from skipw.tracking.front_models import TrainedModel, read_models
from skipw.tracking.packing import pack
from skipw.tracking.predictor import class_labels, load_predictor
from skipw.tracking.pyfunc_model import SkipWPythonModel, schemas
from tests.tracking.small_pipeline import RATES


class Context:
    """What MLflow hands to ``load_context``."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.artifacts = {"model": str(folder)}
        self.model_config = config


def served(folder: Path, **config: Any) -> SkipWPythonModel:
    model = SkipWPythonModel()
    model.load_context(Context(folder, config))
    return model


def trained(data: Path, experiment: str) -> TrainedModel:
    return next(model for model in read_models("adding", data, RATES) if model.experiment == experiment)


@pytest.fixture(scope="module")
def packed(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "model"
    pack(trained(finished, "adding-skipw"), folder, finished / "pareto" / "adding", "0" * 32, 2)
    return folder


@pytest.fixture(scope="module")
def loaded(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("loaded") / "model"  # loading leaves bytecode beside the code
    return Path(shutil.copytree(packed, copy))


@pytest.fixture(scope="module")
def version(loaded: Path) -> Any:
    return mlflow.pyfunc.load_model(str(loaded), suppress_warnings=True)


ROWS = [[0.5, 1], [0.25, 0], [1, 1], [0.5, 0], [0.125, 0], [0.75, 1], [0.5, 0]]


def test_one_version_serves_every_budget(version: Any, finished: Path) -> None:
    import torch

    from skipw.operating_point import OperatingPoint

    model, _ = load_model(finished / "models" / "adding" / "adding-skipw")
    frame = pd.DataFrame({"sequence": [ROWS, ROWS[:3]]})
    for budget in (0, 1, 2, 5):
        answer = version.predict(frame, params={"budget": budget, "threshold": 0.0})
        inputs = torch.zeros(2, 7, 2)
        inputs[0], inputs[1, :3] = torch.tensor(ROWS), torch.tensor(ROWS[:3])
        point = OperatingPoint(budget, 0.0)
        with torch.no_grad():
            expected = model(inputs, at=point, lengths=torch.tensor([7, 3]), backend="reference")
        assert list(answer.columns) == ["prediction", "scores", "inputs_processed"]
        np.testing.assert_allclose(answer["prediction"], expected.scores[:, 0], rtol=1e-5)
        np.testing.assert_allclose(answer["inputs_processed"], expected.rnn.inputs_processed)
    few, many = (version.predict(frame, params={"budget": k, "threshold": 0.0}) for k in (1, 5))
    assert (few["inputs_processed"] < many["inputs_processed"]).all()


def test_params_left_out_mean_the_best_point_on_the_front(loaded: Path, version: Any) -> None:
    params = version.metadata.get_params_schema().to_dict()
    assert [(p["name"], p["type"], p["default"]) for p in params] == [
        ("budget", "long", None),
        ("threshold", "double", None),
    ]
    frame = pd.DataFrame({"sequence": [ROWS]})
    expected = version.predict(frame, params={"budget": 5, "threshold": 0.5})
    for absent in (None, {}, {"budget": None}, {"budget": None, "threshold": None}):
        pd.testing.assert_frame_equal(version.predict(frame, params=absent), expected)
    smaller = mlflow.pyfunc.load_model(str(loaded), suppress_warnings=True, model_config={"budget": 1})
    pd.testing.assert_frame_equal(smaller.predict(frame), version.predict(frame, params={"budget": 1}))


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"budget": 6}, r"budget must lie in \[0, 5\]"),
        ({"budget": -1}, "budget must be at least 0"),
        ({"threshold": 1.5}, r"threshold must lie in \[0, 1\]"),
        ({"threshold": float("nan")}, r"threshold must lie in \[0, 1\]"),
        ({"budget": 2.5}, "budget"),
        ({"budget": True}, "budget"),
    ],
)
def test_an_invalid_point_is_refused(version: Any, params: dict[str, Any], reason: str) -> None:
    with pytest.raises(mlflow.exceptions.MlflowException, match=reason) as caught:
        version.predict(pd.DataFrame({"sequence": [ROWS]}), params=params)
    assert caught.value.get_http_status_code() == 400


@pytest.mark.parametrize(
    ("sequence", "reason"),
    [
        ([], "row 1: the sequence is empty"),
        ([[0.5, float("nan")], [0.5, 0.0]], "row 1: input 0 holds a value that is missing, NaN or infinite"),
        ([[0.5, 0.0], [0.5, None]], "row 1: input 1 holds a value that is missing"),
        ([[0.5, 0.0, 1.0]], "row 1: a sequence is a list of rows of 2 numbers, got 3 instead of 2"),
        ([[0.5, 0.0], [0.5]], "row 1: .*of the same width"),
        ([0.5, 0.25], "row 1: a sequence is a list of rows of 2 numbers"),
        ([["a", 0.0]], "row 1: a sequence is a list of rows of 2 numbers"),
        ("text", "row 1: a sequence is a list of rows of 2 numbers, got str"),
        (3.0, "row 1: a sequence is a list of rows of 2 numbers, got float"),
    ],
)
def test_a_wrong_sequence_is_named(version: Any, sequence: Any, reason: str) -> None:
    with pytest.raises(ShapeError, match=reason) as caught:
        version.predict(pd.DataFrame({"sequence": [ROWS, sequence]}))
    assert caught.value.get_http_status_code() == 400


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_records": [{"sequence": ROWS}, {"sequence": ROWS[:2]}]},
        {"dataframe_split": {"columns": ["sequence"], "data": [[ROWS], [ROWS[:2]]]}},
        {"inputs": {"sequence": [ROWS, ROWS[:2]]}},
        {"inputs": [{"sequence": ROWS}, {"sequence": ROWS[:2]}]},
    ],
    ids=" ".join,
)
def test_every_json_format_takes_ragged_sequences(version: Any, body: dict[str, Any]) -> None:
    text = json.dumps(body | {"params": {"budget": 2}})
    parsed = _parse_json_data(text, version.metadata, version.metadata.get_input_schema())
    answer = version.predict(parsed.data, params=parsed.params)
    expected = version.predict(pd.DataFrame({"sequence": [ROWS, ROWS[:2]]}), params={"budget": 2})
    np.testing.assert_array_equal(np.stack(answer["scores"]), np.stack(expected["scores"]))


def test_a_version_is_complete_and_portable(packed: Path) -> None:
    assert (packed / "code" / "skipw" / "models" / "saved.py").exists()
    assert not list(packed.rglob("*.pkl"))
    assert not list(packed.rglob("__pycache__"))
    requirements = (packed / "requirements.txt").read_text()
    assert "torch==" in requirements
    assert "+" not in requirements
    points = pd.read_csv(packed / "operating_points.csv")
    assert points["pareto"].all()
    assert {"front.html", "front.png", "input_example.json", "MLmodel"} <= {
        path.name for path in packed.iterdir()
    }


def test_models_without_a_budget_say_so(finished: Path) -> None:
    models = finished / "models" / "adding"
    frame = pd.DataFrame({"sequence": [ROWS]})
    threshold = served(models / "adding-thrrnn", model="thrrnn", threshold=0.5)
    with pytest.raises(BudgetError, match="a thrrnn model has no budget"):
        threshold.predict(None, frame, {"budget": 2})
    assert len(threshold.predict(None, frame, {"threshold": 0.9})) == 1
    dense = served(models / "adding-dense", model="dense")
    with pytest.raises(BudgetError, match="processes every input"):
        dense.predict(None, frame, {"threshold": 0.5})
    assert dense.predict(None, frame)["inputs_processed"].tolist() == [1.0]


def test_sampling_baselines_run_at_their_recorded_rate(finished: Path) -> None:
    folder = finished / "models" / "adding" / "adding-random"
    frame = pd.DataFrame({"sequence": [ROWS * 20, ROWS * 10]})
    periodic = served(folder, model="periodic", rate=0.25).predict(None, frame)
    assert periodic["inputs_processed"].tolist() == pytest.approx([0.25, 0.25], abs=0.01)
    random = served(folder, model="random", rate=0.25)
    first, second = random.predict(None, frame), random.predict(None, frame)
    pd.testing.assert_frame_equal(first, second)
    assert first["inputs_processed"].between(0.1, 0.4).all()
    assert not np.allclose(np.stack(first["scores"]), np.stack(periodic["scores"]))


def test_a_folder_is_enough_to_predict(finished: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from skipw.tracking.predictor import load_predictor;"
        "p = load_predictor(sys.argv[1]);"
        "print(p.predict([[[0.5, 1.0]] * 10], {'budget': 2, 'threshold': 0.0}).inputs_processed[0]);"
        "assert 'mlflow' not in sys.modules"
    )
    folder = finished / "models" / "adding" / "adding-skipw"
    environment = {**os.environ, "PYTHONPATH": str(Path(skipw.tracking.predictor.__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert (done.stdout.strip(), done.returncode) == ("0.4", 0), done.stderr
    with pytest.raises(ParamsError, match="got rate"):
        load_predictor(str(folder)).predict([ROWS], {"rate": 0.5})


def test_rates_are_those_of_the_evaluation(finished: Path) -> None:
    assert trained(finished, "adding-periodic").best.rate == 0.2
    assert read_models("adding", finished)[0].best.rate in (None, 0.05)


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    from skipw.models.task import Architecture

    torch.manual_seed(0)
    architecture = Architecture(
        model="skipw", input_size=3, num_outputs=2, task="classification", hidden_size=4, window=5,
        vocabulary_size=6, embedding_size=3,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("text")
    description = {
        "task": "classification", "classes": ["negative", "positive"], "normaliser": None, "dataset": "imdb",
        "vocabulary": ["<pad>", "<unk>", "a", "film", "good", "bad"],
        "preprocessing": {"max_length": 8, "crop": "last"},
    }  # fmt: skip
    save_model(folder, architecture.build(), description)
    return folder


def test_texts_are_tokenised_inside(text_model: Path) -> None:
    model = served(text_model, model="skipw", budget=5, threshold=0.0)
    frame = pd.DataFrame({"sequence": ["A good film!", "bad bad"]}, index=[7, 3])
    answer = model.predict(None, frame)
    assert list(answer.index) == [7, 3]
    assert set(answer["prediction"]) <= {"negative", "positive"}
    assert [np.argmax(row) for row in answer["scores"]] == [
        ["negative", "positive"].index(name) for name in answer["prediction"]
    ]
    assert answer["inputs_processed"].tolist() == [1.0, 1.0]
    for wrong, reason in (("", "no word"), (3.5, "expected a text, got float"), (None, "expected a text")):
        with pytest.raises(ShapeError, match=f"row 1: .*{reason}"):
            model.predict(None, pd.DataFrame({"sequence": ["good", wrong]}))


def test_signatures_follow_the_task(text_model: Path, finished: Path) -> None:
    _, text = load_model(text_model)
    inputs, outputs = schemas(text)
    assert str(inputs) == "['sequence': string (required)]"
    assert [str(kind) for kind in outputs.input_types()] == [
        "DataType.string",
        "Array(double)",
        "DataType.double",
    ]
    digits = {**text, "classes": [str(digit) for digit in range(10)]}
    assert class_labels(digits) == list(range(10))
    _, adding = load_model(finished / "models" / "adding" / "adding-skipw")
    assert class_labels(adding) is None


@pytest.mark.parametrize("kind", ["scale", "standard", "pose", "none"])
def test_examples_suit_every_normaliser(kind: str) -> None:
    from skipw.data.normaliser import Normaliser

    statistics = {"mean": [1.0] * 4, "scale": [2.0] * 4} if kind in ("scale", "standard") else {}
    normaliser = {"kind": kind, "input_size": 4, **statistics}
    example = input_example({"dataset": "har", "normaliser": normaliser}, 3)
    assert [np.shape(sequence) for sequence in example["sequence"]] == [(20, 4), (12, 4), (20, 4)]
    values = Normaliser.from_json(normaliser)(example["sequence"][0])
    assert np.isfinite(values).all()
    assert values.std() > 0


@pytest.mark.parametrize(
    ("sequence", "reason"),
    [
        ([["0.5", 1.0]], "row 0: .*got a text or a boolean"),
        ([[0.5, True]], "row 0: .*got a text or a boolean"),
        ([[np.True_, np.float64(1)]], "row 0: .*got a text or a boolean"),
        ([[0.5, 10**400]], "row 0: holds a number beyond float64's range"),
        ([[0.5, 1e300]], "row 0: holds a number too large for this model"),
    ],
)
def test_values_that_are_no_numbers_of_this_model_are_refused(
    finished: Path, sequence: Any, reason: str
) -> None:
    predictor = load_predictor(str(finished / "models" / "adding" / "adding-skipw"))
    with pytest.raises(ShapeError, match=reason):
        predictor.predict([sequence])


def test_scores_that_overflow_are_no_answer(finished: Path) -> None:
    import torch

    predictor = load_predictor(str(finished / "models" / "adding" / "adding-skipw"))
    with torch.no_grad():
        for parameter in predictor.model.head.parameters():
            parameter.fill_(3e38)
    with pytest.raises(ShapeError, match="row 0: its numbers are too large for this model"):
        predictor.predict([[[-1e5, -1e5]] * 5, ROWS], {"threshold": 0.0})


def test_numbers_of_any_kind_give_the_same_answer(finished: Path) -> None:
    predictor = load_predictor(str(finished / "models" / "adding" / "adding-skipw"))
    array = np.asarray(ROWS, dtype=np.float32)
    expected = predictor.predict([ROWS])
    for same in (array, list(array), [tuple(row) for row in ROWS], array.astype(object).tolist()):
        pd.testing.assert_frame_equal(predictor.predict([same]), expected)


def test_one_long_sequence_does_not_pad_the_others(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = load_predictor(str(finished / "models" / "adding" / "adding-skipw"))
    batches: list[tuple[int, ...]] = []
    run = predictor._run
    monkeypatch.setattr(
        predictor, "_run", lambda batch, point: (batches.append(tuple(map(len, batch))), run(batch, point))[1]
    )
    monkeypatch.setattr(skipw.tracking.predictor, "PADDED_INPUTS", 40)
    sequences = [ROWS[:2], ROWS * 5, ROWS[:3], ROWS, ROWS * 10, ROWS[:1]]
    together = predictor.predict(sequences)
    assert batches == [(2,), (35,), (3, 7), (70,), (1,)]
    alone = pd.concat([predictor.predict([sequence]) for sequence in sequences], ignore_index=True)
    np.testing.assert_allclose(together["prediction"], alone["prediction"], rtol=1e-5)
    assert together["inputs_processed"].tolist() == alone["inputs_processed"].tolist()


def test_an_observer_is_told_of_lengths_and_shares(finished: Path) -> None:
    predictor = load_predictor(str(finished / "models" / "adding" / "adding-skipw"))
    told: list[Any] = []
    predictor.observe = lambda lengths, shares: told.append((list(lengths), list(shares)))
    predictor.predict([ROWS[:5], ROWS[:5] * 2], {"budget": 2, "threshold": 0.0})
    assert told == [([5, 10], [0.4, 0.4])]
