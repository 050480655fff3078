"""A picture with a person, films of it, BlazePose's files, and a small model of 18 joints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from skipw.actions.pose_files import PoseFiles, default_folder, obtain_pose_files
from skipw.actions.pose_network import Body
from skipw.actions.region import Image, Region
from skipw.data.normaliser import Normaliser
from skipw.errors import DataUnavailableError
from skipw.models.saved import save_model
from skipw.models.task import Architecture

ABSENT = "the extra pose is not installed"

CLASSES = ["stand", "wave", "jump", "clap", "box", "walk"]


@pytest.fixture(scope="session", autouse=True)
def _extra() -> None:
    for module in ("cv2", "ai_edge_litert", "codecarbon"):
        pytest.importorskip(module, reason=ABSENT)


@pytest.fixture(scope="session")
def pose_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's cache if the files lie there already, else a fresh folder."""
    known = default_folder()
    folder = known if known.is_dir() else tmp_path_factory.mktemp("pose")
    try:
        obtain_pose_files("lite", folder)
    except DataUnavailableError as error:
        pytest.skip(f"BlazePose is not here: {error}")
    return folder


@pytest.fixture(scope="session")
def pose_files(pose_folder: Path) -> PoseFiles:
    return obtain_pose_files("lite", pose_folder)


@pytest.fixture(scope="session")
def picture() -> Image:
    """Eileen Collins, NASA, public domain: 512 x 512, facing the camera, from the head to the waist."""
    data = pytest.importorskip("skimage.data")
    image: Image = data.astronaut()
    return image


def small_model(folder: Path, *, model: str = "skipw", missing: float | None = 0.0, **changes: Any) -> Any:
    """A model of random weights in ``folder``; returns it too."""
    torch.manual_seed(3)
    settings: dict[str, Any] = {"hidden_size": 20, "num_layers": 2}
    if model == "skipw":
        settings["window"] = 8
    settings |= changes
    size = settings.pop("input_size", 36)
    built = Architecture(model, input_size=size, num_outputs=6, task="classification", **settings).build()
    normaliser = Normaliser("pose", input_size=size, clip=5.0, missing=missing)
    save_model(folder, built, {"normaliser": normaliser.to_json(), "classes": CLASSES})
    return built.eval()


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    small_model(tmp_path / "model")
    return tmp_path / "model"


class PlayedPose:
    """Joints that depend on the frame alone, instead of a pose network."""

    def __init__(self) -> None:
        self.calls = 0
        self.ages: list[int] = []

    def find(self, image: Image, age: int = 1) -> Body | None:
        self.calls += 1
        self.ages.append(age)
        number = int(image[0, 0, 0])
        if number % 7 == 6:
            return None
        rng = np.random.default_rng(number)
        points = rng.uniform(5, 35, (33, 2))
        return Body(points, rng.uniform(0.3, 1.0, 33), 1.0, Region(20, 20, 40))
