"""A model as C source for a board: the C99 step, the weights as constants, an example program.

``write_c`` fills a folder that ``make`` turns into a program on the host; on a board the same files are compiled by the
board's own compiler. The library's interface is documented in ``skipw.h``.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skipw.operating_point import OperatingPoint
from skipw.runtime.c import build
from skipw.runtime.c.packing import Matrix, Packed, pack, pack_matrix
from skipw.runtime.c.quantisation import quantise
from skipw.runtime.weights import Weights

__all__ = ["memory_bytes", "write_c"]

Array = npt.NDArray[Any]
TEMPLATES = build.SOURCES / "board"
PER_LINE = 8
KINDS = {"float64": "skipw_wide", "float32": "float", "uint32": "uint32_t"}


def write_c(
    weights: Weights, folder: Path, *, frames: Any = None, point: OperatingPoint | None = None
) -> None:
    """Write the C sources of a model.

    ``skipw.h``, ``skipw_internal.h``, ``skipw.c``, ``products.c``, ``cells.c``, ``normalise.c``: the library;
    ``model.h``, ``model.c``: sizes and weights; ``example.c``, ``Makefile``: a program that reads inputs from standard
    input. Models that read words also get ``embedding.bin`` (Float32[V, E], little endian) and ``vocabulary.txt``.

    Args:
        weights: of any model that the C step serves.
        folder: made if need be.
        frames: raw inputs, rows of D numbers, or words, or their ids; written to ``frames.txt`` for the example.
        point: where the example runs by itself; the whole window at 0.5 by default.
    Raises:
        BackendUnavailableError: if the C step cannot serve the model (``packing.why_not``).
    """
    packed = pack(weights)
    folder.mkdir(parents=True, exist_ok=True)
    for name in build.BOARD_FILES:
        shutil.copyfile(build.SOURCES / name, folder / name)
    words = bool(weights.architecture.vocabulary_size)
    shutil.copyfile(TEMPLATES / ("example_words.c" if words else "example.c"), folder / "example.c")
    shutil.copyfile(TEMPLATES / "Makefile", folder / "Makefile")
    (folder / "model.h").write_text(_header(weights, packed, point or OperatingPoint()), encoding="utf-8")
    (folder / "model.c").write_text("".join(_source(weights, packed)), encoding="utf-8")
    if words:
        _write_words(weights, folder)
    if frames is not None:
        lines = (frame if isinstance(frame, str) else _numbers(frame) for frame in frames)
        (folder / "frames.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def memory_bytes(packed: Packed, wide: int = 8) -> int:
    """What ``skipw_memory`` answers.

    Args:
        packed: the model.
        wide: sizeof(skipw_wide): 8, or 4 with SKIPW_NO_DOUBLE.
    """
    sizes = packed.sizes
    parts, blocks = {"gru": (1, 3), "lstm": (2, 4), "fastgrnn": (1, 1)}[packed.cell]
    gate_seen = packed.arrays.get("gate_seen_0")
    seen = gate_seen.inputs if isinstance(gate_seen, Matrix) else 0
    added = sizes["window"] if seen or sizes["gate_windows"] else 0
    products = max(blocks * sizes["hidden_size"], sizes["head_hidden"], added)
    floats = _even(sizes["layers"] * parts * sizes["hidden_size"]) + _even(sizes["window"])
    floats += 2 * _even(products) + _even(sizes["input_size"]) + _even(seen)
    used = 4 * floats + wide * _even(sizes["input_size"]) + 2 * sizes["window"]
    if sizes["bound"]:
        used += 4 * _even(sizes["window"]) + sizes["window"] - 1
    return -(-used // 8) * 8


def _numbers(frame: Any) -> str:
    """One input as a line of frames.txt."""
    return " ".join(f"{value:.9g}" for value in np.atleast_1d(np.asarray(frame, dtype=np.float64)))


def _even(count: int) -> int:
    return count + count % 2


def _header(weights: Weights, packed: Packed, point: OperatingPoint) -> str:
    sizes, dataset = packed.sizes, str(weights.description.get("dataset", "a model"))
    whole = point.budget is None or sizes["kind"] != 1
    outputs = sizes["outputs"] or sizes["hidden_size"]
    float_bytes = sum(array.values.nbytes for array in packed.arrays.values() if isinstance(array, Matrix))
    return f"""/* A {weights.architecture.model} model for {_safe(dataset)}, written by skipw; model.c holds the weights
 * ({float_bytes / 1000:.0f} kB of matrices in float, a quarter of it with -DSKIPW_INT8). */
#ifndef SKIPW_MODEL_H
#define SKIPW_MODEL_H

#include "skipw.h"

#define SKIPW_MODEL_INPUTS {sizes["input_size"]}u /* D, values a step */
#define SKIPW_MODEL_OUTPUTS {outputs}u /* values of skipw_output */
#define SKIPW_MODEL_WINDOW {sizes["window"]}u /* L; 1 where the model has none */
#define SKIPW_MODEL_IS_CLASSIFIER {int(weights.has_head and weights.architecture.task == "classification")}
#define SKIPW_MODEL_VOCABULARY {weights.architecture.vocabulary_size}u /* words; 0: inputs are numbers */

/* Where it runs unless told otherwise. */
#define SKIPW_MODEL_BUDGET {"SKIPW_WHOLE_WINDOW" if whole else f"{point.budget}u"}
#define SKIPW_MODEL_THRESHOLD {_number(point.threshold)}f

/* Bytes of one stream, aligned for skipw_wide: what skipw_memory(&skipw_model_data) answers. */
#ifdef SKIPW_NO_DOUBLE
#define SKIPW_MODEL_MEMORY {memory_bytes(packed, 4)}u
#else
#define SKIPW_MODEL_MEMORY {memory_bytes(packed, 8)}u
#endif

extern const skipw_model skipw_model_data;
extern const char *const skipw_model_classes[]; /* a name for each output of a classifier */

#endif
"""


def _source(weights: Weights, packed: Packed) -> Iterator[str]:
    """model.c, piece by piece."""
    arrays = packed.arrays
    yield '/* Constants of the model; see model.h. */\n#include "model.h"\n\n'
    for name, array in arrays.items():
        if array is None:
            continue
        if isinstance(array, Matrix):
            yield from _matrix(name, array)
        else:
            kind = KINDS[array.dtype.name]
            yield from _constants(kind, name, array.ravel())
    yield "static const skipw_layer layers[] = {\n"
    for layer in range(packed.sizes["layers"]):
        mix = "NULL" if arrays[f"mix_{layer}"] is None else f"mix_{layer}"
        yield (
            f"  {{{_matrix_value(f'input_{layer}', arrays)}, {_matrix_value(f'state_{layer}', arrays)}, "
            f"input_bias_{layer}, state_bias_{layer}, {mix}}},\n"
        )
    yield "};\n\n"
    yield from _gates(packed)
    yield from _classes(weights)
    yield from _model(packed)


def _gates(packed: Packed) -> Iterator[str]:
    arrays, count = packed.arrays, packed.sizes["gates"]
    if not count:
        return
    yield "static const skipw_gate gates[] = {\n"
    for i in range(count):
        time, own = (
            "NULL" if arrays[f"{name}_{i}"] is None else f"{name}_{i}" for name in ("gate_time", "gate_own")
        )
        state, seen = (_matrix_value(f"{name}_{i}", arrays) for name in ("gate", "gate_seen"))
        yield f"  {{{state}, gate_bias_{i}, {time}, {seen}, {own}}},\n"
    yield "};\n\n"


def _matrix(name: str, matrix: Matrix) -> Iterator[str]:
    """Both forms of one matrix; the build takes one."""
    values, scale = quantise(matrix.values)
    yield "#ifdef SKIPW_INT8\n"
    yield from _constants("int8_t", name, pack_matrix(values))
    yield from _constants("float", f"{name}_scale", scale)
    yield "#else\n"
    yield from _constants("float", name, pack_matrix(matrix.values))
    yield f"#define {name}_scale NULL\n#endif\n\n"


def _constants(kind: str, name: str, values: Array) -> Iterator[str]:
    """One array, in digits that give the same numbers back."""
    yield f"static const {kind} {name}[{len(values)}] = {{\n"
    texts = [
        str(int(value)) if kind in ("int8_t", "uint32_t") else _literal(float(value), kind)
        for value in values
    ]
    for start in range(0, len(texts), PER_LINE):
        yield f"  {', '.join(texts[start : start + PER_LINE])},\n"
    yield "};\n"


def _literal(value: float, kind: str) -> str:
    """A constant that the compiler reads as exactly this number; skipw_wide may be a float there."""
    if not np.isfinite(value):
        sign = "-" if value < 0 else ""
        return "(0.0f / 0.0f)" if np.isnan(value) else f"({sign}1.0f / 0.0f)"
    return f"(skipw_wide){_number(value, 17)}" if kind == "skipw_wide" else f"{_number(value)}f"


def _number(value: float, digits: int = 9) -> str:
    text = f"{value:.{digits}g}"
    return text if any(mark in text for mark in ".e") else f"{text}.0"


def _matrix_value(name: str, arrays: Any) -> str:
    matrix = arrays[name]
    if matrix is None:
        return "{NULL, NULL, 0, 0}"
    return f"{{{name}, {name}_scale, {matrix.outputs}, {matrix.inputs}}}"


def _classes(weights: Weights) -> Iterator[str]:
    names = [str(name) for name in weights.description.get("classes") or []]
    if not names:
        names = [str(index) for index in range(max(1, weights.architecture.num_outputs))]
    yield "const char *const skipw_model_classes[] = {\n"
    yield from (f"  {_c_string(name)},\n" for name in names)
    yield "};\n\n"


def _model(packed: Packed) -> Iterator[str]:
    sizes, arrays = packed.sizes, packed.arrays
    kind, has_missing, has_clip, missing, clip = packed.normaliser

    def pointer(name: str) -> str:
        return "NULL" if arrays[name] is None else name

    fields: Iterable[tuple[str, str]] = (
        ("format", "SKIPW_FORMAT"),
        *(
            (name, str(sizes[name]))
            for name in ("kind", "cell", "select", "time_feature", "gate_inputs", "bound")
        ),
        *(
            (name, str(sizes[name]))
            for name in (
                "input_size",
                "hidden_size",
                "layers",
                "window",
                "largest_budget",
                "gates",
                "gate_windows",
            )
        ),
        ("time_scale", f"{_number(packed.time_scale)}f"),
        ("layer", "layers"),
        ("initial", "initial"),
        ("gate", "gates" if sizes["gates"] else "NULL"),
        ("gate_budget", pointer("gate_budgets")),
        ("hidden", _matrix_value("hidden", arrays)),
        ("output", _matrix_value("output", arrays)),
        ("hidden_bias", pointer("hidden_bias")),
        ("output_bias", pointer("output_bias")),
        (
            "normaliser",
            f"{{{kind}, {has_missing}, {has_clip}, (skipw_wide){_number(missing, 17)}, "
            f"(skipw_wide){_number(clip, 17)}, "
            f"{pointer('mean')}, {pointer('scale')}}}",
        ),
    )
    yield "const skipw_model skipw_model_data = {\n"
    yield from (f"  .{name} = {value},\n" for name, value in fields)
    yield "};\n"


def _write_words(weights: Weights, folder: Path) -> None:
    table = weights.arrays["embedding.weight"]
    (folder / "embedding.bin").write_bytes(np.ascontiguousarray(table, dtype="<f4").tobytes())
    if vocabulary := weights.description.get("vocabulary"):
        (folder / "vocabulary.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")


def _safe(text: str) -> str:
    """For a comment."""
    return text.replace("*/", "* /").replace("\n", " ")


def _c_string(text: str) -> str:
    """A C literal of UTF-8 bytes, whatever the text holds."""
    plain = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
        for byte in text.encode()
    )
    return f'"{plain}"'
