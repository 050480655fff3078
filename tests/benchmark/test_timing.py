"""The timing loop, with a clock that the contestants move."""

from __future__ import annotations

import pytest

from skipw.benchmark.timing import Rounds, Spread, interleave, ratios
from skipw.errors import ParamsError


@pytest.fixture(autouse=True)
def no_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Collecting the garbage of a whole test session takes longer than these tests."""
    monkeypatch.setattr("skipw.benchmark.timing.gc.collect", lambda: 0)


class Track:
    """Runs of named contestants, each of which takes as long as its list says, run by run."""

    def __init__(self, **seconds: list[float]) -> None:
        self.now, self.seconds, self.runs = 100.0, seconds, []

    def clock(self) -> float:
        return self.now

    def contestants(self) -> dict:
        return {name: lambda name=name: self.run(name) for name in self.seconds}

    def run(self, name: str) -> None:
        done = self.runs.count(name)
        self.runs.append(name)
        self.now += self.seconds[name][min(done, len(self.seconds[name]) - 1)]


def test_everybody_runs_once_a_round_in_changing_order() -> None:
    track = Track(a=[1.0], b=[2.0], c=[3.0])
    taken = interleave(track.contestants(), Rounds(8, 8), clock=track.clock)
    assert taken == {"a": [1.0] * 8, "b": [2.0] * 8, "c": [3.0] * 8}
    timed = track.runs[3:]  # after the warm-up
    rounds = [tuple(timed[i : i + 3]) for i in range(0, len(timed), 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len(set(rounds)) > 2


def test_the_warm_up_is_not_timed() -> None:
    track = Track(a=[50.0, 1.0, 2.0, 3.0])
    assert interleave(track.contestants(), Rounds(3, 3), clock=track.clock) == {"a": [1.0, 2.0, 3.0]}


def test_the_last_of_several_runs_in_a_row_is_timed() -> None:
    track = Track(a=[9.0, 5.0, 5.0, 1.0, 5.0, 5.0, 2.0], b=[9.0, 7.0, 7.0, 3.0, 7.0, 7.0, 4.0])
    taken = interleave(track.contestants(), Rounds(2, 2), clock=track.clock, runs=3)
    assert taken == {"a": [1.0, 2.0], "b": [3.0, 4.0]}
    blocks = [track.runs[2 + i : 5 + i] for i in range(0, 12, 3)]
    assert all(len(set(block)) == 1 for block in blocks)  # nobody in between


def test_seconds_end_the_rounds_but_not_before_the_least() -> None:
    track = Track(a=[1.0], b=[1.0])
    assert len(interleave(track.contestants(), Rounds(2, 50, seconds=9.0), clock=track.clock)["a"]) == 5
    slow = Track(a=[100.0])
    assert len(interleave(slow.contestants(), Rounds(3, 50, seconds=9.0), clock=slow.clock)["a"]) == 3


def test_the_same_seed_gives_the_same_orders() -> None:
    runs = []
    for seed in (1, 1, 2):
        track = Track(a=[1.0], b=[1.0], c=[1.0])
        interleave(track.contestants(), Rounds(6, 6), clock=track.clock, seed=seed)
        runs.append(track.runs)
    assert runs[0] == runs[1] != runs[2]


def test_medians_and_quartiles() -> None:
    assert Spread.of([4.0, 1.0, 3.0, 2.0, 5.0]) == Spread(3.0, 2.0, 4.0)
    assert Spread.of([1.0, 2.0]) == Spread(1.5, 1.25, 1.75)
    assert Spread.of([7.0]) == Spread(7.0, 7.0, 7.0)


def test_ratios_are_taken_round_by_round() -> None:
    """A machine that is ten times slower in one round changes no ratio."""
    spread = ratios([1.0, 20.0, 3.0], [2.0, 40.0, 6.0])
    assert spread == Spread(0.5, 0.5, 0.5)
    with pytest.raises(ValueError):
        ratios([1.0], [1.0, 2.0])


def test_rounds_are_checked() -> None:
    with pytest.raises(ParamsError, match="1 <= least <= most"):
        Rounds(6, 5)
