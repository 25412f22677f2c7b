"""Gradients of all parameters of a model checked against central differences, with the likely mistake where one is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from ..nn.arguments import check_model_and_loss
from ..nn.evaluation import inputs_of
from ..tables import NamedRows, Table
from .differences import CORRECT, ROUNDINGS, ParameterCheck, Verdict, compare_gradients, differences, float64_copy, scale_of
from .kinks import Kink, explained, kinks_at, nudged
from .mistakes import Mistake, likely_mistakes
from .observation import another_batch, repeating

if TYPE_CHECKING:
    from ..annotations import AnyLoss
    from ..nn import Module

VERDICTS = ("bug", "look again", "kink", "correct")  # worst first


class GradientCheck(NamedRows[ParameterCheck]):
    """The result of `check_gradients`: a row for each parameter. It prints as a table, with remarks on kinks and mistakes.

    Parameters
    ----------
    rows : list of ParameterCheck
        The parameters in the model's order, then the inputs.
    mistakes : sequence of Mistake, default=()
        Likely mistakes where a gradient is not correct. Empty if nothing is wrong, or if no known mistake explains it.
    kinks : sequence of Kink, default=()
        Units that are at a kink, if the verdict of a row is "kink".

    Attributes
    ----------
    verdict : {'correct', 'kink', 'look again', 'bug'}
        The worst verdict of all rows; they are listed from best to worst.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> from fastprop.inspection import check_gradients
    >>> rng = np.random.default_rng(0)
    >>> model = nn.mlp([3, 5, 2], "tanh", random_state=0)
    >>> check = check_gradients(model, nn.SoftmaxCrossEntropy(), rng.normal(size=(6, 3)), rng.integers(0, 2, 6))
    >>> check.verdict, check.mistakes
    ('correct', [])
    """

    _lookup = "checked gradient of"

    def __init__(self, rows: list[ParameterCheck], mistakes: Sequence[Mistake] = (), kinks: Sequence[Kink] = ()) -> None:
        self.rows, self.mistakes, self.kinks = rows, list(mistakes), list(kinks)

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all rows."""
        return min((row.verdict for row in self.rows), key=VERDICTS.index)

    def _table(self) -> Table:
        head = ("parameter", "shape", "|gradient|", "relative error", "max difference", "verdict")
        lines = []
        for row in self.rows:
            numbers = (f"{number:.2e}" for number in (row.norm, row.relative_error, row.max_difference))
            lines.append((row.name, str(row.shape), *numbers, row.verdict))
        remarks = [f"kink: {kink}" for kink in self.kinks] + [f"likely mistake: {mistake}" for mistake in self.mistakes]
        return Table(head, lines, "<<>>><", footer="\n".join([*remarks, f"together: {self.verdict}"]))


class Problem:
    """A model in `repeating`, a loss and data, and the gradients to check: with respect to all parameters, and then to the inputs.

    Before the forward whose gradients are checked, another batch goes through model and loss, so that it shows if a backward uses
    values of an earlier forward. With a ``nudge``, all pre-activations and the outputs are moved by about that much, off the kinks
    of model and loss.

    Attributes
    ----------
    names, arrays : list
        The parameters, then the inputs.
    h : float
        The step of the differences.
    rounding : float
        The largest rounding error of the loss, and so of its differences before they are divided by the step.
    """

    def __init__(self, model, loss, inputs, y, h, repeat):
        parameters = _float64_parameters(model)
        self.h, self.names = h, [*parameters, *input_names(inputs)]
        self.arrays, self._inputs = [*(p.data for p in parameters.values()), *inputs], inputs
        self._model, self._loss, self._y, self._repeat = model, loss, y, repeat
        self._parameters = list(parameters.values())
        *others, other_y = another_batch(*inputs, y)
        loss(model(*others), other_y)
        for parameter in self._parameters:
            parameter.grad = None  # so that gradients of an earlier backward are not mistaken for those of this one
        self._values = {0.0: self.evaluate()}
        self.rounding = ROUNDINGS * np.finfo(np.float64).eps * abs(self._values[0.0])
        self._gradients = {0.0: self._backward()}

    def evaluate(self, nudge=0.0):
        """The loss."""
        outputs = self._model(*self._inputs)
        return float(self._loss(outputs + nudge if nudge else outputs, self._y))

    def _backward(self):
        back = self._model.backward(self._loss.backward())
        self._repeat()
        dinputs, shapes = back if isinstance(back, tuple) else (back,), [x.shape for x in self._inputs]
        if [np.shape(dx) for dx in dinputs] != shapes or any(dx is None for dx in dinputs):
            names, wanted = " and ".join(input_names(shapes)), ", ".join(map(str, shapes))
            got = ", ".join("None" if dx is None else str(np.shape(dx)) for dx in dinputs)
            raise ValueError(f"backward must return the gradient with respect to {names}, of shape {wanted}; got {got}")
        return [np.zeros(p.shape) if p.grad is None else p.grad.copy() for p in self._parameters] + [np.array(dx) for dx in dinputs]

    def gradients(self, nudge=0.0):
        """The gradients of the backward; zeros for a parameter that it did not write. The parameters keep those without a nudge."""
        if nudge not in self._gradients:
            kept = [parameter.grad for parameter in self._parameters]
            try:
                for parameter in self._parameters:
                    parameter.grad = None
                with nudged(self._model, nudge):
                    self._values[nudge] = self.evaluate(nudge)
                    self._gradients[nudge] = self._backward()
            finally:
                for parameter, grad in zip(self._parameters, kept, strict=True):
                    parameter.grad = grad
        return self._gradients[nudge]

    def differences(self, i, positions, step, nudge=0.0):
        """`differences` with respect to some elements of array i, after a call of `gradients` with this nudge."""
        with nudged(self._model, nudge) if nudge else nullcontext():
            return differences(lambda: self.evaluate(nudge), self.arrays[i], positions, step, self._values[nudge])

    def check(self, i, positions):
        """The row of the table for some elements of array i."""
        analytic, resolution = self.gradients()[i].flat[positions], self.rounding / self.h
        numerical, sides = self.differences(i, positions, self.h)
        row = compare_gradients(self.names[i], analytic, numerical, resolution)._replace(shape=self.arrays[i].shape)
        if row.verdict == "correct":
            return row
        # In a gradient that is not correct, at least one element differs by more than this.
        tolerance = max(resolution, CORRECT * scale_of(analytic, numerical) / np.sqrt(len(positions)))
        return row._replace(verdict="kink") if explained(self, i, positions, analytic, numerical, sides, tolerance) else row


def check_gradients(
    model: Module,
    loss: AnyLoss,
    X: ArrayLike,
    y: ArrayLike,
    *,
    h: float = 1e-5,
    n_elements: int | None = None,
    random_state: int | np.random.Generator | None = 0,
    raise_on: Literal["bug", "look again"] | None = None,
) -> GradientCheck:
    """Compare the gradients of a model's parameters, and of its inputs, with central differences of its loss.

    The model runs in training mode; every forward draws the same dropout masks. Afterwards model and loss are as before, except
    that the parameters' ``grad`` is the analytic gradient. It is None for a parameter whose gradient the backward did not write;
    here that counts as zero.

    If a gradient is not correct, the backward of each module and of the loss is checked by itself, and the ``mistakes`` of the
    result name what explains the difference, such as "factor n", "wrong sign", "transposed gradient", "missing batch sum",
    "derivative at the wrong place" or "stale cache"; see `Mistake`.

    At a kink, such as that of ReLU at 0, there is no derivative, and a central difference gives the mean of both sides. Zero biases
    and a row of zeros are enough to be at one. The verdict is "kink" if every difference is due to one: the analytic gradient is
    the derivative from the left or from the right, or lies between the derivatives around the kink; and the backward is right next
    to it, with all pre-activations moved off the kink by about h. Otherwise a wrong gradient at a kink is a bug, as elsewhere. The
    result's ``kinks`` say which layers and units are at one.

    Parameters
    ----------
    model : Module
        Its parameters must be float64: in float32, the differences would be mostly rounding errors.
    loss : Loss
        Any object for which ``loss(model(X), y)`` returns the loss, and then ``loss.backward()`` its gradient.
    X : array-like, shape (n, n_in), or tuple of array-like
        A few rows are enough. A tuple for a model with several inputs.
    y : array-like
        The targets, as the loss takes them.
    h : float, default=1e-5
        The step of the differences, above 0. Each element of a parameter costs two forwards.
    n_elements : int, optional
        Check only this many elements, drawn at random, of each parameter and of X; by default all.
    random_state : int, Generator or None, default=0
        Seed or generator that draws these elements.
    raise_on : {None, 'bug', 'look again'}, default=None
        Raise an AssertionError with the table if the verdict is this or worse. A kink is not an error.

    Returns
    -------
    GradientCheck
        A row for each parameter and one for each input; it prints as a table. A relative error below 1e-5 is "correct", one below
        1e-3 "look again", else it is a "bug", unless it is a "kink". Differences within the rounding of the quotients,
        ``10 eps |loss| / h``, are correct.

    Raises
    ------
    TypeError
        If a parameter is not float64, or if X does not hold real numbers.
    ValueError
        If h is not above 0, if a parameter is read-only, or if the backward does not return the gradient with respect to X.
    AssertionError
        As ``raise_on`` says.

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
    check_model_and_loss(model, loss)
    if raise_on not in (None, *VERDICTS[:2]):
        raise ValueError(f"raise_on must be None, 'bug' or 'look again'; got {raise_on!r}")
    if not h > 0:
        raise ValueError(f"h must be above 0; got {h!r}")
    rng = np.random.default_rng(random_state)
    X = inputs_of(X)
    inputs = [float64_copy(name, x) for name, x in zip(input_names(X), X, strict=True)]
    with repeating(model, loss) as repeat:
        problem = Problem(model, loss, inputs, y, h, repeat)
        rows = [problem.check(i, _sample(array.size, n_elements, rng)) for i, array in enumerate(problem.arrays)]
        found = {row.verdict for row in rows}
        kinks = kinks_at(model, loss, inputs, y, h) if "kink" in found else []
    check = GradientCheck(rows, likely_mistakes(model, loss, inputs, y, h) if found & {"bug", "look again"} else [], kinks)
    if raise_on is not None and VERDICTS.index(check.verdict) <= VERDICTS.index(raise_on):
        raise AssertionError(f"gradients differ from central differences\n{check}")
    return check


def input_names(inputs):
    """The names of the inputs: X, or X[0], X[1] and so on."""
    return ["X"] if len(inputs) == 1 else [f"X[{i}]" for i in range(len(inputs))]


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
