"""Errors inside a model. Their messages give the name that the layer has in the model."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .module import Module


def title(part: object) -> str:
    """A module or loss in one line: its repr, or its class name if the repr has several lines."""
    text = repr(part)
    return type(part).__name__ if "\n" in text else text


def located(name: str | None, part: object) -> str:
    """A module or loss with its name in the model, if it has one there."""
    return f"layer '{name}', {title(part)}" if name else title(part)


class LayerError(Exception):
    """An error in one layer. The model that was called adds the layer's name, so that the message says where the error is.

    Parameters
    ----------
    layer : Module, Loss or other object
        Where the error happened.
    message : str
        What is wrong.
    name : str, optional
        The layer's name in the model, such as '2.block'.

    Examples
    --------
    >>> from fastprop import nn
    >>> try:
    ...     nn.Linear(3, 2, random_state=0)([[1.0, 2.0]])
    ... except nn.LayerError as error:
    ...     print(type(error).__name__)
    ShapeError
    """

    def __init__(self, layer: object, message: str, name: str | None = None) -> None:
        super().__init__(layer, message, name)
        self.layer, self.message, self.name = layer, message, name

    def located_in(self, root: Module) -> LayerError:
        """Return the same error with the name of the layer in a model.

        Parameters
        ----------
        root : Module
            The model.

        Returns
        -------
        LayerError
            A new error of the same class; this error itself if the layer is not in the model.
        """
        names = [name for name, module in root.named_modules() if module is self.layer and name]
        return type(self)(self.layer, self.message, names[0]) if names else self

    def __str__(self) -> str:
        return f"{located(self.name, self.layer)}: {self.message}"


class ShapeError(LayerError, ValueError):
    """An array does not have the shape, or the values, that a layer or loss expects.

    Parameters
    ----------
    layer : Module, Loss or other object
        Where the error happened.
    message : str
        What is wrong.
    name : str, optional
        The layer's name in the model, such as '2.block'.

    Examples
    --------
    >>> from fastprop import nn
    >>> try:
    ...     nn.Linear(3, 2, random_state=0)([[1.0, 2.0]])
    ... except nn.ShapeError as error:
    ...     print(error)
    Linear(3, 2): x must have shape (n, 3); got (1, 2)
    """


class NotPlain(ValueError):
    """Why whole epochs of a model cannot run in one compiled call."""


class NoForwardError(LayerError, RuntimeError):
    """`backward` was called without a forward in training mode before it, or a result was read before it was computed.

    Parameters
    ----------
    layer : Module, Loss or other object
        Where the error happened.
    message : str
        What is wrong.
    name : str, optional
        The layer's name in the model, such as '2.block'.

    Examples
    --------
    >>> from fastprop import nn
    >>> try:
    ...     nn.ReLU().backward([1.0])
    ... except nn.NoForwardError as error:
    ...     print(error)
    ReLU(): backward needs a forward in training mode before it
    """


# Functions of NumPy and SciPy that are layers here.
FUNCTION_LAYERS = {"tanh": "Tanh", "expit": "Sigmoid", "positive": "Identity"}


def described(value: Any, maker: str = "Activation") -> str:
    """Describe an argument of the wrong kind for an error message, with what to write instead where that is known.

    Parameters
    ----------
    value : object
        The argument.
    maker : str
        The class in `fastprop.nn` that makes a valid argument from a function of the user's.

    Returns
    -------
    str
        The text that follows "got".
    """
    name = getattr(value, "__name__", None)
    if isinstance(value, type):
        if not value.__module__.startswith(("fastprop.nn", "fastprop.optim")):
            return f"the class {name}, not an instance of it"
        parameters = inspect.signature(value).parameters.values()
        needed = [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
        arguments = {(): "", ("params",): "model.parameters()"}.get(tuple(needed), "...")
        return f"the class {name}, not an instance of it: write nn.{name}({arguments})"
    if isinstance(value, np.ufunc) and maker == "Activation" and name in FUNCTION_LAYERS:
        return f"function {name}: write nn.{FUNCTION_LAYERS[name]}()"
    if isinstance(value, np.ufunc) or inspect.isroutine(value):
        return f"function {name}: write nn.{maker}({name}, derivative)"
    if isinstance(value, str):
        return f"the string {value!r}"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of length {len(value)}"
    return title(value)
