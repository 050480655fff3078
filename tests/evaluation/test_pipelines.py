"""The stages evaluate, pareto and report from saved models to pages, on two small data sets."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipelines import evaluate, pareto, report
from skipw.data.prepared import Split, save_prepared
from skipw.evaluation.front import FRONT_COLUMNS
from skipw.evaluation.table import GRID_COLUMNS
from skipw.models.architecture import Architecture
from skipw.models.saved import save_model

KINDS = ("skipw", "skipw-sparse", "thrrnn", "skiprnn", "dense", "random")
PARAMS = """
scale: tiny
train:
  recipes:
    {dataset}: {{window: 4, steps: 1, hidden_size: 5}}
  experiments:
{experiments}
evaluate:
  thresholds: {{skipw: [0.4, 0.5], thrrnn: [0.5, 0.7]}}
  test_limit: 50
  random: {{rates: [0.2, 0.5, 1.0], evaluations: {{adding: 3, default: 2}}, sequences: 30}}
"""


def prepare(folder: Path, dataset: str, source: str) -> None:
    """60 sequences a split whose classes or values follow from the inputs, so that something can be right."""
    rng = np.random.default_rng(0)
    splits = {}
    for name in ("train", "val", "test"):
        inputs = rng.normal(size=(60, 10, 2)).astype(np.float32)
        inputs[:, :, 1] = 0
        inputs[np.arange(60), rng.integers(0, 2, 60), 1] = 1
        inputs[np.arange(60), rng.integers(5, 10, 60), 1] = 1
        total = (inputs[:, :, 0] * inputs[:, :, 1]).sum(1)
        regression = dataset == "adding"
        targets = total.astype(np.float32) if regression else (total > 0).astype(np.int64)
        splits[name] = Split(inputs, targets, np.full(60, 10))
    meta = {
        "dataset": dataset,
        "title": f"Toy <{dataset}>",
        "data_source": source,
        "task": "regression" if dataset == "adding" else "classification",
        "metric": "mse" if dataset == "adding" else "accuracy",
        "classes": [] if dataset == "adding" else ["low", "high"],
        "input_size": 2,
        "num_steps": 10,
        "normaliser": {},
        "preprocessing": {},
    }
    save_prepared(folder, splits, meta, {})
    written = json.loads((folder / "meta.json").read_text())
    generous = {"val": 99.0, "test": 99.0} if dataset == "adding" else {"val": 0.2, "test": 0.2}
    (folder / "meta.json").write_text(json.dumps(written | {"constant_predictor": generous}))


def save_untrained(data: Path, dataset: str, source: str) -> None:
    for seed, name in enumerate(KINDS):
        kind = name.split("-")[0]
        torch.manual_seed(seed)
        model = Architecture(
            model=kind,
            input_size=2,
            num_outputs=1 if dataset == "adding" else 2,
            task="regression" if dataset == "adding" else "classification",
            hidden_size=5,
            window=4 if kind == "skipw" else None,
            gate_bias=0.0,
        ).build()
        if hasattr(model.rnn, "gate"):
            torch.nn.init.normal_(model.rnn.gate.weight, std=1.5)
        facts = {"dataset": dataset, "data_source": source, "cost_per_input": 0.001 * seed, "seed": seed}
        facts |= {"init_from": None, "normaliser": {}, "metric": "accuracy", "title": "toy"}
        save_model(data / "models" / dataset / f"{dataset}-{name}", model, facts)


def write_params(path: Path, dataset: str, data: Path) -> None:
    lines = [
        f"    {dataset}-{name}: {{dataset: {dataset}, model: {name.split('-')[0]}, "
        f"start: {data}/prepared/{dataset}}}"
        for name in KINDS
    ]
    path.write_text(PARAMS.format(dataset=dataset, experiments="\n".join(lines)))


@pytest.fixture(
    scope="module", params=[("adding", "generated"), ("har", "har-simulator")], ids=lambda p: p[0]
)
def built(request, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, list[str]]:
    """A data folder after all three stages, and the options that the stages were given."""
    dataset, source = request.param
    root = tmp_path_factory.mktemp(dataset)
    data = root / "data"
    prepare(data / "prepared" / dataset, dataset, source)
    save_untrained(data, dataset, source)
    write_params(root / "params.yaml", dataset, data)
    options = ["--params", str(root / "params.yaml"), "--data", str(data)]
    for name in (*KINDS, "periodic"):
        evaluate.main([f"{dataset}-{name}", *options])
    pareto.main([dataset, *options])
    report.main(options)
    return dataset, data, options


def test_grids_have_the_columns_and_hold_the_bound(built) -> None:
    dataset, data, _ = built
    grids = {
        path.parent.name: pd.read_csv(path) for path in (data / "evaluation" / dataset).glob("*/grid.csv")
    }
    assert set(grids) == {f"{dataset}-{name}" for name in (*KINDS, "periodic")}
    measures = {"mse", "paper_mse"} if dataset == "adding" else {"accuracy"}
    for grid in grids.values():
        assert tuple(grid.columns) == GRID_COLUMNS
        assert set(grid["metric"]) == measures
        assert (grid["dataset"] == dataset).all()
    skipw = grids[f"{dataset}-skipw"]
    assert len(skipw) == 2 * 5 * 2 * len(measures)
    assert (skipw["max_inputs_in_window"] <= skipw["budget"]).all()
    assert set(grids[f"{dataset}-skipw"]["sequences"]) == {60, 50}
    assert set(grids[f"{dataset}-random"]["sequences"]) == {60, 50}
    assert set(grids[f"{dataset}-periodic"]["model"]) == {"periodic"}
    assert (skipw["data_source"] == ("generated" if dataset == "adding" else "har-simulator")).all()
    repeats = pd.read_csv(data / "evaluation" / dataset / f"{dataset}-random" / "repeats.csv")
    assert len(repeats) == 3 * 2 * len(measures) * (3 if dataset == "adding" else 2)


def test_the_front_and_its_files(built) -> None:
    dataset, data, _ = built
    folder = data / "pareto" / dataset
    front = pd.read_csv(folder / "front.csv", keep_default_na=False)
    assert tuple(front.columns) == FRONT_COLUMNS
    assert front["split"].tolist() == ["val", "test"] * (len(front) // 2)
    held = ";".join(front.loc[front["split"] == "val", "alias"]).split(";")
    assert sorted(alias for alias in held if alias) == ["cheapest", "knee", "most-accurate"]
    assert "0" not in front["budget"].tolist()
    page = (folder / "front.html").read_text(encoding="utf-8")
    assert "cdn.plot.ly" not in page.split("</script>")[-1]
    assert page.count("<script src=") == 0
    assert "Toy &lt;" in page
    assert ("Substitute data" in page) == (dataset == "har")
    assert (folder / "front.png").read_bytes().startswith(b"\x89PNG")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["front_points"] == len(front) // 2
    assert 0 < summary["hypervolume"]["val"] <= 1


def test_the_report_tells_all_and_stands_alone(built) -> None:
    dataset, data, _ = built
    folder = data / "report"
    text, page = (folder / "report.md").read_text("utf-8"), (folder / "report.html").read_text("utf-8")
    for heading in ("At equal cost", "The bound", "The whole front", "Where the numbers come from"):
        assert f"### {heading}" in text
        assert f"<h3>{heading}</h3>" in page
    assert "at most K inputs were processed, at every operating point" in text
    assert ("Substitute data" in text) == (dataset == "har")
    assert ("p3 (%)" in text) == (dataset == "adding")
    assert page.count("data:image/png;base64,") == 4
    assert all(
        (folder / "figures" / f"{dataset}-{kind}.png").exists() for kind in ("front", "patterns", "bound")
    )
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics[dataset]["bound_violations"] == 0
    plot = pd.read_csv(folder / "plots" / f"{dataset}.csv")
    assert set(plot["model"]) == {"skipw", "thrrnn", "skiprnn", "dense", "random", "periodic"}


def test_the_same_model_gives_the_same_bytes(built) -> None:
    dataset, data, options = built
    folders = [data / "evaluation" / dataset / f"{dataset}-{name}" for name in ("skipw", "random")]
    folders.append(data / "pareto" / dataset)
    before = {path: path.read_bytes() for folder in folders for path in folder.iterdir()}
    for name in ("skipw", "random"):
        evaluate.main([f"{dataset}-{name}", *options])
    pareto.main([dataset, *options])
    assert len(before) >= 9
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_front_without_points_still_gives_every_file(built, tmp_path: Path) -> None:
    dataset, data, options = built
    copy = tmp_path / "data"
    for part in (f"evaluation/{dataset}", f"prepared/{dataset}", f"models/{dataset}"):
        shutil.copytree(data / part, copy / part)
    meta = copy / "prepared" / dataset / "meta.json"
    perfect = dict.fromkeys(("val", "test"), 0.0 if dataset == "adding" else 1.0)
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"constant_predictor": perfect}))
    there = [*options[:2], "--data", str(copy)]
    pareto.main([dataset, *there])
    assert pd.read_csv(copy / "pareto" / dataset / "front.csv").empty
    if dataset == "har":
        report.main(there)
        assert "No point is better" in (copy / "report" / "report.md").read_text("utf-8")


def add_trials(data: Path, dataset: str) -> None:
    """What a search leaves: three good SkipW models of two sizes of λ, and a ThrRNN."""
    for number, kind in enumerate(("skipw", "skipw-sparse", "thrrnn", "skipw")):
        name = f"{dataset}-trial-{10 * number:03d}"
        folder = data / "studies" / dataset / "trials" / name
        shutil.copytree(data / "models" / dataset / f"{dataset}-{kind}", folder)
        grid = pd.read_csv(data / "evaluation" / dataset / f"{dataset}-{kind}" / "grid.csv")
        grid = grid.convert_dtypes(convert_string=False, convert_floating=False)
        better = grid["value"] * 0.5 if dataset == "adding" else grid["value"] * 0.5 + 0.45
        grid.assign(experiment=name, value=better - 0.01 * number).to_csv(folder / "grid.csv", index=False)


def test_trials_of_a_search_join_the_front_and_the_report(built, tmp_path: Path) -> None:
    dataset, data, options = built
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    add_trials(copy, dataset)
    there = [*options[:2], "--data", str(copy)]
    pareto.main([dataset, *there])
    report.main(there)
    front = pd.read_csv(copy / "pareto" / dataset / "front.csv")
    assert front["experiment"].str.contains("-trial-").any()
    page = (copy / "pareto" / dataset / "front.html").read_text("utf-8")
    assert page.count('"name":"search: SkipW (3)"') == page.count('"name":"search: ThrRNN (1)"') == 1
    assert "trial 30 (SkipW GRU 5, L 4, " in page
    text = (copy / "report" / "report.md").read_text("utf-8")
    assert "of 7 experiments and of 4 trials of a search" in text
    assert "| search: SkipW | search: ThrRNN |" in text
    assert "| 3 trials of a search | 60 |" in text
    assert f"| {dataset}-trial-020 | ThrRNN | gru | 5 |" in text
    for kind in ("patterns", "bound", "switching"):  # of the named experiments alone, as before
        name = f"report/figures/{dataset}-{kind}.png"
        assert (copy / name).read_bytes() == (data / name).read_bytes()
    plot = pd.read_csv(copy / "report" / "plots" / f"{dataset}.csv")
    assert plot["experiment"].str.contains("-trial-").sum() == 3 * 10 + 2


def test_errors_name_the_remedy_and_leave_the_old_output(built, caplog: pytest.LogCaptureFixture) -> None:
    dataset, data, options = built
    meta = data / "prepared" / dataset / "meta.json"
    kept = meta.read_text()
    grid = data / "evaluation" / dataset / f"{dataset}-dense" / "grid.csv"
    before = grid.read_bytes()
    try:
        meta.write_text(kept.replace("generated", "mirror").replace("har-simulator", "har-mall"))
        for stage, arguments in ((evaluate, [f"{dataset}-dense"]), (pareto, [dataset])):
            with pytest.raises(SystemExit):
                stage.main([*arguments, *options])
    finally:
        meta.write_text(kept)
    assert "dvc repro" in caplog.text
    assert grid.read_bytes() == before
    assert not [path for path in grid.parents[1].iterdir() if path.name.startswith(".")]
