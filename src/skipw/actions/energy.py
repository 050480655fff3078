"""Energy: from the processor's own counters where they can be read, else a marked estimate from codecarbon."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from skipw.actions.extra import import_extra

__all__ = ["CounterMeter", "Energy", "EstimateMeter", "Meter", "find_meter"]

POWERCAP = Path("/sys/class/powercap")
LONGER_THAN_ANY_RUN = 86400.0


@dataclass(frozen=True)
class Energy:
    """What a run took.

    Attributes:
        energy_mj: millijoules.
        seconds: it lasted.
        cpu_seconds: processor time of this process in it.
    """

    energy_mj: float
    seconds: float
    cpu_seconds: float

    @property
    def power_mw(self) -> float:
        """Mean milliwatts."""
        return self.energy_mj / self.seconds if self.seconds else 0.0


class Meter(Protocol):
    """Measures or estimates energy; ``source`` says which, for people."""

    source: str
    measured: bool

    def energy_of(self, run: Callable[[], object]) -> Energy: ...


class CounterMeter:
    """RAPL's counters of all processor packages: everything that runs on them, other programs included."""

    source = "RAPL counters of the processor packages"
    measured = True

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self._zones = [
            zone for zone in sorted(powercap.glob("intel-rapl:*")) if zone.name.count(":") == 1 and _readable(zone)
        ]  # fmt: skip
        if not self._zones:
            raise FileNotFoundError(f"{powercap} has no readable counter of a processor package")

    def energy_of(self, run: Callable[[], object]) -> Energy:
        """Run it and tell what the packages took meanwhile; a counter may start over once in that time."""
        before, start, cpu = self._microjoules(), time.perf_counter(), time.process_time()
        run()
        cpu, seconds, after = time.process_time() - cpu, time.perf_counter() - start, self._microjoules()
        taken = 0
        for zone, old, new in zip(self._zones, before, after, strict=True):
            span = int((zone / "max_energy_range_uj").read_text())
            taken += new - old if new >= old else new - old + span
        return Energy(taken / 1e3, seconds, cpu)

    def _microjoules(self) -> list[int]:
        return [int((zone / "energy_uj").read_text()) for zone in self._zones]


class EstimateMeter:
    """codecarbon's estimate for this process: its processor time times the watts that it assumes a core takes.

    No counter is read; a skipped frame saves here exactly what it saves in processor time. Memory is left out:
    codecarbon gives it a constant.
    """

    source = "estimate by codecarbon: processor time x assumed watts a core; nothing was measured"
    measured = False

    def energy_of(self, run: Callable[[], object]) -> Energy:
        """Run it and estimate; needs the extra ``pose``."""
        codecarbon: Any = import_extra("codecarbon")
        tracker = codecarbon.OfflineEmissionsTracker(
            country_iso_code="FRA",  # for emissions, which are not used
            tracking_mode="process",
            force_mode_cpu_load=True,
            # One sample, at the end: samples of its thread overlap in a busy process and count time twice.
            measure_power_secs=LONGER_THAN_ANY_RUN,
            gpu_ids=[],
            output_methods=[],  # no file
            allow_multiple_runs=True,
            log_level="critical",
        )
        tracker.start()
        start, cpu = time.perf_counter(), time.process_time()
        run()
        cpu, seconds = time.process_time() - cpu, time.perf_counter() - start
        tracker.stop()
        return Energy(tracker.final_emissions_data.cpu_energy * 3.6e9, seconds, cpu)


def find_meter(powercap: Path = POWERCAP) -> Meter:
    """Counters where there are any that this user may read, else the estimate."""
    try:
        return CounterMeter(powercap)
    except FileNotFoundError:
        return EstimateMeter()


def _readable(zone: Path) -> bool:
    """Whether it is a processor package with a counter for us (root alone may read it on most systems)."""
    try:
        is_package = (zone / "name").read_text().startswith("package")
    except OSError:
        return False
    return is_package and os.access(zone / "energy_uj", os.R_OK)
