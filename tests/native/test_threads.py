"""Threads share the rows of a batch; how many there are changes nothing but the last digits of sums."""

from __future__ import annotations

import pytest
import torch

import skipw
from skipw.ops.dispatch import available

pytestmark = [pytest.mark.sanitized, pytest.mark.threaded]


def step(rnn: torch.nn.Module, x: torch.Tensor, lengths: torch.Tensor, threads: int) -> list[torch.Tensor]:
    """Forward and backward on so many threads: what came out, then every gradient."""
    torch.set_num_threads(threads)
    x = x.clone().requires_grad_()
    rnn.zero_grad()
    y = rnn(x, lengths=lengths, backend="native")
    (y.output.square().sum() + y.input_cost.sum()).backward()
    gradients = [parameter.grad for parameter in rnn.parameters() if parameter.grad is not None]
    return [y.output.detach(), y.updates.double(), x.grad, *gradients]


@pytest.mark.parametrize("threads", [2, 3, 64])
@pytest.mark.parametrize(
    ("model", "cell", "layers"), [(skipw.SkipW, "gru", 2), (skipw.SkipW, "lstm", 1), (skipw.ThrRNN, "gru", 1)]
)
def test_any_number_of_threads_gives_the_same(model: type, cell: str, layers: int, threads: int) -> None:
    if (answer := available()["native"]) != "yes":
        pytest.skip(f"the native backend: {answer}")
    window = {"window": 5} if model is skipw.SkipW else {}
    rnn = model(cell, input_size=3, hidden_size=9, num_layers=layers, **window).double()
    x, lengths = torch.randn(37, 12, 3, dtype=torch.float64), torch.randint(1, 13, (37,))
    alone, together = (step(rnn, x, lengths, count) for count in (1, threads))
    assert len(alone) > 5
    for one, many in zip(alone, together, strict=True):
        torch.testing.assert_close(many, one, rtol=1e-12, atol=1e-12)
