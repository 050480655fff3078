"""Stream = batch = chunks = prefix: in values, in decisions, in the state, in gradients, with noise too."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import skipw
from skipw.gate_inputs import GATE_INPUTS
from tests.core.cases import (
    BACKENDS,
    SELECTORS,
    assert_same,
    floats_of_state,
    gradients,
    loss_of,
    make,
    points,
    values_of,
)

NUM_STEPS = 14
KINDS = [
    ("skipw", "gru", {"select": "topk"}),
    ("skipw", "lstm", {"select": "topk", "time_feature": "since_update"}),
    ("skipw", "gru", {"gate_inputs": GATE_INPUTS, "time_scale": 5.0}),
    ("skipw", "lstm", {"gate_windows": 3, "gate_inputs": ("importance",)}),
    ("skipw", "gru", {"gate_budgets": (2, 4), "gate_inputs": ("importance",)}),
    *[("skipw", "gru", {"select": select, "time_feature": "window"}) for select in SELECTORS[1:]],
    ("skipw", "rnn", {"select": "sample"}),
    ("thrrnn", "gru", {}),
    ("skiprnn", "lstm", {}),
    ("skipw", "fastgrnn", {}),
    ("thrrnn", "fastgrnn", {}),
    ("dense", "gru", {}),
]


def shifted(schedule: skipw.Schedule | None, start: int) -> skipw.Schedule | None:
    """What is left of a schedule from input ``start`` on, counted from there."""
    if schedule is None:
        return None
    current = [point for begin, point in schedule if begin <= start][-1]
    return skipw.Schedule([(0, current), *((t - start, p) for t, p in schedule if t > start)])


def in_chunks(
    model: Any, x: Tensor, cuts: list[int], *, lengths: Tensor, at: Any, seed: int = 5, **call: Any
) -> list[skipw.SkipOutput]:
    """Run x in chunks that end at ``cuts``; the generator goes on through all of them."""
    generator, state, start, results = torch.Generator().manual_seed(seed), None, 0, []
    for end in cuts:
        left = (lengths - start).clamp(0, end - start)
        y = model(
            x[:, start:end], lengths=left, state=state, at=shifted(at, start), generator=generator, **call
        )
        results.append(y)
        state, start = y.state, end
    return results


def joined(results: list[skipw.SkipOutput]) -> dict[str, Tensor]:
    """The chunks' answers as those of one call."""
    merged = values_of(results[-1])
    for name in ("output", "updates", "importance"):
        merged[f"y.{name}"] = torch.cat([getattr(y, name).detach() for y in results], 1)
    merged["y.input_cost"] = sum(y.input_cost.detach() for y in results)  # type: ignore[assignment]
    merged.pop("y.inputs_processed")
    return merged


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "cell", "settings"), KINDS)
def test_stream_chunks_and_batch_are_one(
    name: str, cell: str, settings: dict[str, Any], backend: str, training: bool
) -> None:
    """A switching schedule and rows of different lengths, one of them empty."""
    model = make(name, cell, 2, **settings)
    x = torch.randn(4, NUM_STEPS, 3, dtype=torch.float64)
    call = {"lengths": torch.tensor([NUM_STEPS, 0, 7, 12]), "at": points(name), "backend": backend}
    with torch.set_grad_enabled(training):
        whole = joined(in_chunks(model, x, [NUM_STEPS], **call))
        steps = list(range(1, NUM_STEPS + 1))
        for cuts in (steps, [0, 5, 5, 11, NUM_STEPS], [6, 12, NUM_STEPS]):
            assert_same(whole, joined(in_chunks(model, x, cuts, **call)))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "cell", "settings"), KINDS)
def test_a_prefix_is_decided_without_knowing_the_rest(
    name: str, cell: str, settings: dict[str, Any], backend: str
) -> None:
    model = make(name, cell, **settings)
    x = torch.randn(2, NUM_STEPS, 3, dtype=torch.float64)
    everything = torch.full((2,), NUM_STEPS)
    whole = joined(in_chunks(model, x, [NUM_STEPS], lengths=everything, at=points(name), backend=backend))
    for end in range(1, NUM_STEPS):
        (prefix,) = in_chunks(model, x, [end], lengths=everything, at=points(name), backend=backend)
        assert torch.equal(prefix.updates, whole["y.updates"][:, :end])
        assert (prefix.output - whole["y.output"][:, :end]).abs().max() < 1e-12


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "cell", "settings"), KINDS[:3] + KINDS[-4:])
def test_gradients_run_through_the_state(
    name: str, cell: str, settings: dict[str, Any], backend: str
) -> None:
    model = make(name, cell, 2, **settings)
    x = torch.randn(3, NUM_STEPS, 3, dtype=torch.float64, requires_grad=True)
    leaves = {"x": x, **dict(model.named_parameters())}
    call = {"lengths": torch.tensor([NUM_STEPS, 4, 9]), "at": points(name), "backend": backend}
    weight = torch.randn(3, NUM_STEPS, 5, dtype=torch.float64)

    def gradient(cuts: list[int]) -> dict[str, Tensor]:
        results = in_chunks(model, x, cuts, **call)
        output = torch.cat([y.output for y in results], 1)
        cost = sum(y.input_cost for y in results)
        last = sum(part.square().sum() for part in floats_of_state(results[-1].state).values())
        return gradients((output * weight).sum() + 0.1 * cost.sum() + last, leaves)  # type: ignore[union-attr]

    assert_same(gradient([NUM_STEPS]), gradient([4, 9, 13, NUM_STEPS]))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["skipw", "thrrnn"])
def test_detach_cuts_the_gradient_and_nothing_else(name: str, backend: str) -> None:
    model = make(name, "lstm", 2)
    x = torch.randn(2, 10, 3, dtype=torch.float64, requires_grad=True)
    first = model(x[:, :4], backend=backend)
    assert any(part.requires_grad for part in floats_of_state(first.state).values())
    cut = first.state.detach()
    assert not any(part.requires_grad for part in floats_of_state(cut).values())
    linked, alone = (model(x[:, 4:], state=state, backend=backend) for state in (first.state, cut))
    assert_same(values_of(linked), values_of(alone))
    reach = [torch.autograd.grad(loss_of(y), x, retain_graph=True)[0] for y in (linked, alone)]
    assert reach[0][:, :4].abs().max() > 0
    assert not reach[1][:, :4].any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_state_can_be_gone_on_from_twice(backend: str) -> None:
    """Two futures of one past: neither changes the state, and their gradients add up."""
    model = make("skipw", "gru", 2)
    x = torch.randn(2, 10, 3, dtype=torch.float64, requires_grad=True)
    first = model(x[:, :4], backend=backend)
    kept = {name: part.detach().clone() for name, part in floats_of_state(first.state).items()}
    futures = [model(x[:, 4:] * sign, state=first.state, backend=backend) for sign in (1, -1)]
    assert all(torch.equal(kept[name], part) for name, part in floats_of_state(first.state).items())
    apart = [torch.autograd.grad(loss_of(y), x, retain_graph=True)[0] for y in futures]
    together = torch.autograd.grad(loss_of(futures[0]) + loss_of(futures[1]), x)[0]
    torch.testing.assert_close(together, apart[0] + apart[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_of_a_batch_do_not_meet(backend: str) -> None:
    """A row's answer is the same alone as in company, whatever the other rows' lengths and offsets."""
    model = make("skipw", "lstm")
    x = torch.randn(4, 12, 3, dtype=torch.float64)
    lengths = torch.tensor([12, 5, 0, 8])
    state = model(x[:, :7], lengths=torch.tensor([7, 2, 0, 3]), backend=backend).state
    together = model(x, lengths=lengths, state=state, at=points("skipw"), backend=backend)
    for row in range(4):
        one = torch.tensor([row])
        alone = model(
            x[one], lengths=lengths[one], state=state.rows(one), at=points("skipw"), backend=backend
        )
        assert torch.equal(alone.updates, together.updates[one])
        assert (alone.output - together.output[one]).abs().max() < 1e-12
        assert torch.equal(alone.state.used, together.state.used[one])


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_input_leaves_everything_as_it_was(backend: str) -> None:
    for name in ("skipw", "thrrnn", "dense"):
        model = make(name, "gru")
        before = model(torch.randn(2, 5, 3, dtype=torch.float64), backend=backend)
        for outputs, shape in (("all", (2, 0, 5)), ("last", (2, 5))):
            after = model(
                torch.randn(2, 0, 3, dtype=torch.float64),
                state=before.state,
                outputs=outputs,
                backend=backend,
            )
            assert after.output.shape == shape
            assert after.updates.shape == after.importance.shape == (2, 0)
            assert after.inputs_processed.tolist() == [0.0, 0.0]
            for part, same in floats_of_state(after.state).items():
                assert torch.equal(same, floats_of_state(before.state)[part])
        assert torch.equal(after.output, before.output[:, -1])


def test_state_says_where_each_row_stands() -> None:
    model = make("skipw", "lstm")
    y = model(torch.randn(3, 9, 3, dtype=torch.float64), lengths=[9, 0, 4], at=skipw.OperatingPoint(4, 0.0))
    state = y.state
    assert state.batch_size == 3
    assert state.step.tolist() == [9, 0, 4]
    assert state.offset.tolist() == [3, 0, 4]
    assert state.last_update[1] == -1
    in_window = [int(y.updates[0, 6:].sum()), 0, int(y.updates[2].sum())]
    assert state.used.tolist() == in_window
    assert state.last_update[0] == y.updates[0].nonzero().max()
    assert state.budget is not None
    assert state.budget.tolist() == [4, -1, 4]
    h, c = state.layers[0]
    assert h.shape == c.shape == (3, 5)
    assert torch.equal(h, y.output[:, -1])
