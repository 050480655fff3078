"""The share of inputs is what was asked for, by construction, on every backend."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from skipw.benchmark.gates import accumulating_model, opened_windows, window_model
from skipw.benchmark.speed import dense_inference, infer, make_entries
from skipw.benchmark.workloads import SHARES, WORKLOADS, Workload, make_inputs
from skipw.errors import ParamsError, SkipWError
from skipw.models.skip_window import SkipW

BACKENDS = ("reference", "compact")


@pytest.mark.parametrize("share", [*SHARES, 0.8])
def test_the_share_of_skipw(small: Workload, share: float) -> None:
    x, _ = make_inputs(small, seed=1)
    prepared = window_model(small, share, seed=1)
    answers = [infer(prepared, x, backend) for backend in BACKENDS]
    assert float(answers[0].inputs_processed.mean()) == pytest.approx(share, abs=0.02)
    assert torch.equal(answers[0].updates, answers[1].updates)
    if share < 1:
        assert len(answers[0].updates.unique(dim=0)) > len(x) / 3  # not the same inputs in every row


@pytest.mark.parametrize("workload", [w for w in WORKLOADS if w.main], ids=lambda w: w.name)
@pytest.mark.parametrize("share", SHARES)
def test_the_share_of_the_real_shapes(workload: Workload, share: float) -> None:
    opened = opened_windows(workload.batch, workload.window, workload.steps // workload.window, share, seed=0)
    mean = float(opened.double().mean()) * workload.window / workload.steps
    assert mean == pytest.approx(share, abs=0.001)


def test_no_logit_comes_near_the_threshold(small: Workload) -> None:
    """Else rounding would decide, and backends would process different inputs."""
    x, _ = make_inputs(small, seed=1)
    prepared = window_model(small, 0.5, seed=1)
    logit = torch.logit(infer(prepared, x, "reference").importance)
    assert float(logit.abs().min()) > 0.2


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("kind", ["thrrnn", "skiprnn"])
def test_the_share_of_the_accumulating_models(kind: str, share: float) -> None:
    workload = Workload("long", "long", 48, 400, 1, "gru", 8, 1, 8, "normal")
    like = window_model(workload, 1.0, seed=1).model
    assert isinstance(like, SkipW)
    x, _ = make_inputs(workload, seed=1)
    prepared = accumulating_model(workload, kind, share, seed=1, like=like)
    answer = infer(prepared, x, "compact")
    assert float(answer.inputs_processed.mean()) == pytest.approx(share, abs=0.02)
    assert torch.equal(answer.updates, infer(prepared, x, "reference").updates)


def test_every_gradient_of_the_gate_is_computed(small: Workload) -> None:
    x, _ = make_inputs(small, seed=1)
    prepared = window_model(small, 0.5, seed=1)
    y = prepared.model(x, state=prepared.state, backend="compact", outputs="last")
    (y.output.mean() + y.input_cost.mean()).backward()
    for name, parameter in prepared.model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.abs().sum() > 0), name


def test_with_every_input_it_is_the_dense_layer(small: Workload) -> None:
    x, _ = make_inputs(small, seed=1)
    dense, entries = make_entries(small, x, BACKENDS, (1.0, 0.5), seed=1)
    assert [entry.name for entry in entries][:2] == ["skipw/reference/1", "skipw/compact/1"]
    with torch.inference_mode():
        expected = dense(x, entries[0].prepared.dense_state)[0][:, -1]
    got = infer(entries[0].prepared, x, "compact").output
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
    assert dense_inference(dense, x).shape == (32, 12)


def test_a_cell_that_torch_has_no_layer_of(small: Workload) -> None:
    """A GRU of the same sizes is the dense layer, with its own products."""
    workload = dataclasses.replace(small, cell="fastgrnn")
    x, _ = make_inputs(workload, seed=1)
    dense, entries = make_entries(workload, x, ("reference", "compact"), (1.0, 0.5), seed=1)
    assert isinstance(dense, torch.nn.GRU)
    assert [round(entry.share, 2) for entry in entries] == [1, 1, 0.5, 0.5]
    assert workload.dense.cell == "gru"
    assert small.dense == small
    model = entries[2].prepared
    held = infer(model, x, "reference").state.layers[-1]
    torch.testing.assert_close(held[:, : small.window], model.state.layers[-1][:, : small.window])


def test_a_backend_that_disagrees_is_not_timed(small: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    from skipw.ops import dispatch

    x, _ = make_inputs(small, seed=1)
    honest = dispatch.compact.run

    def wrong(call):  # type: ignore[no-untyped-def]
        import dataclasses

        result = honest(call)
        return dataclasses.replace(result, output=result.output + 0.1)

    monkeypatch.setattr(dispatch.compact, "run", wrong)
    with pytest.raises(SkipWError, match="nothing was timed"):
        make_entries(small, x, BACKENDS, (0.5,), seed=1)
    with pytest.raises(SkipWError, match="dense layer's output"):
        make_entries(small, x, ("compact",), (1.0,), seed=1)


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_outside_its_range_is_refused(small: Workload, share: float) -> None:
    with pytest.raises(ParamsError, match="share of inputs"):
        window_model(small, share, seed=0)


def test_a_window_needs_as_many_units() -> None:
    with pytest.raises(ParamsError, match="hidden_size 4"):
        window_model(Workload("w", "w", 2, 8, 1, "gru", 4, 1, 8, "normal"), 0.5, seed=0)
