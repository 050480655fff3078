"""Counts of one worker process, in Prometheus' text format."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["Metrics", "Usage", "usage_of_request"]

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass
class Usage:
    """What one request cost: sequences, inputs they held, inputs that were processed."""

    sequences: int = 0
    inputs: int = 0
    processed: int = 0


#: Of the request being answered; copied into the thread that runs the model.
usage_of_request: ContextVar[Usage] = ContextVar("usage_of_request")


class Metrics:
    """Counters and a histogram; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._buckets = [0] * (len(BOUNDS_S) + 1)
        self._seconds = 0.0
        self._usage = Usage()

    def count(self, path: str, status: int, seconds: float, usage: Usage) -> None:
        """Count a request that was answered; the histogram is of predictions (status 200 of /invocations)."""
        with self._lock:
            self._requests[path, status] += 1
            if path == "/invocations" and status == 200:
                self._buckets[bisect_left(BOUNDS_S, seconds)] += 1
                self._seconds += seconds
                self._usage.sequences += usage.sequences
                self._usage.inputs += usage.inputs
                self._usage.processed += usage.processed

    def text(self, waiting: int, ready: bool) -> str:
        """Everything; ``waiting``: requests in the queue now."""
        with self._lock:
            return "\n".join(self._lines(waiting, ready)) + "\n"

    def _lines(self, waiting: int, ready: bool) -> Iterator[str]:
        yield "# HELP skipw_requests_total Requests answered, by path and status."
        yield "# TYPE skipw_requests_total counter"
        for (path, status), number in sorted(self._requests.items()):
            yield f'skipw_requests_total{{path="{path}",status="{status}"}} {number}'
        yield "# HELP skipw_prediction_seconds From a prediction's request to its answer."
        yield "# TYPE skipw_prediction_seconds histogram"
        total = 0
        for bound, number in zip((*BOUNDS_S, None), self._buckets, strict=True):
            total += number
            label = "+Inf" if bound is None else f"{bound:g}"
            yield f'skipw_prediction_seconds_bucket{{le="{label}"}} {total}'
        yield f"skipw_prediction_seconds_sum {self._seconds:.6f}"
        yield f"skipw_prediction_seconds_count {total}"
        counts = (
            ("sequences_total", "Sequences predicted.", self._usage.sequences),
            ("inputs_total", "Inputs that these sequences held.", self._usage.inputs),
            ("inputs_processed_total", "Inputs of them that were processed.", self._usage.processed),
        )
        for name, meaning, number in counts:
            yield f"# HELP skipw_{name} {meaning}"
            yield f"# TYPE skipw_{name} counter"
            yield f"skipw_{name} {number}"
        for name, meaning, number in (
            ("waiting", "Requests that wait for the model.", waiting),
            ("ready", "1 once the model has answered its example.", int(ready)),
        ):
            yield f"# HELP skipw_{name} {meaning}"
            yield f"# TYPE skipw_{name} gauge"
            yield f"skipw_{name} {number}"
