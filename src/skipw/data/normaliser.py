"""What is done to raw inputs before a model sees them: one frame at a time, the same when streaming.

Each frame is normalised by itself (no statistics over time), so a device that processes single inputs
computes exactly what training computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from skipw.errors import ShapeError

Kind = Literal["none", "standard", "pose", "scale"]
SMALLEST_SIZE = 1e-6  # a pose whose joints all coincide has no size: it becomes all zeros

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Normaliser:
    """Turns raw inputs into what the model was trained on: ``Float[..., D] -> Float32[..., D]``.

    - ``none``: the values as they are.
    - ``scale``: ``(x - mean) / scale`` per feature.
    - ``standard``: the same with the mean and standard deviation of the training set, without its missing
      joints; then clipped to ``[-clip, clip]``. Missing joints become 0, the mean.
    - ``pose``: each frame by its own centre (the mean of its joints) and size (the root mean square distance
      of its joints from that centre), so a person's place and height in the image don't count; then clipped.
      Missing joints become 0, the centre; a frame with fewer than two joints is all zeros.

    Attributes:
        kind: one of the above.
        input_size: D, features a frame; joint j of a pose is features 2j and 2j + 1.
        mean: D numbers (``standard`` and ``scale``).
        scale: D positive numbers (``standard`` and ``scale``).
        clip: largest absolute value after normalising; None clips nothing.
        missing: a joint with both coordinates equal to this value was not seen (0 with OpenPose); None: all
            were.
    """

    kind: Kind
    input_size: int
    mean: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None
    clip: float | None = None
    missing: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ShapeError(f"normaliser kind is one of {', '.join(get_args(Kind))}; got {self.kind!r}")
        if self.input_size < 1:
            raise ShapeError(f"input_size must be at least 1; got {self.input_size}")
        if self.clip is not None and not self.clip > 0:
            raise ShapeError(f"clip must be positive or None; got {self.clip}")
        if (self.kind == "pose" or self.missing is not None) and self.input_size % 2:
            raise ShapeError(f"poses are pairs x, y, so input_size must be even; got {self.input_size}")
        if self.kind in ("standard", "scale"):
            self._check_statistics()

    def _check_statistics(self) -> None:
        for name, values in (("mean", self.mean), ("scale", self.scale)):
            if values is None or len(values) != self.input_size:
                got = "none" if values is None else str(len(values))
                raise ShapeError(f"kind {self.kind!r} needs {self.input_size} numbers as {name}; got {got}")
            if not np.all(np.isfinite(values)):
                raise ShapeError(f"{name} must be finite")
        if min(self.scale or ()) <= 0:
            raise ShapeError("scale must be positive in every feature; use 1 for a constant feature")

    @classmethod
    def fit_standard(cls, frames: npt.ArrayLike, *, missing: float | None, clip: float = 3.0) -> Normaliser:
        """Mean and standard deviation of each feature over the joints that were seen.

        Args:
            frames: Float[..., D] of the training set, raw.
            missing: see the class.
            clip: see the class.
        Raises:
            ShapeError: if a value is not finite.
        """
        x = np.asarray(frames, dtype=np.float64)
        x = x.reshape(-1, x.shape[-1])
        _check_finite(x)
        seen = _seen_features(x, missing)
        count = np.maximum(seen.sum(axis=0), 1)
        mean = np.where(seen, x, 0.0).sum(axis=0) / count
        variance = (np.where(seen, x - mean, 0.0) ** 2).sum(axis=0) / count
        scale = np.where(variance > SMALLEST_SIZE**2, np.sqrt(variance), 1.0)
        return cls("standard", x.shape[-1], tuple(mean.tolist()), tuple(scale.tolist()), clip, missing)

    def __call__(self, inputs: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Normalise raw inputs, frame by frame.

        Args:
            inputs: Float[..., D], any leading shape, so a single frame, a sequence or a batch.
        Returns:
            Float32[..., D], a new array.
        Raises:
            ShapeError: if the last axis is not D wide or a value is not finite.
        """
        x = np.asarray(inputs, dtype=np.float64)
        if x.ndim == 0 or x.shape[-1] != self.input_size:
            raise ShapeError(
                f"expected inputs with {self.input_size} features in the last axis; got shape {x.shape}"
            )
        _check_finite(x)
        match self.kind:
            case "none":
                return x.astype(np.float32)
            case "pose":
                y = self._by_own_size(x)
            case _:
                y = (x - np.asarray(self.mean)) / np.asarray(self.scale)
                if self.missing is not None:
                    y = np.where(_seen_features(x, self.missing), y, 0.0)
        if self.clip is not None:
            y = np.clip(y, -self.clip, self.clip)
        return y.astype(np.float32)

    def _by_own_size(self, x: FloatArray) -> FloatArray:
        joints = x.reshape(*x.shape[:-1], -1, 2)
        seen = _seen_features(x, self.missing).reshape(joints.shape)
        count = np.maximum(seen[..., :1].sum(axis=-2, keepdims=True), 1)
        centre = np.where(seen, joints, 0.0).sum(axis=-2, keepdims=True) / count
        offset = np.where(seen, joints - centre, 0.0)
        squares = (offset**2).sum(axis=-2, keepdims=True).sum(axis=-1, keepdims=True)
        size = np.sqrt(squares / count)
        return (offset / np.where(size > SMALLEST_SIZE, size, np.inf)).reshape(x.shape)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; ``from_json`` gives an equal normaliser back."""
        return {
            "kind": self.kind,
            "input_size": self.input_size,
            "mean": None if self.mean is None else list(self.mean),
            "scale": None if self.scale is None else list(self.scale),
            "clip": self.clip,
            "missing": self.missing,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Normaliser:
        """The normaliser that ``to_json`` described; raises ShapeError if keys are unknown or absent."""
        known = {"kind", "input_size", "mean", "scale", "clip", "missing"}
        if set(values) - known or not {"kind", "input_size"} <= set(values):
            raise ShapeError(f"a normaliser has the keys {sorted(known)}; got {sorted(values)}")
        rest = dict(values)
        for name in ("mean", "scale"):
            if rest.get(name) is not None:
                rest[name] = tuple(float(v) for v in rest[name])
        return cls(**rest)


def _seen_features(x: FloatArray, missing: float | None) -> npt.NDArray[np.bool_]:
    """Bool[..., D]: False where both coordinates of a joint equal ``missing``."""
    if missing is None:
        return np.ones(x.shape, dtype=bool)
    absent = (x.reshape(*x.shape[:-1], -1, 2) == missing).all(axis=-1)
    return ~np.repeat(absent, 2, axis=-1)


def _check_finite(x: FloatArray) -> None:
    if not np.isfinite(x).all():
        bad = int(np.count_nonzero(~np.isfinite(x)))
        raise ShapeError(f"expected finite inputs; {bad} of {x.size} values are NaN or infinite")
