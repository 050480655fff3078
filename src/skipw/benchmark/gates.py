"""Models whose gates process a wanted share of the inputs, the same inputs on every engine.

A few units of the top layer are made to hold their value for ever (the update gate, or the forget gate, is shut),
and only they drive the gate with a weight that counts. Their start, which differs from row to row, then fixes what
each row processes in each window, whatever the inputs are. All other weights of the gate are small but not zero,
nothing is frozen, and every gradient is computed: the work is that of an ordinary model with this share.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor, nn

from skipw.benchmark.workloads import Workload
from skipw.errors import ParamsError
from skipw.fastgrnn import FastGRNNCell
from skipw.models.skip_rnn import SkipRNN, ThrRNN
from skipw.models.skip_window import SkipW
from skipw.ops.state import LayerState, SkipState

__all__ = ["Prepared", "accumulating_model", "opened_windows", "window_model"]

SHUT = 30.0  # sigmoid(30) is 1 in float32
MARGIN = 0.25  # of every logit from the threshold
THRESHOLD = 0.5


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A model and the state that its rows start from. ``share``: the wanted share of inputs, in (0, 1]."""

    model: SkipW | ThrRNN
    state: SkipState
    share: float

    @property
    def dense_state(self) -> Tensor | tuple[Tensor, Tensor]:
        """The same start for a torch.nn layer: Float[layers, B, N], or a pair of them."""
        layers = self.state.layers
        if isinstance(layers[0], Tensor):
            return torch.stack([layer for layer in layers if isinstance(layer, Tensor)])
        first, last = (torch.stack([layer[part] for layer in layers]) for part in (0, -1))
        return first, last


def window_model(workload: Workload, share: float, *, seed: int) -> Prepared:
    """A SkipW whose gate opens the share of slots that is wanted, elsewhere in each row and window.

    Slot i of row b is open in a number of windows that ``opened_windows`` draws: the first ones for even i, the last
    ones for odd i. That is what a logit does that falls or rises with the time feature: ``±(t - t*)``.

    Args:
        workload: sizes; L units of the top layer are taken to hold t* for the L slots.
        share: of the inputs, in (0, 1].
        seed: of the weights and of the draw.
    Raises:
        ParamsError: if the share is outside (0, 1], or there are fewer units than slots.
    """
    window = workload.window
    _check(share, units=window, available=workload.hidden_size)
    torch.manual_seed(seed)
    sizes = (workload.cell, workload.input_size, workload.hidden_size, workload.num_layers)
    model = SkipW(*sizes, window=window, initial_state="zeros")
    _hold(model.cells[-1], window)
    windows = math.ceil(workload.steps / window)
    opened = opened_windows(workload.batch, window, windows, share, seed=seed).float()
    slope = (
        2 * MARGIN / window
    )  # of the logit, for one input; windows open at multiples of L, t* lies between two
    rising = torch.arange(window) % 2 == 1
    turn = torch.where(rising, windows - opened - 0.5, opened - 0.5) * window
    sign = torch.where(rising, 1.0, -1.0)
    logit = -sign * slope * turn
    scale = float(logit.abs().max().clamp(min=1.0))
    with torch.no_grad():
        model.gate.bias.zero_()
        model.gate.weight.normal_(0.0, 1e-3 / math.sqrt(workload.hidden_size))
        model.gate.weight[:, :window] += torch.eye(window) * scale
        model.gate.weight[:, -1] = sign * slope * model.time_scale
    return Prepared(model, _start(model, workload, logit / scale), share)


def opened_windows(rows: int, slots: int, windows: int, share: float, *, seed: int) -> Tensor:
    """Long[rows, slots], in how many of its windows a slot is open: ``share`` of them on average.

    Twice the smaller of share and 1 - share of all slots get a number that is uniform over 0 .. windows; the others
    are always shut, or always open.
    """
    total = rows * slots
    mixed = round(2 * min(share, 1 - share) * total)
    opened = torch.full((total,), windows if share > 0.5 else 0, dtype=torch.long)
    opened[:mixed] = ((torch.arange(mixed) + 0.5) / max(mixed, 1) * (windows + 1)).long()
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
    return opened[order].view(rows, slots)


def accumulating_model(workload: Workload, kind: str, share: float, *, seed: int, like: SkipW) -> Prepared:
    """A ThrRNN or SkipRNN that processes every n-th input of a row, n spread so that 1 / n is ``share`` on average.

    The increment is 0.5 / (n - 0.5), so the accumulated value passes 0.5 after n inputs. Rows start in different
    phases.

    Args:
        workload: sizes.
        kind: "thrrnn" or "skiprnn".
        share: of the inputs, in (0, 1].
        seed: of the draw.
        like: the model whose cells are taken over.
    Raises:
        ParamsError: if the share is outside (0, 1].
    """
    _check(share, units=1, available=workload.hidden_size)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = (ThrRNN if kind == "thrrnn" else SkipRNN).from_dense(like.to_dense())
    gaps = _gaps(workload.batch, share)[torch.randperm(workload.batch, generator=generator)]
    increment = THRESHOLD / (gaps - 0.5)
    increment = increment.clamp(max=0.8)
    logit = torch.logit(increment)
    scale = float(logit.abs().max().clamp(min=1.0))
    with torch.no_grad():
        model.gate.bias.zero_()
        model.gate.weight.normal_(0.0, 1e-5 / math.sqrt(workload.hidden_size))
        model.gate.weight[0, 0] = scale
    phase = (torch.rand(workload.batch, generator=generator) * gaps).floor() + 1
    state = _start(model, workload, (logit / scale).unsqueeze(-1))
    state = dataclasses.replace(state, accumulated=(increment * phase).clamp(max=1.0), increment=increment)
    return Prepared(model, state, share)


def _gaps(rows: int, share: float) -> Tensor:
    """Float[rows], whole numbers n of at least 1 whose 1 / n average ``share``, some 40 % up and down."""
    if share == 1:
        return torch.ones(rows)
    wanted, given, gaps = 0.0, 0.0, []
    for row in range(rows):
        aim = share * (0.6 + 0.8 * (row + 0.5) / rows)
        wanted += aim
        below = max(1, int(1 / aim))
        nearest = min((below, below + 1), key=lambda gap: abs(given + 1 / gap - wanted))
        given += 1 / nearest
        gaps.append(float(nearest))
    return torch.tensor(gaps)


def _hold(cell: nn.Module, units: int) -> None:
    """Make the first ``units`` units of a cell keep h (LSTM: c) for ever."""
    first = slice(0, units)
    if isinstance(cell, FastGRNNCell):
        with torch.no_grad():
            cell.weight_ih[first], cell.weight_hh[first] = 0.0, 0.0
            cell.bias_z[first], cell.bias_h[first] = SHUT, 0.0
        return
    assert isinstance(cell, nn.GRUCell | nn.LSTMCell), "the benchmark has cells of these kinds"
    hidden = cell.hidden_size
    kept = slice(hidden, hidden + units)  # update gate of a GRU, forget gate of an LSTM
    with torch.no_grad():
        for rows, bias in ((kept, SHUT), (first, -SHUT)):
            if rows is first and isinstance(cell, nn.GRUCell):
                continue  # the reset gate need not be shut
            cell.weight_ih[rows], cell.weight_hh[rows] = 0.0, 0.0
            cell.bias_ih[rows], cell.bias_hh[rows] = bias, 0.0


def _start(model: SkipW | ThrRNN, workload: Workload, held: Tensor) -> SkipState:
    """The state before t = 0: zeros but for the units that hold ``held`` (Float[B, units]) in the top layer."""
    blank = torch.zeros(workload.batch, workload.hidden_size)
    top = blank.clone()
    top[:, : held.shape[1]] = held
    lower: LayerState = blank
    upper: LayerState = top
    if workload.cell == "lstm":
        lower, upper = (blank, blank), (blank, top)
    layers = (*[lower] * (workload.num_layers - 1), upper)
    accumulates = isinstance(model, ThrRNN)
    return SkipState.initial(layers, window=model.window, accumulates=accumulates, draws=False)


def _check(share: float, *, units: int, available: int) -> None:
    if not 0 < share <= 1:
        raise ParamsError(f"a share of inputs lies in (0, 1], got {share!r}.")
    if units > available:
        raise ParamsError(
            f"the gate needs {units} hidden units to hold its values, got hidden_size {available}; widen the model."
        )
