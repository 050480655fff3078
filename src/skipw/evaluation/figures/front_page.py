"""The front of a data set as an interactive page that needs no network: front.html."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from skipw.evaluation.curves import Curve, curves_of, random_band
from skipw.evaluation.document import table_html
from skipw.evaluation.figures.axes import COST_LABEL, is_logarithmic, on_axis, value_label
from skipw.evaluation.front import operating_points
from skipw.evaluation.page import front_table_cells, page

__all__ = ["write_front_page"]

SYMBOLS = {
    "skipw": "triangle-up",
    "thrrnn": "circle",
    "skiprnn": "diamond",
    "dense": "square",
    "random": "line-ns",
    "periodic": "x-thin-open",
}
GAP = (None, None, "", 6)
DASHES = {"thrrnn": "dash", "periodic": "dot"}


def write_front_page(
    path: Path,
    grid: pd.DataFrame,
    front: pd.DataFrame,
    repeats: pd.DataFrame | None,
    *,
    title: str,
    data_source: str,
    metric: str,
    constant: Mapping[str, float],
) -> None:
    """Write the page: every model's curve with its operating points on hover, the front marked, and its
    table.

    Args:
        path: of the HTML file, plotly.js inside.
        grid, front, repeats: the tables of grid.csv (all experiments), front.csv and repeats.csv.
        title: the data source's own name.
        data_source: as recorded; a substitute is announced in red.
        metric: "accuracy" or "mse".
        constant: what the constant predictor reaches, for val and for test.
    """
    curves = curves_of(grid, metric)
    traces = {
        split: _traces(curves, grid, front, repeats, metric, constant, split) for split in ("test", "val")
    }
    figure = _figure(traces, metric)
    searched = any(curve.group is not None for curve in curves)
    pale = " Pale: trials of a search, those on its own front." if searched else ""
    body = [
        "<p>Each mark is an operating point, on hover with its numbers. Buttons switch between the test and "
        "the validation values; the front was chosen on validation. A click on the legend hides a curve, a "
        f"double click shows it alone.{pale}</p>",
        figure.to_html(
            full_html=False,
            include_plotlyjs=True,
            div_id="front",
            config={"displaylogo": False, "responsive": True},
        ),
        f"<h2>The {len(front) // 2} points of the front</h2>",
        table_html(front_table_cells(front, metric)),
    ]
    path.write_text(page(f"{title}: Pareto front", data_source, "\n".join(body)), encoding="utf-8")


def _figure(traces: Mapping[str, list[Any]], metric: str) -> Any:
    """The test traces, with buttons that give every trace the values of the other split."""
    from plotly import graph_objects as go

    figure = go.Figure(traces["test"])
    keys = ("x", "y", "text", "hovertext")
    buttons = [
        {
            "label": {"test": "Test", "val": "Validation"}[split],
            "method": "restyle",
            "args": [{key: [_plain(trace[key]) for trace in traces[split]] for key in keys}],
        }
        for split in ("test", "val")
    ]
    logarithmic = is_logarithmic(metric)
    place = {"x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}
    figure.update_layout(
        template="plotly_white",
        height=620,
        margin={"l": 70, "r": 20, "t": 50, "b": 60},
        hovermode="closest",
        font={"family": "system-ui, sans-serif", "size": 14},
        legend={"groupclick": "toggleitem", "tracegroupgap": 6},
        updatemenus=[{"type": "buttons", "direction": "right", "buttons": buttons, **place}],
    )
    figure.update_xaxes(title=COST_LABEL, range=[-3, 102], zeroline=False)
    figure.update_yaxes(title=value_label(metric), zeroline=False, exponentformat="power")
    figure.update_yaxes(type="log" if logarithmic else "linear", dtick=1 if logarithmic else None)
    return figure


def _plain(values: Any) -> list[Any]:
    """A trace's values as a list that JSON can hold."""
    return [] if values is None else [value.item() if hasattr(value, "item") else value for value in values]


def _traces(
    curves: list[Curve],
    grid: pd.DataFrame,
    front: pd.DataFrame,
    repeats: pd.DataFrame | None,
    metric: str,
    constant: Mapping[str, float],
    split: str,
) -> list[Any]:
    from plotly import graph_objects as go

    level = on_axis(constant[split], metric)
    traces = [
        go.Scatter(
            x=[0, 100], y=[level, level], hovertext=[f"constant predictor: {level:.4g}"] * 2, mode="lines",
            name="Constant predictor", hoverinfo="text", line={"color": "#444444", "dash": "dot", "width": 1},
        )
    ]  # fmt: skip
    if repeats is not None and len(repeats):
        traces.append(_band(repeats, metric, split))
    for group in dict.fromkeys(curve.group for curve in curves if curve.group is not None):
        traces.append(_searched([curve for curve in curves if curve.group == group], metric, split))
    traces += [_curve(curve, metric, split) for curve in curves if curve.group is None]
    trials = {curve.experiment: curve.name for curve in curves if curve.group is not None}
    return [*traces, _chosen(front, grid, trials, metric, split)]


def _band(repeats: pd.DataFrame, metric: str, split: str) -> Any:
    """Three standard deviations on each side of the mean of random subsampling, as a closed outline."""
    from plotly import graph_objects as go

    band = random_band(repeats, metric, split)
    cost = 100 * band["inputs_processed"]
    low = band["low"].clip(lower=1e-9) if is_logarithmic(metric) else band["low"]
    outline = [*on_axis(band["high"], metric), *on_axis(low, metric)[::-1]]
    return go.Scatter(
        x=[*cost, *cost[::-1]], y=outline, fill="toself", hoverinfo="skip", mode="lines",
        fillcolor="rgba(140,140,140,0.25)", line={"width": 0}, name="Random ± 3 standard deviations",
    )  # fmt: skip


def _curve(curve: Curve, metric: str, split: str) -> Any:
    from plotly import graph_objects as go

    faint = not curve.main
    single = curve.model in ("dense", "skiprnn")
    name = curve.name if curve.threshold is None else f"{curve.name}, thr = {curve.threshold:g}"
    return go.Scatter(
        x=100 * curve.points[f"inputs_processed_{split}"],
        y=on_axis(curve.points[f"value_{split}"], metric),
        hovertext=[_hover(curve.name, point, metric) for _, point in curve.points.iterrows()],
        hoverinfo="text",
        mode="markers" if single else "lines+markers",
        name=html.escape(name),
        legendgroup=curve.experiment,
        opacity=0.5 if faint else 1.0,
        line={"color": curve.colour, "width": 1 if faint else 2, "dash": DASHES.get(curve.model, "solid")},
        marker={"symbol": SYMBOLS[curve.model], "size": 5 if faint else 9, "color": curve.colour,
                "line": {"width": 2 if curve.model in ("random", "periodic") else 0, "color": curve.colour}},
    )  # fmt: skip


def _searched(curves: list[Curve], metric: str, split: str) -> Any:
    """All trials of a kind of model in one entry of the legend: thin pale lines with gaps between them.

    Points at a threshold other than the trained one are small marks without a line.
    """
    from plotly import graph_objects as go

    model, colour = curves[0].model, curves[0].colour
    columns = [f"inputs_processed_{split}", f"value_{split}"]
    marks: list[tuple[float | None, float | None, str, int]] = []
    for curve in curves:
        for _, point in curve.points.iterrows():
            cost, value = point[columns]
            label = _hover(curve.name, point, metric)
            marks.append((100 * cost, on_axis(value, metric), label, 6 if curve.main else 4))
            if not curve.main:
                marks.append(GAP)
        marks.append(GAP)
    x, y, labels, sizes = zip(*marks, strict=True)
    return go.Scatter(
        x=x, y=y, hovertext=labels, hoverinfo="text", mode="markers" if model == "skiprnn" else "lines+markers",
        name=f"{curves[0].group} ({len({curve.experiment for curve in curves})})", legendrank=1001,
        line={"color": colour, "width": 1, "dash": DASHES.get(model, "solid")},
        marker={"symbol": SYMBOLS[model], "size": sizes, "opacity": 1, "color": colour},
    )  # fmt: skip


def _chosen(
    front: pd.DataFrame, grid: pd.DataFrame, trials: Mapping[str, str], metric: str, split: str
) -> Any:
    """The front as a staircase with a ring and its aliases at each point; trials are called by their names."""
    from plotly import graph_objects as go

    rows = front[front["split"] == split]
    points = operating_points(grid, metric).set_index(f"row_{split}")
    by_value = points.set_index(["experiment", f"inputs_processed_{split}", f"value_{split}"], drop=False)
    labels, names = [], []
    for _, row in rows.iterrows():
        found = by_value.loc[[(row["experiment"], row["inputs_processed"], row["value"])]].iloc[0]
        names.append(str(row["alias"]).replace(";", ", "))
        experiment = str(row["experiment"])
        about = _hover(trials.get(experiment, experiment), found, metric)
        labels.append(f"<b>{names[-1] or 'on the front'}</b><br>{about}")
    return go.Scatter(
        x=100 * rows["inputs_processed"], y=on_axis(rows["value"], metric),
        hovertext=labels, hoverinfo="text",
        mode="lines+markers+text", text=[f"<b>{name}</b>" if name else "" for name in names],
        cliponaxis=False, textposition=[_side(name, metric) for name in names], textfont={"size": 13},
        name="<b>Pareto front</b>", legendrank=1002 if trials else None,
        line={"color": "black", "width": 1, "shape": "hv"},
        marker={"symbol": "circle-open", "size": 15, "color": "black", "line": {"width": 1.6}},
    )  # fmt: skip


def _side(aliases: str, metric: str) -> str:
    """Where an alias stands, away from its curve and from the axis."""
    if "cheapest" in aliases:
        return "top right"
    return "top left" if metric == "accuracy" else "bottom left"


def _hover(name: str, point: pd.Series, metric: str) -> str:
    """Everything about an operating point, both splits."""
    lines = [f"<b>{html.escape(name)}</b>"]
    if not pd.isna(point["budget"]):
        lines.append(f"budget K = {point['budget']}")
    if not pd.isna(point["threshold"]):
        lines.append(f"threshold = {point['threshold']:g}")
    for split in ("test", "val"):
        value = on_axis(point[f"value_{split}"], metric)
        shown = f"{value:.2f} %" if metric == "accuracy" else f"MSE {value:.3g}"
        lines.append(f"{split}: {shown} at {100 * point[f'inputs_processed_{split}']:.1f} % of the inputs")
    lines.append(f"most inputs in a window: {point['max_inputs_in_window_test']}")
    return "<br>".join(lines)
