"""Claims are answered by their rules: tables on which they hold, tables on which they don't, and none."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from skipw.reproduction.claims_behaviour import BEHAVIOUR_CLAIMS, furthest_back
from skipw.reproduction.claims_front import FRONT_CLAIMS
from skipw.reproduction.evidence import FAILS, HOLDS, UNTESTED, Evidence
from skipw.reproduction.goals import GOALS
from skipw.reproduction.paper import perfect_policy

CLAIMS = {c.statement: c for c in [*FRONT_CLAIMS, *BEHAVIOUR_CLAIMS, *GOALS]}


def verdict(results: Path, words: str) -> str:
    (claim,) = [one for statement, one in CLAIMS.items() if words in statement]
    answer = claim.test(Evidence(results))
    assert answer.figures
    return answer.verdict


def put(results: Path, analysis: str, name: str, table: pd.DataFrame) -> None:
    (results / analysis).mkdir(parents=True, exist_ok=True)
    table.to_csv(results / analysis / f"{name}.csv", index=False)


def rows(dataset: str, model: str, points: list[tuple[float, float]], **facts: object) -> pd.DataFrame:
    """Points (inputs, value), equal on val and test; SkipW's are K = 1, 2, ..."""
    table = pd.DataFrame(points, columns=["inputs", "value"])
    skipw = model == "skipw"
    values = {
        "dataset": dataset, "data_source": "official", "experiment": f"{dataset}-{model}", "model": model,
        "variant": "", "window": len(points) if skipw else None, "threshold": 0.5 if skipw else None,
        "metric": "paper_mse" if dataset == "adding" else "accuracy",
    } | facts  # fmt: skip
    table = table.assign(**values, value_val=table["value"], inputs_val=table["inputs"])
    return table.assign(budget=range(1, len(points) + 1)) if skipw else table.assign(budget=None)


def put_points(results: Path, *tables: pd.DataFrame) -> None:
    everything = pd.concat(tables, ignore_index=True)
    put(results, "tradeoff", f"{everything['dataset'].iloc[0]}-points", everything)


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=lambda c: c.place)
def test_without_tables_nothing_is_answered(claim, tmp_path: Path) -> None:
    assert claim.test(Evidence(tmp_path)).verdict == UNTESTED


@pytest.mark.parametrize(("theirs", "answer"), [(0.90, HOLDS), (0.954, HOLDS), (0.97, FAILS)])
def test_on_par_at_equal_cost(tmp_path: Path, theirs: float, answer: str) -> None:
    for dataset in ("mnist", "imdb", "har"):
        skipw = rows(dataset, "skipw", [(0.1, 0.90), (0.2, 0.95)])
        put_points(
            tmp_path, skipw, *(rows(dataset, model, [(0.2, theirs)]) for model in ("skiprnn", "thrrnn"))
        )
    so_far = verdict(tmp_path, "on par with or better than SkipRNN and ThrRNN")
    assert so_far == (UNTESTED if answer == HOLDS else FAILS)  # the claim is about four data sets
    put_points(tmp_path, *(rows("adding", model, [(0.4, 1e-3)]) for model in ("skipw", "skiprnn", "thrrnn")))
    assert verdict(tmp_path, "on par with or better than SkipRNN and ThrRNN") == answer


def test_models_beyond_the_paper_don_t_answer_its_claims(tmp_path: Path) -> None:
    plain = rows("mnist", "skipw", [(0.1, 0.50), (0.2, 0.60)])
    better = rows(
        "mnist", "skipw", [(0.1, 0.98), (0.2, 0.99)], variant="random budgets", experiment="mnist-many"
    )
    put_points(tmp_path, plain, better, rows("mnist", "skiprnn", [(0.2, 0.9)]))
    assert verdict(tmp_path, "on par with or better than SkipRNN and ThrRNN") == FAILS


def test_a_claim_about_one_model_of_the_paper_is_asked_of_the_one_nearest_to_its_cost(tmp_path: Path) -> None:
    falling = [(0.01 * k, 0.2 + 0.028 * k) for k in range(1, 29)]  # 28 %: falls with every K
    level = [
        (0.15 * min(k, 4) / 4, 0.93 if k >= 4 else 0.9) for k in range(1, 29)
    ]  # 15 %: dominates, and holds
    sparse = rows("mnist", "skipw", level, experiment="mnist-skipw-sparse")
    put_points(tmp_path, sparse)
    assert verdict(tmp_path, "K can fall to 11 of 28") == HOLDS
    put_points(tmp_path, sparse, rows("mnist", "skipw", falling))
    assert verdict(tmp_path, "K can fall to 11 of 28") == FAILS


def test_naive_sampling_must_lose_everywhere(tmp_path: Path) -> None:
    skipw = rows("har", "skipw", [(0.05, 0.90), (0.2, 0.95)])
    naive = [rows("har", model, [(0.05, 0.5), (0.2, 0.6)]) for model in ("random", "periodic")]
    put_points(tmp_path, skipw, *naive)
    solved = rows("adding", "skipw", [(0.4, 1e-4)])
    put_points(tmp_path, solved, *(rows("adding", model, [(0.4, 1e-2)]) for model in ("random", "periodic")))
    assert verdict(tmp_path, "Random and periodic") == HOLDS
    put_points(tmp_path, skipw, rows("har", "random", [(0.05, 0.5), (0.2, 0.99)]))
    assert verdict(tmp_path, "Random and periodic") == FAILS


def test_the_bound_is_a_claim_about_every_point(tmp_path: Path) -> None:
    windows = pd.DataFrame({"dataset": "har", "budget": [1, 2], "points": 3, "exceeded": [False, False]})
    put(tmp_path, "bound", "windows", windows)
    assert verdict(tmp_path, "No window ever holds") == HOLDS
    put(tmp_path, "bound", "windows", windows.assign(exceeded=[False, True]))
    assert verdict(tmp_path, "No window ever holds") == FAILS


def test_four_to_one(tmp_path: Path) -> None:
    falling = [(0.05 + 0.02 * k, 0.93 + 0.012 * min(k, 3)) for k in range(16)]
    put_points(tmp_path, rows("har", "skipw", falling))
    assert verdict(tmp_path, "more than halves the inputs") == HOLDS
    flat = [(0.20 + 0.001 * k, 0.95) for k in range(16)]
    put_points(tmp_path, rows("har", "skipw", flat))
    assert verdict(tmp_path, "more than halves the inputs") == FAILS


@pytest.mark.parametrize(("missed", "answer"), [(0.0, HOLDS), (0.2, FAILS)])
def test_first_markers_are_missed_below_five_only(tmp_path: Path, missed: float, answer: str) -> None:
    parts = pd.DataFrame({"window": 10, "budget": [4, 5], "missed_first": [0.2, missed]})
    put(tmp_path, "parts", "parts", parts)
    assert verdict(tmp_path, "missed only if K < 5") == answer


def test_switching_stays_between_and_rises(tmp_path: Path) -> None:
    def curve(values: list[float]) -> pd.DataFrame:
        return pd.DataFrame({"dataset": "har", "change": "c", "window": 8, "position": range(len(values)),
                             "num_steps": 3, "value": values})  # fmt: skip

    fine = [0.7, 0.8, 0.79, 0.9]
    put(tmp_path, "switching", "switching", curve(fine))
    assert verdict(tmp_path, "can change at any position") == UNTESTED  # of four data sets only one
    everywhere = [curve(fine).assign(dataset=name) for name in ("har", "mnist", "imdb")]
    everywhere.append(curve([0.1, 0.01, 0.01, 0.001]).assign(dataset="adding"))
    put(tmp_path, "switching", "switching", pd.concat(everywhere))
    assert verdict(tmp_path, "can change at any position") == HOLDS
    put(tmp_path, "switching", "switching", curve([0.7, 0.88, 0.72, 0.9]))
    assert verdict(tmp_path, "can change at any position") == FAILS
    put(tmp_path, "switching", "switching", curve([0.9, 0.4, 0.4, 0.9]))
    assert verdict(tmp_path, "can change at any position") == FAILS


def test_how_far_a_curve_falls_back() -> None:
    assert furthest_back(pd.Series([1.0, 3.0, 2.5, 4.0])) == 0.5
    assert furthest_back(pd.Series([4.0, 3.0, 3.5, 1.0])) == 0.5
    assert furthest_back(pd.Series([1.0, 2.0, 3.0])) == 0.0


def test_without_t_the_second_window_is_looked_at(tmp_path: Path) -> None:
    table = pd.DataFrame({"dataset": "adding", "time_feature": ["none", "steps"], "value": [1e-4, 1e-4],
                          "second_window": [1.0, 0.0]})  # fmt: skip
    put(tmp_path, "ablations", "time-features", table)
    assert verdict(tmp_path, "Adding: without t an input") == HOLDS
    put(tmp_path, "ablations", "time-features", table.assign(second_window=[1.0, 1.0]))
    assert verdict(tmp_path, "Adding: without t an input") == FAILS


def test_no_variant_matches_topk(tmp_path: Path) -> None:
    def variants(random_at_two: float) -> pd.DataFrame:
        return pd.DataFrame({
            "window": 8, "budget": [1, 2, 1, 2], "select": ["topk", "topk", "random", "random"],
            "threshold": [0.5, 0.5, 0.0, 0.0], "value": [0.9, 0.95, 0.9, random_at_two], "inputs": 0.1,
        })  # fmt: skip

    put(tmp_path, "selectors", "variants", variants(0.90))
    assert verdict(tmp_path, "neither random, first nor last") == HOLDS
    put(tmp_path, "selectors", "variants", variants(0.95))
    assert verdict(tmp_path, "neither random, first nor last") == FAILS


def test_the_goal_on_adding_is_the_perfect_policy_at_every_budget(tmp_path: Path) -> None:
    policy = perfect_policy(10)
    points = list(zip(policy["inputs"], policy["half_mse"] * 1.04 + 9e-6, strict=True))
    both = ("On the perfect policy", "Along it at every K by one")
    put_points(tmp_path, rows("adding", "skipw", points))
    assert [verdict(tmp_path, goal) for goal in both] == [HOLDS, HOLDS]
    points[3] = (points[3][0] * 1.02, points[3][1])
    put_points(tmp_path, rows("adding", "skipw", points))
    assert [verdict(tmp_path, goal) for goal in both] == [FAILS, FAILS]


def test_the_goal_on_adding_by_a_model_for_each_budget(tmp_path: Path) -> None:
    """Val chooses, test counts."""
    policy = perfect_policy(10)
    points = list(zip(policy["inputs"], policy["half_mse"] * 1.04 + 9e-6, strict=True))
    low, high = (
        [(x * (1.02 if (k < 5) == late else 1.0), y) for k, (x, y) in enumerate(points)] for late in (0, 1)
    )
    table = pd.concat(
        [rows("adding", "skipw", own, experiment=name) for own, name in ((low, "a"), (high, "b"))]
    )
    put_points(tmp_path, table)
    assert verdict(tmp_path, "On the perfect policy") == HOLDS
    assert verdict(tmp_path, "Along it at every K by one") == FAILS
    exact = [*policy["inputs"], *policy["inputs"]]
    promising = table["inputs"] > 1.01 * pd.Series(exact, index=table.index)
    for column in ("inputs", "value"):
        table[f"{column}_val"] = table[column].where(~promising, 0.5 * table[column])
    put_points(tmp_path, table)
    assert verdict(tmp_path, "On the perfect policy") == FAILS


def test_the_goal_at_seven_pixels_a_line(tmp_path: Path) -> None:
    curve = [(k / 30, 0.5 + 0.46 * min(k, 7) / 7) for k in range(1, 29)]
    put_points(tmp_path, rows("mnist", "skipw", curve, variant="random budgets"))
    assert verdict(tmp_path, "At K = 7 of 28") == HOLDS
    put_points(tmp_path, rows("mnist", "skipw", [(x, y - 0.01) for x, y in curve]))
    assert verdict(tmp_path, "At K = 7 of 28") == FAILS
