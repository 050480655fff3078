"""What these runs were to reach beyond the paper, each as a rule on the tables."""

from __future__ import annotations

import pandas as pd

from skipw.reproduction.claims_front import at_par
from skipw.reproduction.evidence import Answer, Claim, Evidence, answered, untested
from skipw.reproduction.paper import perfect_policy
from skipw.reproduction.points import advantage, best_within

__all__ = ["GOALS"]

MNIST_GOALS = ((0.27, 0.98), (0.15, 0.97), (0.045, 0.92))


def _skipw(evidence: Evidence, dataset: str) -> pd.DataFrame:
    """The points of all SkipW models, the paper's and those beyond it."""
    points = evidence.points(dataset)
    return points[points["model"] == "skipw"] if len(points) else points


def _adding(evidence: Evidence) -> Answer:
    """Each K by the model that comes closest to its envelope on val."""
    points = _along_the_envelope(evidence)
    if points is None:
        return untested("no window for which the perfect policy is known")
    points["val"] = _excess(points, "value_val", "inputs_val")
    chosen = points.loc[points.groupby(["window", "budget"])["val"].idxmin()]
    best, total = _most_met(chosen, "window")
    missed = best.loc[~best["met"], "budget"]
    text = f"{int(best['met'].sum())} of {total} K by {best['experiment'].nunique()} models"
    if len(missed):
        text += f"; missed at K = {', '.join(map(str, missed))}"
    return answered(bool(best["met"].sum() == total), text)


def _adding_by_one(evidence: Evidence) -> Answer:
    points = _along_the_envelope(evidence)
    if points is None:
        return untested("no window for which the perfect policy is known")
    best, total = _most_met(points, "experiment")
    worst = (best["inputs"] / best["policy_inputs"]).max()
    text = f"{best['experiment'].iloc[0]}: {int(best['met'].sum())} of {total} K"
    return answered(
        bool(best["met"].sum() == total), f"{text}; inputs at most {worst:.2f} times the policy's"
    )


def _along_the_envelope(evidence: Evidence) -> pd.DataFrame | None:
    """SkipW's points at thr = 0.5 beside the perfect policy's; ``met`` where both limits are kept on test."""
    points = _skipw(evidence, "adding")
    if points.empty:
        return None
    at_half = points[(points["threshold"] - 0.5).abs() < 1e-9]
    tables = []
    for window in sorted({int(window) for window in at_half["window"]}):
        policy = perfect_policy(window).rename(columns=lambda name: f"policy_{name}")
        own = at_half[at_half["window"] == window]
        tables.append(own.merge(policy, left_on="budget", right_on="policy_budget"))
    known = [table for table in tables if len(table)]
    if not known:
        return None
    found = pd.concat(known, ignore_index=True)
    return found.assign(met=_excess(found, "value", "inputs") <= 1)


def _excess(points: pd.DataFrame, value: str, inputs: str) -> pd.Series:
    """How much of the worse of the two limits is used: at most 1 where both are kept."""
    error = points[value] / (1.05 * points["policy_half_mse"] + 1e-5)
    return pd.concat([error, points[inputs] / (1.01 * points["policy_inputs"])], axis=1).max(axis=1)


def _most_met(points: pd.DataFrame, by: str) -> tuple[pd.DataFrame, int]:
    """The group that keeps the limits at most K, and how many K its window's policy has."""
    groups = [group.sort_values("budget") for _, group in points.groupby(by)]
    best = max(groups, key=lambda group: int(group["met"].sum()))
    return best, len(perfect_policy(int(best["window"].iloc[0])))


def _mnist(evidence: Evidence) -> Answer:
    points = _skipw(evidence, "mnist")
    if points.empty:
        return untested("not run")
    texts, verdicts = [], []
    for cost, wanted in MNIST_GOALS:
        best = best_within(points, cost)
        value = 0.0 if best is None else float(best["value"])
        verdicts.append(value >= wanted)
        shown = "no point" if best is None else f"{100 * value:.1f} % at {100 * best['inputs']:.1f} %"
        texts.append(f"≤ {100 * cost:g} %: {shown} (wanted {100 * wanted:g})")
    return answered(all(verdicts), "; ".join(texts))


def _mnist_seven(evidence: Evidence) -> Answer:
    points = _skipw(evidence, "mnist")
    own = points[(points["budget"] == 7) & (points["window"] == 28)] if len(points) else points
    if own.empty:
        return untested("not run")
    best = best_within(own, 1.0)
    if best is None:
        return untested("no point that processes anything")
    text = f"{100 * best['value']:.1f} % at {100 * best['inputs']:.1f} % (paper 57.5 at 21.3; {best['experiment']})"
    return answered(best["value"] >= 0.96, text)


def _imdb(evidence: Evidence) -> Answer:
    points = evidence.points("imdb")
    own, dense = _skipw(evidence, "imdb"), points[points["model"] == "dense"] if len(points) else points
    if own.empty or dense.empty:
        return untested("not run")
    best, whole = best_within(own, 0.5), best_within(dense, 1.0)
    if best is None or whole is None:
        return untested("no point at half the inputs")
    skiprnn = points[points["model"] == "skiprnn"]
    table = advantage(own, skiprnn)
    above = bool((table["gain"] > 0).all()) if len(table) else False
    text = (
        f"{100 * best['value']:.1f} % at {100 * best['inputs']:.1f} %, dense {100 * whole['value']:.1f} %; "
        f"above SkipRNN at {int((table['gain'] > 0).sum())} of {len(table)} costs"
    )
    return answered(best["value"] >= whole["value"] - 0.005 and above, text)


def _har(evidence: Evidence) -> Answer:
    points, own = evidence.points("har"), _skipw(evidence, "har")
    if own.empty:
        return untested("not run")
    texts, verdicts = [], []
    for model, name in (("thrrnn", "ThrRNN"), ("skiprnn", "SkipRNN"), ("random", "random")):
        table = advantage(own, points[points["model"] == model])
        if table.empty:
            continue
        above = table["gain"] >= 0
        verdicts.append(bool(above.all()))
        par = int(at_par(table["gain"], "accuracy").sum())
        texts.append(
            f"{name}: at or above at {int(above.sum())} of {len(table)} costs, within half a point at {par}"
        )
    return answered(all(verdicts), "; ".join(texts)) if verdicts else untested("no baseline")


def _anytime(evidence: Evidence) -> Answer:
    table = evidence.table("anytime", "at-every-budget")
    table = table.dropna(subset=["one_cost_value"]) if len(table) else table
    if table.empty:
        return untested("models at many budgets and models of one cost are needed")
    texts, verdicts = [], []
    for dataset, own in table.groupby("dataset"):
        error = dataset == "adding"
        good = own["value"] <= own["one_cost_value"] if error else own["value"] >= own["one_cost_value"]
        verdicts.append(bool(good.all()))
        gap = own["one_cost_value"] / own["value"] if error else 100 * (own["value"] - own["one_cost_value"])
        worst = f"{gap.min():.2f} times as good" if error else f"{gap.min():+.1f} points"
        texts.append(
            f"{dataset}: {int(good.sum())} of {len(own)} K by {own['experiment'].iloc[0]}, at worst {worst}"
        )
    return answered(all(verdicts), "; ".join(texts))


GOALS = [
    Claim("Adding", "On the perfect policy's envelope at every K.",
          "½MSE ≤ 1.05 times the policy's + 1e-5 with inputs ≤ 1.01 times its, at thr = 0.5; for each K the SkipW that "
          "keeps both best on val.", _adding),
    Claim("Adding", "Along it at every K by one model.", "The same limits, of a single SkipW.", _adding_by_one),
    Claim("MNIST", "98 % at 27 % of the inputs, 97 % at 15 %, 92 % at 4.5 %.",
          "Best SkipW point on val within each cost; test value.", _mnist),
    Claim("MNIST", "At K = 7 of 28, where the paper falls to 57.5 %, at least 96 %.",
          "Best SkipW at K = 7 on val; test value.", _mnist_seven),
    Claim("IMDB", "Within half a point of the dense model at half the inputs, and above SkipRNN at equal cost.",
          "Both, at every common level.", _imdb),
    Claim("HAR", "At or above ThrRNN, SkipRNN and random sampling at every equal cost.",
          "At every common level.", _har),
    Claim("All", "One model of many budgets is, at every K, at least as good as a model trained for that cost.",
          "The model that meets this at the largest share of its K on val; at each K of it, on test, against the SkipW "
          "of one cost that is best on val with no more inputs where it was trained, if there is one.", _anytime),
]  # fmt: skip
