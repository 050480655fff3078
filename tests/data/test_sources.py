"""Sources in order, what is kept and what is fetched again, what is recorded, and nothing half written."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from skipw.data import har, har_places, imdb_places, mnist_places, places
from skipw.data.mirror import fetch_from_mirror
from skipw.data.sources import Candidate, Part, obtain, read_record
from skipw.data.transfer import TransferError
from skipw.errors import ChecksumError, DataFormatError, DataUnavailableError, ParamsError


class Place:
    """A place that has one file, or fails; counts how often it was asked."""

    def __init__(self, content: str | None, error: type[Exception] = TransferError) -> None:
        self.content, self.error, self.calls = content, error, 0

    def __call__(self, into: Path, partial: Path) -> dict[str, Any]:
        self.calls += 1
        (into / "data.txt").write_text("half")
        if self.content is None:
            raise self.error("it is raining")
        (into / "data.txt").write_text(self.content)
        return {"note": self.content}


def part_of(**fetches: Place) -> tuple[Part, ...]:
    """Candidates by name of their place; ``substitute`` is marked as one."""
    candidates = tuple(
        Candidate(place, "made-up" if place == "substitute" else place, f"the {place}", fetch,
                  title="Something else" if place == "substitute" else None, substitute=place == "substitute")
        for place, fetch in fetches.items()
    )  # fmt: skip
    return (Part("all", "The data", candidates),)


def silence(message: str) -> None:
    raise AssertionError(f"nothing was to be announced: {message}")


def test_the_first_place_that_works_is_taken_and_recorded(tmp_path: Path) -> None:
    raw = tmp_path / "raw/ds"
    mirror, official, registry = Place(None), Place("abc"), Place("never")
    record = obtain("ds", part_of(mirror=mirror, official=official, registry=registry), raw, "auto", silence)
    assert (raw / "data.txt").read_text() == "abc"
    assert registry.calls == 0
    assert record == json.loads((raw / "source.json").read_text())
    assert record["data_source"] == "official"
    assert record["title"] == "The data"
    assert record["parts"]["all"]["files"]["data.txt"]["bytes"] == 3
    assert record["parts"]["all"]["note"] == "abc"
    assert [p.name for p in raw.parent.iterdir()] == ["ds"]


def test_what_is_there_and_right_is_kept(tmp_path: Path) -> None:
    raw, official = tmp_path / "raw/ds", Place("abc")
    for _ in range(2):
        obtain("ds", part_of(official=official), raw, "auto", silence)
    assert official.calls == 1
    assert (raw / "data.txt").read_text() == "abc"


@pytest.mark.parametrize("harm", ["change", "delete"])
def test_what_was_changed_is_fetched_again(tmp_path: Path, harm: str) -> None:
    raw, official = tmp_path / "raw/ds", Place("abc")
    obtain("ds", part_of(official=official), raw, "auto", silence)
    if harm == "change":
        (raw / "data.txt").write_text("xyz")
    else:
        (raw / "data.txt").unlink()
    obtain("ds", part_of(official=official), raw, "auto", silence)
    assert official.calls == 2
    assert (raw / "data.txt").read_text() == "abc"


def test_another_source_than_the_recorded_one_is_fetched(tmp_path: Path) -> None:
    raw, mirror, official = tmp_path / "raw/ds", Place("from mirror"), Place("from there")
    parts = part_of(mirror=mirror, official=official)
    obtain("ds", parts, raw, "mirror", silence)
    obtain("ds", parts, raw, "official", silence)
    assert read_record(raw)["data_source"] == "official"
    assert (raw / "data.txt").read_text() == "from there"


def test_a_substitute_is_announced_and_gives_way_to_the_real_data(tmp_path: Path) -> None:
    raw, official, simulated = tmp_path / "raw/ds", Place(None), Place("simulated")
    parts = part_of(official=official, substitute=simulated)
    said: list[str] = []
    obtain("ds", parts, raw, "auto", said.append)
    obtain("ds", parts, raw, "auto", said.append)
    assert (official.calls, simulated.calls) == (2, 1), (
        "the real data is asked for again, the substitute is kept"
    )
    assert said == ["The data could not be had: Something else (made-up) stands in for it."] * 2
    official.content = "real"
    record = obtain("ds", parts, raw, "auto", silence)
    assert (record["data_source"], record["title"]) == ("official", "The data")
    assert (raw / "data.txt").read_text() == "real"


@pytest.mark.parametrize("error", [TransferError, ChecksumError, DataFormatError])
def test_when_nothing_works_every_place_and_reason_is_named(tmp_path: Path, error: type[Exception]) -> None:
    raw = tmp_path / "raw/ds"
    parts = part_of(mirror=Place(None, error), official=Place(None, error))
    with pytest.raises(DataUnavailableError) as caught:
        obtain("ds", parts, raw, "auto", silence)
    for word in ("the mirror: it is raining", "the official: it is raining", "SKIPW_MIRROR", "docs/data.md"):
        assert word in str(caught.value)
    assert not raw.exists()
    assert list(raw.parent.iterdir()) == []


def test_a_failure_leaves_the_old_data_alone(tmp_path: Path) -> None:
    raw = tmp_path / "raw/ds"
    obtain("ds", part_of(mirror=Place("old")), raw, "mirror", silence)
    with pytest.raises(DataUnavailableError):
        obtain("ds", part_of(mirror=Place("old"), official=Place(None)), raw, "official", silence)
    assert (raw / "data.txt").read_text() == "old"
    assert read_record(raw)["data_source"] == "mirror"


def test_a_source_that_a_data_set_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailableError, match="no source of the kind 'registry', only official"):
        obtain("ds", part_of(official=Place("abc")), tmp_path / "raw/ds", "registry", silence)
    with pytest.raises(ParamsError, match="there are adding, mnist, imdb and har"):
        places.parts_of("cifar")


def test_adding_is_recorded_as_generated(tmp_path: Path) -> None:
    for source in ("auto", "official"):
        record = obtain("adding", places.parts_of("adding"), tmp_path / "raw/adding", source, silence)
        assert record["data_source"] == "generated"


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
    har_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(har_folder, tmp_path / "mirror/har_mall")
    monkeypatch.setenv("SKIPW_MIRROR", str(tmp_path / "mirror"))
    said: list[str] = []
    record = obtain("har", places.parts_of("har"), tmp_path / "raw/har", "mirror", said.append)
    assert record["data_source"] == "har-mall"
    assert "HAR-2D-POSE" not in record["title"].split("(")[0]
    assert len(record["parts"]["poses"]["classes"]) == 11
    assert len(said) == 1


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
