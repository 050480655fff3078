"""Does the search beat random search at equal trials? Studies of several seeds, their hypervolumes compared.

python benchmarks/search.py adding har [--trials 16] [--seeds 3] [--out benchmarks/results/search.json]

Arms: ``search`` is what `skipw search` does (the recipes' values first, then TPE, warm starts); ``tpe`` is TPE alone,
``random`` is random search. All stop hopeless trials early. Studies live in a folder of their own and resume, so a
killed comparison goes on. The data sets must be prepared (`dvc repro prepare`).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import statistics
from pathlib import Path
from typing import Any

from skipw.params import SearchSettings, load

log = logging.getLogger("compare")
EPOCHS = {"adding": 0.1, "har": 0.7, "mnist": 0.2, "imdb": 0.4}
ARMS: dict[str, dict[str, Any]] = {
    "search": {"sampler": "tpe", "from_recipe": True, "warm_start": True},
    "tpe": {"sampler": "tpe", "from_recipe": False, "warm_start": False},
    "random": {"sampler": "random", "from_recipe": False, "warm_start": False},
}


def compare(
    dataset: str, arms: list[str], seeds: int, trials: int, params_path: Path, data: Path, work: Path
) -> list[dict[str, Any]]:
    """The hypervolume after each trial, a row an arm and seed."""
    os.environ["SKIPW_MLRUNS"] = str(work.absolute())
    from skipw.studies.search import run_search

    params = load(params_path)
    rows = []
    for seed in range(seeds):
        for arm in arms:
            search = SearchSettings(trials=trials, epochs=EPOCHS[dataset], seed=seed, **ARMS[arm])
            # One sampler or another is the same search to a study, so each arm has a storage of its own.
            storage = str(work / f"{dataset}-{arm}.journal")
            outcome = run_search(
                dataset, params, params_path, search, data, storage=storage, tracking=False, publishing=False
            )
            volumes = [round(volume, 6) for volume in outcome.hypervolumes[:trials]]
            rows.append(
                {
                    "dataset": dataset,
                    "data_source": outcome.data_source,
                    "arm": arm,
                    "seed": seed,
                    "hypervolume": volumes,
                    "stopped_early": outcome.counts.stopped,
                    "settings": dataclasses.asdict(search),
                }
            )
            log.info("%s, %s, seed %d: hypervolume %.4f", dataset, arm, seed, volumes[-1])
    return rows


def table(rows: list[dict[str, Any]], trials: int) -> str:
    """Mean, smallest and largest hypervolume of each arm, at half of the trials and at all."""
    lines = [
        "| data set | arm | after half of the trials | after all: mean | smallest to largest |",
        "|---|---|---|---|---|",
    ]
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        for arm in ARMS:
            own = [row["hypervolume"] for row in rows if (row["dataset"], row["arm"]) == (dataset, arm)]
            if not own:
                continue
            half, last = [volumes[trials // 2 - 1] for volumes in own], [volumes[-1] for volumes in own]
            lines.append(
                f"| {dataset} | {arm} | {statistics.mean(half):.4f} | {statistics.mean(last):.4f} | "
                f"{min(last):.4f} to {max(last):.4f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("datasets", nargs="+", choices=tuple(EPOCHS))
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=list(ARMS))
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument(
        "--work", type=Path, default=Path(".scratch/compare"), help="studies of this comparison"
    )
    parser.add_argument("--out", type=Path, help="write the results to this JSON file")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    rows: list[dict[str, Any]] = []
    for dataset in args.datasets:
        rows += compare(dataset, args.arms, args.seeds, args.trials, args.params, args.data, args.work)
        if args.out is not None:
            args.out.write_text(json.dumps({"trials": args.trials, "studies": rows}, indent=1) + "\n")
    print(table(rows, args.trials))  # noqa: T201


if __name__ == "__main__":
    main()
