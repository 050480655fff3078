"""Trained models into the folder that is shipped with the code: ``pretrained/<dataset>/<experiment>/``.

Each holds model.safetensors, model.json, grid.csv and history.csv; beside them lie the data set's meta.json and
front.csv, and words.safetensors, which all models of texts share. The same models give the same bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skipw.data.atomic import write_json
from skipw.data.prepared import load_meta
from skipw.errors import DataFormatError
from skipw.evaluation.evaluated import GRID_FILE, HISTORY_FILE, Evaluated, evaluated, trial_number
from skipw.evaluation.front import read_grids
from skipw.evaluation.front_files import checked_front
from skipw.evaluation.rounding import Agreement, compare_answers, evaluate_again, largest_change
from skipw.evaluation.table import write_table
from skipw.evaluation.terms import require_terms
from skipw.models.saved import (
    DESCRIPTION_FILE,
    WEIGHTS_FILE,
    load_description,
    save_description,
    save_sharing,
    verified_weights,
)
from skipw.models.words import WORDS_FILE, pack_words
from skipw.params import Evaluate

__all__ = ["META_FILE", "SHIPPED", "How", "choose_models", "ship", "shipped_experiments"]

log = logging.getLogger(__name__)
META_FILE = "meta.json"
SHIPPED = "shipped"  # the key under which model.json and meta.json say what shipping added


@dataclass(frozen=True)
class How:
    """What a data set's models are shipped with.

    Attributes:
        scale: of their training.
        min_gain: of the front, as in params.yaml.
        evaluate: how models are evaluated again whose vectors are rounded.
    """

    scale: str
    min_gain: float
    evaluate: Evaluate


def choose_models(
    dataset: str, data: Path, min_gain: float, also: Collection[str] = (), *, everything: bool = False
) -> list[Evaluated]:
    """The experiments to ship: those on the front, those named, and all that these started from.

    Args:
        dataset: har, mnist, ...
        data: the root of all outputs.
        min_gain: of the front.
        also: further experiments of the data set.
        everything: every evaluated experiment.
    Raises:
        DataFormatError: if one that is wanted has no grid or no model.
        ShippingError: if a model, or what it started from, may not be shipped.
    """
    found = {one.experiment: one for one in evaluated(dataset, data)}
    meta = load_meta(data / "prepared" / dataset)
    require_terms(dataset, str(meta["data_source"]), f"{dataset}: the prepared data")
    front = checked_front(read_grids([one.grid for one in found.values()]), meta, min_gain)
    wanted = set(found) if everything else set(front["experiment"]) | set(also)
    pending = sorted(wanted)
    while pending:
        name = pending.pop()
        if name not in found:
            found[name] = _not_evaluated(name, dataset, data, name in also)
        description = load_description(found[name].model_folder)
        require_terms(dataset, str(description["data_source"]), name)
        before = list(map(str, description.get("lineage") or []))
        if trial_number(name) is not None:  # a search keeps the models of its front alone, all of one source
            before = [donor for donor in before if donor in found]
        if not found[name].owns_model:
            before.append(found[name].model_folder.name)
        pending += sorted(set(before) - wanted)
        wanted |= set(before)
    return [found[name] for name in sorted(wanted)]


def _not_evaluated(name: str, dataset: str, data: Path, wanted: bool) -> Evaluated:
    """What others started from is shipped without a grid, if need be.

    Raises:
        DataFormatError: if it has no model either, or was asked for.
    """
    one = Evaluated(name, data / "models" / dataset / name, data / "evaluation" / dataset / name)
    if wanted or not (one.model_folder / DESCRIPTION_FILE).exists():
        raise DataFormatError(
            f"{name} has no {GRID_FILE} or no model below {data}; evaluate it first: "
            f"python pipelines/evaluate.py {name}"
        )
    return one


def shipped_experiments(place: Path) -> list[str]:
    """The experiments of ``pretrained/<dataset>``: folders with a model, a grid or both."""
    names = (DESCRIPTION_FILE, GRID_FILE)
    return sorted({path.parent.name for name in names for path in place.glob(f"*/{name}")})


def ship(
    dataset: str, data: Path, fresh: Path, previous: Path, chosen: Sequence[Evaluated], how: How
) -> None:
    """Fill a data set's folder of the box.

    Args:
        dataset: har, mnist, ...
        data: the root of all outputs.
        fresh: an empty folder, which is to become ``pretrained/<dataset>``.
        previous: the one that it replaces; grids of the same weights are taken from there.
        chosen: of ``choose_models``.
        how: scale, front and evaluation.
    Raises:
        DataFormatError, ChecksumError: if files are missing or damaged.
        ShippingError: if what is written doesn't answer as the trained model.
    """
    prepared = data / "prepared" / dataset
    meta = load_meta(prepared)
    words = _write_words(fresh, chosen)
    for one in chosen:
        folder = fresh / one.experiment
        folder.mkdir()
        if one.owns_model:
            _write_model(one, folder, words, how)
            _check(one, folder, prepared, rounded=words is not None)
            if (history := one.model_folder / HISTORY_FILE).exists():
                shutil.copyfile(history, folder / HISTORY_FILE)
    measured = [one for one in chosen if one.grid.exists()]
    for one in measured:
        _write_grid(one, fresh, previous, prepared, how, rounded=words is not None)
    grid = read_grids([fresh / one.experiment / GRID_FILE for one in measured])
    write_table(checked_front(grid, meta, how.min_gain), fresh / "front.csv")
    facts = {
        "scale": how.scale,
        "min_gain": how.min_gain,
        "rates": list(how.evaluate.random.rates),
    }
    write_json(fresh / META_FILE, {**meta, SHIPPED: facts})


def _write_words(fresh: Path, chosen: Sequence[Evaluated]) -> str | None:
    """words.safetensors, where the models read texts; its SHA-256."""
    from safetensors.numpy import load

    content: bytes | None = None
    for one in chosen:
        description = load_description(one.model_folder)
        if not description.get("vocabulary"):
            continue
        arrays = load(verified_weights(one.model_folder, description))
        packed = pack_words(arrays["embedding.weight"], description["vocabulary"])
        if content is not None and packed != content:
            raise DataFormatError(
                f"{one.experiment} has other words or vectors than the models before it; ship models of one "
                "preparation of the data."
            )
        content = packed
    if content is None:
        return None
    (fresh / WORDS_FILE).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def _write_model(one: Evaluated, folder: Path, words: str | None, how: How) -> None:
    """Weights and description, the latter with where they come from."""
    from safetensors.numpy import load

    description = load_description(one.model_folder)
    content = verified_weights(one.model_folder, description)
    donor, donor_sha256 = description.get("init_from"), None
    if donor and (one.model_folder.parent / donor / DESCRIPTION_FILE).exists():
        donor_sha256 = load_description(one.model_folder.parent / donor)["checkpoint_sha256"]
    # A model that came out of a box says where it comes from; its vectors may be rounded by now.
    earlier = description.get(SHIPPED) or {}
    origin: dict[str, Any] = {
        "scale": how.scale,
        "trained_sha256": earlier.get("trained_sha256", description["checkpoint_sha256"]),
        "donor_sha256": earlier.get("donor_sha256", donor_sha256),
    }
    if words is None:
        (folder / WEIGHTS_FILE).write_bytes(content)
        save_description(folder, {**description, SHIPPED: origin})
        return
    arrays = {name: np.array(array) for name, array in load(content).items() if name != "embedding.weight"}
    origin["evaluate_sha256"] = _digest(how.evaluate)
    save_sharing(folder, arrays, {**description, SHIPPED: origin}, f"../{WORDS_FILE}", words)


def _digest(how: Evaluate) -> str:
    return hashlib.sha256(json.dumps(dataclasses.asdict(how), sort_keys=True).encode()).hexdigest()[:16]


def _check(one: Evaluated, folder: Path, prepared: Path, *, rounded: bool) -> None:
    """What was written loads and answers as what was trained; rounded vectors may change a few answers."""
    found: Agreement = compare_answers(one.model_folder, folder, prepared)
    log.info("%s: %s", one.experiment, found)
    found.require(one.experiment, rounded=rounded)


def _write_grid(
    one: Evaluated, fresh: Path, previous: Path, prepared: Path, how: How, *, rounded: bool
) -> None:
    """grid.csv: as it is where the weights are the trained ones, else evaluated again (or taken from before)."""
    target = fresh / one.experiment / GRID_FILE
    if not rounded:
        shutil.copyfile(one.grid, target)
        return
    weights = one.model_folder.name
    if (
        _identity(previous / weights) == _identity(fresh / weights)
        and (old := previous / one.experiment / GRID_FILE).exists()
    ):
        shutil.copyfile(old, target)
        return
    grid = evaluate_again(one, fresh / weights, prepared, how.evaluate)
    write_table(grid, target)
    log.info(
        "%s: evaluated with rounded vectors, %s on test by at most %.3g",
        one.experiment, *largest_change(one.grid, target),
    )  # fmt: skip


def _identity(folder: Path) -> Mapping[str, Any] | None:
    """What tells whether a grid was made with the same weights in the same way."""
    try:
        description = json.loads((folder / DESCRIPTION_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return {
        "words": description.get("words"),
        SHIPPED: description.get(SHIPPED),
        "sha256": description["checkpoint_sha256"],
    }
