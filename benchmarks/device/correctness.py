"""The kernels against the reference: float32 on the GPU against float64 on the CPU.

Forced gates: states and every gradient within the precision's tolerance (relative to the norm). Free gates: the same
decisions, or a first difference where the margin is below 1e-5 ("ieee" only); then everything else too.
"""

from __future__ import annotations

import copy
import itertools
import time
from pathlib import Path
from typing import Any

import torch
from benchmarks.device.models import Run, call_of
from benchmarks.device.place import describe, say, write_json
from torch import Tensor

import skipw
from skipw.ops import reference, triton
from skipw.ops.state import parts
from skipw.ops.triton.settings import using

__all__ = ["run"]

TOLERANCE = {"ieee": 1e-5, "tf32x3": 5e-5, "tf32": 1e-2, "bf16": 1e-1}
MARGIN = 1e-5
POINT = skipw.OperatingPoint


def run(device: torch.device, out: Path, precisions: list[str], tiny: bool) -> int:
    """Check every precision; writes correctness.json. Returns 1 if a check failed."""
    rows: list[dict[str, Any]] = []
    for precision in precisions:
        for case in _cases(tiny, precision):
            began = time.perf_counter()
            with using(precision):
                row = {"precision": precision, **case, **_check(case, precision, device)}
            rows.append({**row, "seconds": round(time.perf_counter() - began, 2)})
            if not row["passed"]:
                say(f"FAILED {row}")
    failed = sum(not row["passed"] for row in rows)
    write_json(out / "correctness.json", {**describe(device), "failed": failed, "checks": rows})
    for precision in precisions:
        mine = [row for row in rows if row["precision"] == precision]
        worst = max((row["error"] for row in mine if row["error"] is not None), default=None)
        good = sum(row["passed"] for row in mine)
        say(f"{precision:7} {good}/{len(mine)} checks passed, worst relative error {worst}")
    return int(failed > 0)


def _cases(tiny: bool, precision: str) -> list[dict[str, Any]]:
    """Every size for "ieee"; for the others the two that differ in how the weights are held (ten minutes in all)."""
    sizes = [(128, 1, 63), (60, 2, 32)]
    if precision == "ieee":
        sizes += [(1, 1, 63), (110, 1, 63), (128, 2, 29), (200, 1, 28)]
    if tiny:
        sizes = [(5, 1, 2)]
    cases = [
        {"model": "skipw", "cell": cell, "hidden": hidden, "layers": layers, "steps": steps, "forced": forced}
        for (hidden, layers, steps), cell, forced in itertools.product(sizes, ("gru", "lstm"), (True, False))
    ]
    model_sizes = {"hidden": 4 if tiny else 60, "layers": 1, "steps": 2 if tiny else 40, "forced": False}
    cases += [{"model": name, "cell": "gru", **model_sizes} for name in ("thrrnn", "skiprnn")]
    return cases


def _check(case: dict[str, Any], precision: str, device: torch.device) -> dict[str, Any]:
    """One case; free gates are tried on several seeds until all decisions agree."""
    allowed = TOLERANCE[precision]
    for seed in range(5):
        model = _model(case, seed)
        batch = 3 if case["steps"] <= 2 else 19
        x = torch.randn(batch, case["steps"], 3, dtype=torch.float64)
        x = x.float().double()  # the same numbers in both
        lengths = [max(0, case["steps"] - 3 * row) for row in range(batch)]
        updates = torch.rand(x.shape[:2]) < 0.4 if case["forced"] else None
        expected = _outcome(reference.run, model, x, lengths, updates, case["model"])
        narrow = copy.deepcopy(model).float().to(device)
        moved = None if updates is None else updates.to(device)
        got = _outcome(triton.run, narrow, x.float().to(device), lengths, moved, case["model"])
        if not torch.equal(expected["updates"], got["updates"]):
            margin = _margin(expected, got)
            if precision == "ieee" and margin >= MARGIN:
                return {"passed": False, "error": None, "margin": margin}
            continue
        errors = {name: _error(value, got[name]) for name, value in expected.items()}
        worst = max(errors, key=lambda name: errors[name])
        return {"passed": errors[worst] <= allowed, "error": errors[worst], "worst": worst, "seed": seed}
    return {"passed": precision != "ieee", "error": None, "note": "decisions differed at every seed"}


def _model(case: dict[str, Any], seed: int) -> Any:
    torch.manual_seed(seed)
    kinds: dict[str, Any] = {"skipw": skipw.SkipW, "thrrnn": skipw.ThrRNN, "skiprnn": skipw.SkipRNN}
    settings = {"window": 7} if case["model"] == "skipw" else {}
    model = kinds[case["model"]](case["cell"], 3, case["hidden"], case["layers"], **settings)
    torch.nn.init.normal_(model.gate.weight, 0.0, 2.0 / case["hidden"] ** 0.5)
    torch.nn.init.normal_(model.gate.bias, 0.0 if case["model"] == "skipw" else -1.0)
    return model.double()


def _outcome(
    backend: Run, model: Any, x: Tensor, lengths: list[int], updates: Tensor | None, name: str
) -> dict[str, Tensor]:
    """Everything differentiable that comes out, and every gradient, in float64 on the CPU."""
    x = x.detach().requires_grad_()
    at: Any = None
    if updates is None and name == "skipw":
        at = skipw.Schedule([(0, POINT(4, 0.3)), (3, POINT(2, 0.5)), (9, POINT(5, 0.2))])
    result = backend(call_of(model, x, at=at, lengths=lengths, updates=updates))
    state = {
        f"state{k}.{p}": part
        for k, layer in enumerate(result.state.layers)
        for p, part in enumerate(parts(layer))
    }
    values = {"output": result.output, "updates": result.updates, "importance": result.importance, **state}
    generator = torch.Generator().manual_seed(11)
    loss = x.new_zeros(())
    for value in values.values():
        weight = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        loss = loss + (weight.to(value) * value).sum()
    leaves = {"x": x, **dict(model.named_parameters())}
    found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    for (leaf_name, leaf), grad in zip(leaves.items(), found, strict=True):
        values[f"d.{leaf_name}"] = torch.zeros_like(leaf) if grad is None else grad
    return {key: value.detach().double().cpu() for key, value in values.items()}


def _error(expected: Tensor, got: Tensor) -> float:
    """‖got - expected‖ / ‖expected‖, absolute where nothing is expected; NaN is infinitely wrong."""
    if not bool(torch.isfinite(got).all()):
        return float("inf")
    return float((got - expected).norm() / expected.norm().clamp(min=1e-3))


def _margin(expected: dict[str, Tensor], got: dict[str, Tensor]) -> float:
    """The largest difference in importance at the first decisions that differ."""
    differs = expected["updates"] != got["updates"]
    rows = differs.any(1).nonzero().squeeze(1)
    first = differs[rows].int().argmax(1)
    gap = (expected["importance"] - got["importance"])[rows, first].abs()
    return float(gap.max())
