"""The edge bundle: one folder with all that a deployment needs of a model, checksums over every file.

| file | |
|---|---|
| README.md | what the model is, what it costs at which accuracy, how to run it |
| bundle.json | where it comes from, its default operating point |
| model.safetensors, model.json | weights; architecture, normaliser, vocabulary |
| operating_points.csv | every measured point, a row a split, with the columns of grid.csv and `alias`, `pareto` |
| onnx/ | step graphs for ONNX Runtime and a small loop around them, where they can serve the model |
| c/ | the step in C99 with the packed weights, where it can serve the model |
| example.json | one sequence with the answers that are expected |
| SHA256SUMS | `sha256sum -c SHA256SUMS` |
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from skipw.data.atomic import replaced_folder, write_json
from skipw.errors import BackendUnavailableError, ChecksumError, DataFormatError, ParamsError
from skipw.models.saved import copy_model
from skipw.operating_point import OperatingPoint
from skipw.runtime.bundle_example import EXAMPLE_FILE, Deviation, make_example, read_example, replay
from skipw.runtime.bundle_page import readme
from skipw.runtime.c.source import write_c
from skipw.runtime.checksums import CHECKSUMS_FILE, unlisted_files, verify_checksums, write_checksums
from skipw.runtime.measured import POINTS_FILE, MeasuredPoint, read_points
from skipw.runtime.onnx.graphs import write_graphs
from skipw.runtime.onnx.stream import GRAPHS_FOLDER, OnnxStreamModel
from skipw.runtime.sampled import SampledStream, no_point
from skipw.runtime.stream import ENGINES as STREAM_ENGINES
from skipw.runtime.stream import Stream, StreamModel
from skipw.runtime.weights import DENSE, Weights, read_folder

__all__ = ["BUNDLE_FILE", "EdgeBundle", "Origin", "load_bundle", "write_bundle"]

log = logging.getLogger(__name__)
BUNDLE_FILE = "bundle.json"
FORMAT_VERSION = 1
ENGINES = (*STREAM_ENGINES, "onnx")
LOOP = Path(__file__).with_name("onnx") / "run.py"
C_FOLDER = "c"


@dataclass(frozen=True)
class Origin:
    """Where a bundled model comes from.

    Attributes:
        uri: what was pulled.
        model: the registered model's name, else the experiment's.
        version: of the registered model, "" if it is none.
        aliases: that the version holds.
        run_id: of its training in MLflow, "" if unknown.
        notice: what must be said about the data, "" if nothing.
        experiment: what was evaluated; by default what model.json says.
        sampling: "random" or "periodic" for a sampling baseline, else "".
        rate: the share of the inputs that such a baseline is given by default.
    """

    uri: str
    model: str
    version: str = ""
    aliases: tuple[str, ...] = ()
    run_id: str = ""
    notice: str = ""
    experiment: str = ""
    sampling: str = ""
    rate: float | None = None


@dataclass(frozen=True)
class EdgeBundle:
    """A bundle whose checksums were right when it was loaded.

    Attributes:
        folder: where it lies.
        facts: bundle.json.
        points: its measured operating points.
    """

    folder: Path
    facts: Mapping[str, Any]
    points: tuple[MeasuredPoint, ...]
    _models: dict[str, StreamModel | OnnxStreamModel] = field(default_factory=dict, repr=False, compare=False)

    @property
    def default_point(self) -> OperatingPoint | None:
        """The point it was pulled for; None for models without one."""
        point = self.facts["default_point"]
        return None if point is None else OperatingPoint(point["budget"], point["threshold"])

    def stream_model(self, engine: str = "auto") -> StreamModel | OnnxStreamModel:
        """The model, ready to stream.

        Args:
            engine: "auto", "c" or "numpy" (``skipw.StreamModel``), or "onnx" (ONNX Runtime); loaded once.
        Raises:
            BackendUnavailableError: if "c" or "onnx" cannot serve the model.
            ParamsError: for another engine.
        """
        if engine not in ENGINES:
            raise ParamsError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}.")
        if engine not in self._models:
            self._models[engine] = (
                OnnxStreamModel.load(self.folder)
                if engine == "onnx"
                else StreamModel.load(self.folder, engine=engine)
            )
        return self._models[engine]

    def create_stream(
        self, point: OperatingPoint | None = None, *, engine: str = "auto", seed: int | None = None
    ) -> Stream:
        """A stream at ``point``, by default at the bundle's own; a sampling baseline leaves inputs out.

        Raises:
            BudgetError: if the model cannot run there.
        """
        chosen = self.default_point if point is None else point
        kind, rate = self.facts.get("sampling"), self.facts.get("rate")
        if kind and rate is not None and chosen is not None:
            raise no_point(kind, float(rate))
        stream: Stream = self.stream_model(engine).create_stream(chosen, seed=seed)
        if not kind or rate is None:
            return stream
        return SampledStream(stream, kind, float(rate), np.random.default_rng(seed))

    @property
    def has_graphs(self) -> bool:
        """Whether there is a folder onnx/: a model that ONNX graphs cannot serve has none."""
        return (self.folder / GRAPHS_FOLDER).is_dir()

    def check(self, engine: str = "auto") -> Deviation:
        """Run example.json through a stream: how far it is from what the reference said."""
        return replay(read_example(self.folder / EXAMPLE_FILE), self.stream_model(engine))


def load_bundle(folder: Path | str) -> EdgeBundle:
    """The bundle in ``folder``, every file verified.

    Raises:
        DataFormatError: if it is no bundle, or of another format version.
        ChecksumError: if a file is missing, changed, cut short, or not listed in SHA256SUMS.
    """
    folder = Path(folder)
    if not (folder / BUNDLE_FILE).is_file() and not (folder / CHECKSUMS_FILE).is_file():
        raise DataFormatError(
            f"{folder} is no edge bundle ({BUNDLE_FILE} is missing); `skipw pull MODEL_URI DIR` writes one."
        )
    verify_checksums(folder)
    try:
        facts = json.loads((folder / BUNDLE_FILE).read_bytes())
        version = facts["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataFormatError(
            f"{folder / BUNDLE_FILE} cannot be read ({error!r}); pull the model again."
        ) from error
    if version != FORMAT_VERSION:
        raise DataFormatError(
            f"{folder / BUNDLE_FILE} has format_version {version!r}, this package reads {FORMAT_VERSION}; "
            "pull the model again, or use the package's version that wrote it."
        )
    return EdgeBundle(folder, facts, read_points(folder / POINTS_FILE))


def write_bundle(
    folder: Path | str,
    model: Path,
    origin: Origin,
    *,
    point: OperatingPoint | None,
    points: str,
    examples: Iterable[Sequence[Any]],
) -> EdgeBundle:
    """Write a bundle; it appears complete or not at all.

    Args:
        folder: new, empty, or an older bundle, which is replaced.
        model: folder of model.safetensors and model.json.
        origin: where that comes from.
        point: the default operating point; for models without one it is ignored.
        points: the content of operating_points.csv.
        examples: raw input sequences for example.json; see :func:`make_example`.
    Raises:
        DataFormatError: if ``folder`` holds something else, or ``model`` no model.
        ChecksumError: if the weights are not those that model.json describes.
        BudgetError: if the model cannot run at ``point``.
    """
    folder = Path(folder)
    check_target(folder)
    weights = read_folder(model)
    point = None if weights.architecture.model in DENSE else point or OperatingPoint()
    StreamModel(weights).create_stream(point)
    with replaced_folder(folder) as fresh:
        copy_model(model, fresh)
        (fresh / POINTS_FILE).write_text(points, encoding="utf-8", newline="")
        in_onnx = _wrote_graphs(weights, fresh / GRAPHS_FOLDER)
        example = make_example(fresh, weights, point, examples)
        _write_example(fresh / EXAMPLE_FILE, example)
        in_c = _wrote_c(weights, fresh / C_FOLDER, example["inputs"], point)
        facts = _facts(weights, origin, point)
        write_json(fresh / BUNDLE_FILE, facts)
        page = readme(facts, weights, read_points(fresh / POINTS_FILE), in_c=in_c, in_onnx=in_onnx)
        (fresh / "README.md").write_text(page, encoding="utf-8")
        write_checksums(fresh)
    return load_bundle(folder)


def check_target(folder: Path) -> None:
    """Whether a bundle may be written to ``folder``; asked before anything is downloaded.

    Raises:
        DataFormatError: if there is something that would be lost, or no folder can be made there.
    """
    if not folder.exists() and not folder.is_symlink():
        above = next(parent for parent in Path(os.path.abspath(folder)).parents if parent.exists())
        if not above.is_dir() or not os.access(above, os.W_OK):
            raise DataFormatError(
                f"{folder} cannot be made: {above} is no folder that can be written to; name another place."
            )
        return
    if not folder.is_dir() or folder.is_symlink():
        raise DataFormatError(f"{folder} is not a folder; name a new one.")
    if not any(folder.iterdir()):
        return
    if not (folder / BUNDLE_FILE).is_file() or not (folder / CHECKSUMS_FILE).is_file():
        raise DataFormatError(
            f"{folder} is there already and is no bundle: it stays as it is. Name a new or an empty folder."
        )
    try:
        extra = unlisted_files(folder)
    except ChecksumError as error:
        raise DataFormatError(
            f"{folder} is a damaged bundle, and what was added to it can't be told ({error}); remove it first."
        ) from error
    if extra:
        raise DataFormatError(
            f"{folder} is a bundle, but {extra[0]} was added to it and would be lost; move it elsewhere first."
        )


def _wrote_graphs(weights: Weights, folder: Path) -> bool:
    """Whether graphs can be made of this model: any that bounds aligned windows, or has none."""
    try:
        write_graphs(weights, folder)
    except BackendUnavailableError as error:
        log.info("the bundle has no %s/: %s", folder.name, error)
        return False
    shutil.copyfile(LOOP, folder / LOOP.name)
    return True


def _wrote_c(weights: Weights, folder: Path, frames: Sequence[Any], point: OperatingPoint | None) -> bool:
    """Whether the C step serves this model: float32, and a selector that draws nothing."""
    try:
        write_c(weights, folder, frames=frames, point=point)
    except BackendUnavailableError as error:
        log.info("the bundle has no %s/: %s", folder.name, error)
        return False
    return True


def _facts(weights: Weights, origin: Origin, point: OperatingPoint | None) -> dict[str, Any]:
    import skipw

    described = weights.description
    return {
        "format_version": FORMAT_VERSION,
        "created_by": f"skipw {skipw.__version__}",
        **asdict(origin),
        "aliases": list(origin.aliases),
        "experiment": origin.experiment or str(described.get("experiment") or ""),
        **{key: str(described.get(key) or "") for key in ("dataset", "title", "data_source")},
        "checkpoint_sha256": described["checkpoint_sha256"],
        "default_point": None if point is None else asdict(point),
    }


def _write_example(path: Path, example: Mapping[str, Any]) -> None:
    """A row a line, so that a person can read it."""
    lines = ",\n  ".join(json.dumps(one, ensure_ascii=False, allow_nan=False) for one in example["inputs"])
    runs = ",\n  ".join(json.dumps(run, allow_nan=False) for run in example["runs"])
    head = f'{{\n "seed": {example["seed"]},\n "tolerance": {example["tolerance"]},\n'
    path.write_text(f'{head} "inputs": [\n  {lines}\n ],\n "runs": [\n  {runs}\n ]\n}}\n', encoding="utf-8")
