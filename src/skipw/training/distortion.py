"""Images that are moved, turned and scaled a little before they are trained on, a new draw in every step.

A model learns 55,000 digits by heart long before it has learnt to read (docs/experiments/mnist.md): one that stands
elsewhere in every pass has to be read. Validation and test see the images as they are.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from skipw.params import TrainSettings

__all__ = ["distorted"]


def distorted(images: Tensor, settings: TrainSettings, generator: torch.Generator) -> Tensor:
    """Every image under an affine map of its own, bilinear; what comes in from outside is 0.

    An image moves by up to ``distort_shift`` pixels along each axis, turns by up to ``distort_angle`` degrees about its
    centre and grows or shrinks by up to ``distort_scale`` (0.1 is 0.9 to 1.1 times, both axes alike); all are drawn
    uniformly. ``distort_share`` of the images, drawn too, are changed, the others stay: a changed one is interpolated,
    and a model that sees no other does not know sharp strokes.

    Args:
        images: Float[B, T, 1], T = side², row by row.
        settings: the three ranges, and the share.
        generator: of the CPU, which all is drawn from.
    Returns:
        Float[B, T, 1], a new tensor on the images' device.
    """
    batch, steps, _ = images.shape
    side = math.isqrt(steps)
    drawn = 2 * torch.rand(4, batch, generator=generator) - 1
    angle = drawn[0] * math.radians(settings.distort_angle)
    scale = 1 + drawn[1] * settings.distort_scale
    shift = drawn[2:] * settings.distort_shift * 2 / side  # affine_grid's image is 2 wide
    cosine, sine = angle.cos() / scale, angle.sin() / scale
    changed = torch.rand(batch, generator=generator) < settings.distort_share
    maps = torch.stack([cosine, -sine, shift[0], sine, cosine, shift[1]], dim=1).view(batch, 2, 3)
    maps = maps.to(images.device, images.dtype)
    grid = torch.nn.functional.affine_grid(maps, [batch, 1, side, side], align_corners=False)
    flat = images.reshape(batch, 1, side, side)
    moved = torch.nn.functional.grid_sample(flat, grid, align_corners=False).reshape(images.shape)
    return torch.where(changed.to(images.device).view(batch, 1, 1), moved, images)
