"""Dropout. Its mask is computed from a counter instead of being stored."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..annotations import ArrayLike, Floats, RandomSource
from ..kernels.random_bits import drop_threshold, stream_key
from .arrays import any_matrix, like, one_row_too, raw
from .init import generator
from .module import Module

if TYPE_CHECKING:
    from .program import Program


class Dropout(Module):
    """Inverted dropout: in training ``y = x / (1 - p)`` where an element is kept, else 0; in evaluation ``y = x``.

    Parameters
    ----------
    p : float
        The probability that an element is dropped, in [0, 1).
    random_state : int, Generator, RandomState or None
        For the seed. Layers with the same integer drop the same elements: give each layer its own, or give all of them one
        Generator. None gives a different seed in every run, and ``np.random.seed`` does not affect it.

    Attributes
    ----------
    seed : int
        Seed of all masks of this layer.
    n_forwards : int
        Number of forwards so far in training mode, compiled ones included. It determines the mask together with the seed, in every
        back end and for any number of threads. To repeat a run, set it back.

    References
    ----------
    Srivastava et al., *Dropout: a simple way to prevent neural networks from overfitting* (2014), section 10 for the scaling.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> dropout = nn.Dropout(0.5, random_state=0)
    >>> np.unique(dropout(np.ones((100, 100))))
    array([0., 2.])
    >>> np.unique(dropout.eval()(np.ones((100, 100))))
    array([1.])
    """

    def __init__(self, p: float = 0.5, random_state: RandomSource = None) -> None:
        if not 0 <= p < 1:
            raise ValueError(f"p must be in [0, 1); got {p!r}")
        self.p, self.n_forwards = float(p), 0
        if isinstance(random_state, (int, np.integer)):
            self.seed = operator.index(random_state)
            if not 0 <= self.seed < 2**63:
                raise ValueError(f"random_state must be in [0, 2^63); got {random_state}")
        else:
            self.seed = int(generator(random_state).uniform(0, 2**53))

    def arguments(self) -> dict[str, Any]:
        return {"p": self.p, "random_state": self.seed}

    @one_row_too
    def forward(self, x: ArrayLike) -> Floats:
        if not self.training:
            self._saved = None
            return x
        x = any_matrix(self, "x", x)
        if not self.recomputing:
            self.n_forwards += 1
        self._saved = x.shape, x.dtype, stream_key(self.seed, self.n_forwards)
        return self._masked(x)

    @one_row_too
    def backward(self, dout: ArrayLike, accumulate: bool = False) -> Floats:
        if self._saved is None:
            raise self.no_forward()
        shape, dtype, _ = self._saved
        return self._masked(like(self, "dout", dout, shape, dtype))

    def lower(self, program: Program) -> None:
        # The next update, number t + 1, uses the mask of forward number n_forwards + 1.
        program.dropout(self.p, self.seed, self.n_forwards - program.t)
        program.dropouts.append(self)

    def _masked(self, x):
        y = np.empty_like(x)
        raw.dropout(x, self._saved[2], drop_threshold(self.p), 1 / (1 - self.p), y, self.n_threads)
        return y
