"""FastGRNN's cell (Kusupati et al., "FastGRNN: A Fast, Accurate, Stable and Tiny Kilobyte Sized Gated RNN", 2018).

One pair of matrices serves the gate and the candidate, so an input costs a third of a GRU's products, and the cell
has about a third of its parameters. The paper's low-rank, sparse and 8-bit variants are left out: at the 60 to 128
units used here a full matrix is a few tens of kB, and a factory may still build them (``skipw.SkipW(factory, ...)``).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["FastGRNNCell"]


class FastGRNNCell(nn.Module):
    """z = σ(W x + U h + b_z), h̃ = tanh(W x + U h + b_h), h' = (ζ (1 - z) + ν) ⊙ h̃ + z ⊙ h (section 3.2).

    ζ = σ(zeta) and ν = σ(nu) are scalars in (0, 1), trained as ``zeta`` and ``nu``. W and U begin uniform in
    ±1/√N as torch.nn's cells do; b_z begins at 1, so that the state is mostly kept, b_h at 0, and ``zeta`` and ``nu``
    at 1 and -4 (ζ = 0.73, ν = 0.02), the authors' values.

    Args:
        input_size: D.
        hidden_size: N.

    Attributes:
        weight_ih: W, Float[N, D].
        weight_hh: U, Float[N, N].
        bias_z, bias_h: Float[N].
        zeta, nu: Float[1], before the sigmoid.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        bound = hidden_size**-0.5
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size).uniform_(-bound, bound))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size).uniform_(-bound, bound))
        self.bias_z = nn.Parameter(torch.ones(hidden_size))
        self.bias_h = nn.Parameter(torch.zeros(hidden_size))
        self.zeta = nn.Parameter(torch.full((1,), 1.0))
        self.nu = nn.Parameter(torch.full((1,), -4.0))

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}"

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """h' Float[B, N] after ``x`` Float[B, D], from ``h`` Float[B, N]."""
        shared = torch.addmm(x @ self.weight_ih.T, h, self.weight_hh.T)
        z = torch.sigmoid(shared + self.bias_z)
        candidate = torch.tanh(shared + self.bias_h)
        return torch.addcmul(candidate * (torch.sigmoid(self.zeta) * (1 - z) + torch.sigmoid(self.nu)), z, h)
