"""Gradients checked against central differences: of any function of an array, and of all parameters of a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .observation import repeating
from .tables import table

if TYPE_CHECKING:
    from ..nn import Loss, Module

Verdict: TypeAlias = Literal["bug", "look again", "correct"]

# Relative error below which a gradient is correct, and from which on it is wrong; in between, look again: a kink of ReLU within h
# of a pre-activation does that, and so does a loss that is large beside its gradient.
CORRECT, WRONG = 1e-5, 1e-3
# Keeps the relative error of two gradients that are zero from being 0 / 0.
TINY = 1e-8
# What the differences cannot tell apart: this many rounding errors of the loss, divided by h. The gradient of a bias in front of a
# batch normalisation is zero; its difference quotients are such errors, and as large as TINY.
ROUNDINGS = 10
VERDICTS = ("bug", "look again", "correct")  # worst first


def numerical_gradient(f: Callable[[NDArray[np.float64]], Any], x: ArrayLike, h: float = 1e-5) -> NDArray[np.float64]:
    """Gradient of a scalar function by central differences: ``(f(x + h e_i) - f(x - h e_i)) / (2 h)`` for every element i.

    The error is of order h^2 times the third derivative, plus rounding of order 1e-16 |f| / h.

    Parameters
    ----------
    f : callable
        Takes a float64 array of the shape of x and returns a number. It must not keep the array: the same one is changed and
        passed again.
    x : array-like of any shape
        Where to differentiate. Never changed.
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

    Examples
    --------
    >>> numerical_gradient(lambda x: (x**2).sum(), [1.0, 2.0]).round(6)
    array([2., 4.])
    """
    point = np.array(x, dtype=np.float64)
    return central_differences(lambda: f(point), point, np.arange(point.size), h).reshape(point.shape)


def central_differences(evaluate, array, positions, h):
    """The derivatives of ``evaluate()`` with respect to some elements of a C-contiguous array, which is changed and restored."""
    if not h > 0:
        raise ValueError(f"h must be above 0; got {h!r}")
    flat = array.reshape(-1)
    derivatives = np.empty(len(positions))
    for k, i in enumerate(positions):
        value = flat[i]
        try:
            flat[i] = value + h
            above = _scalar(evaluate())
            flat[i] = value - h
            below = _scalar(evaluate())
        finally:
            flat[i] = value
        derivatives[k] = (above - below) / (2 * h)
    return derivatives


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


class GradientCheck:
    """What `check_gradients` found: a row for each parameter; printed, a table.

    Parameters
    ----------
    rows : list of ParameterCheck
        Of the parameters in the model's order, then of the input.

    Attributes
    ----------
    verdict : {'correct', 'look again', 'bug'}
        The worst of all rows.
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

    def __repr__(self) -> str:
        head = ("parameter", "shape", "|gradient|", "relative error", "max difference", "verdict")
        lines = []
        for row in self.rows:
            numbers = (f"{number:.2e}" for number in (row.norm, row.relative_error, row.max_difference))
            lines.append((row.name, str(row.shape), *numbers, row.verdict))
        return f"{table(head, lines, '<<>>><')}\ntogether: {self.verdict}"


def compare_gradients(name, analytic, numerical, resolution=0.0):
    """The row of the table for two gradients of the same shape; differences up to the resolution say nothing against them."""
    norm = float(np.linalg.norm(analytic))
    with np.errstate(invalid="ignore"):  # infinite gradients give NaN, which says enough
        difference = np.abs(analytic - numerical)
        error = float(np.linalg.norm(difference) / (norm + np.linalg.norm(numerical) + TINY))
    largest = float(difference.max(initial=0.0))
    # A NaN fails all comparisons and is a bug.
    verdict = "correct" if error < CORRECT or largest <= resolution < np.inf else "look again" if error < WRONG else "bug"
    return ParameterCheck(name, analytic.shape, norm, error, largest, verdict)


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

    The model runs in training mode; every forward draws the same dropout masks, and running statistics do not change. Afterwards
    parameters and modes are what they were, and the parameters' ``grad`` is the analytic gradient: None, and here zero, for what
    the backward forgot.

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
        The step of the differences. Each element of a parameter costs two forwards.
    n_elements : int, optional
        Check only this many elements, drawn at random, of each parameter and of X; by default all.
    random_state : int, Generator or None, default=0
        For the draw.
    raise_on : {None, 'bug', 'look again'}, default=None
        Raise an AssertionError with the table if the verdict is this or worse.

    Returns
    -------
    GradientCheck
        A row for each parameter and one for the input; printed, a table. A relative error below 1e-5 is "correct", one below 1e-3
        "look again", else it is a "bug". Differences within the rounding of the quotients, 10 eps |loss| / h, are correct.

    Raises
    ------
    TypeError
        A parameter is not float64.
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
    X = np.array(X, dtype=np.float64)
    parameters = _float64_parameters(model)
    rng = np.random.default_rng(random_state)
    rows = []
    with repeating(model) as repeat:

        def evaluate():
            return loss(model(X), y)

        for _, parameter in parameters:
            parameter.grad = None  # what an earlier backward left must not pass for what this one leaves
        resolution = ROUNDINGS * np.finfo(np.float64).eps * abs(evaluate()) / h
        dx = model.backward(loss.backward())
        repeat()
        checked = [(name, p.data, np.zeros(p.shape) if p.grad is None else p.grad.copy()) for name, p in parameters]
        for name, array, analytic in [*checked, ("X", X, dx)]:
            numerical, positions = _sampled_differences(evaluate, array, n_elements, rng, h)
            row = compare_gradients(name, analytic.reshape(-1)[positions], numerical, resolution)
            rows.append(row._replace(shape=array.shape))
    check = GradientCheck(rows)
    if raise_on is not None and VERDICTS.index(check.verdict) <= VERDICTS.index(raise_on):
        raise AssertionError(f"gradients differ from central differences\n{check}")
    return check


def _float64_parameters(model):
    parameters = list(model.named_parameters())
    for name, parameter in parameters:
        if parameter.data.dtype != np.float64:
            raise TypeError(f"parameter '{name}' must be float64 for central differences; got {parameter.data.dtype.name}")
    return parameters


def _sampled_differences(evaluate, array, n_elements, rng, h):
    """(derivatives, positions) of all elements of an array, or of some drawn at random."""
    positions = np.arange(array.size)
    if n_elements is not None and n_elements < array.size:
        positions = np.sort(rng.choice(array.size, n_elements, replace=False))
    return central_differences(evaluate, array, positions, h), positions
