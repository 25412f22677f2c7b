"""Which mistake in a backward explains a wrong gradient: a list of hypotheses, each a function with its sentence.

A hypothesis takes an `Isolated` and yields (gradient, name of the mistake, sentence) for each gradient that it explains; the
sentence begins with "The gradient of ...". Where several mistakes would give the same numbers, all their names are given.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

import numpy as np

from .affine_chain import chains_of
from .isolated import Isolated
from .observation import observed, repeating


class Mistake(NamedTuple):
    """What is likely to be wrong in the backward of a module or loss.

    The names: "factor n" (a factor n or 1/n too much or too little, where n counts what a mean is over), "constant factor", "wrong
    sign", "transposed gradient", "missing batch sum" (one row's gradient, the mean, or a sum over another axis, in place of the sum
    over the rows), "derivative at the wrong place" (f' at the output a or at the layer's input in place of z), "missing
    derivative", "missing gradient" (zero everywhere), and "stale cache" (the gradient of an earlier forward).

    Parameters
    ----------
    name : str
        Name of the mistake. If several mistakes would give the same numbers, all names, joined by " or ".
    layer : str
        The module's name in the model; empty for the model itself and for the loss.
    part : str
        The class of the module or loss.
    gradients : tuple of str
        Which of its gradients are wrong: names of parameters, 'x' for the gradient with respect to the input, and 'outputs' for
        that of a loss.
    explanation : str
        What was found, as a phrase.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> from fastprop.inspection import check_gradients
    >>> class WrongSign(nn.MSELoss):
    ...     def backward(self):
    ...         return -super().backward()
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(6, 3)), rng.normal(size=(6, 1))
    >>> check = check_gradients(nn.Linear(3, 1, random_state=0), WrongSign(), X, y)
    >>> check.mistakes[0].name, check.mistakes[0].part
    ('wrong sign', 'WrongSign')
    """

    name: str
    layer: str
    part: str
    gradients: tuple[str, ...]
    explanation: str

    def __str__(self) -> str:
        where = f"layer '{self.layer}', {self.part}" if self.layer else self.part
        *others, last = self.gradients
        names = f"{', '.join(others)} and {last}" if others else last
        return f"{where}: {self.name}. The gradient of {names} {self.explanation}"


def likely_mistakes(model, loss, inputs, y, h):
    """A list of `Mistake`, at most one for each gradient of the loss and of the innermost modules whose backward is wrong."""
    parameters = model.parameters()
    kept, mistakes = [parameter.grad for parameter in parameters], []
    try:
        for isolated in _suspects(model, loss, inputs, y, h):
            mistakes += _explained(isolated)
    finally:
        for parameter, grad in zip(parameters, kept, strict=True):
            parameter.grad = grad
    return mistakes


def _suspects(model, loss, inputs, y, h):
    """The loss, and the innermost modules, whose backward is wrong by itself."""
    with repeating(model, loss), observed(model, "forward") as calls:
        outputs = model(*inputs)
        loss(outputs, y)
    found = [Isolated("", loss, [outputs], y, h)]
    names = {module: name for name, module in model.named_modules()}
    last = {call.module: call for call in calls if len(call.inputs)}  # a module may be called more than once
    wrong = set()
    # modules() lists a module before those inside it; reversed, the inner ones come first.
    for module in reversed(model.modules()):
        if module in last and not wrong.intersection(module.modules()):
            with suppress(Exception):  # a user's module may fail for values that it never gets in the model
                isolated = Isolated(names[module], module, last[module].inputs, h=h)
                if isolated.wrong:
                    wrong.add(module)
                    found.append(isolated)
    return [isolated for isolated in found if isolated.wrong]


def _explained(isolated):
    """The mistakes of one module or loss: one that explains all wrong gradients is more likely than several that do."""
    sentences = {}  # name of the gradient -> name of the mistake -> sentence
    for hypotheses in HYPOTHESES:
        explained = set(sentences)
        for gradient, name, sentence in (found for hypothesis in hypotheses for found in hypothesis(isolated)):
            if gradient.name not in explained:
                sentences.setdefault(gradient.name, {}).setdefault(name, sentence)
    explains_all = set.intersection(*map(set, sentences.values())) if len(sentences) == len(isolated.wrong) else set()
    groups = {}
    for gradient, fitting in sentences.items():
        likely = tuple((name, fitting[name]) for name in fitting if name in explains_all or not explains_all)
        groups.setdefault(likely, []).append(gradient)
    where = isolated.name, type(isolated.part).__name__
    mistakes = []
    for fitting, gradients in groups.items():
        names, found = zip(*fitting, strict=True)
        mistakes.append(Mistake(" or ".join(names), *where, tuple(gradients), "; or it ".join(found)))
    return mistakes


def stale_cache(isolated):
    """The gradient of an earlier forward: it is right if the same batch came before, or if a stored attribute is removed."""
    if isolated.is_right(before=isolated.batch):
        sentence = "depends on the batch before: it is right only if that was the same one"
    elif name := _stale_attribute(isolated):
        sentence = f"is that of an earlier forward, from which {name!r} is kept"
    else:
        return
    for gradient in isolated.wrong:
        yield gradient, "stale cache", sentence


def _stale_attribute(isolated):
    """The name of an attribute that holds arrays of an earlier forward, if without these the gradients are right."""
    for name, value in vars(isolated.part).items():
        within = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else [value]
        if any(isinstance(each, np.ndarray) for each in within):
            for fresh in (None, type(value)() if isinstance(value, (dict, list)) else None, *isolated.inputs, isolated.output):
                # A user's backward may do anything with a value that it does not expect.
                with suppress(Exception):
                    if isolated.is_right(changed={name: fresh}):
                        return name
    return None


def known_factor(isolated):
    """The right gradient times or divided by a known count or 2, or with the wrong sign."""
    wrong = {gradient.name for gradient in isolated.wrong}
    is_other_right = any(gradient.is_parameter and gradient.name not in wrong for gradient in isolated.gradients)
    counts = {"n": isolated.n}
    if not isolated.is_module:
        size = isolated.inputs[0].size
        counts |= {"size": size, "n_out": size // isolated.n}
    for gradient in isolated.wrong:
        factor = gradient.factor
        if factor is None:
            continue
        sign = ", and has the wrong sign" if factor < 0 else ""
        large, factor = abs(factor) > 1, max(abs(factor), 1 / abs(factor))
        if _equal(factor, 1):
            yield gradient, "wrong sign", "has the wrong sign"
        fitting = [f"{name} = {count}" for name, count in counts.items() if count > 1 and _equal(factor, count)]
        if fitting and not large and gradient.is_vector and is_other_right:
            yield gradient, "missing batch sum", f"is the mean over the n = {isolated.n} rows, and not their sum{sign}"
        elif fitting or _equal(factor, 2):
            name = "factor n" if fitting and not fitting[0].startswith("n_out") else "constant factor"
            number = " or ".join(fitting) if fitting else "2"
            yield gradient, name, f"is {number} times too {'large' if large else 'small'}{sign}"


def missing_gradient(isolated):
    """Zeros."""
    for gradient in isolated.wrong:
        if not gradient.analytic.any():
            yield gradient, "missing gradient", "is zero everywhere: the backward does not write it"


def any_factor(isolated):
    """The same number times the right gradient everywhere."""
    for gradient in isolated.wrong:
        if gradient.factor is not None and gradient.analytic.size > 2:  # few numbers may have a common factor by accident
            yield gradient, "constant factor", f"is everywhere {gradient.factor:.6g} times what it should be"


def _equal(factor, number):
    return number > 0 and abs(factor / number - 1) < 1e-5


def wrong_sum(isolated):
    """A gradient that has something else in place of the sum over the rows."""
    n = isolated.n
    for gradient in isolated.wrong:
        if n > 1 and len(gradient.rows) == n:
            k = next((k for k, row in enumerate(gradient.rows) if gradient.is_like(row)), None)
            if k is not None:
                yield gradient, "missing batch sum", f"is that of row {k} alone, and not the sum over the {n} rows"
        if gradient.is_vector and gradient.is_whole and gradient.analytic.size > 1:
            total = np.full_like(gradient.numerical, gradient.numerical.sum())
            if any(gradient.is_like(total / divisor) for divisor in (1, n, n * total.size)):
                yield gradient, "missing batch sum", "is over rows and units, and not the sum over the rows alone (axis=0)"
            if gradient.rows.shape == (n, n) and gradient.is_like(gradient.rows.sum(axis=1)):
                yield gradient, "missing batch sum", "is the sum over the units, and not over the rows (axis=0)"


def transposed(isolated):
    """The transpose of the right gradient."""
    for gradient in isolated.wrong:
        shape = gradient.analytic.shape
        if len(shape) == 2 and gradient.is_right(gradient.analytic.reshape(shape[::-1]).T):
            yield gradient, "transposed gradient", "is transposed"


def wrong_backward(isolated):
    """The gradients of a chain of affine layers with activations, computed with one mistake in its backward."""
    with repeating(isolated.part):
        for chain in chains_of(isolated):
            for name, sentence, gradients in chain.backwards(isolated.dout):
                if all(gradient.is_like(gradients[gradient.name].flat[gradient.positions]) for gradient in isolated.gradients):
                    yield from ((gradient, name, sentence) for gradient in isolated.wrong)


# Groups: later ones are tried for the gradients that earlier ones do not explain.
HYPOTHESES = (stale_cache,), (missing_gradient, known_factor, wrong_sum, transposed, wrong_backward), (any_factor,)
