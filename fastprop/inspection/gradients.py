"""Gradients checked against central differences: of any function of an array, and of all parameters of a model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..nn.parameter import real_numbers
from ..tables import Table, Tabular
from .kinks import explained, nudged
from .observation import repeating

if TYPE_CHECKING:
    from ..nn import Loss, Module

Verdict: TypeAlias = Literal["bug", "look again", "kink", "correct"]

# Relative error below which a gradient is correct, and from which on it is wrong; in between, look again: a loss that is large
# beside its gradient does that.
CORRECT, WRONG = 1e-5, 1e-3
# Keeps the relative error of two gradients that are zero from being 0 / 0.
TINY = 1e-8
# What the differences cannot tell apart: this many rounding errors of the loss, divided by h. The gradient of a bias in front of a
# batch normalisation is zero; its difference quotients are such errors, and as large as TINY.
ROUNDINGS = 10
VERDICTS = ("bug", "look again", "kink", "correct")  # worst first


def numerical_gradient(f: Callable[[NDArray[np.float64]], Any], x: ArrayLike, h: float = 1e-5) -> NDArray[np.float64]:
    """Gradient of a scalar function by central differences: ``(f(x + h e_i) - f(x - h e_i)) / (2 h)`` for every element i.

    The error is of order h^2 times the third derivative, plus rounding of order 1e-16 |f| / h.

    Parameters
    ----------
    f : callable
        Takes a float64 array of the shape of x and returns a number. It must not keep the array: the same one is changed and
        passed again.
    x : array-like of any shape and memory order, of real numbers
        Where to differentiate. Never changed: f gets a copy.
    h : float, default=1e-5
        The step, above 0.

    Returns
    -------
    ndarray of float64, shape of x
        The derivative with respect to each element.

    Raises
    ------
    ValueError
        If h is not above 0, or f returns no scalar.
    TypeError
        If x is not of real numbers.

    Examples
    --------
    >>> numerical_gradient(lambda x: (x**2).sum(), [1.0, 2.0]).round(6)
    array([2., 4.])
    """
    point = float64_copy("x", x)
    return differences(lambda: f(point), point, np.arange(point.size), h).numerical.reshape(point.shape)


def float64_copy(name, array):
    """A copy of real numbers as a writeable C-contiguous float64 array."""
    return np.array(real_numbers(name, array), dtype=np.float64, order="C")


class Differences(NamedTuple):
    """The derivatives of a function by some elements: by central differences (n,), and from the left and the right (2, n)."""

    numerical: np.ndarray
    sides: np.ndarray


def differences(evaluate, array, positions, h, value=np.nan):
    """The derivatives of ``evaluate()`` with respect to elements of an array of any memory order, at ``positions`` of its ``flat``.

    The array is changed and restored. The one-sided differences need the ``value`` of the function.
    """
    if not h > 0:
        raise ValueError(f"h must be above 0; got {h!r}")
    flat, around = array.flat, np.empty((2, len(positions)))
    for k, i in enumerate(positions):
        before = flat[i]
        try:
            for side, step in enumerate((-h, h)):
                flat[i] = before + step
                around[side, k] = _scalar(evaluate())
        finally:
            flat[i] = before
    with np.errstate(invalid="ignore", over="ignore"):  # an infinite loss gives NaN, which says enough
        return Differences((around[1] - around[0]) / (2 * h), np.stack([value - around[0], around[1] - value]) / h)


def _scalar(value):
    if np.ndim(value):
        raise ValueError(f"f must return a number; got an array of shape {np.shape(value)}")
    return float(value)


class ParameterCheck(NamedTuple):
    """One row of the table of `check_gradients`.

    Parameters
    ----------
    name : str
        The parameter's name in the model.
    shape : tuple of int
        Its shape.
    norm : float
        The Euclidean norm ``|a|`` of the analytic gradient.
    relative_error : float
        ``|a - n| / (|a| + |n| + 1e-8)`` with the Euclidean norms of the analytic and the numerical gradient.
    max_difference : float
        The largest ``|a_i - n_i|``.
    verdict : {'correct', 'look again', 'bug'}
        See `check_gradients`.
    """

    name: str
    shape: tuple[int, ...]
    norm: float
    relative_error: float
    max_difference: float
    verdict: Verdict


class GradientCheck(Tabular):
    """What `check_gradients` found: a row for each parameter; printed, a table.

    Parameters
    ----------
    rows : list of ParameterCheck
        Of the parameters in the model's order, then of the input.

    Attributes
    ----------
    verdict : {'correct', 'kink', 'look again', 'bug'}
        The worst of all rows, in this order.
    """

    def __init__(self, rows: list[ParameterCheck]) -> None:
        self.rows = rows

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all rows."""
        return min((row.verdict for row in self.rows), key=VERDICTS.index)

    def __getitem__(self, name: str) -> ParameterCheck:
        """The row of a parameter, by its name."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"no gradient of {name!r} was checked; there are {[row.name for row in self.rows]}")

    def _table(self) -> Table:
        head = ("parameter", "shape", "|gradient|", "relative error", "max difference", "verdict")
        lines = []
        for row in self.rows:
            numbers = (f"{number:.2e}" for number in (row.norm, row.relative_error, row.max_difference))
            lines.append((row.name, str(row.shape), *numbers, row.verdict))
        return Table(head, lines, "<<>>><", footer=f"together: {self.verdict}")


def compare_gradients(name, analytic, numerical, resolution=0.0):
    """The row of the table for two gradients of the same shape; differences up to the resolution count as none."""
    norm, scale = float(np.linalg.norm(analytic)), _scale(analytic, numerical)
    with np.errstate(invalid="ignore"):  # infinite gradients give NaN, which says enough
        difference = np.abs(analytic - numerical)
        error = float(np.linalg.norm(difference) / scale)
    largest = float(difference.max(initial=0.0))
    # A NaN fails all comparisons and is a bug.
    verdict = "correct" if error < CORRECT or largest <= resolution < np.inf else "look again" if error < WRONG else "bug"
    return ParameterCheck(name, analytic.shape, norm, error, largest, verdict)


def _scale(analytic, numerical):
    """What differences of two gradients are relative to."""
    return np.linalg.norm(analytic) + np.linalg.norm(numerical) + TINY


class Problem:
    """A model in `repeating`, a loss and data, and the gradients to check: with respect to all parameters, and then to X.

    With a ``nudge``, all pre-activations and the outputs are moved by about that much, off the kinks of model and loss.

    Attributes
    ----------
    names, arrays : list
        Of the parameters and X.
    h : float
        The step of the differences.
    rounding : float
        The largest rounding error of the loss, and so of the differences before they are divided by the step.
    """

    def __init__(self, model, loss, X, y, h, repeat):
        X, parameters = float64_copy("X", X), _float64_parameters(model)
        self.h, self.names, self.arrays = h, [*parameters, "X"], [*(p.data for p in parameters.values()), X]
        self._model, self._loss, self._y, self._repeat = model, loss, y, repeat
        self._parameters = list(parameters.values())
        for parameter in self._parameters:
            parameter.grad = None  # so that gradients of an earlier backward are not taken for those of this one
        self._values = {0.0: self._evaluate()}
        self.rounding = ROUNDINGS * np.finfo(np.float64).eps * abs(self._values[0.0])
        self._gradients = {0.0: self._backward()}

    def _evaluate(self, nudge=0.0):
        outputs = self._model(self.arrays[-1])
        return self._loss(outputs + nudge if nudge else outputs, self._y)

    def _backward(self):
        dx, shape = self._model.backward(self._loss.backward()), self.arrays[-1].shape
        self._repeat()
        if np.shape(dx) != shape:
            raise ValueError(f"backward must return the gradient by X, of shape {shape}; got {dx if dx is None else np.shape(dx)}")
        return [np.zeros(p.shape) if p.grad is None else p.grad.copy() for p in self._parameters] + [np.array(dx)]

    def gradients(self, nudge=0.0):
        """The gradients of the backward, zeros for a parameter that it forgot. The parameters keep those without a nudge."""
        if nudge not in self._gradients:
            kept = [parameter.grad for parameter in self._parameters]
            try:
                for parameter in self._parameters:
                    parameter.grad = None
                with nudged(self._model, nudge):
                    self._values[nudge] = self._evaluate(nudge)
                    self._gradients[nudge] = self._backward()
            finally:
                for parameter, grad in zip(self._parameters, kept, strict=True):
                    parameter.grad = grad
        return self._gradients[nudge]

    def differences(self, i, positions, step, nudge=0.0):
        """`differences` with respect to some elements of array i, after a call of `gradients` with this nudge."""
        with nudged(self._model, nudge) if nudge else nullcontext():
            return differences(lambda: self._evaluate(nudge), self.arrays[i], positions, step, self._values[nudge])

    def check(self, i, positions):
        """The row of the table for some elements of array i."""
        analytic, resolution = self.gradients()[i].flat[positions], self.rounding / self.h
        numerical, sides = self.differences(i, positions, self.h)
        row = compare_gradients(self.names[i], analytic, numerical, resolution)._replace(shape=self.arrays[i].shape)
        if row.verdict == "correct":
            return row
        # At least one element of a gradient that is not correct is further off than this.
        tolerance = max(resolution, CORRECT * _scale(analytic, numerical) / np.sqrt(len(positions)))
        return row._replace(verdict="kink") if explained(self, i, positions, analytic, numerical, sides, tolerance) else row


def check_gradients(
    model: Module,
    loss: Loss,
    X: ArrayLike,
    y: ArrayLike,
    *,
    h: float = 1e-5,
    n_elements: int | None = None,
    random_state: int | np.random.Generator | None = 0,
    raise_on: Literal["bug", "look again"] | None = None,
) -> GradientCheck:
    """Compare the gradients of a model's parameters, and of its input, with central differences of its loss.

    The model runs in training mode; every forward draws the same dropout masks. Afterwards model and loss are as before, except
    that the parameters' ``grad`` is the analytic gradient. It is None for a parameter that the backward forgot, which counts as
    zero here.

    At a kink, such as that of ReLU at 0, there is no derivative, and a central difference gives the mean of both sides. Zero biases
    and a row of zeros are enough to be there. The verdict is "kink" if every difference is due to one: the analytic gradient is
    the derivative from the left or from the right, or between the derivatives around the kink; and the backward is right beside
    it, with all pre-activations moved off the kink by about h. Otherwise a wrong gradient at a kink is a bug as elsewhere.

    Parameters
    ----------
    model : Module
        In float64: in float32, the differences are mostly rounding.
    loss : Loss
        ``loss(model(X), y)`` gives the number, ``loss.backward()`` its gradient.
    X : array-like, shape (n, n_in)
        A few rows are enough.
    y : array-like
        The targets, as the loss takes them.
    h : float, default=1e-5
        The step of the differences, above 0. Each element of a parameter costs two forwards.
    n_elements : int, optional
        Check only this many elements, drawn at random, of each parameter and of X; by default all.
    random_state : int, Generator or None, default=0
        For the draw.
    raise_on : {None, 'bug', 'look again'}, default=None
        Raise an AssertionError with the table if the verdict is this or worse; a kink is neither.

    Returns
    -------
    GradientCheck
        A row for each parameter and one for the input; printed, a table. A relative error below 1e-5 is "correct", one below 1e-3
        "look again", else it is a "bug", unless it is a "kink". Differences within the rounding of the quotients,
        10 eps |loss| / h, are correct.

    Raises
    ------
    TypeError
        A parameter is not float64, or X is not of real numbers.
    ValueError
        h is not above 0, a parameter is read-only, or the backward returns no gradient by X.
    AssertionError
        See ``raise_on``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> from fastprop.inspection import check_gradients
    >>> model = nn.Sequential(nn.Linear(4, 8, activation="tanh", random_state=0), nn.Linear(8, 3, random_state=1))
    >>> X = np.random.default_rng(0).normal(size=(5, 4))
    >>> check_gradients(model, nn.SoftmaxCrossEntropy(), X, [0, 1, 2, 0, 1]).verdict
    'correct'
    """
    if raise_on not in (None, *VERDICTS[:2]):
        raise ValueError(f"raise_on must be None, 'bug' or 'look again'; got {raise_on!r}")
    if not h > 0:
        raise ValueError(f"h must be above 0; got {h!r}")
    rng = np.random.default_rng(random_state)
    with repeating(model, loss) as repeat:
        problem = Problem(model, loss, X, y, h, repeat)
        rows = [problem.check(i, _sample(array.size, n_elements, rng)) for i, array in enumerate(problem.arrays)]
    check = GradientCheck(rows)
    if raise_on is not None and VERDICTS.index(check.verdict) <= VERDICTS.index(raise_on):
        raise AssertionError(f"gradients differ from central differences\n{check}")
    return check


def _float64_parameters(model):
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():
        if parameter.data.dtype != np.float64:
            raise TypeError(f"parameter '{name}' must be float64 for central differences; got {parameter.data.dtype.name}")
        if not parameter.data.flags.writeable:
            raise ValueError(f"parameter '{name}' must be writeable for central differences; got a read-only array")
    return parameters


def _sample(size, n_elements, rng):
    """The positions of all elements of an array, or of some drawn at random."""
    if n_elements is None or n_elements >= size:
        return np.arange(size)
    return np.sort(rng.choice(size, n_elements, replace=False))
