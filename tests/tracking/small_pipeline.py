"""Builds the outputs of a small finished pipeline: untrained models, made-up grids, the front of those."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from skipw.evaluation.evaluated import evaluated
from skipw.evaluation.front import choose_front, read_grids
from skipw.evaluation.table import GRID_COLUMNS, grid_table, write_table

WINDOW = 5
RATES = (0.2, 0.5)
SCALE = "tiny"
TRIALS = "studies/adding/trials"


def architecture(kind: str) -> Any:
    from skipw.models.task import Architecture

    window = WINDOW if kind == "skipw" else None
    return Architecture(
        model=kind, input_size=2, num_outputs=1, task="regression", cell="gru", hidden_size=4, window=window
    )


def write_model(data: Path, experiment: str, kind: str, seed: int = 0, place: str = "models/adding") -> None:
    """An untrained adding model with its history, in a folder of its name at ``place``."""
    import torch

    from skipw.models.saved import save_model

    torch.manual_seed(seed)
    folder = data / place / experiment
    description = {
        "experiment": experiment, "dataset": "adding", "title": "Adding Task", "data_source": "generated",
        "task": "regression", "metric": "mse", "classes": [], "preprocessing": {}, "vocabulary": None,
        "normaliser": {"kind": "none", "input_size": 2}, "cost_per_input": 1e-4, "init_from": None,
        "settings": {"experiment": experiment, "model": kind, "steps": 30, "gate_bias": [1.0, -0.5]},
        "seed": seed, "lineage": [], "versions": {}, "metrics": {},
    }  # fmt: skip
    save_model(folder, architecture(kind).build(), description)
    rows = [
        {
            "epoch": i,
            "step": 10 * (i + 1),
            "train_loss": 0.5 / (i + 1),
            "val_loss": 0.4 / (i + 1 + seed),
            "seconds": i,
        }
        for i in range(3)
    ]
    pd.DataFrame(rows).to_csv(folder / "history.csv", index=False, float_format="%.7g")


def write_text_model(data: Path) -> Path:
    """An untrained model of texts; returns its folder."""
    import torch

    from skipw.models.saved import save_model
    from skipw.models.task import Architecture

    torch.manual_seed(0)
    words = ["<pad>", "<unk>", "a", "good", "bad", "film", "really"]
    model = Architecture(
        "skipw",
        3,
        2,
        task="classification",
        cell="gru",
        hidden_size=4,
        window=WINDOW,
        vocabulary_size=len(words),
        embedding_size=3,
    ).build()
    description = {
        "experiment": "imdb-skipw", "dataset": "imdb", "title": "Reviews", "data_source": "made-up",
        "task": "classification", "metric": "accuracy", "classes": ["negative", "positive"],
        "preprocessing": {"max_length": 20}, "vocabulary": words, "normaliser": None,
    }  # fmt: skip
    folder = data / "models" / "imdb" / "imdb-skipw"
    save_model(folder, model, description)
    return folder


Points = list[tuple[int | None, float | None, float, float]]


def write_grid(
    data: Path, experiment: str, kind: str, points: Points, place: str = "evaluation/adding"
) -> None:
    """grid.csv from (budget, threshold, mse, inputs processed)."""
    rows = []
    for budget, threshold, mse, inputs in points:
        for split in ("val", "test"):
            worse = 1.1 if split == "test" else 1.0
            rows.append(
                dict.fromkeys(GRID_COLUMNS)
                | {
                    "experiment": experiment, "dataset": "adding", "data_source": "generated", "model": kind,
                    "window": WINDOW if kind == "skipw" else None, "hidden_size": 4, "num_layers": 1,
                    "cell": "gru",
                    "cost_per_input": 1e-4, "budget": budget, "threshold": threshold, "split": split,
                    "metric": "mse", "value": mse * worse, "loss": mse / 2, "inputs_processed": inputs,
                    "inputs_processed_std": 0.0, "max_inputs_in_window": 5, "sequences": 10,
                }
            )  # fmt: skip
    folder = data / place / experiment
    folder.mkdir(parents=True, exist_ok=True)
    write_table(grid_table(rows), folder / "grid.csv")


def write_trial(data: Path, number: int, kind: str, points: Points, seed: int = 100) -> str:
    """What a search leaves of a trial on its front; returns the name of its experiment."""
    experiment = f"adding-trial-{number:03d}"
    write_model(data, experiment, kind, seed + number, TRIALS)
    write_grid(data, experiment, kind, points, TRIALS)
    return experiment


def write_front(data: Path) -> pd.DataFrame:
    """front.csv of all grids, with a page and a picture beside it."""
    grid = read_grids([one.grid for one in evaluated("adding", data)])
    front = choose_front(grid, "mse", constant=0.2)
    folder = data / "pareto" / "adding"
    folder.mkdir(parents=True, exist_ok=True)
    write_table(front, folder / "front.csv")
    (folder / "front.html").write_text("<html><body>the front</body></html>")
    (folder / "front.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return front


GRIDS: dict[str, tuple[str, list[tuple[int | None, float | None, float, float]]]] = {
    "adding-skipw": ("skipw", [(1, 0.5, 0.05, 0.15), (3, 0.5, 0.004, 0.35), (5, 0.5, 0.001, 0.5)]),
    "adding-skipw-sparse": ("skipw", [(1, 0.5, 0.06, 0.1), (5, 0.5, 0.01, 0.2)]),
    "adding-thrrnn": ("thrrnn", [(None, 0.5, 0.03, 0.5), (None, 0.8, 0.1, 0.4)]),
    "adding-dense": ("dense", [(None, None, 0.0005, 1.0)]),
    "adding-random": ("random", [(None, None, 0.15, 0.21), (None, None, 0.1, 0.52)]),
    "adding-periodic": ("periodic", [(None, None, 0.15, 0.05), (None, None, 0.1, 0.5)]),
}  # fmt: skip


def registry_json(data: Path) -> dict[str, Any]:
    return json.loads((data / "registry" / "adding" / "registry.json").read_text())


def keep_small(data: Path, *experiments: str) -> None:
    """Fewer models, for tests that don't need all of them."""
    for experiment in set(GRIDS) - set(experiments):
        shutil.rmtree(data / "evaluation" / "adding" / experiment)
    write_front(data)
