"""A stream served by the C step of ``csrc``, the one that runs on boards too.

The environment variable SKIPW_STREAM_LIBRARY names another file than the one that comes with the package.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from skipw.operating_point import OperatingPoint
from skipw.runtime.c import build
from skipw.runtime.c.packing import Matrix, pack, pack_matrix
from skipw.runtime.encoding import Encoder
from skipw.runtime.verbs import Stream, Usage, checked_point, refuse
from skipw.runtime.weights import Weights

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["CModel", "extension", "missing"]

WHOLE_WINDOW = 0xFFFFFFFF


class CModel:
    """A model's constants in the extension; immutable, shared by its streams.

    Args:
        weights: of a model for which :func:`skipw.runtime.c.packing.why_not` has no objection.
        encode: for inputs that are no contiguous Float[D]: lists, tensors, words.
    """

    __slots__ = ("_encode", "_handle", "_outputs", "_stream_type", "_weights")

    def __init__(self, weights: Weights, encode: Encoder) -> None:
        packed = pack(weights)
        arrays = [
            pack_matrix(array.values) if isinstance(array, Matrix) else array
            for array in packed.arrays.values()
        ]
        self._weights, self._encode = weights, encode
        self._handle = extension().Model(
            tuple(packed.sizes.values()),
            packed.time_scale,
            packed.normaliser,
            arrays,
            not weights.architecture.vocabulary_size,
        )
        self._outputs = packed.sizes["outputs"] or packed.sizes["hidden_size"]

    def create_stream(self, point: OperatingPoint | None) -> Stream:
        """See :meth:`skipw.StreamModel.create_stream`."""
        stream: Stream = _stream_type()(self._handle, self, checked_point(self._weights.architecture, point))
        return stream


@functools.cache
def _stream_type() -> type[Any]:
    """The class, made when the extension is first needed: without it this module can be imported too."""

    class CStream(extension().Stream, Stream):  # type: ignore[misc]
        __slots__ = ("_model", "_point")

        def __init__(self, handle: Any, model: CModel, point: OperatingPoint | None) -> None:
            self._model = model
            self.set_operating_point(point)

        @property
        def plan(self) -> tuple[int, ...]:
            plan: tuple[int, ...] = self._plan()
            return plan

        def output(self) -> npt.NDArray[Any]:
            scores: npt.NDArray[Any] = self._write_output(np.empty(self._model._outputs, dtype=np.float32))
            return scores

        def set_operating_point(self, point: OperatingPoint | None) -> None:
            point = checked_point(self._model._weights.architecture, point)
            if point is not None:
                budget = WHOLE_WINDOW if point.budget is None else point.budget
                accepted = self._set_point(budget, point.threshold)
                assert accepted, point
            self._point = point

        @property
        def operating_point(self) -> OperatingPoint | None:
            return self._point

        @property
        def usage(self) -> Usage:
            windows = self._model._weights.architecture.window is not None
            return Usage(self._inputs, self._processed, self._max_in_window if windows else None)

        @property
        def inputs(self) -> int:
            seen: int = self._inputs
            return seen

        @property
        def window(self) -> int | None:
            return self._model._weights.architecture.window

        def reset(self) -> None:
            self._reset()

        def _process_any(self, x: Any) -> None:
            """What the extension does not read itself; raises what is wrong with it."""
            self._process_features(np.ascontiguousarray(self._model._encode(x), dtype=np.float32))

        def _refuse(self, verb: str) -> NoReturn:
            raise refuse(verb, self._inputs, self._model._weights.architecture.window)

        def __copy__(self) -> Stream:
            twin: Any = type(self)(self._model._handle, self._model, self._point)
            twin._copy_from(self)
            return twin

        def __deepcopy__(self, memo: Any) -> Stream:
            return self.__copy__()  # the model never changes

        def __reduce__(self) -> NoReturn:
            raise TypeError("a stream cannot be pickled; pickle its model, or copy the stream.")

    return CStream


def extension() -> ModuleType:
    """The compiled module.

    Raises:
        ImportError: with the reason and the remedy, see :func:`missing`.
    """
    found = _find()
    if isinstance(found, str):
        raise ImportError(found)
    return found


def missing() -> str | None:
    """None if the extension is there and up to date, else why not, with the remedy."""
    found = _find()
    return found if isinstance(found, str) else None


@functools.cache
def _find() -> ModuleType | str:
    path = Path(os.environ.get("SKIPW_STREAM_LIBRARY", "").strip() or build.LIBRARY)
    if not path.is_file():
        return f"the C step was not built ({path.name} is missing); run `{build.REBUILD}`."
    spec = importlib.util.spec_from_file_location("skipw.runtime.c._stream", path)
    assert spec is not None and spec.loader is not None
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ImportError as error:
        return f"the C step cannot be loaded ({error}); run `{build.REBUILD} --force`."
    if build.SOURCES.is_dir() and build.source_hash() != module.SOURCE_HASH:
        return f"the C step is older than its sources; run `{build.REBUILD}` and start Python again."
    return module
