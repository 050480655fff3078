"""Sources of frames: in order, decoded only when read."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from skipw.actions.film import film, write_video
from skipw.actions.frames import Frames, ImageFolder, Paced, Thinned, Video, open_frames
from skipw.actions.region import Image
from skipw.errors import BackendUnavailableError, DataFormatError, ParamsError
from tests.actions.conftest import ABSENT

cv2 = pytest.importorskip("cv2", reason=ABSENT)


def flat(number: int) -> Image:
    """A frame that tells its number by its brightness, red alone."""
    image = np.zeros((48, 64, 3), np.uint8)
    image[..., 0] = 10 * number
    return image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "images"
    path.mkdir()
    for number in range(12):
        cv2.imwrite(str(path / f"frame-{number}.png"), flat(number)[..., ::-1])
    return path


def numbers(frames: Frames) -> list[int]:
    found = []
    while frames.advance():
        found.append(round(float(frames.read()[..., 0].mean()) / 10))
    return found


def test_images_come_in_the_order_of_their_numbers_and_in_rgb(folder: Path) -> None:
    (folder / "notes.txt").write_text("no image")
    assert numbers(open_frames(str(folder))) == list(range(12))


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_a_video_gives_its_frames_and_its_rate(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film{suffix}"
    write_video(path, iter([flat(number) for number in range(12)]), fps=22.0)
    frames = open_frames(str(path))
    assert frames.fps == pytest.approx(22.0, abs=0.01)
    assert numbers(frames) == list(range(12))
    frames.close()


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_passed_over_frames_leave_the_others_as_they_are(tmp_path: Path, picture: Image, suffix: str) -> None:
    path = tmp_path / f"film{suffix}"
    write_video(path, film(picture, 20, size=(160, 120)))

    def read(chosen: set[int]) -> dict[int, Image]:
        frames, found, number = open_frames(str(path)), {}, 0
        while frames.advance():
            if number in chosen:
                found[number] = frames.read()
            number += 1
        assert number == 20
        return found

    some, all_ = read({3, 4, 17}), read(set(range(20)))
    assert all(np.array_equal(image, all_[number]) for number, image in some.items())
    assert not np.array_equal(some[3], some[17])


def test_an_image_that_is_passed_over_is_not_opened(folder: Path) -> None:
    for number in range(1, 12, 2):
        (folder / f"frame-{number}.png").write_bytes(b"no image")
    frames = ImageFolder(folder)
    for number in range(12):
        assert frames.advance()
        if number % 2 == 0:
            assert frames.read()[0, 0].tolist() == [10 * number, 0, 0]
    with pytest.raises(DataFormatError, match=r"frame-11\.png is not an image"):
        frames.read()
    assert not frames.advance()


def test_a_faster_source_is_thinned_evenly(folder: Path) -> None:
    assert numbers(open_frames(str(folder), source_fps=30, fps=15)) == [0, 2, 4, 6, 8, 10]
    assert numbers(open_frames(str(folder), source_fps=30, fps=22)) == [0, 2, 3, 5, 6, 7, 9, 10, 11]
    assert numbers(open_frames(str(folder), source_fps=22, fps=22)) == list(range(12))
    with pytest.raises(ParamsError, match="does not say its frames a second"):
        open_frames(str(folder), fps=22)
    with pytest.raises(ParamsError, match=r"at most the source's 10; got 22"):
        open_frames(str(folder), source_fps=10, fps=22)


def test_a_paced_source_waits_for_the_camera(folder: Path) -> None:
    now, slept = [100.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    frames = Paced(ImageFolder(folder), 20.0, clock=lambda: now[0], sleep=sleep)
    for number in range(12):
        assert frames.advance()
        if number == 3:
            now[0] += 0.12  # a slow frame: the next two have come meanwhile
    assert slept == pytest.approx([0.05] * 3 + [0.03] + [0.05] * 5)
    assert not frames.advance() and isinstance(Thinned(frames, 10.0), Thinned)


def test_what_is_no_source_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataFormatError, match="holds no images"):
        open_frames(str(tmp_path))
    with pytest.raises(DataFormatError, match="no such video file, folder of images, or webcam:NUMBER"):
        open_frames(str(tmp_path / "none.mp4"))
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(DataFormatError, match="OpenCV knows no such format"):
        open_frames(str(tmp_path / "text.mp4"))
    with pytest.raises(DataFormatError, match="webcam 97 cannot be opened"):
        open_frames("webcam:97")
    with pytest.raises(DataFormatError, match=r"written as \.avi or \.mp4"):
        write_video(tmp_path / "film.gif", iter([flat(0)]))


def test_without_the_extra_its_name_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(BackendUnavailableError, match=r"pip install 'skipw\[pose\]'"):
        Video(str(folder / "film.avi"))
