"""Models on disk: model.safetensors with the weights, model.json with everything else. No pickles.

``load_description`` and ``verified_weights`` need no torch. Models of texts may share a file of words and vectors
(``skipw.models.words``): then model.json has ``words`` in place of the vocabulary, and model.safetensors lacks the
embedding. Whoever loads such a model does not see the difference.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skipw.errors import ChecksumError, DataFormatError
from skipw.models.architecture import Architecture
from skipw.models.words import read_words

if TYPE_CHECKING:
    from skipw.models.task import SequenceModel

__all__ = [
    "DESCRIPTION_FILE",
    "FORMAT_VERSION",
    "WEIGHTS_FILE",
    "copy_model",
    "load_description",
    "load_model",
    "save_description",
    "save_model",
    "save_sharing",
    "verified_weights",
]

FORMAT_VERSION = 1
WEIGHTS_FILE = "model.safetensors"
DESCRIPTION_FILE = "model.json"


def save_model(folder: Path | str, model: SequenceModel, description: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``model.safetensors`` and ``model.json``.

    Each file is written beside its place and renamed, the description last: a process that dies in between
    leaves a pair that :func:`load_model` refuses, never a wrong model that loads.

    Args:
        folder: created if need be.
        model: its weights and architecture are stored.
        description: further keys of model.json, see CONTRIBUTING.md (dataset, normaliser, lineage, ...).
    Returns:
        The whole description as written, with ``format_version``, ``architecture`` and ``checkpoint_sha256``.
    """
    from safetensors.torch import save

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = save({name: value.detach().contiguous().cpu() for name, value in model.state_dict().items()})
    written = {
        **description,
        "format_version": FORMAT_VERSION,
        "architecture": model.architecture.to_json(),
        "checkpoint_sha256": hashlib.sha256(weights).hexdigest(),
    }
    _replace(folder / WEIGHTS_FILE, weights)
    _replace(folder / DESCRIPTION_FILE, _json(written))
    return written


def save_sharing(
    folder: Path, arrays: Mapping[str, Any], description: Mapping[str, Any], words: str, words_sha256: str
) -> dict[str, Any]:
    """Write a model whose vocabulary and vectors lie in a file that it shares with others.

    Args:
        folder: of the model, created if need be.
        arrays: numpy arrays of the weights by name, without "embedding.weight".
        description: model.json, without ``vocabulary``.
        words: the shared file's place, relative to ``folder``.
        words_sha256: its checksum.
    Returns:
        The description as :func:`load_description` gives it; ``checkpoint_sha256`` is that of all weights together.
    """
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    content = bytes(save(dict(arrays)))
    shared = {
        "file": words,
        "sha256": words_sha256,
        "weights_sha256": hashlib.sha256(content).hexdigest(),
    }
    whole = _with_vectors(folder, content, shared)
    written = {**description, "vocabulary": None, "words": shared}
    written["checkpoint_sha256"] = hashlib.sha256(whole).hexdigest()
    _replace(folder / WEIGHTS_FILE, content)
    _replace(folder / DESCRIPTION_FILE, _json(written))
    return load_description(folder)


def save_description(folder: Path, description: Mapping[str, Any]) -> None:
    """Write model.json beside weights that are there."""
    _replace(folder / DESCRIPTION_FILE, _json(description))


def copy_model(folder: Path, target: Path) -> None:
    """Copy model.safetensors and model.json into ``target``; what the model shares with others comes into them.

    Raises:
        DataFormatError, ChecksumError: as :func:`load_description` and :func:`verified_weights`.
    """
    target.mkdir(parents=True, exist_ok=True)
    if "words" not in _read_json(folder / DESCRIPTION_FILE):
        for file in (WEIGHTS_FILE, DESCRIPTION_FILE):
            shutil.copyfile(folder / file, target / file)
        return
    description = load_description(folder)
    content = verified_weights(folder, description)
    description["checkpoint_sha256"] = hashlib.sha256(content).hexdigest()
    _replace(target / WEIGHTS_FILE, content)
    _replace(target / DESCRIPTION_FILE, _json(description))


def load_model(folder: Path | str) -> tuple[SequenceModel, dict[str, Any]]:
    """The model in ``folder``, in eval mode, and its description. torch's generator is left as it was.

    Raises:
        DataFormatError: if a file is missing, is not what its name says or has another format version.
        ParamsError: if the architecture holds an unknown key or a value outside its range.
        ChecksumError: if the weights are not those that were written, or don't fit the architecture.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    folder = Path(folder)
    description = load_description(folder)
    architecture = Architecture.from_json(description["architecture"])
    content = verified_weights(folder, description)
    try:
        weights = load(content)
    except SafetensorError as error:
        raise ChecksumError(f"{folder / WEIGHTS_FILE} is not a safetensors file ({error}).") from error
    with torch.random.fork_rng(devices=[]):
        model = architecture.build()
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ChecksumError(
            f"the weights in {folder / WEIGHTS_FILE} don't fit the architecture in {DESCRIPTION_FILE}: "
            f"{' '.join(str(error).split())} Train or fetch the model again."
        ) from error
    return model.eval(), description


def load_description(folder: Path | str) -> dict[str, Any]:
    """What model.json says, checked for its version and its needed keys. Needs no torch.

    Raises:
        DataFormatError: if the file is missing, no JSON object, lacks a key or has another format version.
    """
    path = Path(folder) / DESCRIPTION_FILE
    description = _read_json(path)
    version = description.get("format_version")
    if version != FORMAT_VERSION:
        raise DataFormatError(
            f"{path} has format_version {version!r}, this package reads {FORMAT_VERSION}; "
            "use the package's version that wrote it, or train the model again."
        )
    missing = [key for key in ("architecture", "checkpoint_sha256") if key not in description]
    if missing:
        raise DataFormatError(f"{path} lacks {', '.join(missing)}; train or fetch the model again.")
    if shared := description.pop("words", None):
        _, description["vocabulary"] = read_words(path.parent / shared["file"], shared["sha256"])
    return description


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON object, unchecked otherwise.

    Raises:
        DataFormatError: if the file is missing or holds something else.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataFormatError(f"{path} does not exist; expected the folder of a trained model.") from None
    except ValueError as error:
        raise DataFormatError(f"{path} is not JSON ({error}); train or fetch the model again.") from error
    if not isinstance(content, dict):
        raise DataFormatError(f"{path} must hold a JSON object, got {type(content).__name__}.")
    return content


def verified_weights(folder: Path | str, description: Mapping[str, Any]) -> bytes:
    """The bytes of model.safetensors, once their SHA-256 equals ``description["checkpoint_sha256"]``.

    Where vectors are shared, both files are verified and the bytes hold all weights.

    Raises:
        DataFormatError: if a file is missing.
        ChecksumError: if it was changed or cut short since it was written.
    """
    path = Path(folder) / WEIGHTS_FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataFormatError(f"{path} does not exist; expected the folder of a trained model.") from None
    found = hashlib.sha256(content).hexdigest()
    if found != description["checkpoint_sha256"]:
        shared = _read_json(path.with_name(DESCRIPTION_FILE)).get("words") or {}
        if found == shared.get("weights_sha256"):
            return _with_vectors(path.parent, content, shared)
        raise ChecksumError(
            f"{path} has SHA-256 {found}, its description says {description['checkpoint_sha256']}: "
            "it was changed or cut short; train or fetch the model again."
        )
    return content


def _with_vectors(folder: Path, content: bytes, shared: Mapping[str, str]) -> bytes:
    """A whole model.safetensors out of one without the embedding and the shared file."""
    from safetensors.numpy import load, save

    vectors, _ = read_words(folder / shared["file"], shared["sha256"])
    return bytes(save({**load(content), "embedding.weight": vectors}))


def _json(description: Mapping[str, Any]) -> bytes:
    text = json.dumps(description, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def _replace(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` in one step."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
