"""How training code uses a layer: frozen weights, strided inputs, two backward passes, changes in place."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.utils.prune
from torch import Tensor

import skipw
from tests.core.cases import (
    BACKENDS,
    EVERY_CELL,
    PLAIN_CELLS,
    assert_same,
    gradients,
    inferred,
    loss_of,
    make,
    outcome,
    points,
    values_of,
)

FAST = [name for name in BACKENDS if name != "reference"]
both = pytest.mark.parametrize("backend", BACKENDS)
any_cell = pytest.mark.parametrize("backend", EVERY_CELL)
kinds = pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("skipw", "gru"),
        ("skipw", "lstm"),
        ("skipw", "rnn"),
        ("thrrnn", "gru"),
        ("dense", "lstm"),
        ("skipw", "fastgrnn"),
    ],
)


@both
@kinds
def test_strided_inputs(name: str, cell: str, backend: str) -> None:
    model = make(name, cell, 2)
    memory = torch.randn(11, 3, 4, 3, dtype=torch.float64)
    for x in (
        memory[:, 1].transpose(0, 1),
        memory[::2, :, ::2].flatten(1, 2).transpose(0, 1),
        memory[0, 0, 0].expand(2, 7, 3),
    ):
        assert not x.is_contiguous()
        given = {"at": points(name), "backend": backend}
        assert_same(outcome(model, x.contiguous(), **given), outcome(model, x, **given))
        assert_same(inferred(model, x.contiguous(), **given), inferred(model, x, **given))


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("learns", ["x", "gate", "cells.1", "cells.0.bias", "initial", "nothing"])
@kinds
def test_only_a_part_learns(name: str, cell: str, learns: str, backend: str) -> None:
    """What is frozen gets no gradient, and what learns gets the same as when everything does."""
    model = make(name, cell, 2)
    plain = torch.randn(3, 13, 3, dtype=torch.float64)
    everything = outcome(model, plain, backend="reference", at=points(name))
    for label, parameter in model.named_parameters():
        parameter.requires_grad_(label.startswith(learns))
    x = plain.clone().requires_grad_(learns == "x")
    y = model(x, backend=backend, at=points(name))
    leaves = {"x": x, **dict(model.named_parameters())}
    if not any(leaf.requires_grad for leaf in leaves.values()):
        assert not y.output.requires_grad
        return
    got = gradients(loss_of(y), leaves)
    assert got
    for label, grad in got.items():
        assert (grad - everything[label]).abs().max() < 1e-12 * max(1.0, float(grad.abs().max())), label


@both
@pytest.mark.parametrize("name", ["skipw", "thrrnn"])
@pytest.mark.parametrize("part", ["output", "cost", "importance", "last", "carried", "row"])
def test_losses_on_a_part_of_the_answer(part: str, name: str, backend: str) -> None:
    model = make(name, "lstm", 2)
    x = torch.randn(3, 13, 3, dtype=torch.float64, requires_grad=True)

    def loss(y: skipw.SkipOutput) -> Tensor:
        carried = y.state.importance if name == "skipw" else y.state.accumulated
        assert carried is not None
        return {
            "output": y.output.square().sum(),
            "cost": y.input_cost.sum(),
            "importance": y.importance.square().sum(),
            "last": y.state.layers[0][1].sum(),
            "carried": carried.square().sum(),
            "row": y.output[1, 4].sum(),
        }[part]

    leaves = {"x": x, **dict(model.named_parameters())}
    call: dict[str, Any] = {"lengths": [13, 8, 0], "at": points(name)}
    expected = gradients(loss(model(x, backend="reference", **call)), leaves)
    assert_same(expected, gradients(loss(model(x, backend=backend, **call)), leaves))
    assert any(bool(grad.any()) for grad in expected.values())


@both
@kinds
def test_backward_twice(name: str, cell: str, backend: str) -> None:
    model = make(name, cell, 2)
    x = torch.randn(3, 9, 3, dtype=torch.float64, requires_grad=True)
    leaves = [x, *model.cells.parameters()]
    loss = loss_of(model(x, backend=backend, at=points(name)))
    first, second = (torch.autograd.grad(loss, leaves, retain_graph=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    torch.autograd.grad(loss, leaves)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, leaves)


@both
@pytest.mark.parametrize("changed", ["cells.0.weight_hh", "cells.0.weight_ih", "gate.weight"])
@pytest.mark.parametrize(
    ("name", "cell"), [("skipw", "gru"), ("skipw", "lstm"), ("thrrnn", "gru"), ("thrrnn", "rnn")]
)
def test_a_weight_changed_before_backward_is_noticed(
    name: str, cell: str, changed: str, backend: str
) -> None:
    model = make(name, cell)
    x = torch.randn(2, 13, 3, dtype=torch.float64, requires_grad=True)
    loss = loss_of(model(x, backend=backend))
    with torch.no_grad():
        dict(model.named_parameters())[changed].mul_(0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@both
def test_outputs_may_be_overwritten(backend: str) -> None:
    """The state and the tape keep their own memory."""
    model = make("skipw", "gru")
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    for outputs in ("all", "last"):
        with torch.no_grad():
            y = model(x, outputs=outputs, backend=backend)
            kept = y.state.layers[0].clone()  # type: ignore[union-attr]
            y.output.zero_()
            assert torch.equal(y.state.layers[0], kept)  # type: ignore[arg-type]
        expected = torch.autograd.grad(
            (2 * model(x, outputs=outputs, backend=backend).output).sum(), model.gate.weight
        )[0]
        y = model(x, outputs=outputs, backend=backend)
        y.output.mul_(2)
        got = torch.autograd.grad(y.output.sum(), model.gate.weight)[0]
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


@both
@kinds
def test_no_grad_and_inference_mode(name: str, cell: str, backend: str) -> None:
    model = make(name, cell, 2)
    x = torch.randn(2, 9, 3, dtype=torch.float64, requires_grad=True)
    trained = values_of(model(x, backend=backend, at=points(name)))
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            y = model(x, backend=backend, at=points(name))
        assert not y.output.requires_grad
        assert not y.input_cost.requires_grad
        assert_same(trained, values_of(y))
    assert_same(trained, values_of(model.eval()(x, backend=backend, at=points(name))))


@both
def test_a_call_leaves_its_arguments_alone(backend: str) -> None:
    model = make("skipw", "lstm", 2, select="sample")
    x, lengths = torch.randn(3, 9, 3, dtype=torch.float64), torch.tensor([9, 4, 0])
    state = tuple(torch.randn(2, 3, 5, dtype=torch.float64) for _ in range(2))
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    kept = [part.clone() for part in (x, lengths, *state)]
    for training in (False, True):
        with torch.set_grad_enabled(training):
            middle = model(x, lengths=lengths, state=state, backend=backend)
            before = {label: part.clone() for label, part in values_of(middle).items()}
            after = model(x, lengths=lengths, state=middle.state, backend=backend)
        if training:
            loss_of(after).backward()
        assert all(torch.equal(part, values_of(middle)[label]) for label, part in before.items())
    assert all(torch.equal(a, b) for a, b in zip(kept, (x, lengths, *state), strict=True))
    assert all(torch.equal(value, weights[label]) for label, value in model.state_dict().items())


@both
@pytest.mark.parametrize("select", ["sample", "random"])
def test_noise_comes_from_the_generator(select: str, backend: str) -> None:
    model = make("skipw", select=select, window=8)
    x = torch.randn(6, 24, 3, dtype=torch.float64)
    at = skipw.OperatingPoint(3, 0.0)

    def run(seed: int | None) -> Tensor:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return model(x, at=at, backend=backend, generator=generator).updates

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))
    torch.manual_seed(3)
    first = run(None)
    assert not torch.equal(first, run(None))
    torch.manual_seed(3)
    assert torch.equal(first, run(None))


@pytest.mark.parametrize("name", ["skipw", "thrrnn"])
def test_second_derivatives(name: str) -> None:
    """The reference has them; compact says that it has not."""
    model = make(name, "gru")
    x = torch.randn(2, 7, 3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(model(x, backend="reference").output.square().sum(), x, create_graph=True)
    assert torch.autograd.grad(slope.sum(), x)[0].any()
    (slope,) = torch.autograd.grad(model(x, backend="compact").output.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


@any_cell
@pytest.mark.parametrize("name", ["skipw", "thrrnn", "dense"])
def test_bfloat16(name: str, backend: str) -> None:
    model = make(name, "gru", dtype=torch.bfloat16)
    x = torch.randn(2, 13, 3, dtype=torch.bfloat16)
    y = model(x, backend=backend)
    assert y.output.dtype == y.importance.dtype == y.input_cost.dtype == torch.bfloat16
    assert y.output.isfinite().all()
    loss_of(y).backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())


@both
def test_a_training_step_lowers_the_cost(backend: str) -> None:
    """λ alone closes the gates; the model is then cheaper."""
    model = make("skipw", "gru", dtype=torch.float32)
    x = torch.randn(8, 18, 3)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    before = float(model(x, backend=backend).inputs_processed.mean())
    for _ in range(15):
        optimiser.zero_grad()
        model(x, backend=backend).input_cost.mean().backward()
        optimiser.step()
    assert float(model(x, backend=backend).inputs_processed.mean()) < 0.5 * before


@any_cell
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_pruned_cells_are_read_anew_at_each_call(cell: str, backend: str) -> None:
    """Pruning makes the weight in a hook; a backend that reads it elsewhere reads yesterday's."""
    model = make("skipw", cell, 2)
    torch.nn.utils.prune.random_unstructured(model.cells[0], "weight_hh", 0.5)
    x = torch.randn(2, 13, 3, dtype=torch.float64)
    model(x, backend=backend)
    with torch.no_grad():
        model.cells[0].weight_hh_orig.mul_(-0.5)
    for call in ({}, {"updates": torch.rand(2, 13) < 0.5}):
        assert_same(
            inferred(model, x, backend="reference", **call), inferred(model, x, backend=backend, **call)
        )
        assert_same(
            outcome(model, x, backend="reference", **call), outcome(model, x, backend=backend, **call)
        )


@any_cell
def test_autocast(backend: str) -> None:
    model = make("skipw", "gru", dtype=torch.float32)
    x = torch.randn(2, 13, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = model(x, backend=backend)
    loss_of(y).backward()
    assert y.output.dtype == torch.float32
    assert all(bool(parameter.grad.isfinite().all()) for parameter in model.parameters())


@pytest.mark.parametrize(
    "build", [lambda: skipw.SkipW("gru", 2, 4, window=3), lambda: skipw.ThrRNN("lstm", 2, 4)]
)
def test_a_training_step_leaves_no_cycles_behind(build: Callable[[], skipw.SkipW | skipw.ThrRNN]) -> None:
    """Memory of a step is free as soon as its output is: nothing waits for the garbage collector."""
    model = build()
    x = torch.randn(3, 7, 2)
    for _ in range(2):  # the first step may leave what torch sets up once
        gc.collect()
        y = model(x, backend="compact")
        (y.output.sum() + y.input_cost.sum() + y.importance.sum()).backward()
        del y
    assert gc.collect() == 0


@both
@kinds
@pytest.mark.parametrize("outputs", ["all", "last"])
def test_an_output_may_be_changed_in_place(name: str, cell: str, outputs: str, backend: str) -> None:
    """As a ReLU(inplace=True) behind the layer does."""
    model, x = make(name, cell, 2), torch.randn(2, 9, 3, dtype=torch.float64)
    plain = model(x, at=points(name), backend=backend, outputs=outputs).output
    wanted = torch.autograd.grad(torch.relu(plain).sum(), list(model.cells.parameters()))
    output = model(x, at=points(name), backend=backend, outputs=outputs).output
    found = torch.autograd.grad(torch.relu_(output).sum(), list(model.cells.parameters()))
    assert all(torch.equal(one, other) for one, other in zip(wanted, found, strict=True))


@both
def test_forced_updates_have_no_gradient(backend: str) -> None:
    model, x = make(), torch.randn(2, 9, 3, dtype=torch.float64)
    y = model(x, updates=torch.ones(2, 9, dtype=torch.bool), backend=backend)
    assert y.output.requires_grad and not y.input_cost.requires_grad


@both
def test_a_cell_whose_forward_was_replaced_is_called(backend: str) -> None:
    if backend == "native":
        backend = "auto"
    model, x = make(), torch.randn(2, 9, 3, dtype=torch.float64)
    model.cells[0].forward = lambda given, state: torch.zeros_like(state)
    y = model(x, backend=backend)
    assert y.updates.any() and not y.output[y.updates].any()
