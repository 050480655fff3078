"""What the pipeline has left behind: grids, fronts, registered versions. Run in the folder where it ran.

python tests/tiny/check_results.py [--data data]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd

from skipw.params import DATASETS, load
from skipw.tracking.store import connect, experiment_name

MODELS = {"skipw", "thrrnn", "skiprnn", "dense", "random", "periodic"}


def check(data: Path, dataset: str) -> str:
    """One data set; returns a line about it."""
    front = pd.read_csv(data / "pareto" / dataset / "front.csv")
    assert front["alias"].fillna("").str.contains("most-accurate").any() or front.empty, (
        "no alias on the front"
    )
    for page in ("front.html", "front.png", "summary.json"):
        assert (data / "pareto" / dataset / page).stat().st_size > 0
    grids = [pd.read_csv(path) for path in sorted((data / "evaluation" / dataset).glob("*/grid.csv"))]
    table = pd.concat(grids, ignore_index=True)
    assert set(table["model"]) == MODELS
    assert set(table["split"]) == {"val", "test"}
    assert table["data_source"].nunique() == 1
    assert (table["inputs_processed"].between(0, 1)).all()
    bounded = table[(table["model"] == "skipw") & table["budget"].notna()]
    assert (bounded["max_inputs_in_window"] <= bounded["budget"]).all(), "a window exceeds its budget"

    study = json.loads((data / "studies" / dataset / "study.json").read_text(encoding="utf-8"))
    trials = study["trials"]
    assert trials["complete"] + trials["stopped"] == trials["wanted"], f"the study of {dataset}: {trials}"
    assert (data / "studies" / dataset / "study.html").stat().st_size > 0

    registry = json.loads((data / "registry" / dataset / "registry.json").read_text(encoding="utf-8"))
    experiments = set(front["experiment"])
    assert {version["experiment"] for version in registry["versions"]} == experiments
    versions = connect().client.search_model_versions(f"name = '{experiment_name(dataset)}'")
    assert len(versions) == len(experiments), f"{len(versions)} versions for {len(experiments)} models"
    counts = f"{len(table)} grid rows, {len(front) // 2} front points, {len(versions)} versions"
    return f"{dataset} ({table['data_source'].iloc[0]}): {counts}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"))
    data = parser.parse_args().data
    assert load("params.yaml").scale == "tiny"
    lines = [check(data, dataset) for dataset in DATASETS]
    print("\n".join(lines))
    assert not all(line.endswith(" 0 versions") for line in lines), "nothing was registered at all"
    assert (data / "report" / "report.html").stat().st_size > 0
    json.loads((data / "report" / "metrics.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
