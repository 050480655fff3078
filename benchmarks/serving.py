"""How fast `skipw serve` answers: latency and requests a second at several budgets.

python benchmarks/serving.py models:/skipw-mnist@most-accurate [MODEL_URI ...] --data data
    [--budgets 1 7 14 28] [--concurrency 1 4] [--requests 200] [--batch 1 32]
    [--out benchmarks/results/serving-DATE.json]

Starts the server on a free port, sends test sequences of the model's data set (data/prepared) over keep-alive
connections, and takes budgets in turns, so that a busy machine slows all of them alike. Latency is from sending a
request to its whole answer, at the client, JSON of both sides included.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import http.client
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from skipw.benchmark.machine import describe_machine, describe_versions

ROUNDS = 10
START_S = 120.0


def measure(uri: str, data: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each batch size, concurrency and budget."""
    with served(uri) as port:
        facts = get(port, "/", "application/json")
        dataset = re.split(r"[-@/]", facts["experiment"])[0]
        budgets = arguments.budgets or default_budgets(facts)
        rows = []
        for batch, concurrency in itertools.product(arguments.batch, arguments.concurrency):
            bodies = list(itertools.islice(batches(data / "prepared" / dataset, batch), 64))
            head = {"model": facts["name"], "experiment": facts["experiment"], "concurrency": concurrency}
            with ThreadPoolExecutor(concurrency) as pool:
                found = in_turns(pool, port, bodies, budgets, concurrency, arguments.requests)
            rows += [
                head | {"batch": batch, "budget": budget} | found[budget].summary() for budget in budgets
            ]
        return rows


def in_turns(
    pool: ThreadPoolExecutor, port: int, bodies: Sequence[Any], budgets: Sequence[int], concurrency: int,
    requests: int,
) -> dict[int, Results]:  # fmt: skip
    """What was measured at each budget."""
    results = {budget: Results() for budget in budgets}
    load(pool, port, bodies, budgets[-1], concurrency, 20)  # what is made once is made now
    for _, budget in itertools.product(range(ROUNDS), budgets):
        results[budget] += load(pool, port, bodies, budget, concurrency, max(1, requests // ROUNDS))
    return results


class Results:
    """Latencies, shares of inputs processed and the time it took, added up over rounds."""

    def __init__(
        self, latencies: Sequence[float] = (), shares: Sequence[float] = (), seconds: float = 0.0
    ) -> None:
        self.latencies, self.shares, self.seconds = list(latencies), list(shares), seconds

    def __add__(self, other: Results) -> Results:
        return Results(
            self.latencies + other.latencies, self.shares + other.shares, self.seconds + other.seconds
        )

    def summary(self) -> dict[str, Any]:
        latencies_ms = 1000 * np.asarray(self.latencies)
        p50, p95, p99 = (round(float(np.percentile(latencies_ms, share)), 3) for share in (50, 95, 99))
        return {
            "requests": len(self.latencies),
            "p50_ms": p50,
            "p95_ms": p95,
            "p99_ms": p99,
            "requests_per_s": round(len(self.latencies) / self.seconds, 2),
            "inputs_processed": round(float(np.mean(self.shares)), 4),
        }


def load(
    pool: ThreadPoolExecutor, port: int, bodies: Sequence[Any], budget: int, concurrency: int, requests: int
) -> Results:
    """Send requests from ``concurrency`` clients, each waiting for its answer before the next."""
    contents = itertools.cycle(
        [json.dumps(body | {"params": {"budget": budget}}).encode() for body in bodies]
    )
    todo, lock = iter(itertools.islice(contents, requests)), threading.Lock()

    def client() -> tuple[list[float], list[float]]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        latencies, shares = [], []
        with contextlib.closing(connection):
            while True:
                with lock:
                    content = next(todo, None)
                if content is None:
                    return latencies, shares
                start = time.perf_counter()
                connection.request("POST", "/invocations", content, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                found = json.loads(answer.read())
                latencies.append(time.perf_counter() - start)
                if answer.status != 200:
                    raise SystemExit(f"status {answer.status}: {found}")
                shares += [row["inputs_processed"] for row in found["predictions"]]

    start = time.perf_counter()
    answers = [future.result() for future in [pool.submit(client) for _ in range(concurrency)]]
    seconds = time.perf_counter() - start
    latencies, shares = (list(itertools.chain(*parts)) for parts in zip(*answers, strict=True))
    return Results(latencies, shares, seconds)


def batches(prepared: Path, size: int) -> Iterator[dict[str, Any]]:
    """Request bodies of raw test sequences."""
    meta = json.loads((prepared / "meta.json").read_text())
    inputs = np.load(prepared / "test_inputs.npy", mmap_mode="r")
    lengths = np.load(prepared / "test_lengths.npy")
    vocabulary = prepared / "vocabulary.json"
    words = json.loads(vocabulary.read_text()) if vocabulary.exists() else None
    normaliser = meta["normaliser"]
    if normaliser["kind"] not in ("none", "scale"):
        raise SystemExit(
            f"{prepared}: raw values can't be had back from the normaliser {normaliser['kind']}."
        )
    scale, mean = (
        np.asarray(normaliser[name] or neutral) for name, neutral in (("scale", 1.0), ("mean", 0.0))
    )
    for start in range(0, len(inputs) - size, size):
        sequences: list[Any] = []
        for row in range(start, start + size):
            values = inputs[row, : lengths[row]]
            sequences.append(
                np.round(values * scale + mean, 4).squeeze(-1 if inputs.shape[-1] == 1 else ()).tolist()
                if words is None
                else " ".join(words[token] for token in values)
            )
        yield {"dataframe_records": [{"sequence": sequence} for sequence in sequences]}


def default_budgets(facts: dict[str, Any]) -> list[int]:
    """Nearly none, a quarter, a half and all of the window."""
    window = int(facts["params"]["budget"].split(":")[0].split()[-1])
    return sorted({max(1, round(window * share)) for share in (0.05, 0.25, 0.5, 1.0)})


@contextlib.contextmanager
def served(uri: str) -> Iterator[int]:
    """The port of a server of its own, ready."""
    command = [sys.executable, "-m", "skipw", "serve", uri, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stderr is not None
        try:
            end = time.monotonic() + START_S
            line = next((line for line in process.stderr if "http://" in line), None)
            found = re.search(r"http://\S+?:(\d+)", line or "")
            if found is None:
                raise SystemExit(f"skipw serve {uri} did not start; run it by hand to see why.")
            port = int(found[1])
            drain = threading.Thread(target=process.stderr.read, daemon=True)
            drain.start()
            while time.monotonic() < end:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    if get(port, "/ready").get("ready"):
                        break
                time.sleep(0.1)
            yield port
        finally:
            process.terminate()


def get(port: int, path: str, accept: str = "*/*") -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Accept": accept})
        return json.loads(connection.getresponse().read())


def show(rows: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    names = ("model", "concurrency", "batch", "budget", "inputs_processed", "p50_ms", "p95_ms", "p99_ms")
    table = Table(*(*names, "requests_per_s"))
    for row in rows:
        table.add_row(*(f"{row[name]:g}" if isinstance(row[name], float) else str(row[name]) for name in names),
                      f"{row['requests_per_s']:g}")  # fmt: skip
    Console(width=140).print(table)


def main() -> None:
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL_URI", help="as for `skipw serve`; SkipW models")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--budgets", type=int, nargs="+", help="default: four shares of the window")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--requests", type=int, default=200, help="a budget and concurrency")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32], help="sequences a request")
    parser.add_argument("--out", type=Path, default=Path(f"benchmarks/results/serving-{today}.json"))
    arguments = parser.parse_args()
    report = {
        "schema": 1,
        "date": today,
        "machine": describe_machine(),
        "versions": describe_versions(),
        "rows": [row for uri in arguments.models for row in measure(uri, arguments.data, arguments)],
    }
    show(report["rows"])
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
