"""A device whose speed changes as it is told to, on a clock of its own: hours in milliseconds, the same each time."""

from __future__ import annotations

import bisect
import math
import random
from collections.abc import Callable, Sequence

from skipw.errors import ParamsError

__all__ = ["SimulatedDevice", "ramp", "steps"]

Profile = Callable[[float], float]


class SimulatedDevice:
    """Work takes time and energy; nothing really waits.

    ``work_ms`` of work takes ``work_ms / speed`` times a noise; :attr:`elapsed_ms` and :attr:`energy_mj` are meters
    for a ``Governor``.

    Args:
        speed: of the time in ms, above 0; 1 is nominal. See :func:`steps` and :func:`ramp`.
        jitter: standard deviation of the noise's logarithm.
        spikes: (chance, factor): so often work takes so many times as long.
        power_mw: while working; idle_mw: while waiting.
        seed: of the noise.
    Raises:
        ParamsError: for a negative jitter or power, a chance outside [0, 1] or a factor below 1.
    """

    __slots__ = ("_energy", "_idle_mw", "_jitter", "_now", "_power_mw", "_random", "_speed", "_spikes")

    def __init__(
        self,
        speed: Profile = lambda time_ms: 1.0,
        *,
        jitter: float = 0.0,
        spikes: tuple[float, float] = (0.0, 1.0),
        power_mw: float = 1000.0,
        idle_mw: float = 0.0,
        seed: int = 0,
    ) -> None:
        if jitter < 0.0 or power_mw < 0.0 or idle_mw < 0.0 or not 0.0 <= spikes[0] <= 1.0 or spikes[1] < 1.0:
            raise ParamsError(
                "jitter and powers are at least 0, spikes are (a chance in [0, 1], a factor of at least 1); got "
                f"jitter {jitter}, power_mw {power_mw}, idle_mw {idle_mw}, spikes {spikes}."
            )
        self._speed, self._jitter, self._spikes = speed, jitter, spikes
        self._power_mw, self._idle_mw = power_mw, idle_mw
        self._random = random.Random(seed)
        self._now = self._energy = 0.0

    def spend(self, work_ms: float) -> None:
        """Do what takes ``work_ms`` at nominal speed, at the speed of the moment."""
        taken = work_ms / self._speed(self._now)
        if self._jitter:
            taken *= math.exp(self._random.gauss(0.0, self._jitter))
        chance, factor = self._spikes
        if chance and self._random.random() < chance:
            taken *= factor
        self._now += taken
        self._energy += taken * self._power_mw * 1e-3

    def wait_until(self, time_ms: float) -> None:
        """Nothing to do until then; if that is past, go on at once."""
        if time_ms > self._now:
            self._energy += (time_ms - self._now) * self._idle_mw * 1e-3
            self._now = time_ms

    def elapsed_ms(self) -> float:
        """Time since the start."""
        return self._now

    def energy_mj(self) -> float:
        """Energy since the start."""
        return self._energy


def steps(changes: Sequence[tuple[float, float]]) -> Profile:
    """Speed 1, from each (time in ms, speed) on that speed. Half for a minute: ``steps([(6e4, 0.5), (12e4, 1.0)])``."""
    times = [time for time, _ in changes]
    speeds = [1.0, *(speed for _, speed in changes)]
    return lambda time_ms: speeds[bisect.bisect_right(times, time_ms)]


def ramp(start_ms: float, end_ms: float, lowest: float) -> Profile:
    """A device that gets hot: speed 1 until ``start_ms``, then falling evenly to ``lowest`` at ``end_ms``."""

    def speed(time_ms: float) -> float:
        share = (time_ms - start_ms) / (end_ms - start_ms)
        return 1.0 - (1.0 - lowest) * min(1.0, max(0.0, share))

    return speed
