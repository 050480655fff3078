"""Threads share the rows of a batch; how many there are changes nothing but the last digits of sums."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

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


@pytest.fixture(params=["own", ""], ids=["own", "torch"])
def lent(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whose threads do the work: made for each call, or PyTorch's. The thread sanitizer cannot watch the latter."""
    if (answer := available()["native"]) != "yes":
        pytest.skip(f"the native backend: {answer}")
    if request.param == "" and os.environ.get("SKIPW_NATIVE_THREADS") == "own":
        pytest.skip("SKIPW_NATIVE_THREADS=own is set for the whole run")
    monkeypatch.setenv("SKIPW_NATIVE_THREADS", request.param)
    return str(request.param)


@pytest.mark.parametrize("threads", [2, 3, 64])
@pytest.mark.parametrize(
    ("model", "cell", "layers"),
    [
        (skipw.SkipW, "gru", 2),
        (skipw.SkipW, "lstm", 1),
        (skipw.SkipW, "fastgrnn", 2),
        (skipw.ThrRNN, "gru", 1),
    ],
)
def test_any_number_of_threads_gives_the_same(
    model: type, cell: str, layers: int, threads: int, lent: str
) -> None:
    window = {"window": 5} if model is skipw.SkipW else {}
    rnn = model(cell, input_size=3, hidden_size=9, num_layers=layers, **window).double()
    x, lengths = torch.randn(37, 12, 3, dtype=torch.float64), torch.randint(1, 13, (37,))
    alone, together = (step(rnn, x, lengths, count) for count in (1, threads))
    assert len(alone) > 5
    for one, many in zip(alone, together, strict=True):
        torch.testing.assert_close(many, one, rtol=1e-12, atol=1e-12)


def words(repeats: int) -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    """A model on rows of a table, which are found and projected once each, and their gradients summed by row."""
    torch.manual_seed(0)
    rnn = skipw.SkipW("gru", input_size=24, hidden_size=9, window=4).double()
    table = torch.randn(30, 24, dtype=torch.float64)
    x = table[torch.randint(0, 30, (24, 10 * repeats))]
    return rnn, x, torch.randint(1, 10 * repeats + 1, (24,))


@pytest.mark.parametrize("threads", [2, 3, 64])
@pytest.mark.parametrize("repeats", [1, 4])
def test_repeated_rows_are_found_by_several_threads(repeats: int, threads: int, lent: str) -> None:
    """With few places a row, what one thread looks through has words that the others' shares lack."""
    rnn, x, lengths = words(repeats)
    alone, together = (step(rnn, x, lengths, count) for count in (1, threads))
    for one, many in zip(alone, together, strict=True):
        torch.testing.assert_close(many, one, rtol=1e-12, atol=1e-12)


def test_the_same_number_of_threads_gives_the_same_bits(lent: str) -> None:
    rnn, x, lengths = words(3)
    first, second = (step(rnn, x, lengths, 3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_calls_side_by_side(lent: str) -> None:
    """Several Python threads share the library; each gets its own answer."""
    rnn, x, lengths = words(2)
    torch.set_num_threads(2)
    inputs = [x + i for i in range(6)]

    def run(x: torch.Tensor) -> torch.Tensor:
        torch.set_num_threads(2)  # it holds for the calling thread
        with torch.inference_mode():
            return rnn(x, lengths=lengths, backend="native").output

    wanted = [run(one) for one in inputs]
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(run, inputs * 5))
    assert all(torch.equal(a, b) for a, b in zip(answers, wanted * 5, strict=True))
