"""The study's page: complete, offline, the same for the same study, at any number of trials."""

from __future__ import annotations

import re
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from skipw.evaluation.curves import NAMES
from skipw.studies.figures import importances_figure, lean_study, parallel_figure, points_figure
from skipw.studies.outcome import read_outcome
from skipw.studies.page import write_study_page
from skipw.studies.space import nearest, space_of
from tests.studies.fakes import fake_study

FIGURES = ("points", "hypervolume", "importances", "parallel")


def written(study: optuna.Study, folder: Path) -> str:
    path = folder / "study.html"
    write_study_page(path, study, read_outcome(study))
    return path.read_text(encoding="utf-8")


def figures_of(page: str) -> list[str]:
    return [name for name in FIGURES if f'id="{name}"' in page]


@pytest.mark.parametrize(
    ("trials", "figures"),
    [(0, []), (1, ["points", "hypervolume", "parallel"]), (24, list(FIGURES))],
)
def test_it_has_the_figures_that_its_trials_allow(trials: int, figures: list[str], tmp_path: Path) -> None:
    page = written(fake_study("har", trials), tmp_path)
    assert figures_of(page) == figures
    assert page.count("plotly.js v") == (1 if figures else 0), "plotly.js must be inside once"
    if "importances" not in figures:
        assert f"Importances need 10 complete trials; there are {trials}." in page


def test_it_needs_no_network_and_names_no_place(tmp_path: Path) -> None:
    page = written(fake_study("adding", 12), tmp_path)
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"<(link|img|iframe|object)|\b(src|href)=|@import|url\(", markup)
    assert not re.search(r"<script[^>]*\bsrc=", page)
    assert str(tmp_path) not in page


def test_the_same_study_gives_the_same_file(tmp_path: Path) -> None:
    study = fake_study("har", 16)
    assert written(study, tmp_path) == written(study, tmp_path)


def test_a_substitute_is_announced(tmp_path: Path) -> None:
    assert 'class="notice">Substitute data (har-mall)' in written(fake_study("har", 1), tmp_path)
    assert 'class="notice"' not in written(fake_study("adding", 1), tmp_path)


def test_trials_in_every_state_are_listed(tmp_path: Path) -> None:
    study = fake_study("har", 12)
    space = space_of("wide", "har", ("skipw",), classification=True)
    params = nearest(space, "skipw", {})
    distributions = {name: space[name] for name in params}
    for state, reason in ((TrialState.FAIL, "error: OSError: <no disk>"), (TrialState.RUNNING, None)):
        attributes = {} if reason is None else {"reason": reason}
        study.add_trial(
            create_trial(state=state, params=params, distributions=distributions, user_attrs=attributes)
        )
    study.enqueue_trial(params)
    page = written(study, tmp_path)
    for state in ("complete", "stopped", "running", "waiting", "failed"):
        assert f"<td>{state}</td>" in page
    assert "error: OSError: &lt;no disk&gt;" in page
    assert "Stopped early: 2 dominated, 1 dead gates." in page
    assert "12 of 20 trials: 9 complete, 3 stopped early; 1 running, 1 waiting, 1 failed" in page
    assert "<td>trial 3</td>" in page, "trial 4 began with trial 3's model"


@pytest.mark.parametrize("dataset", ["har", "adding"])
def test_every_operating_point_is_drawn(dataset: str) -> None:
    study = fake_study(dataset, 16)
    outcome = read_outcome(study)
    figure = points_figure(study, outcome)
    drawn = {trace.name: len(trace.x) for trace in figure.data}
    counts = {NAMES[str(model)]: n for model, n in outcome.points["model"].value_counts().items()}
    assert drawn == {"Constant predictor": 2, "<b>Pareto front</b>": len(outcome.front), **counts}
    first = outcome.front.iloc[0]
    hover = figure.data[-1].hovertext[0]
    assert f"Trial {first['trial']}: " in hover
    assert f"at {100 * first['inputs_processed']:.1f} % of the inputs" in hover


def test_the_budget_of_nothing_is_left_out() -> None:
    study = fake_study("har", 0)
    space = space_of("wide", "har", ("skipw",), classification=True)
    params = nearest(space, "skipw", {})
    attributes = {"experiment": "har-trial-000", "points": [[0, 0.5, 0.0, 0.3], [1, 0.5, 0.4, 0.6]]}
    study.add_trial(
        create_trial(
            params=params,
            distributions={name: space[name] for name in params},
            values=[0.4, 0.4],
            user_attrs=attributes,
        )
    )
    clouds = points_figure(study, read_outcome(study)).data[1:-1]
    assert [list(trace.x) for trace in clouds] == [[40.0]]


@pytest.mark.parametrize("space", ["wide", "paper"])
def test_settings_that_only_some_models_have_lose_no_trial(space: str) -> None:
    study = fake_study("har", 24, space=space)
    outcome = read_outcome(study)
    lean = lean_study(study, outcome)
    importances, text = importances_figure(lean)
    assert importances is not None and f"the {outcome.counts.complete} complete trials" in text
    assert all("window" in trace.y for trace in importances.data)
    assert all(sum(trace.x) == pytest.approx(1.0, abs=1e-3) for trace in importances.data)
    lines = [trace for trace in parallel_figure(lean).data if trace.mode == "lines"]
    assert len(lines) == outcome.counts.complete


def test_equal_results_have_no_importances() -> None:
    lean = optuna.create_study(directions=["minimize"] * 2)
    for number in range(12):
        lean.add_trial(
            create_trial(
                params={"x": number},
                distributions={"x": optuna.distributions.IntDistribution(0, 20)},
                values=[0.5, number / 12],
            )
        )
    figure, text = importances_figure(lean)
    assert figure is None and "the same value" in text


def test_a_large_study_stays_small(tmp_path: Path) -> None:
    study = fake_study("har", 120, points=60)
    empty, full = len(written(fake_study("har", 1), tmp_path)), len(written(study, tmp_path))
    points = len(read_outcome(study).points)
    assert points > 1500
    assert full - empty < 400 * points, "an operating point must not cost more than 400 bytes"
