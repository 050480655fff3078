"""Targets, the JSON file, the tables, the plot and the commands."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from skipw import cli
from skipw.benchmark import suite
from skipw.benchmark.machine import describe_machine, describe_versions, slug
from skipw.benchmark.records import Results
from skipw.benchmark.report import file_name, from_json, read_results, to_json, write_results
from skipw.benchmark.suite import Plan, run_suite
from skipw.benchmark.table import markdown, sections, terminal
from skipw.benchmark.timing import Rounds
from skipw.benchmark.workloads import Workload
from skipw.errors import BackendUnavailableError, DataFormatError, ParamsError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def run_py() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_run", ROOT / "benchmarks" / "run.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_targets_say_honestly_whether_they_are_met(results: Results) -> None:
    met = {target.name: target.met for target in results.targets}
    assert met["training, 100%: HAR, 2 × GRU 60"] is True  # 0.5 <= 0.6
    assert met["training, 15%: HAR, 2 × GRU 60"] is True  # 8 times, 5 wanted
    assert met["training, 15%: Adding, LSTM 110"] is True  # 8 times, 8 wanted
    assert met["inference, 15%: HAR, 2 × GRU 60"] is False  # 8 times, 10 wanted
    assert met["inference, 5%: Adding, LSTM 110"] is True  # 50 times
    assert met["2 threads, 15%: HAR, 2 × GRU 60"] is True
    assert met["grid of 28 budgets, 15%"] is False  # 0.4 > 0.3
    assert met["memory, T = 10,000 at 5.0%, whole process"] is True
    (skipped,) = [t for t in results.targets if t.name == "memory of a skipped input"]
    assert skipped.got == pytest.approx(10 * 2**20 / (64 * 5000))
    assert skipped.met


def test_another_backend_is_not_judged(results: Results) -> None:
    from skipw.benchmark.targets import judge

    results.settings["backends"] = ["compact", "native"]
    assert not [target for target in judge(results) if "training" in target.name]


def test_results_go_to_json_and_back(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "results.json"
    write_results(results, path)
    assert to_json(read_results(path)) == to_json(results)
    plain = json.loads(path.read_text(encoding="utf-8"))
    assert plain["schema"] == 1
    assert plain["targets"][0]["met"] is True
    assert set(plain["speed"][0]["milliseconds"]) == {"median", "lower", "upper"}
    documented = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    for key in plain:
        assert f"`{key}`" in documented, key
    for part in ("speed", "scaling", "loop", "loop_scaling", "grid", "memory", "targets"):
        for key in plain[part][0]:
            assert f"`{key}`" in documented, f"{part}: {key}"


def test_a_file_of_another_form_is_refused(results: Results, tmp_path: Path) -> None:
    good = to_json(results)
    with pytest.raises(DataFormatError, match="schema 1"):
        from_json({**good, "schema": 7})
    earlier = {key: value for key, value in good.items() if not key.startswith("loop")}
    assert from_json(earlier).loop == []  # files from before loops were measured
    with pytest.raises(DataFormatError, match="mood"):
        from_json({**good, "mood": "fine"})
    with pytest.raises(DataFormatError, match="grid must be a list"):
        from_json({**good, "grid": None})
    with pytest.raises(DataFormatError, match=r"memory\[0\]: steps must be int"):
        from_json({**good, "memory": [{**good["memory"][0], "steps": "many"}]})
    with pytest.raises(DataFormatError, match="median"):
        from_json({**good, "scaling": [{**good["scaling"][0], "speed_up": {"mean": 1.0}}]})
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(DataFormatError, match="make bench"):
        read_results(tmp_path / "bad.json")


def test_file_names(results: Results) -> None:
    assert file_name(results) == "acme-fast-cpu-2021-05-03.json"
    assert file_name(replace(results, mode="quick")) == "acme-fast-cpu-2021-05-03-quick.json"
    assert slug("Intel(R) Xeon(R) Processor") == "intel-xeon-processor"
    assert slug("???") == "cpu"


def test_no_names_of_hosts_people_or_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    import getpass
    import platform

    told = json.dumps({**describe_machine(), **describe_versions()})
    assert str(Path.home()) not in told or str(Path.home()) == "/"
    assert "/" not in told.replace("KiB", "")
    for name in (platform.node(), getpass.getuser()):
        assert len(name) < 5 or name not in told


def test_the_allocators_settings_are_told(monkeypatch: pytest.MonkeyPatch, results: Results) -> None:
    for name in ("MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "1073741824")
    told = describe_machine()["allocator"]
    assert told.endswith(", MALLOC_MMAP_THRESHOLD_=1073741824")
    assert not told.startswith(",")
    monkeypatch.setenv("LD_PRELOAD", "/opt/lib/libone.so.2 /opt/libother.so")
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=128:glibc.malloc.check=3")
    told = describe_machine()["allocator"]
    assert "LD_PRELOAD=libone.so.2:libother.so" in told
    assert "GLIBC_TUNABLES=glibc.malloc.trim_threshold=128:glibc.malloc.check=3" in told
    assert "C library" not in markdown(results)  # a file from before it was noted
    results = replace(results, machine={**results.machine, "allocator": told})
    assert f"| C library and its allocator | {told} |" in markdown(results)


def test_tables(results: Results) -> None:
    text = markdown(results)
    assert "| HAR, 2 × GRU 60 | SkipW | native | 100.0 | 2.00 × [1.82–2.22] | 8.00 × [7.27–8.89] |" in text
    assert "| training, 100%: HAR, 2 × GRU 60 | at most 0.6 of dense | 0.5 | met |" in text
    assert "| grid of 28 budgets, 15% | at most 0.3 dense passes | 0.4 | missed |" in text
    assert "A note." in text
    loops = "10.0 × [9.09–11.1] | 20.0 × [18.2–22.2] | 20.0 × [18.2–22.2] | 40.0 × [36.4–44.4] | 1.95 × [1.90–1.99]"
    assert f"| HAR, 2 × GRU 60 | SkipW | native | {loops} |" in text
    assert "Acme(R) Fast(TM) CPU @ 2.00GHz, 2 cores, AVX2" in text
    for section in sections(results):
        assert all(len(row) == len(section.columns) for row in section.rows), section.title
    console = Console(width=150, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for table in terminal(results):
        console.print(table)
    shown = console.export_text()
    for word in ("missed", "met", "8.00 × [7.27–8.89]", "a note", "70 GFLOP/s"):
        assert word in shown


def test_parts_that_were_not_measured_have_no_table(results: Results) -> None:
    alone = replace(results, speed=[], scaling=[], loop=[], loop_scaling=[], memory=[], targets=[])
    assert [section.title for section in sections(alone)][1:] == [
        "Grid of all budgets at threshold 0.5 (sMNIST)"
    ]


def test_plot(results: Results, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from skipw.benchmark.plot import draw_costs

    draw_costs(results, tmp_path / "cost.png")
    assert (tmp_path / "cost.png").read_bytes()[:4] == b"\x89PNG"


def test_plans() -> None:
    full, quick = Plan.make(quick=False), Plan.make(quick=True)
    assert full.shares == (1.0, 0.5, 0.15, 0.05)
    assert set(quick.workloads) == {"har", "adding", "smnist", "imdb"} < set(full.workloads)
    assert Plan.make(quick=True, workloads=["har"]).parts == ("speed",)
    with pytest.raises(ParamsError, match="no workload 'x'"):
        Plan.make(quick=True, workloads=["x"])
    with pytest.raises(ParamsError, match="no part 'x'"):
        Plan.make(quick=True, parts=["x"])
    with pytest.raises(BackendUnavailableError, match="no backend 'x'"):
        Plan.make(quick=True, backends=["x"])
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(suite, "available", lambda: {"compact": "yes", "native": "no compiler"})
        assert Plan.make(quick=True).backends == ("compact",)
        with pytest.raises(BackendUnavailableError, match="no compiler"):
            Plan.make(quick=True, backends=["native"])


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A plan whose workloads take milliseconds."""
    sizes = {
        name: Workload(name, name, 16, 24, 1, "gru", 12, 1, 8, "normal", models, main=True)
        for name, models in (("har", ()), ("smnist", ("thrrnn", "skiprnn")))
    }
    plan = Plan.make(quick=False, backends=["compact", "reference"])
    monkeypatch.setattr(suite, "by_name", sizes.__getitem__)
    once = Rounds(1, 1)
    return replace(
        plan,
        workloads=("har", "smnist"),
        speed=once,
        scaling=once,
        loop=once,
        scaling_workloads=("har",),
        grid=once,
        grid_shares=(0.3,),
        memory=((112, 0.25),),
    )


def test_a_whole_run(tiny: Plan, tmp_path: Path) -> None:
    told: list[str] = []
    results = run_suite(tiny, data=tmp_path, say=told.append)
    backends = {(r.model, r.backend) for r in results.speed if r.workload == "smnist"}
    assert backends == {("dense", "torch")} | {
        (model, backend) for model in ("skipw", "thrrnn", "skiprnn") for backend in ("compact", "reference")
    }
    assert all(r.relative_time.median == 1 for r in results.speed if r.model == "dense")
    (grid,) = results.grid
    assert (grid.budgets, grid.same_choices) == (8, 1.0)
    assert grid.share == pytest.approx(0.3, abs=0.15)
    assert grid.largest_difference < 1e-5
    (memory,) = results.memory
    assert 0 < memory.growth_mib < memory.peak_mib
    assert memory.processed == pytest.approx(28, abs=3)
    assert {(r.phase, r.model, r.wanted_share) for r in results.loop} == {
        (phase, *one)
        for phase in ("training", "inference")
        for one in (("dense", 1.0), ("skipw", 0.15), ("skipw", 0.05))
    }
    assert {(r.model, r.backend) for r in results.loop_scaling} <= {("dense", "torch"), ("skipw", "compact")}
    assert "har: training" in told
    write_results(results, tmp_path / "r.json")
    assert torch.get_num_threads() == 1


def test_the_command(tiny: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plan, "make", lambda **options: replace(tiny, workloads=("har",), parts=("speed",)))
    out = tmp_path / "r.json"
    answer = CliRunner().invoke(cli.app, ["bench", "--quick", "--workload", "har", "--out", str(out)])
    assert answer.exit_code == 0, answer.output
    assert "without the backends' tests" in answer.output
    assert read_results(out).speed


def test_nothing_is_measured_on_a_red_test(
    run_py: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Done:
        returncode = 1

    monkeypatch.setattr(run_py.subprocess, "run", lambda *words, **options: Done())
    monkeypatch.setattr(run_py, "run_suite", lambda *words, **options: pytest.fail("measured"))
    assert run_py.main(["--quick"]) == 1
    assert "nothing was measured" in " ".join(capsys.readouterr().out.split())


def test_the_table_of_a_file_goes_into_a_page(
    run_py: ModuleType, results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, page = tmp_path / "r.json", tmp_path / "page.md"
    write_results(results, file)
    assert run_py.main(["--table", str(file)]) == 0
    assert capsys.readouterr().out == markdown(read_results(file))
    page.write_text(f"before\n\n{run_py.BEGIN}\nobsolete\n{run_py.END}\n\nafter\n")
    for _ in range(2):
        assert run_py.main(["--table", str(file), "--into", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "obsolete" not in text
    assert text.count("Measured on") == 1
    assert "r.png" not in text
    (tmp_path / "r.png").write_bytes(b"")
    assert run_py.main(["--table", str(file), "--into", str(page)]) == 0
    assert "](r.png)" in page.read_text()
    page.write_text("no marks")
    assert run_py.main(["--table", str(file), "--into", str(page)]) == 1
    assert run_py.main(["--table", str(tmp_path / "absent.json")]) == 1
