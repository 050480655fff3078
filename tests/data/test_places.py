"""The places of each real data set: mirrors, official files, folders; and how wrong data is found out."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from skipw.data import har, har_places, imdb_places, mnist_places, places
from skipw.data.mirror import fetch_from_mirror
from skipw.data.sources import obtain
from skipw.data.transfer import TransferError
from skipw.errors import ChecksumError, DataUnavailableError


def silence(message: str) -> None:
    raise AssertionError(f"nothing was to be announced: {message}")


@pytest.mark.parametrize("listed", [True, False])
def test_a_mirror_may_be_an_address(
    mnist_mirror: Path, site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    files = {f"/m/{p.relative_to(mnist_mirror)}": p.read_bytes() for p in mnist_mirror.rglob("*.gz")}
    site.files.update(files)
    if listed:
        name = "mnist/t10k-labels-idx1-ubyte.gz"
        site.files["/m/SHA256SUMS"] = f"{'0' * 64}  ./{name}\n".encode()
    monkeypatch.setenv("SKIPW_MIRROR", f"{site.url}/m/")
    raw = tmp_path / "raw/mnist"
    if listed:
        with pytest.raises(DataUnavailableError, match="expected SHA-256 0000"):
            obtain("mnist", places.parts_of("mnist"), raw, "mirror", silence)
    else:
        record = obtain("mnist", places.parts_of("mnist"), raw, "mirror", silence)
        assert record["data_source"] == "mirror"
        assert len(record["parts"]["images"]["files"]) == 4


def test_a_mirror_folder_is_checked_against_its_own_list(mnist_mirror: Path, tmp_path: Path) -> None:
    name = "mnist/t10k-labels-idx1-ubyte.gz"
    (mnist_mirror / "SHA256SUMS").write_text(f"{'0' * 64}  ./{name}\n")
    with pytest.raises(ChecksumError, match="SHA256SUMS"):
        fetch_from_mirror((name,), tmp_path, tmp_path)
    with pytest.raises(TransferError, match=r"has no mnist/none or mnist/nil"):
        fetch_from_mirror(("mnist/none", "mnist/nil"), tmp_path, tmp_path)


def test_a_mirror_that_is_no_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKIPW_MIRROR", str(tmp_path / "none"))
    with pytest.raises(TransferError, match="is not a folder"):
        fetch_from_mirror(("a",), tmp_path, tmp_path)
    monkeypatch.delenv("SKIPW_MIRROR")
    with pytest.raises(TransferError, match="is not set"):
        fetch_from_mirror(("a",), tmp_path, tmp_path)


def test_mnist_with_a_wrong_hash_is_refused(mnist_mirror: Path, tmp_path: Path) -> None:
    path = mnist_mirror / "mnist/train-labels-idx1-ubyte.gz"
    path.write_bytes((mnist_mirror / "mnist/t10k-labels-idx1-ubyte.gz").read_bytes())
    with pytest.raises(DataUnavailableError, match="SHA-256 should be"):
        obtain("mnist", places.parts_of("mnist"), tmp_path / "raw/mnist", "mirror", silence)
    assert not (tmp_path / "raw/mnist").exists()


def test_a_mirror_with_mall_poses_only_serves_har_as_har_mall(
    har_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(har_folder, tmp_path / "mirror/har_mall")
    monkeypatch.setenv("SKIPW_MIRROR", str(tmp_path / "mirror"))
    said: list[str] = []
    record = obtain("har", places.parts_of("har"), tmp_path / "raw/har", "mirror", said.append)
    assert record["data_source"] == "har-mall"
    assert "HAR-2D-POSE" not in record["title"].split("(")[0]
    assert len(record["parts"]["poses"]["classes"]) == 11
    assert len(said) == 1
    caplog.set_level("INFO")
    obtain("har", places.parts_of("har"), tmp_path / "raw/har", "mirror", said.append)
    assert f"{har_places.MALL_TITLE}: already there (har-mall)" in caplog.messages


def test_another_set_under_the_real_ones_name_is_refused(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(simulated, tmp_path / "mirror/har")
    monkeypatch.setenv("SKIPW_MIRROR", str(tmp_path / "mirror"))
    with pytest.raises(DataUnavailableError, match="it is another data set"):
        obtain("har", places.parts_of("har"), tmp_path / "raw/har", "mirror", silence)


def test_the_official_har_archive_is_unpacked_and_checked(
    har_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys
    import types

    def fetch_drive(*, id: str, output: str, **_: object) -> str:
        with zipfile.ZipFile(output, "w") as archive:
            for path in har_folder.iterdir():
                archive.write(path, f"RNN-HAR-2D-Pose-database/{path.name}")
        return output

    monkeypatch.setattr(har_places, "check_reachable", lambda url: None)
    monkeypatch.setitem(sys.modules, "gdown", types.SimpleNamespace(download=fetch_drive))
    with pytest.raises(DataUnavailableError, match=r"Y_train\.txt: SHA-256 should be"):
        obtain("har", places.parts_of("har"), tmp_path / "raw/har", "official", silence)
    labels = {f"Y_{s}.txt": har_places.sha256_of(har_folder / f"Y_{s}.txt") for s in ("train", "test")}
    monkeypatch.setattr(har_places, "LABELS_SHA256", labels)
    with pytest.raises(DataUnavailableError, match="expected 36 columns"):
        obtain("har", places.parts_of("har"), tmp_path / "raw/har", "official", silence)


def test_a_folder_of_ones_own_goes_by_its_own_name(
    har_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for said in (f"mine: trying {har_folder}", "mine: already there (folder:mine)"):
        obtain("har", places.parts_of("har", folder=str(har_folder)), tmp_path / "raw/har", "auto", silence)
        assert said in caplog.messages
    assert "HAR-2D-POSE" not in caplog.text


def test_a_folder_of_ones_own_takes_hars_place(har_folder: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw/har"
    record = obtain("har", places.parts_of("har", folder=str(har_folder)), raw, "auto", silence)
    assert (record["data_source"], record["title"]) == ("folder:mine", "mine")
    assert record["parts"]["poses"]["classes"] == ["class 1", "class 2"]
    (har_folder / "classes.txt").write_text("walk\nrun\n")
    shutil.rmtree(raw)
    record = obtain("har", places.parts_of("har", folder=str(har_folder)), raw, "auto", silence)
    assert record["parts"]["poses"]["classes"] == ["walk", "run"]
    (har_folder / "X_train.txt").unlink()
    shutil.rmtree(raw)
    with pytest.raises(DataUnavailableError, match=r"expected X_train\.txt"):
        obtain("har", places.parts_of("har", folder=str(har_folder)), raw, "auto", silence)
    assert har.ACTIONS[0] == "JUMPING"


def test_a_bad_file_of_a_folder_of_ones_own_is_named_as_it_is(har_folder: Path, tmp_path: Path) -> None:
    path = har_folder / "X_train.txt"
    path.write_text("oops," + path.read_text().partition(",")[2])
    with pytest.raises(DataUnavailableError) as caught:
        obtain("har", places.parts_of("har", folder=str(har_folder)), tmp_path / "raw/har", "auto", silence)
    said = str(caught.value)
    assert f"{path}, line 1: expected a finite number in column 1" in said
    assert ".tmp" not in said and "SKIPW_MIRROR" not in said


def test_a_list_of_classes_may_begin_with_a_byte_order_mark(har_folder: Path, tmp_path: Path) -> None:
    (har_folder / "classes.txt").write_text("walk\nrun\n", encoding="utf-8-sig")
    record = obtain(
        "har", places.parts_of("har", folder=str(har_folder)), tmp_path / "raw/har", "auto", silence
    )
    assert record["parts"]["poses"]["classes"] == ["walk", "run"]


def test_a_change_in_a_folder_is_noticed_and_its_absence_is_not_missed(
    har_folder: Path, tmp_path: Path
) -> None:
    raw = tmp_path / "raw/har"

    def get() -> dict[str, Any]:
        return obtain("har", places.parts_of("har", folder=str(har_folder)), raw, "auto", silence)

    first = get()
    assert get() == first
    (har_folder / "groups_train.txt").write_text("".join(f"p{i // 6}\n" for i in range(24)))
    second = get()
    assert (raw / "groups_train.txt").read_text() == (har_folder / "groups_train.txt").read_text()
    assert second != first
    (har_folder / "groups_train.txt").write_text("p\n" * 23)
    with pytest.raises(DataUnavailableError, match="got 23"):
        get()
    har_folder.rename(tmp_path / "away")
    assert get() == second


def test_imdb_records_reviews_and_word_vectors(imdb_mirror: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw/imdb"
    record = obtain("imdb", places.parts_of("imdb", glove_dimension=50), raw, "auto", silence)
    assert record["data_source"] == "mirror"
    assert record["parts"]["glove"]["dimension"] == 50
    assert {p.name for p in raw.iterdir()} == {"aclImdb.tar.xz", "glove.6B.50d.txt", "source.json"}


def test_another_size_of_word_vectors_is_fetched_and_the_reviews_kept(
    imdb_mirror: Path, tmp_path: Path
) -> None:
    raw = tmp_path / "raw/imdb"
    obtain("imdb", places.parts_of("imdb", glove_dimension=50), raw, "mirror", silence)
    (imdb_mirror / "glove/glove.6B.100d.txt").write_text("the " + " ".join(["0.1"] * 100) + "\n")
    (imdb_mirror / "imdb/aclImdb.tar.xz").unlink()  # it is not needed again
    record = obtain("imdb", places.parts_of("imdb", glove_dimension=100), raw, "mirror", silence)
    assert record["parts"]["glove"]["dimension"] == 100
    assert (raw / "glove.6B.100d.txt").is_file()
    assert not (raw / "glove.6B.50d.txt").exists()


def test_an_imdb_archive_with_too_few_reviews_is_refused(
    imdb_mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skipw.data import reviews

    monkeypatch.setattr(reviews, "PER_FOLDER", 12)
    with pytest.raises(DataUnavailableError, match="train/neg has 10 reviews, expected 12"):
        obtain("imdb", places.parts_of("imdb", glove_dimension=50), tmp_path / "raw/imdb", "mirror", silence)


def test_official_files_are_downloaded_and_checked(
    mnist_mirror: Path, imdb_mirror: Path, site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        for size in (50, 100):
            archive.writestr(f"glove.6B.{size}d.txt", "the " + " ".join(["0.5"] * size) + "\n")
    site.files = {f"/m/{path.name}": path.read_bytes() for path in (mnist_mirror / "mnist").iterdir()}
    site.files["/aclImdb_v1.tar.gz"] = (imdb_mirror / "imdb/aclImdb.tar.xz").read_bytes()
    site.files["/glove.zip"] = zipped.getvalue()
    places_there = (f"{site.url}/none/", f"{site.url}/m/")
    monkeypatch.setattr(mnist_places, "PLACES", places_there)
    monkeypatch.setattr(imdb_places, "REVIEWS_PLACE", f"{site.url}/aclImdb_v1.tar.gz")
    monkeypatch.setattr(imdb_places, "GLOVE_PLACE", f"{site.url}/glove.zip")
    record = obtain("mnist", places.parts_of("mnist"), tmp_path / "raw/mnist", "official", silence)
    assert record["data_source"] == "official"
    site.break_after = 100
    with pytest.raises(DataUnavailableError, match="broke after 100"):
        obtain("imdb", places.parts_of("imdb"), tmp_path / "raw/imdb", "official", silence)
    record = obtain("imdb", places.parts_of("imdb"), tmp_path / "raw/imdb", "official", silence)
    assert ("/aclImdb_v1.tar.gz", "bytes=100-") in site.asked, "what had arrived was used"
    assert list(record["parts"]["glove"]["files"]) == ["glove.6B.100d.txt"]
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["imdb", "mnist"]


def test_every_place_says_whether_it_answers(
    mnist_mirror: Path, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise TransferError("no line")

    for module in (mnist_places, imdb_places, har_places):
        for name in ("check_reachable", "check_npm", "check_pip"):
            monkeypatch.setattr(module, name, fail, raising=False)
    answers = {place: answer for _, place, answer in places.probe("mnist")}
    assert answers.pop("SKIPW_MIRROR") == "yes"
    assert set(answers.values()) == {"no: no line"}
    assert ("HAR-2D-POSE", "the simulator", "yes") in places.probe("har")
    assert places.probe("adding") == [("Adding Task", "its rule", "yes")]
    site.files["/imdb/aclImdb.tar.xz"] = b"x"
    monkeypatch.setenv("SKIPW_MIRROR", site.url)
    found = {(part, place): answer for part, place, answer in places.probe("imdb")}
    assert found["IMDB", "SKIPW_MIRROR"] == "yes"
    assert found["GloVe 6B 100d", "SKIPW_MIRROR"].startswith("no: ")
