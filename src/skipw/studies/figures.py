"""A study's figures: interactive, each None or a sentence instead where there is nothing to draw.

Importances and parallel coordinates are Optuna's own figures; points and hypervolume are not, since Optuna sees
the trained point of each trial only.
"""

from __future__ import annotations

import html
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from skipw.evaluation.curves import COLOURS, NAMES
from skipw.evaluation.figures.axes import COST_LABEL, on_axis, value_label
from skipw.evaluation.page import metric_text, share_text
from skipw.studies.outcome import Outcome
from skipw.studies.plan import error_of
from skipw.studies.wording import model_text, reason_of, settings_text, short_name

__all__ = ["hypervolume_figure", "importances_figure", "lean_study", "parallel_figure", "points_figure"]

SYMBOLS = {"skipw": "triangle-up", "thrrnn": "circle", "skiprnn": "diamond"}
MANY = 2000  # points of a kind from which WebGL draws them
FONT = {"family": "system-ui, sans-serif", "size": 14}
LEAST_TRIALS = 10  # complete ones, for importances
TOP_TRIALS = 5  # PED-ANOVA asks what tells so many of the best from the rest, or a tenth of all
DIGITS = 5  # significant digits of a coordinate


def points_figure(study: Study, outcome: Outcome) -> Any | None:
    """Every operating point of every trial on val with K > 0, and the front; None before there is one."""
    from plotly import graph_objects as go

    points = outcome.points[(outcome.points["budget"] != 0).fillna(True)]
    if points.empty:
        return None
    metric = outcome.metric
    level = on_axis(error_of(outcome.constant, metric), metric)
    figure = go.Figure(
        go.Scatter(
            x=[0, 100], y=[level, level], hovertext=[f"constant predictor: {level:.4g}"] * 2, hoverinfo="text",
            mode="lines", name="Constant predictor", line={"color": "#444444", "dash": "dot", "width": 1},
        )
    )  # fmt: skip
    labels = {
        trial.number: _trial_label(trial)
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    }
    for model in sorted(points["model"].unique(), key=[*NAMES].index):
        figure.add_trace(_cloud(model, points[points["model"] == model], labels, metric))
    figure.add_trace(_front(outcome.front, labels, metric))
    shown = points["value"] if metric != "accuracy" else 100 * points["value"]
    spread = (shown.max() / shown.min()) if metric != "accuracy" and shown.min() > 0 else 1.0
    figure.update_xaxes(title=COST_LABEL, range=[-3, 103], zeroline=False)
    figure.update_yaxes(title=value_label(metric), zeroline=False)
    if spread > 5:
        figure.update_yaxes(type="log", exponentformat="power", dtick=1 if spread > 300 else "D2")
    return _laid_out(figure, 600)


def _cloud(model: str, points: pd.DataFrame, labels: Mapping[int, str], metric: str) -> Any:
    from plotly import graph_objects as go

    kind = go.Scattergl if len(points) > MANY else go.Scatter
    return kind(
        x=_rounded(100 * points["inputs_processed"]),
        y=_rounded(on_axis(points["value"], metric)),
        hovertext=[_hover(point, labels, metric) for point in points.to_dict("records")],
        hoverinfo="text", mode="markers", name=NAMES.get(model, html.escape(model)),
        marker={"symbol": SYMBOLS.get(model, "circle"), "size": 7 if len(points) < 500 else 5,
                "color": COLOURS.get(model, ("#555555",))[0], "opacity": 0.6},
    )  # fmt: skip


def _front(front: pd.DataFrame, labels: Mapping[int, str], metric: str) -> Any:
    """The front as a staircase with a ring at each point."""
    from plotly import graph_objects as go

    return go.Scatter(
        x=_rounded(100 * front["inputs_processed"]), y=_rounded(on_axis(front["value"], metric)),
        hovertext=["On the front<br>" + _hover(p, labels, metric) for p in front.to_dict("records")],
        hoverinfo="text", mode="lines+markers", name="<b>Pareto front</b>",
        line={"color": "black", "width": 1, "shape": "hv"},
        marker={"symbol": "circle-open", "size": 12 if len(front) < 40 else 8, "color": "black",
                "line": {"width": 1.4}},
    )  # fmt: skip


def _trial_label(trial: FrozenTrial) -> str:
    text = f"<b>Trial {trial.number}: {html.escape(model_text(trial.params))}</b>"
    text += f"<br>{html.escape(settings_text(trial.params))}"
    donor = trial.user_attrs.get("init_from")
    return f"{text}<br>began with {html.escape(short_name(str(donor)))}" if donor else text


def _hover(point: Mapping[Any, Any], labels: Mapping[int, str], metric: str) -> str:
    parts = [] if pd.isna(point["budget"]) else [f"K = {point['budget']}"]
    if not pd.isna(point["threshold"]):
        parts.append(f"thr = {point['threshold']:g}")
    value, share = metric_text(point["value"], metric), share_text(point["inputs_processed"])
    parts.append(f"{value} %" if metric == "accuracy" else f"MSE {value}")
    return f"{labels[point['trial']]}<br>{', '.join(parts)} at {share} % of the inputs"


def hypervolume_figure(study: Study, outcome: Outcome) -> Any | None:
    """The hypervolume after each finished trial; None before the first."""
    from plotly import graph_objects as go

    if not outcome.hypervolumes:
        return None
    finished = {trial.number: trial for trial in study.get_trials(deepcopy=False)}
    numbers = list(outcome.trials["trial"])
    complete = [finished[number].state == TrialState.COMPLETE for number in numbers]
    counted = np.arange(1, len(numbers) + 1)
    hover = [
        f"after {place} trials: {volume:.4f}<br>trial {number}: "
        + (html.escape(reason_of(finished[number])) or "complete")
        for place, volume, number in zip(counted, outcome.hypervolumes, numbers, strict=True)
    ]
    figure = go.Figure(
        go.Scatter(
            x=counted, y=outcome.hypervolumes, mode="lines", hoverinfo="skip", showlegend=False,
            line={"color": "#0072B2", "width": 1.5, "shape": "hv"},
        )
    )  # fmt: skip
    for name, wanted, symbol in (("Complete", True, "circle"), ("Stopped early", False, "circle-open")):
        own = [place for place, state in enumerate(complete) if state is wanted]
        if own:
            figure.add_trace(go.Scatter(
                x=counted[own], y=[outcome.hypervolumes[place] for place in own], mode="markers", name=name,
                hovertext=[hover[place] for place in own], hoverinfo="text",
                marker={"symbol": symbol, "size": 7 if len(numbers) < 100 else 4, "color": "#0072B2"},
            ))  # fmt: skip
    few = {"dtick": 1} if len(numbers) < 12 else {}
    figure.update_xaxes(title="Finished trials", rangemode="tozero", zeroline=False, **few)
    figure.update_yaxes(title="Hypervolume (val)", rangemode="tozero", zeroline=False)
    return _laid_out(figure, 380)


def importances_figure(lean: Study) -> tuple[Any | None, str]:
    """Optuna's importances of the settings for both objectives (PED-ANOVA, conditional settings included).

    Args:
        lean: of ``lean_study``.
    Returns:
        the figure and what it shows; or None and why there is none.
    """
    from plotly import graph_objects as go

    trials = lean.get_trials(deepcopy=False)
    if len(trials) < LEAST_TRIALS:
        return None, f"Importances need {LEAST_TRIALS} complete trials; there are {len(trials)}."
    if any(len({trial.values[place] for trial in trials}) == 1 for place in (0, 1)):
        return None, "All complete trials reached the same value of an objective: nothing to attribute."
    share = min(0.5, max(0.1, TOP_TRIALS / len(trials)))
    figure = go.Figure()
    for place, (name, colour) in enumerate(zip(lean.metric_names or (), ("#444444", "#56B4E9"), strict=True)):
        found = _importances(lean, place, share)
        figure.add_trace(go.Bar(
            x=[_short(value) for value in found.values()], y=list(found), name=name, orientation="h",
            marker={"color": colour}, text=[f"{value:.2f}" for value in found.values()],
            textposition="outside", cliponaxis=False, hoverinfo="skip",
        ))  # fmt: skip
    rows = len(figure.data[0].y)
    figure.update_layout(bargap=0.3, barmode="group", legend={"traceorder": "normal"})
    figure.update_xaxes(title="Importance (sums to 1)", rangemode="tozero")
    figure.update_yaxes(autorange="reversed", automargin=True)
    text = (
        f"What tells the best {share:.0%} of the {len(trials)} complete trials from the rest, for each objective "
        "at the trained point (PED-ANOVA, Watanabe et al., 2023). A setting that only some models have counts "
        "for these."
    )
    return _laid_out(figure, 130 + 44 * rows), text


def _importances(lean: Study, place: int, share: float) -> dict[str, float]:
    """Importances for one objective, the largest first. Optuna's own plot of them copies all trials for each bar."""
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_param_importances(
            lean,
            evaluator=PedAnovaImportanceEvaluator(target_quantile=share),
            target=lambda trial: trial.values[place],
        )


def parallel_figure(lean: Study) -> Any | None:
    """Optuna's parallel coordinates of settings and objectives of ``lean_study``; None without a complete trial."""
    if not lean.get_trials(deepcopy=False):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figure = optuna.visualization.plot_parallel_coordinate(lean)
    figure.update_layout(title=None)
    figure.update_traces(opacity=0.8, selector={"mode": "lines"})
    figure.update_annotations(bgcolor="rgba(255,255,255,0.75)", borderpad=0)
    bar = figure.data[-1].marker.colorbar
    bar.tickvals = bar.tickvals[:: 1 + len(bar.tickvals) // 8]
    figure.update_xaxes(side="top", tickangle=0, tickfont={"size": 11})
    figure = _laid_out(figure, 460)
    figure.update_layout(margin={"l": 60, "r": 20, "t": 50, "b": 20})
    return figure


def lean_study(study: Study, outcome: Outcome) -> Study:
    """The complete trials with settings and objectives alone, in memory, the objectives in the page's units."""
    accuracy = outcome.metric == "accuracy"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lean = optuna.create_study(
            storage=optuna.storages.InMemoryStorage(), study_name="lean", directions=["minimize"] * 2
        )
        lean.set_metric_names(["error (%)" if accuracy else "MSE", "inputs (%)"])
    lean.add_trials(
        create_trial(
            params=trial.params,
            distributions=trial.distributions,
            values=[(100 if accuracy else 1) * trial.values[0], 100 * trial.values[1]],
        )
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    )
    return lean


def _rounded(values: Any) -> list[float]:
    """Short numbers, for a small page."""
    return [_short(value) for value in values]


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _laid_out(figure: Any, height: int) -> Any:
    figure.update_layout(
        template="plotly_white", height=height, margin={"l": 70, "r": 20, "t": 30, "b": 60}, hovermode="closest",
        font=FONT, hoverlabel={"align": "left", "bgcolor": "white", "font": FONT | {"size": 13}},
    )  # fmt: skip
    return figure
