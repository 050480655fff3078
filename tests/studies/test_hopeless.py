"""Trials without hope end early, each says why, and those with hope go on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest

from skipw.studies.hopeless import Hopeless, Moment

STEPS, NUM_STEPS, CONSTANT = 1000, 50, 0.2


def rule(past: Mapping[str, Sequence[Moment]] | None = None, metric: str = "mse") -> Hopeless:
    return Hopeless(metric, STEPS, NUM_STEPS, CONSTANT, past or {})


def feed(watched: Hopeless, history: Sequence[tuple[float, float, float]]) -> int | None:
    """Hand over (share of the run, error, inputs) until the rule says stop; the place where it did."""
    for place, (fraction, error, inputs) in enumerate(history):
        value = 1 - error if watched.metric == "accuracy" else error
        row = {"step": fraction * STEPS, f"val_{watched.metric}": value, "val_inputs_processed": inputs}
        if watched(row):
            return place
    return None


def run(error: float, inputs: float, validations: int = 10) -> list[tuple[float, float, float]]:
    return [((i + 1) / validations, error, inputs) for i in range(validations)]


def peers(error: float, inputs: float, number: int = 5) -> dict[str, list[Moment]]:
    return {f"trial {i}": [Moment(*row) for row in run(error, inputs)] for i in range(number)}


def test_a_good_trial_runs_to_its_end() -> None:
    watched = rule(peers(0.05, 0.3))
    assert feed(watched, run(0.05, 0.3)) is None
    assert watched.reason is None and len(watched.moments) == 10


def test_dead_gates_end_a_trial_after_two_validations_in_a_row() -> None:
    watched = rule()
    assert feed(watched, run(0.05, 0.9 / NUM_STEPS)) == 2  # 0.1 is too early, 0.2 the first, 0.3 the second
    assert watched.reason == "dead gates: 0.9 inputs a sequence at 30% of the run"


def test_gates_that_open_again_or_let_one_input_through_are_alive() -> None:
    dead, alive = 0.5 / NUM_STEPS, 1.0 / NUM_STEPS
    assert feed(rule(), run(0.05, alive)) is None
    history = [((i + 1) / 10, 0.05, dead if i % 2 else alive) for i in range(10)]
    assert feed(rule(), history) is None


def test_gates_may_be_shut_at_the_very_beginning() -> None:
    history = [(0.05 * (i + 1), 0.05, 0.0 if i < 3 else 0.5) for i in range(20)]
    assert feed(rule(), history) is None  # 0.05, 0.10, and 0.15 once


def test_no_learning_ends_a_trial_at_half_its_run() -> None:
    watched = rule()
    assert feed(watched, run(0.197, 0.5)) == 4
    assert watched.reason is not None
    assert watched.reason.startswith("no learning: error 0.197 at best after 50% of the run")
    assert "0.2" in watched.reason.rpartition("constant predictor")[2]


def test_a_gain_of_two_percent_is_learning_and_so_is_one_that_was_lost_again() -> None:
    assert feed(rule(), run(0.1959, 0.5)) is None
    assert feed(rule(), run(0.1961, 0.5)) == 4
    once = [(fraction, 0.1 if i == 1 else 0.3, inputs) for i, (fraction, _, inputs) in enumerate(run(0, 0.5))]
    assert feed(rule(), once) is None


def test_a_late_bloomer_is_not_stopped() -> None:
    watched = rule(peers(0.19, 0.5))
    history = [((i + 1) / 10, 0.2 if i < 4 else 0.19 - 0.03 * (i - 4), 0.5) for i in range(10)]
    assert feed(watched, history) is None
    assert watched.reason is None


def test_a_dominated_trial_ends_after_two_validations_in_a_row_and_names_its_better() -> None:
    watched = rule(peers(0.05, 0.3))
    assert feed(watched, run(0.09, 0.45)) == 3  # 0.3 and 0.4 of the run
    assert watched.reason == (
        "dominated at 40% of the run: error 0.09 with 45.0% of the inputs, where trial 0 had 0.05 with 30.0%"
    )


def test_domination_needs_a_margin_in_both_objectives() -> None:
    past = peers(0.05, 0.3)
    assert feed(rule(past), run(0.069, 0.45)) is None  # 0.1 of 0.2 is 0.02
    assert feed(rule(past), run(0.071, 0.45)) == 3
    assert feed(rule(past), run(0.09, 0.39)) is None
    assert feed(rule(past), run(0.09, 0.41)) == 3
    assert feed(rule(past), run(0.01, 1.0)) is None  # dearer and better: another part of the front
    assert feed(rule(past), run(0.15, 0.05)) is None  # cheaper and worse


def test_few_peers_judge_nobody() -> None:
    assert feed(rule(peers(0.01, 0.1, number=4)), run(0.15, 0.9)) is None
    assert feed(rule(peers(0.01, 0.1, number=5)), run(0.15, 0.9)) == 3


def test_one_bad_validation_is_forgiven() -> None:
    history = [((i + 1) / 10, 0.09 if i % 2 else 0.05, 0.45) for i in range(10)]
    assert feed(rule(peers(0.05, 0.3)), history) is None


def test_peers_are_compared_at_the_same_share_of_the_run_and_never_later() -> None:
    late = {
        f"trial {i}": [Moment((k + 1) / 10, 0.19 if k < 8 else 0.01, 0.1) for k in range(10)]
        for i in range(5)
    }
    slow = [((i + 1) / 10, 0.19 - 0.015 * i, 0.45) for i in range(9)]
    assert feed(rule(late), slow) is None
    short = {
        f"trial {i}": [Moment(0.1, 0.01, 0.1)] for i in range(5)
    }  # stopped at a tenth: says nothing later
    assert feed(rule(short), run(0.15, 0.9)) is None


def test_the_last_validation_stops_nothing() -> None:
    """The training is over anyway, and its points may still be good."""
    assert feed(rule(), [(0.95, 0.1, 0.0), (1.0, 0.1, 0.0)]) is None
    watched = rule(peers(0.01, 0.1))
    assert feed(watched, [(0.9, 0.15, 0.9), (1.0, 0.15, 0.9)]) is None
    assert watched.reason is None


def test_accuracy_counts_as_error() -> None:
    watched = Hopeless("accuracy", STEPS, NUM_STEPS, 0.8, {})
    assert feed(watched, run(0.79, 0.5)) == 4
    assert watched.moments[0].error == pytest.approx(0.79)
    assert feed(Hopeless("accuracy", STEPS, NUM_STEPS, 0.8, {}), run(0.5, 0.5)) is None


@pytest.mark.parametrize("place", [0, 3])
def test_one_value_that_is_no_number_is_not_the_end(place: int) -> None:
    history = [
        (fraction, math.nan if i == place else 0.05, 0.4) for i, (fraction, _, _) in enumerate(run(0, 0))
    ]
    assert feed(rule(peers(0.05, 0.3)), history) is None


def test_nothing_but_nan_is_no_learning() -> None:
    assert feed(rule(), run(math.nan, 0.5)) == 4


@pytest.mark.parametrize("stop", [2, 3, 4])
def test_a_trial_that_goes_on_gets_the_verdict_that_it_would_have_got(stop: int) -> None:
    history, past = run(0.09, 0.45), peers(0.05, 0.3)
    whole = rule(past)
    feed(whole, history)
    before, after = rule(past), rule(past)
    feed(before, history[:stop])
    feed(after, history[:stop])  # what was written into the checkpoint
    if after.reason is None:
        feed(after, history[stop:])
    assert after.reason == whole.reason


def test_a_verdict_stays() -> None:
    watched = rule()
    feed(watched, run(0.05, 0.0))
    reason = watched.reason
    assert watched({"step": 900, "val_mse": 0.01, "val_inputs_processed": 0.5})
    assert watched.reason == reason
