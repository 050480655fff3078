"""A model that came with the code in place of a training that would give the same."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from skipw.data.atomic import replaced_folder
from skipw.data.prepared import GENUINE_SOURCES, load_embedding, load_meta, load_vocabulary
from skipw.models.saved import DESCRIPTION_FILE, load_description, load_model, save_model
from skipw.settings import TrainSettings

__all__ = ["differences", "take_shipped"]

#: Where and in which portions a training computes; its result is meant to be the same.
INDIFFERENT = ("start", "num_threads", "backend", "accelerator", "devices", "eval_batch_size")
#: What models without gates don't read.
OF_GATES = ("gate_state_gradient", "gate_bias")
WITHOUT_GATES = ("dense", "random")
DATA_KEYS = ("title", "task", "metric", "classes", "input_size", "num_steps", "normaliser")
#: Of the preprocessing: what follows from the test split, or from where the word vectors were had.
NOT_TRAINED_ON = ("mean_length", "glove_source")


def differences(
    settings: TrainSettings, prepared: Path, pretrained: Path, init_from: Path | None = None
) -> list[str]:
    """Why the shipped model of an experiment is not what its training would give here; empty if it is.

    Args:
        settings: of the experiment.
        prepared: data/prepared/<dataset>.
        pretrained: the folder that was shipped.
        init_from: the folder of the model that the training would start from.
    Raises:
        DataFormatError, ChecksumError: if a file is damaged.
    """
    folder = pretrained / settings.dataset / settings.experiment
    if not (folder / DESCRIPTION_FILE).is_file():
        return [f"there is no {folder}"]
    description = load_description(folder)
    found = list(_of_settings(settings, description.get("settings") or {}))
    found += _of_data(load_meta(folder.parent), load_meta(prepared))
    vocabulary = description.get("vocabulary")
    if vocabulary and vocabulary != load_vocabulary(prepared):
        found.append("its vocabulary is another")
    if init_from is not None and description["shipped"]["donor_sha256"] not in _weights_of(
        init_from, folder.parent
    ):
        found.append(f"it started from another {settings.init_from}")
    return found


def _weights_of(donor: Path, box: Path) -> set[str | None]:
    """The digests that a donor's weights go by: its own, as trained, and as shipped, where word vectors are rounded."""
    description = load_description(donor)
    found = {description["checkpoint_sha256"], (description.get("shipped") or {}).get("trained_sha256")}
    if (box / donor.name / DESCRIPTION_FILE).is_file():
        shipped = load_description(box / donor.name)
        if shipped["shipped"]["trained_sha256"] in found:
            found.add(shipped["checkpoint_sha256"])
    return found


def _of_settings(settings: TrainSettings, theirs: Mapping[str, Any]) -> Iterator[str]:
    """A setting that is newer than the shipped model had its default value then."""
    ours = json.loads(json.dumps(dataclasses.asdict(settings)))
    defaults = json.loads(json.dumps(dataclasses.asdict(TrainSettings(settings.experiment))))
    unread = OF_GATES if settings.model in WITHOUT_GATES else ()
    for name in sorted({*ours, *theirs} - {*INDIFFERENT, *unread}):
        there, here = theirs.get(name, defaults.get(name)), ours.get(name)
        if there != here:
            yield f"{name} is {there} there, {here} here"


def _of_data(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    """The data sets themselves are the same from wherever they were fetched; a substitute is another."""
    sources = [str(meta["data_source"]) for meta in (theirs, ours)]
    if sources[0] != sources[1] and not set(sources) <= set(GENUINE_SOURCES):
        yield f"data_source is {sources[0]} there, {sources[1]} here"
    for name in DATA_KEYS:
        if theirs[name] != ours[name]:
            yield f"{name} of the data is {theirs[name]} there, {ours[name]} here"
    before, now = theirs["preprocessing"], ours["preprocessing"]
    for name in sorted({*before, *now} - set(NOT_TRAINED_ON)):
        if before.get(name) != now.get(name):
            yield f"preprocessing.{name} is {before.get(name)} there, {now.get(name)} here"
    for split in ("train", "val"):
        if theirs["sizes"][split] != ours["sizes"][split]:
            yield f"{split} has {theirs['sizes'][split]} sequences there, {ours['sizes'][split]} here"


def take_shipped(settings: TrainSettings, prepared: Path, pretrained: Path, out: Path) -> dict[str, Any]:
    """Write a shipped model as ``fit`` would have written the trained one.

    Word vectors, which are shipped rounded, are taken from the prepared data where that gives the trained weights
    to the bit.

    Args:
        settings: of the experiment; ``differences`` found none.
        prepared: data/prepared/<dataset>.
        pretrained: the folder that was shipped.
        out: the model's folder, data/models/<dataset>/<experiment>; it appears complete or not at all.
    Returns:
        The description as written; ``["shipped"]["exact"]`` says whether these are the trained weights.
    """
    place = pretrained / settings.dataset / settings.experiment
    model, description = load_model(place)
    description["data_source"] = load_meta(prepared)["data_source"]
    trained = description["shipped"]["trained_sha256"]
    with replaced_folder(out) as folder:
        if model.embedding is not None:
            rounded = model.embedding.weight.detach().clone()
            exact = torch.from_numpy(load_embedding(prepared))
            _set_vectors(model, exact if exact.shape == rounded.shape else rounded)
            if save_model(folder, model, description)["checkpoint_sha256"] != trained:
                _set_vectors(model, rounded)
        written = save_model(folder, model, description)
        written["shipped"] = {**written["shipped"], "exact": written["checkpoint_sha256"] == trained}
        written = save_model(folder, model, written)
        if (place / "history.csv").exists():
            shutil.copyfile(place / "history.csv", folder / "history.csv")
    return written


def _set_vectors(model: Any, vectors: torch.Tensor) -> None:
    with torch.no_grad():
        model.embedding.weight.copy_(vectors)
