"""Images that are moved, turned and scaled before they are trained on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from skipw.errors import ParamsError
from skipw.models.task import Architecture
from skipw.params import TrainSettings, experiment_settings, load
from skipw.training.data_module import Batch
from skipw.training.distortion import distorted
from skipw.training.lightning_module import TrainingModule

Settings = Callable[..., TrainSettings]
SIDE = 9


def spot(row: int, column: int, batch: int = 64) -> Tensor:
    """Images that are 0 but for one pixel."""
    images = torch.zeros(batch, SIDE, SIDE, 1)
    images[:, row, column] = 1.0
    return images.reshape(batch, SIDE * SIDE, 1)


def centres(images: Tensor) -> Tensor:
    """Where the weight of each image lies: Float[B, 2], (row, column)."""
    weight = images.reshape(-1, SIDE, SIDE)
    places = torch.arange(SIDE, dtype=images.dtype)
    total = weight.sum((1, 2))
    return torch.stack([(weight.sum(2) * places).sum(1), (weight.sum(1) * places).sum(1)], 1) / total[:, None]


def test_without_ranges_images_stay_as_they_are(settings: Settings) -> None:
    images = torch.rand(5, SIDE * SIDE, 1)
    torch.testing.assert_close(distorted(images, settings("mnist"), torch.Generator()), images)


def test_a_shift_moves_each_image_by_its_own_whole_and_part_pixels(settings: Settings) -> None:
    moved = distorted(spot(4, 4), settings("mnist", distort_shift=2.0), torch.Generator().manual_seed(1))
    offsets = centres(moved) - 4
    assert offsets.abs().max() <= 2.0 + 1e-4
    assert offsets.min() < -1.5 and offsets.max() > 1.5  # both axes and both ways, up to the limit
    assert len(offsets.unique(dim=0)) == 64
    torch.testing.assert_close(
        moved.sum((1, 2)), torch.ones(64)
    )  # bilinear: nothing is lost within the image


def test_what_comes_in_from_outside_is_zero(settings: Settings) -> None:
    white = torch.ones(64, SIDE * SIDE, 1)
    moved = distorted(white, settings("mnist", distort_shift=4.0), torch.Generator().manual_seed(1))
    assert moved.min() == 0.0
    assert moved.max() <= 1.0 + 1e-6


def test_an_angle_turns_about_the_centre(settings: Settings) -> None:
    chosen = settings("mnist", distort_angle=45.0)
    turned = distorted(spot(4, 7), chosen, torch.Generator().manual_seed(1))
    offsets = centres(turned) - 4
    assert offsets.norm(dim=1).tolist() == pytest.approx([3.0] * 64, abs=0.2)
    angles = torch.rad2deg(torch.atan2(offsets[:, 0], offsets[:, 1]))
    assert angles.abs().max() < 48 and angles.min() < -30 and angles.max() > 30
    still = distorted(spot(4, 4), chosen, torch.Generator().manual_seed(1))
    torch.testing.assert_close(centres(still), torch.full((64, 2), 4.0))


def test_a_scale_moves_a_pixel_away_from_the_centre_or_towards_it(settings: Settings) -> None:
    grown = distorted(spot(4, 6), settings("mnist", distort_scale=0.4), torch.Generator().manual_seed(1))
    offsets = centres(grown) - 4
    torch.testing.assert_close(offsets[:, 0], torch.zeros(64), atol=1e-4, rtol=0)
    assert 0.9 < offsets[:, 1].min() < 1.5 and 2.5 < offsets[:, 1].max() < 2.9  # 0.6 to 1.4 times 2


def test_the_same_draw_gives_the_same_images(settings: Settings) -> None:
    images = torch.rand(5, SIDE * SIDE, 1)
    chosen = settings("mnist", distort_shift=1.0, distort_angle=10.0, distort_scale=0.1)
    one, two, other = (distorted(images, chosen, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_a_share_of_the_images_is_changed_and_the_others_stay_to_the_bit(settings: Settings) -> None:
    images = torch.rand(2000, SIDE * SIDE, 1)
    chosen = settings("mnist", distort_angle=20.0, distort_share=0.25)
    moved = distorted(images, chosen, torch.Generator().manual_seed(1))
    same = (moved == images).all(2).all(1)
    assert 0.7 < float(same.float().mean()) < 0.8


def test_only_mnist_has_images(tmp_path: Path) -> None:
    def written(dataset: str) -> Path:
        file = tmp_path / f"{dataset}.yaml"
        entry = f"{{dataset: {dataset}, model: dense, distort_angle: 5, start: data/prepared/{dataset}}}"
        file.write_text(f"train:\n  experiments:\n    {dataset}-dense: {entry}\n")
        return file

    assert experiment_settings(load(written("mnist")), "mnist-dense").distorts
    with pytest.raises(ParamsError, match=r"har-dense: distort_shift.*har has none"):
        load(written("har"))


def test_only_the_images_that_are_trained_on_are_moved(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainingModule, "_ranks", 1)  # no trainer is attached
    chosen = settings("mnist", distort_shift=2.0, random_budget=1.0, sandwich=True)
    model = Architecture(model="skipw", input_size=1, num_outputs=10, task="classification", window=5).build()
    seen: list[Tensor] = []
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.rand(4, SIDE * SIDE, 1)
    batch = Batch(images, torch.arange(4), torch.full((4,), SIDE * SIDE), torch.arange(4))
    module = TrainingModule(model, chosen, "accuracy")
    module.training_step(batch, 0)
    at_full_budget, at_drawn_budget = seen
    assert not torch.equal(at_full_budget, images)
    assert torch.equal(at_full_budget, at_drawn_budget)  # a teacher's scores are of the very same images
    module.on_validation_epoch_start()
    module.validation_step(batch, 0)
    assert torch.equal(seen[2], images)
