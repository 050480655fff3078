"""``make repro``: the order of jobs, two lanes over a real DVC workspace, failures and Ctrl-C."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pipelines import repro
from skipw import params

ROOT = Path(__file__).resolve().parents[2]
NEEDS = {
    "download@adding": set(),
    "prepare@adding": {"download@adding"},
    "train@adding-skipw": {"prepare@adding"},
    "train@adding-skipw-sparse": {"prepare@adding", "train@adding-skipw"},
    "train@adding-dense": {"prepare@adding"},
    "evaluate@adding-skipw": {"prepare@adding", "train@adding-skipw"},
    "evaluate@adding-skipw-sparse": {"prepare@adding", "train@adding-skipw-sparse"},
    "evaluate@adding-dense": {"prepare@adding", "train@adding-dense"},
    "pareto@adding": {f"evaluate@adding-{name}" for name in ("skipw", "skipw-sparse", "dense")},
    "register@adding": {"pareto@adding"},
    "report": {"pareto@adding", "register@adding"},
}


def laptop() -> params.Params:
    return params.load(ROOT / "params.yaml")


def test_stages_of_one_key_share_a_job() -> None:
    jobs = {job.name: job for job in repro.plan(NEEDS, set(NEEDS), laptop())}
    assert jobs["download@adding"].stages == ["download@adding", "prepare@adding"]
    assert jobs["train@adding-dense"].stages == ["train@adding-dense", "evaluate@adding-dense"]
    assert jobs["pareto@adding"].stages == ["pareto@adding", "register@adding"]
    assert "report" not in jobs


def test_the_longest_chain_comes_first() -> None:
    names = [job.name for job in repro.plan(NEEDS, set(NEEDS), laptop())]
    assert names[0] == "download@adding"
    assert names.index("train@adding-skipw") < names.index("train@adding-dense")
    assert names[-1] == "pareto@adding"


def test_the_order_of_stages_in_the_file_does_not_matter() -> None:
    def ranks(needs: dict[str, set[str]]) -> dict[str, float]:
        jobs = repro.plan(needs, set(needs), laptop())
        return {stage: job.rank for job in jobs for stage in job.stages}

    turned = dict(sorted(NEEDS.items(), key=lambda item: "sparse" not in item[0]))
    assert next(iter(turned)) == "train@adding-skipw-sparse"
    assert ranks(turned) == ranks(NEEDS)


def test_a_job_waits_only_for_what_is_to_do() -> None:
    todo = {"evaluate@adding-dense", "pareto@adding", "register@adding"}
    jobs = {job.name: job for job in repro.plan(NEEDS, todo, laptop())}
    assert jobs["evaluate@adding-dense"].needs == set()
    assert jobs["pareto@adding"].needs == {"evaluate@adding-dense"}


def test_all_that_follows_a_change_is_out_of_date() -> None:
    found = repro.with_followers({"train@adding-dense": [], "elsewhere.dvc": []}, NEEDS)
    assert found == {
        "train@adding-dense",
        "evaluate@adding-dense",
        "pareto@adding",
        "register@adding",
        "report",
    }


def test_named_stages_bring_what_they_need_and_no_more() -> None:
    assert repro.named(["train@adding-dense"], NEEDS) == ["train@adding-dense"]
    assert len(repro.named(["train"], NEEDS)) == 3
    assert repro.named(["results"], {"paper/dvc.yaml:results": set()}) == ["paper/dvc.yaml:results"]
    assert repro.with_needed(["evaluate@adding-dense"], NEEDS) == {
        "download@adding",
        "prepare@adding",
        "train@adding-dense",
        "evaluate@adding-dense",
    }
    with pytest.raises(repro.ReproError, match="no stage trian; kinds: download, prepare, train"):
        repro.named(["trian"], NEEDS)


@pytest.mark.parametrize(("seconds", "shown"), [(0.4, "0:00"), (75, "1:15"), (3700, "1:01:40")])
def test_clock(seconds: float, shown: str) -> None:
    assert repro.clock(seconds) == shown


SCRIPT = """
import pathlib, sys, time
out, *inputs = sys.argv[1:]
print('making', out, flush=True)
if pathlib.Path('slow').exists():
    pathlib.Path('begun').touch()
    time.sleep(60)
if pathlib.Path('broken').exists() and 'thrrnn' in out:
    sys.exit('the reason of the failure')
text = ' '.join(pathlib.Path(i, 'x').read_text() for i in inputs)
folder = pathlib.Path(out)
folder.mkdir(parents=True, exist_ok=True)
(folder / 'x').write_text(f'({out} {text})')
"""


def stage(out: str, *inputs: str) -> dict[str, object]:
    return {"cmd": f"python make.py {out} {' '.join(inputs)}", "deps": ["make.py", *inputs], "outs": [out]}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A DVC workspace with the shape of the project's, two experiments, and a script that is done at once."""
    pairs = ["adding-skipw", "adding-thrrnn"]
    stages: dict[str, object] = {
        "prepare": {"foreach": ["adding"], "do": stage("p/${item}")},
        "train": {"foreach": pairs, "do": stage("m/${item}", "p/adding")},
        "evaluate": {"foreach": pairs, "do": stage("e/${item}", "m/${item}")},
        "pareto": {"foreach": ["adding"], "do": stage("f/${item}", *(f"e/{name}" for name in pairs))},
        "report": stage("r", "f/adding"),
    }
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False), encoding="utf-8")
    (tmp_path / "make.py").write_text(SCRIPT, encoding="utf-8")
    shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml")
    subprocess.run(["dvc", "init", "--no-scm", "--quiet"], cwd=tmp_path, env=environment(), check=True)
    return tmp_path


def environment() -> dict[str, str]:
    """The tests' own Python first on the PATH, for dvc and for the stages."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "DVC_NO_ANALYTICS": "1",
    }


def start(folder: Path, *stages: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "pipelines" / "repro.py"), *stages, "--lanes", "2"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, cwd=folder, env=environment(), text=True, **streams)  # type: ignore[call-overload]


needs_dvc = pytest.mark.skipif(
    not Path(sys.executable).with_name("dvc").exists(), reason="dvc is not installed (extra `pipeline`)"
)


@needs_dvc
def test_two_lanes_make_what_one_makes(workspace: Path) -> None:
    run = start(workspace)
    output, _ = run.communicate(timeout=120)
    assert run.returncode == 0, output
    assert "7 of 7 stages to do" in output
    assert "Done in" in output
    made = (workspace / "r" / "x").read_text(encoding="utf-8")
    assert made.count("p/adding") == 2
    again = subprocess.run(
        ["dvc", "repro"], cwd=workspace, env=environment(), capture_output=True, text=True, check=True
    )
    assert "up to date" in again.stdout
    assert "Running stage" not in again.stdout
    run = start(workspace)
    output, _ = run.communicate(timeout=60)
    assert "Everything is up to date." in output


@needs_dvc
def test_only_a_named_stage_and_what_it_needs(workspace: Path) -> None:
    for expected in ("3 of 3 stages to do", "evaluate@adding-thrrnn: up to date."):
        run = start(workspace, "evaluate@adding-thrrnn")
        output, _ = run.communicate(timeout=120)
        assert run.returncode == 0, output
        assert expected in output
    assert (workspace / "e" / "adding-thrrnn" / "x").exists()
    assert not (workspace / "m" / "adding-skipw").exists()
    run = start(workspace, "evaluat")
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "no stage evaluat" in output


@needs_dvc
def test_a_failing_stage_ends_with_its_log(workspace: Path) -> None:
    (workspace / "broken").touch()
    run = start(workspace)
    output, _ = run.communicate(timeout=120)
    assert run.returncode == 1
    assert "train@adding-thrrnn failed" in output
    assert "the reason of the failure" in output
    (workspace / "broken").unlink()
    run = start(workspace)
    output, _ = run.communicate(timeout=120)
    assert run.returncode == 0, output
    assert "prepare@adding" not in output, "what was done is not done again"


@needs_dvc
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_nothing_running(workspace: Path, sign: signal.Signals) -> None:
    (workspace / "slow").touch()
    run = start(workspace)
    limit = time.monotonic() + 60
    while not (workspace / "begun").exists():
        assert run.poll() is None, "ended before a stage began"
        assert time.monotonic() < limit
        time.sleep(0.1)
    run.send_signal(sign)
    output, _ = run.communicate(timeout=60)  # also ends only when no child holds the pipe any more
    assert run.returncode == 130, output
    assert "Stopped" in output
    assert not (workspace / "p").exists() or not list((workspace / "p").iterdir())
