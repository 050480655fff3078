"""Training steps and inference passes of SkipW, ThrRNN and SkipRNN against the dense layer of the same shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skipw.benchmark.flops import inference_flops, training_flops
from skipw.benchmark.gates import Prepared, accumulating_model, window_model
from skipw.benchmark.records import SpeedRecord
from skipw.benchmark.timing import Contestant, Rounds, Spread, interleave, ratios
from skipw.benchmark.workloads import Workload
from skipw.errors import SkipWError
from skipw.models.recurrent import SkipOutput
from skipw.models.skip_window import SkipW

__all__ = ["Entry", "dense_inference", "dense_step", "infer", "make_entries", "measure_speed", "train_step"]

COST_PER_INPUT = 1e-4
TOLERANCE = 1e-3  # float32 over 784 steps, in another order of sums
DENSE = "dense"


@dataclass(frozen=True)
class Entry:
    """One competitor: a prepared model on a backend. ``model``: skipw, thrrnn or skiprnn."""

    model: str
    backend: str
    prepared: Prepared
    share: float

    @property
    def name(self) -> str:
        return f"{self.model}/{self.backend}/{self.prepared.share:g}"


def train_step(prepared: Prepared, x: Tensor, backend: str) -> None:
    """Forward and backward; the loss is the mean of the last output plus the price of the inputs."""
    prepared.model.zero_grad(set_to_none=True)
    y = prepared.model(x, state=prepared.state, backend=backend, outputs="last")
    (y.output.mean() + COST_PER_INPUT * y.input_cost.mean()).backward()


@torch.inference_mode()
def infer(prepared: Prepared, x: Tensor, backend: str) -> SkipOutput:
    """One forward pass that keeps the last output only."""
    answer: SkipOutput = prepared.model(x, state=prepared.state, backend=backend, outputs="last")
    return answer


def dense_step(dense: nn.Module, x: Tensor) -> None:
    """Forward and backward of a torch.nn layer; the loss is the mean of the last output."""
    dense.zero_grad(set_to_none=True)
    dense(x)[0][:, -1].mean().backward()


@torch.inference_mode()
def dense_inference(dense: nn.Module, x: Tensor) -> Tensor:
    """Float[B, N], the last output of one forward pass."""
    last: Tensor = dense(x)[0][:, -1]
    return last


def make_entries(
    workload: Workload, x: Tensor, backends: Sequence[str], shares: Sequence[float], *, seed: int
) -> tuple[nn.Module, list[Entry]]:
    """The dense layer and all competitors of a workload, checked against one another.

    All have the same cells; where torch.nn has no layer of them, a GRU of the same sizes is the dense layer. The inputs
    processed are counted, and every backend must process the same ones; with every input processed the last output must
    be the dense layer's, or that of the cells called one input after the other.

    Raises:
        SkipWError: if a backend disagrees; nothing is timed then.
    """
    base = window_model(workload, 1.0, seed=seed)
    assert isinstance(base.model, SkipW)
    dense = _dense_layer(workload, base.model)
    prepared = [("skipw", window_model(workload, share, seed=seed)) for share in shares]
    for kind in workload.models:
        for share in shares if kind == "thrrnn" else [s for s in shares if s == 0.15]:
            model = accumulating_model(workload, kind, share, seed=seed, like=base.model)
            prepared.append((kind, model))
    entries = []
    for kind, model in prepared:
        answers = {backend: infer(model, x, backend) for backend in backends}
        _check_agreement(workload, kind, model, answers)
        share = float(answers[backends[0]].inputs_processed.mean())
        if model.share == 1.0:
            _check_dense(workload, kind, model, dense, x, answers)
        entries += [Entry(kind, backend, model, share) for backend in backends]
    return dense, entries


def measure_speed(
    workload: Workload,
    x: Tensor,
    inputs: str,
    dense: nn.Module,
    entries: Sequence[Entry],
    phase: str,
    rounds: Rounds,
    peak_gflops: float,
    runs: int = 1,
) -> list[SpeedRecord]:
    """Time the dense layer and all entries in the same rounds.

    Args:
        workload, x, inputs: what is run, Float32[B, T, D], and what x holds in words.
        dense, entries: from ``make_entries``.
        phase: "training" or "inference".
        rounds: how often.
        peak_gflops: the machine's product peak with this number of threads.
        runs: in a row, of which the last is timed.
    """
    training = phase == "training"
    contestants: dict[str, Contestant] = {
        DENSE: (lambda: dense_step(dense, x)) if training else (lambda: dense_inference(dense, x))
    }
    for entry in entries:
        contestants[entry.name] = _contestant(entry, x, training)
    seconds = interleave(contestants, rounds, runs=runs)
    flops = training_flops if training else inference_flops

    def record(name: str, model: str, backend: str, wanted: float, share: float) -> SpeedRecord:
        spread = Spread.of([1e3 * value for value in seconds[name]])
        products = flops(
            workload.dense if model == DENSE else workload, share * workload.batch * workload.steps
        )
        return SpeedRecord(
            workload=workload.name,
            inputs=inputs,
            phase=phase,
            model=model,
            backend=backend,
            wanted_share=wanted,
            share=share,
            rounds=len(seconds[name]),
            milliseconds=spread,
            relative_time=ratios(seconds[name], seconds[DENSE]),
            above_peak=spread.median * 1e-3 * peak_gflops * 1e9 / products,
        )

    return [record(DENSE, DENSE, "torch", 1.0, 1.0)] + [
        record(entry.name, entry.model, entry.backend, entry.prepared.share, entry.share) for entry in entries
    ]


def _dense_layer(workload: Workload, model: SkipW) -> nn.Module:
    if workload.dense == workload:
        return model.to_dense()
    return nn.GRU(workload.input_size, workload.hidden_size, workload.num_layers, batch_first=True)


def _contestant(entry: Entry, x: Tensor, training: bool) -> Contestant:
    run = train_step if training else infer
    return lambda: run(entry.prepared, x, entry.backend)


def _check_agreement(workload: Workload, kind: str, model: Prepared, answers: dict[str, SkipOutput]) -> None:
    first, *others = answers.items()
    for name, answer in others:
        same = torch.equal(answer.updates, first[1].updates)
        gap = float((answer.output - first[1].output).abs().max())
        if not same or not gap <= TOLERANCE:
            raise SkipWError(
                f"{workload.name}, {kind} at {model.share:.0%}: {name} and {first[0]} must agree, but the inputs "
                f"processed are {'the same' if same else 'not the same'} and outputs differ by up to {gap:.2g}; "
                "nothing was timed. Run the tests of tests/core first."
            )


def _check_dense(
    workload: Workload,
    kind: str,
    model: Prepared,
    dense: nn.Module,
    x: Tensor,
    answers: dict[str, SkipOutput],
) -> None:
    if workload.dense == workload:
        with torch.inference_mode():
            expected = dense(x, model.dense_state)[0][:, -1]
    else:
        expected = infer(model, x, "reference").output
    for name, answer in answers.items():
        gap = float((answer.output - expected).abs().max())
        if not gap <= TOLERANCE:
            raise SkipWError(
                f"{workload.name}, {kind}: with every input processed {name} must give the dense layer's output, "
                f"but they differ by up to {gap:.2g}; nothing was timed. Run the tests of tests/core first."
            )
