"""From models to docs/results.md: both stages end to end, links, cells, and the run in MLflow."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from pipelines import reproduce, results
from skipw.reproduction.analyses import ANALYSES, analyse
from skipw.reproduction.cells import table_cells
from skipw.reproduction.report import write_results
from skipw.reproduction.work import Work

QUICK = ("trained", "parts", "seeds")


@pytest.fixture(scope="module")
def written(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """docs/ after some of the analyses; the others were not run."""
    root = tmp_path_factory.mktemp("report")
    params = root / "params.yaml"
    params.write_text("scale: tiny\nreproduce: {sequences: 40}\nresults: {title: A small report}\n")
    data = root / "data"
    data.mkdir()
    for name in ("models", "prepared", "evaluation"):
        (data / name).symlink_to(finished / name)
    for name in QUICK:
        reproduce.main([name, "--params", str(params), "--data", str(data)])
    results.main(["--params", str(params), "--data", str(data), "--out", str(root / "docs"), "--no-mlflow"])
    return root / "docs"


def test_the_report_has_every_section_and_says_what_was_not_run(written: Path) -> None:
    text = (written / "results.md").read_text()
    assert text.startswith("# A small report")
    sections = re.split(r"^## ", text, flags=re.M)
    titles = [section.splitlines()[0] for section in sections[1:]]
    assert titles[:2] == ["The paper's claims", "Goals beyond the paper"]
    assert titles[2:-2] == list(ANALYSES.values()) and titles[-2:] == ["What falls short", "The rules"]
    by_title = dict(zip(titles, sections[1:], strict=True))
    assert "Not run." in by_title["Convergence"]
    assert "imdb: nothing was trained and evaluated" in by_title["What was trained"]
    assert "tiny scale" in sections[0]


def test_every_link_leads_to_a_file(written: Path) -> None:
    text = (written / "results.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert {"results/parts-parts.csv", "images/results/parts-parts.svg"} <= set(links)
    assert all((written / link).is_file() for link in links)


def test_claims_are_in_the_text_and_in_a_table(written: Path) -> None:
    claims = pd.read_csv(written / "results" / "claims.csv")
    text = (written / "results.md").read_text()
    assert len(claims) >= 15 and set(claims["answer"]) <= {"holds", "does not hold", "can't be tested here"}
    assert all(claim in text for claim in claims["claim"])
    assert not (claims["answer"] == "can't be tested here").all()


def test_old_figures_don_t_stay(written: Path, finished: Path, tmp_path: Path) -> None:
    old = tmp_path / "images" / "results" / "gone.svg"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    write_results(written.parent / "data" / "results", tmp_path, title="New", scale="paper")
    assert not old.exists()
    assert (tmp_path / "results.md").read_text().startswith("# New")


def kept_report(out: Path) -> dict[Path, str]:
    """A report of before, by its files."""
    files = [out / "results.md", out / "results" / "claims.csv", out / "images" / "results" / "old.svg"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"committed {file.name}")
    return {file: file.read_text() for file in files}


@pytest.mark.parametrize("stage", [reproduce, results], ids=["reproduce", "results"])
@pytest.mark.parametrize("left", ["nothing", "analyses of nothing"])
def test_without_models_no_report_is_touched(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, stage: ModuleType, left: str
) -> None:
    data, out, params = tmp_path / "data", tmp_path / "docs", tmp_path / "params.yaml"
    params.write_text("scale: paper\n")
    kept = kept_report(out)
    places = ["--params", str(params), "--data", str(data)]
    if left != "nothing":
        work = Work(data)
        for name in ANALYSES:
            folder = data / "results" / name
            folder.mkdir(parents=True)
            analyse(name, work, folder)
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    with pytest.raises(SystemExit, match="1"):
        stage.main(["all", *places] if stage is reproduce else [*places, "--out", str(out), "--no-mlflow"])
    assert "found none" in caplog.text and "SKIPW_PRETRAINED=pretrained make paper" in caplog.text
    assert {file: file.read_text() for file in out.rglob("*") if file.is_file()} == kept
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*")} == before


def test_a_report_that_fails_leaves_the_old_one(written: Path, tmp_path: Path) -> None:
    found = shutil.copytree(written.parent / "data" / "results", tmp_path / "results")
    next((found / "parts").glob("*.svg")).unlink()
    kept = kept_report(tmp_path / "docs")
    with pytest.raises(FileNotFoundError):
        write_results(found, tmp_path / "docs", title="Broken", scale="paper")
    assert {file: file.read_text() for file in (tmp_path / "docs").rglob("*") if file.is_file()} == kept


def test_cells_have_units() -> None:
    table = pd.DataFrame({"dataset": ["adding", "har"], "experiment": ["a", "b"], "value": [1.2345e-4, 0.9876],
                          "inputs": [0.441, 0.1], "budget": [3, None]})  # fmt: skip
    cells, shortened = table_cells(table)
    assert cells[0] == ["data set", "experiment", "metric, ½MSE or %", "inputs, %", "K"]
    assert cells[1] == ["adding", "a", "1.23e-04", "44.1", "3"]
    assert cells[2] == ["har", "b", "98.8", "10.0", "–"]
    assert not shortened


def test_long_tables_keep_the_budgets_that_matter() -> None:
    table = pd.DataFrame({"window": 28, "budget": list(range(1, 29)) * 2, "value": 0.5})
    cells, shortened = table_cells(table)
    assert shortened
    assert sorted({int(row[1]) for row in cells[1:]}) == [1, 7, 14, 28]


def test_a_report_is_logged_once(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    from skipw.tracking.results_run import log_results
    from skipw.tracking.store import connect

    pages = {"results.md": "# Report", "results.html": "<h1>Report</h1>"}
    folders = {"tables": written / "results"}
    first, added = log_results("Report", "tiny", {"claims_hold": 3.0}, pages, folders)
    again, twice = log_results("Report", "tiny", {"claims_hold": 3.0}, pages, folders)
    other, new = log_results(
        "Report", "tiny", {"claims_hold": 4.0}, {**pages, "results.md": "# New"}, folders
    )
    assert (added, twice, new) == (True, False, True)
    assert first == again != other
    client = connect().client
    run = client.get_run(first)
    assert client.get_experiment(run.info.experiment_id).name == "skipw-paper"
    assert run.data.metrics == {"claims_hold": 3.0} and run.data.tags["scale"] == "tiny"
    assert {one.path for one in client.list_artifacts(first)} == {"results.md", "results.html", "tables"}
