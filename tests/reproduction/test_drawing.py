"""Figures of the report whose texts are as long as the models' names make them."""

from __future__ import annotations

import pytest

from skipw.reproduction.drawing import legend_below, panels


@pytest.mark.parametrize(("length", "columns"), [(10, 3), (40, 2), (90, 1), (400, 1)])
def test_a_legend_has_as_many_columns_as_fit(length: int, columns: int) -> None:
    figure, axes = panels(2)
    for index in range(6):
        axes[index % 2].plot([0, 1], label=f"{index} " + "x" * length)
    legend_below(figure, axes)
    (legend,) = figure.legends
    assert legend._ncols == columns
    assert len(legend.get_texts()) == 6
    fits = legend.get_window_extent(figure.canvas.get_renderer()).width <= figure.bbox.width
    assert fits or columns == 1


def test_nothing_to_name_is_no_legend() -> None:
    figure, axes = panels(1)
    axes[0].plot([0, 1])
    legend_below(figure, axes)
    assert not figure.legends
