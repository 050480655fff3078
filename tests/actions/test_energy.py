"""Energy: real counters, where there are any; else an estimate that follows the processor time."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from skipw.actions.energy import CounterMeter, EstimateMeter, find_meter
from skipw.errors import BackendUnavailableError


def make_zone(powercap: Path, zone: str, name: str, energy_uj: int) -> Path:
    folder = powercap / zone
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text("1000000\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    return folder / "energy_uj"


def test_counters_of_all_packages_are_added_and_may_start_over(tmp_path: Path) -> None:
    one = make_zone(tmp_path, "intel-rapl:0", "package-0", 5_000)
    two = make_zone(tmp_path, "intel-rapl:1", "package-1", 999_000)
    core = make_zone(tmp_path, "intel-rapl:0:0", "core", 0)  # a part of package 0: not counted twice
    whole = make_zone(tmp_path, "intel-rapl:2", "psys", 0)  # the packages and more: not counted twice either

    def run() -> None:
        one.write_text("9000")
        two.write_text("1000")
        core.write_text("7777")
        whole.write_text("8888")

    meter = find_meter(tmp_path)
    energy = meter.energy_of(run)
    assert isinstance(meter, CounterMeter) and meter.measured
    assert energy.energy_mj == pytest.approx((4_000 + 2_000) / 1e3)
    assert energy.power_mw == pytest.approx(energy.energy_mj / energy.seconds)


def test_without_counters_it_is_an_estimate_and_says_so(tmp_path: Path) -> None:
    meter = find_meter(tmp_path)
    assert isinstance(meter, EstimateMeter) and not meter.measured
    assert "estimate" in meter.source and "nothing was measured" in meter.source
    make_zone(tmp_path, "intel-rapl:0:0", "core", 0)
    with pytest.raises(FileNotFoundError, match="no readable counter"):
        CounterMeter(tmp_path)


def test_the_estimate_follows_the_processor_time() -> None:
    def work(seconds: float) -> None:
        end = time.process_time() + seconds
        while time.process_time() < end:
            sum(range(1000))

    meter = EstimateMeter()
    short, long = meter.energy_of(lambda: work(0.4)), meter.energy_of(lambda: work(1.2))
    # A garbage collection in a large process is work of this process too, so the least of three.
    idle = min((meter.energy_of(lambda: time.sleep(0.4)) for _ in range(3)), key=lambda one: one.energy_mj)
    watts = short.energy_mj / short.cpu_seconds
    assert watts > 0
    assert long.energy_mj / long.cpu_seconds == pytest.approx(watts, rel=0.2)  # its clock ticks in 10 ms
    assert idle.energy_mj < 0.2 * short.energy_mj


def test_without_the_extra_its_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    with pytest.raises(BackendUnavailableError, match=r"pip install 'skipw\[pose\]'"):
        EstimateMeter().energy_of(lambda: None)
