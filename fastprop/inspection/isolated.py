"""The backward of one module, or of the loss, by itself: with its inputs in the model, and a random gradient of its output.

Mistakes elsewhere in the model do not show here.
"""

import functools
from typing import NamedTuple

import numpy as np

from ..nn.module import Module
from .differences import CORRECT, ROUNDINGS, compare_gradients, differences, scale_of
from .observation import another_batch, repeating

# In a larger array, only this many elements are differentiated, drawn at random.
MAX_ELEMENTS = 100
# How far inputs are moved off a kink, relative to their size, and the smallest jump of the derivative that is a kink.
OFF_KINK, JUMP = 1e-2, 1e-3
# Relative error below which a gradient is the one that a mistake would give: smaller than that of a correct gradient.
LIKE = CORRECT / 10


class Gradient(NamedTuple):
    """A gradient that the backward of an `Isolated` returns or writes.

    Parameters
    ----------
    name : str
        Name of the parameter; 'x' or 'x_i' for an input; 'outputs' for the input of a loss.
    is_parameter : bool
        Whether it is the gradient of a parameter.
    analytic : ndarray
        The gradient from the backward.
    positions : ndarray of int, shape (m,)
        Positions in the flat array of the elements that were differentiated.
    rows : ndarray, shape (n, m)
        Derivatives of the contribution of each row of the output with respect to these elements, by central differences.
    resolution : float
        Differences smaller than this are rounding errors.
    """

    name: str
    is_parameter: bool
    analytic: np.ndarray
    positions: np.ndarray
    rows: np.ndarray
    resolution: float

    @property
    def numerical(self):
        """The derivatives with respect to the elements, shape (m,)."""
        return self.rows.sum(axis=0)

    def is_right(self, expected):
        """Whether an array of all derivatives agrees with the differences."""
        return are_like(expected.flat[self.positions], self.numerical, self.resolution)

    @property
    def is_wrong(self):
        """Whether the gradient from the backward is wrong."""
        return compare_gradients("", self.analytic.flat[self.positions], self.numerical, self.resolution).verdict != "correct"

    def is_like(self, expected):
        """Whether the backward gave, at the positions, the values that a mistake would give."""
        return are_like(self.analytic.flat[self.positions], expected, self.resolution)

    @property
    def factor(self):
        """The number by which the right gradient must be multiplied to give this one; None if there is no such number."""
        factor = float(
            np.vdot(self.numerical, self.analytic.flat[self.positions]) / (np.vdot(self.numerical, self.numerical) or np.nan)
        )
        return factor if factor and self.is_like(factor * self.numerical) else None

    @property
    def is_vector(self):
        """Whether it is of a parameter that is a vector, such as a bias: all its other axes have length 1."""
        return self.is_parameter and max(self.analytic.shape, default=1) == self.analytic.size

    @property
    def is_whole(self):
        """Whether all elements were differentiated."""
        return len(self.positions) == self.analytic.size


def are_like(some, others, resolution=0.0):
    """Whether two arrays of the same shape have the same elements, up to the errors of difference quotients."""
    difference = np.linalg.norm(some - others)
    return bool(difference <= max(LIKE * scale_of(some, others), resolution * np.sqrt(np.size(some))))


class Isolated:
    """A module, or a loss with its targets.

    Attributes
    ----------
    name : str
        The module's name in the model.
    part : Module or Loss
        The module or loss.
    inputs : list of ndarray
        Inputs of its forward.
    output : ndarray
        Output of its forward.
    dout : ndarray
        The gradient with respect to the output, with which the backward begins.
    """

    def __init__(self, name, part, inputs, y=None, h=1e-5):
        self.name, self.part, self._y, self._h = name, part, y, h
        self.is_module = isinstance(part, Module)
        self.inputs = [np.array(x, np.float64) for x in inputs]
        self.parameters = dict(part.named_parameters()) if self.is_module else {}
        several = [f"x_{i}" for i in range(len(self.inputs))]
        self.names = [*self.parameters, *(several if len(several) > 1 else ["x"] if self.is_module else ["outputs"])]
        self._rng = np.random.default_rng(0)
        with repeating(part):
            self.output = np.asarray(self.forward())
            self.dout = self._rng.normal(size=self.output.shape) if self.is_module else np.float64(1)
            if self._at_kink():
                for x in self.inputs:
                    x += OFF_KINK * self._rng.normal(size=x.shape) * (np.std(x) or 1.0)
                self.output = np.asarray(self.forward())

    def forward(self, inputs=None, y=None):
        inputs = self.inputs if inputs is None else inputs
        return self.part.forward(*inputs) if self.is_module else self.part(*inputs, self._y if y is None else y)

    @property
    def n(self):
        """The number of rows."""
        return len(self.inputs[0]) if self.inputs[0].ndim else 1

    @functools.cached_property
    def gradients(self):
        """The `Gradient` of every parameter and input that the backward returns."""
        found, gradients = [], self.analytic(before=self.other)
        with repeating(self.part):
            resolution = ROUNDINGS * np.finfo(np.float64).eps * float(np.abs(self._contributions()).sum()) / self._h
            for name, array, analytic in zip(self.names, self._arrays(), gradients, strict=True):
                if analytic is not None and analytic.shape == array.shape and array.size:
                    positions = np.arange(array.size)
                    if array.size > MAX_ELEMENTS:
                        positions = np.sort(self._rng.choice(array.size, MAX_ELEMENTS, replace=False))
                    rows = differences(self._contributions, array, positions, self._h).numerical.T
                    found.append(Gradient(name, name in self.parameters, analytic, positions, rows, resolution))
        return found

    @functools.cached_property
    def wrong(self):
        """The gradients that are not correct."""
        return [gradient for gradient in self.gradients if gradient.is_wrong]

    def analytic(self, before=None, changed=None):
        """The gradients of a backward; None for an input whose gradient it does not return.

        Parameters
        ----------
        before : list of ndarray, optional
            The `batch` of another forward that comes first.
        changed : dict, optional
            Attributes of the part that are changed first.
        """
        with repeating(self.part):
            vars(self.part).update(changed or {})
            if before is not None:
                *others, y = before
                self.forward(others, y)
            self.forward()
            for parameter in self.parameters.values():
                parameter.grad = None
            back = self.part.backward(self.dout) if self.is_module else self.part.backward()
            dinputs = back if isinstance(back, tuple) else (back,)
            gradients = [np.zeros(p.shape) if p.grad is None else p.grad.copy() for p in self.parameters.values()]
            return gradients + [None if dx is None else np.array(dx) for dx in dinputs]

    def is_right(self, **options):
        """Whether `analytic` gives the right gradients with these options."""
        analytic = dict(zip(self.names, self.analytic(**options), strict=True))
        return not any(gradient._replace(analytic=analytic[gradient.name]).is_wrong for gradient in self.gradients)

    @property
    def batch(self):
        """The inputs, and the targets or None."""
        return [*self.inputs, self._y]

    @property
    def other(self):
        """Another batch."""
        return another_batch(*self.batch)

    def _arrays(self):
        return [*(parameter.data for parameter in self.parameters.values()), *self.inputs]

    def _contributions(self):
        """The contribution of each row of the output to the function that is differentiated, shape (n,) or (1,)."""
        products = self.dout * np.asarray(self.forward())
        return products.reshape(self.n if products.ndim and len(products) == self.n else 1, -1).sum(axis=1)

    def _at_kink(self):
        """Whether the derivative jumps when all inputs move by the same number."""
        here, sides = np.asarray(self.forward()), []
        for step in (-self._h, self._h):
            sides.append((np.asarray(self.forward([x + step for x in self.inputs])) - here) / step)
        return bool(np.abs(sides[1] - sides[0]).max(initial=0) > JUMP * max(1.0, np.abs(sides).max(initial=0)))
