"""Settings: what the project ships is valid, and what is wrong is refused with a helpful message."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path

import pytest

from skipw import params
from skipw.errors import ParamsError

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "params.yaml"
SMALL = """
train:
  recipes:
    adding: {window: 5, steps: 3}
  experiments:
    adding-skipw: {dataset: adding, model: skipw, start: data/prepared/adding}
    adding-random: {dataset: adding, model: random, start: data/prepared/adding, steps: 7}
    adding-skipw-sparse:
      {dataset: adding, model: skipw, init_from: adding-skipw, start: data/models/adding/adding-skipw}
"""


def load_text(folder: Path, text: str) -> params.Params:
    file = folder / "params.yaml"
    file.write_text(text, encoding="utf-8")
    return params.load(file)


@pytest.mark.parametrize(
    ("file", "scale"),
    [("params.yaml", "laptop"), ("paper/params.yaml", "paper"), ("tests/tiny/params.yaml", "tiny")],
)
def test_shipped_settings_are_valid(file: str, scale: str) -> None:
    loaded = params.load(ROOT / file)
    assert loaded.scale == scale
    for name in loaded.train.experiments:
        settings = params.experiment_settings(loaded, name)
        assert settings.experiment == name
        assert settings.trained


def test_an_experiment_overrides_its_recipe(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, SMALL)
    assert params.experiment_settings(loaded, "adding-skipw").steps == 3
    assert params.experiment_settings(loaded, "adding-random").steps == 7
    assert params.experiment_settings(loaded, "adding-skipw-sparse").init_from == "adding-skipw"


def test_periodic_evaluates_the_model_of_random(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, SMALL)
    random, periodic = (params.experiment_settings(loaded, f"adding-{m}") for m in ("random", "periodic"))
    assert not periodic.trained
    assert periodic.start == "data/models/adding/adding-random"
    assert {key for key, value in asdict(periodic).items() if asdict(random)[key] != value} == {
        "experiment",
        "model",
        "start",
    }


def test_absent_sections_have_their_defaults(tmp_path: Path) -> None:
    assert load_text(tmp_path, "scale: tiny\nevaluate:\n") == params.Params(scale="tiny")


def test_numbers_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path, SMALL.replace("steps: 3", "learning_rate: 1e-4, time_scale: 2e+1, clip: null")
    )
    settings = params.experiment_settings(loaded, "adding-skipw")
    assert (settings.learning_rate, settings.time_scale, settings.clip) == (1e-4, 20.0, None)


@pytest.mark.parametrize(
    ("text", "number"),
    [("010", 10), ("0o10", 8), ("0x10", 16), ("0b10", 2), ("1_000", 1000), ("4294967295", 2**32 - 1)],
)
def test_whole_numbers_are_those_of_yaml_1_2(tmp_path: Path, text: str, number: int) -> None:
    assert load_text(tmp_path, f"evaluate: {{seed: {text}}}").evaluate.seed == number


def test_a_bias_is_a_number_or_one_for_each_slot(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, SMALL.replace("window: 5", "window: 5, gate_bias: [1, -0.5]"))
    assert params.experiment_settings(loaded, "adding-skipw").gate_bias == (1.0, -0.5)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("evalute: {}", ["unknown key 'evalute'", "did you mean 'evaluate'"]),
        ("evaluate: {batchsize: 3}", ["evaluate: unknown key 'batchsize'", "did you mean 'batch_size'"]),
        ("evaluate: {random: {sequence: 3}}", ["evaluate.random", "did you mean 'sequences'"]),
        ("evaluate: {batch_size: true}", ["evaluate.batch_size", "a whole number", "True (bool)"]),
        ("evaluate: {batch_size: 5.0}", ["evaluate.batch_size", "a whole number", "5.0 (float)"]),
        ("evaluate: {batch_size: 0}", ["evaluate.batch_size", "at least 1", "got 0"]),
        ("evaluate: {thresholds: {skipw: [0.5, 1.5]}}", ["evaluate.thresholds.skipw[1]", "at most 1"]),
        ("evaluate: {thresholds: {skipw: 0.5}}", ["evaluate.thresholds.skipw", "a list"]),
        ("evaluate: {thresholds: {skipw: [yes]}}", ["skipw[0]", "a number", "True (bool)"]),
        ("evaluate: [3]", ["evaluate", "a section with keys"]),
        ("prepare: {imdb: {val_share: .nan}}", ["prepare.imdb.val_share", "a finite number"]),
        ("prepare: {imdb: {crop: lsat}}", ["prepare.imdb.crop", "last, first", "did you mean 'last'"]),
        ("download: {har: {folder: 3}}", ["download.har.folder", "a text"]),
        ("scale: laptop\nscale: paper", ["'scale' stands there twice"]),
        ("scale: [", ["not valid YAML"]),
        ("scale: 2026-13-01", ["not valid YAML", "month"]),
        ("evaluate: {thresholds: {skipw: []}}", ["evaluate.thresholds.skipw", "at least one value, got []"]),
        ("evaluate: {thresholds: {thrrnn: []}}", ["evaluate.thresholds.thrrnn", "at least one value"]),
        ("evaluate: {random: {rates: []}}", ["evaluate.random.rates", "at least one value"]),
        ("train: {recipes: {mnist: {gate_bias: []}}}", ["mnist.gate_bias", "at least one value"]),
        ("evaluate: {seed: 18446744073709551616}", ["evaluate.seed", "at most 4294967295"]),
        ("prepare: {seed: 4294967296}", ["prepare.seed", "at most 4294967295"]),
        ("search: {har: {seed: 4294967296}}", ["search.har.seed", "at most 4294967295"]),
        ("train: {recipes: {mnist: {seed: 4294967296}}}", ["mnist.seed", "at most 4294967295"]),
        (f"prepare: {{imdb: {{val_share: 1{'0' * 400}}}}}", ["prepare.imdb.val_share", "a finite number"]),
        (f"evaluate: {{seed: 1{'0' * 5000}}}", ["line 1: not a whole number"]),
        ("evaluate: {batch_size: 1:30}", ["evaluate.batch_size", "'1:30' (str)"]),
        ("prepare: &a {seed: 1}\nevaluate:\n  <<: *a", ["line 3: merge keys (<<) are not read"]),
        ("train: {recipes: {mnits: {}}}", ["train.recipes", "did you mean 'mnist'"]),
        ("train: {recipes: {mnist: {hiden_size: 3}}}", ["train.recipes.mnist", "did you mean 'hidden_size'"]),
        ("train: {recipes: {mnist: {model: skipw}}}", ["train.recipes.mnist", "unknown key 'model'"]),
    ],
)
def test_what_is_wrong_is_refused(tmp_path: Path, wrong: str, words: list[str]) -> None:
    with pytest.raises(ParamsError) as caught:
        load_text(tmp_path, wrong)
    for word in ["params.yaml", *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("window: 5, ", "", ["adding-skipw.window", "needs a window"]),
        ("model: random", "model: rnadom", ["adding-random.model", "did you mean 'random'"]),
        (
            "init_from: adding-skipw,",
            "init_from: adding-skip,",
            [
                "adding-skipw-sparse.init_from: unknown experiment 'adding-skip'",
                "did you mean 'adding-skipw'",
            ],
        ),
        (
            "init_from: adding-skipw,",
            "init_from: adding-random,",
            ["models/adding/adding-random,", "got 'data/models"],
        ),
        ("adding-random:", "adding-/../../../esc:", ["expected a name of letters", "'adding-/../../../esc'"]),
        ("adding-random:", '"adding-a b":', ["expected a name of letters", "'adding-a b'"]),
        ("adding-random:", "noise:", ["train.experiments.noise", "call it adding-<something>"]),
        ("model: random", "model: periodic", ["needs no entry"]),
        ("steps: 7", "stesp: 7", ["adding-random", "did you mean 'steps'"]),
        ("steps: 3", "devices: 3", ["adding-skipw.batch_size", "3 devices", "64 sequences", "multiple of 3"]),
        ("steps: 3", "devices: 0", ["adding.devices", "at least 1"]),
        ("steps: 3", "accelerator: cuda", ["adding.accelerator", "one of cpu, gpu, auto"]),
        ("steps: 3", "cost_schedule: [[0.5, 1], [0.2, 1]]", ["cost_schedule", "rising"]),
        ("steps: 3", "cost_schedule: [[0.5, 1, 2]]", ["cost_schedule[0]", "a list of 2 values"]),
        (
            "adding-skipw: {dataset: adding, model: skipw, start: data/prepared/adding}",
            "adding-skipw: {dataset: adding, model: skipw, init_from: adding-skipw-sparse,"
            " start: data/models/adding/adding-skipw-sparse}",
            ["is a circle"],
        ),
    ],
)
def test_experiments_that_do_not_fit_are_refused(
    tmp_path: Path, old: str, new: str, words: list[str]
) -> None:
    assert old in SMALL
    with pytest.raises(ParamsError) as caught:
        load_text(tmp_path, SMALL.replace(old, new))
    for word in words:
        assert word in str(caught.value)


def test_an_unknown_experiment_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="did you mean 'adding-skipw'"):
        params.experiment_settings(load_text(tmp_path, SMALL), "adding-skpw")


def test_a_missing_file_is_an_error_of_settings(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="cannot be read"):
        params.load(tmp_path / "absent.yaml")


def test_a_file_of_another_encoding_is_an_error_of_settings(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_bytes("report: {title: Größe}".encode("latin-1"))
    with pytest.raises(ParamsError, match="params.yaml: expected UTF-8, got the byte 0xf6 at 18"):
        params.load(file)


def test_every_known_key_of_a_recipe_is_a_setting() -> None:
    names = {field.name for field in fields(params.TrainSettings)}
    assert set(params.RECIPE_KEYS) < names
    assert not set(params.RECIPE_KEYS) & {"experiment", "dataset", "model", "init_from", "start"}
