"""Whether a gradient that differs from central differences does so because of a kink, such as that of ReLU at 0.

At a kink no derivative exists, and a backward may give that of either side or one between them. A central difference gives the
mean of both sides, so the two differ although nothing is wrong. Zero biases and a row of zeros are enough for that.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import numpy as np

from .. import nn
from .observation import observed

# By how much pre-activations are moved off a kink, and the step of the differences there, relative to the step h of the check. The
# first is small enough that curvature changes the gradient by less than a kink. The second is small enough that a step does not
# lead back to the kink, and large enough to bound the rounding errors of the quotients.
NUDGE, STEP = 1.0, 0.005
# How close a gradient must be to that of one side, and how far it may lie outside the range found around it, relative to the jump.
ONE_SIDE, OUTSIDE = 1e-3, 0.1
# The smallest jump of the slope of an output that is a kink, relative to the largest slope; and the least value of this slope.
JUMP, LEAST_SLOPE = 1e-3, 0.1
MAX_PLACES = 5  # rows that are printed


class Kink(NamedTuple):
    """Outputs of a layer, or of the model for the loss, at which a kink is nearer than the step of the differences.

    Parameters
    ----------
    layer : str
        The layer's name in the model; empty for the model itself and for the loss.
    part : str
        The class of the layer or loss.
    positions : tuple of tuple of int
        Where: (row, unit) in an output of shape (n, n_units), () in one that is a number.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> from fastprop.inspection import check_gradients
    >>> check = check_gradients(nn.Sequential(nn.ReLU()), nn.MSELoss(), np.array([[0.0, 1.0]]), np.ones((1, 2)))
    >>> check.verdict, check.kinks[0].positions
    ('kink', ((0, 0),))
    """

    layer: str
    part: str
    positions: tuple[tuple[int, ...], ...]

    def __str__(self) -> str:
        by_row, places = {}, []
        for *row, unit in filter(None, self.positions):
            by_row.setdefault(tuple(row), []).append(str(unit))
        for row, units in by_row.items():
            where = f" in row {', '.join(map(str, row))}" if row else ""
            places.append(f"unit{'s' * (len(units) > 1)} {', '.join(units)}{where}")
        text = "; ".join(places[:MAX_PLACES]) + (
            f"; and in {len(places) - MAX_PLACES} more rows" if len(places) > MAX_PLACES else ""
        )
        where = f"{f'layer {self.layer!r}, ' if self.layer else ''}{self.part}"
        return f"{where}: {text}" if text else where


@contextmanager
def nudged(model, size):
    """Move every pre-activation by about ``size``: in a `Linear` layer by its bias, in other leaf modules by their input.

    Each layer has a size of its own, up to twice as much, so that the movements of two layers do not cancel.
    """
    leaves = [module for module in model.modules() if _is_leaf(module)]
    with ExitStack() as restore:
        for i, layer in enumerate(leaves):
            restore.enter_context(_moved(layer, size * (1 + 0.618 * i % 1)))
        yield


def _is_leaf(module):
    return not any(module.named_children())


def _moved(layer, size):
    return (_move_bias if isinstance(layer, nn.Linear) else _move_inputs)(layer, size)


@contextmanager
def _move_bias(layer, size):
    before = layer._zeros if layer.bias is None else layer.bias.data.copy()
    if layer.bias is None:
        layer._zeros = before + size
    else:
        layer.bias.data += size
    try:
        yield
    finally:
        if layer.bias is None:
            layer._zeros = before
        else:
            layer.bias.data = before


@contextmanager
def _move_inputs(layer, size):
    before, forward = vars(layer).get("forward"), layer.forward
    layer.forward = lambda *inputs: forward(*(x + size for x in inputs))
    try:
        yield
    finally:
        del layer.forward
        if before is not None:
            layer.forward = before


def explained(problem, i, positions, analytic, numerical, sides, tolerance):
    """Whether every difference between two gradients is due to a kink.

    Parameters
    ----------
    problem : gradients.Problem
    i : int
        The index of the array that the gradients are with respect to.
    positions, analytic, numerical : ndarray, shape (n,)
        Positions of elements, and the derivatives with respect to them from the backward and from central differences.
    sides : ndarray, shape (2, n)
        One-sided differences for these elements.
    tolerance : float
        Derivatives that differ by at most this are the same.
    """
    wrong = np.flatnonzero(~(np.abs(analytic - numerical) <= tolerance))
    rounding = problem.rounding / (STEP * problem.h)
    return bool(len(wrong)) and all(
        # A smaller difference could as well be a bug where gradients are tiny.
        abs(analytic[k] - numerical[k]) > rounding
        and _is_kink(problem, i, positions[k], analytic[k], sides[:, k], max(tolerance, rounding))
        for k in wrong
    )


def _is_kink(problem, i, position, analytic, sides, tolerance):
    """Whether the backward is right next to the point, and at the point gives a value between those around it.

    The one-sided differences alone are not enough: where several units have their kinks at one place, as all have for a row of
    zeros, the loss may have the same derivative on both sides, and the backward correctly gives another one.
    """
    found, step = list(sides), STEP * problem.h
    for nudge in (-NUDGE * problem.h, NUDGE * problem.h):
        beside, its_sides = problem.gradients(nudge)[i].flat[position], problem.differences(i, [position], step, nudge).sides[:, 0]
        if not _is_one_side(beside, its_sides, tolerance):
            return False
        found.extend(its_sides)
    slack = max(tolerance, OUTSIDE * np.ptp(found))
    return bool(min(found) - slack <= analytic <= max(found) + slack)


def _is_one_side(analytic, sides, tolerance):
    """Whether a gradient is the derivative from the left or from the right. A nudge may lead to a kink, or not off one."""
    jump = np.ptp(sides)
    return bool(np.isfinite(jump) and np.abs(sides - analytic).min() <= max(ONE_SIDE * jump, tolerance))


def kinks_at(model, loss, inputs, y, h):
    """A list of `Kink` for a model in `repeating`: of the leaf modules and of the loss."""
    with observed(model, "forward") as calls:
        outputs = np.array(model(*inputs), np.float64)
    kinks = []
    for name, layer, x, out in calls:
        if _is_leaf(layer):
            sides = []
            for size in (-h, h):
                with _moved(layer, size):
                    sides.append(np.asarray(layer.forward(*x)))
            kinks += _kinks(name, layer, np.asarray(out), sides, h)
    value, sides = loss(outputs, y), np.empty((2, *outputs.shape))
    for i, before in enumerate(outputs.flat):
        for side, step in zip(sides, (-h, h), strict=True):
            outputs.flat[i] = before + step
            side.flat[i] = loss(outputs, y)
        outputs.flat[i] = before
    return kinks + _kinks("", loss, value, sides, h)


def _kinks(name, part, here, sides, h):
    """A list with the `Kink` of a module or loss, if it has one: its values here, and with all arguments moved to both sides."""
    left, right = (here - sides[0]) / h, (sides[1] - here) / h
    largest = max(LEAST_SLOPE, np.abs(left).max(initial=0), np.abs(right).max(initial=0))
    positions = np.argwhere(np.abs(right - left) > JUMP * largest)
    return [Kink(name, type(part).__name__, tuple(tuple(map(int, position)) for position in positions))] if len(positions) else []
