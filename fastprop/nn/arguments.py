"""Checks of arguments that may have the wrong form; where the meaning is not clear, the error says what to write instead.

Examples are a class instead of an instance, a string instead of an object, a NumPy function instead of an activation, and arguments
in the wrong order. The checks run before anything is computed.
"""

from __future__ import annotations

import inspect
from typing import Any

from .. import optim
from ..annotations import ActivationName
from ..kernels.spec import ACTIVATIONS, LOSSES
from ..optim import Optimizer
from ..training_set import is_sparse
from .activations import ACTIVATION_LAYERS
from .errors import described
from .evaluation import as_array
from .graph import Graph
from .losses import Loss
from .module import Module

# Class names of the losses by their names in the specification, and of the optimizers by their names in lower case
LOSS_NAMES = {name: cls.__name__ for cls in Loss.__subclasses__() for name, entry in LOSSES.items() if cls.kernel is entry}
OPTIMIZER_NAMES = {cls.__name__.lower(): cls.__name__ for cls in vars(optim).values() if isinstance(cls, type)}
# Names that other packages use for some losses and activations
LOSS_NAMES |= {"mse": "MSELoss", "mean_squared_error": "MSELoss", "mae": "L1Loss", "l1": "L1Loss"}
LOSS_NAMES |= dict.fromkeys(("bce", "binary_crossentropy"), "BinaryCrossEntropy")
LOSS_NAMES |= dict.fromkeys(
    ("cross_entropy", "categorical_crossentropy", "sparse_categorical_crossentropy", "log_loss"), "SoftmaxCrossEntropy"
)
FUNCTION_NAMES = {"expit": "sigmoid", "logistic": "sigmoid", "positive": "identity", "linear": "identity", "swish": "silu"}


def check_model(model: Any) -> None:
    """Raise an error unless it is a module whose backward can be called."""
    if not isinstance(model, Module):
        raise TypeError(f"model must be a Module; got {described(model)}")
    for name, module in _called_backward(model):
        where = f"layer '{name}', {type(module).__name__}" if name else type(module).__name__
        if type(module).backward is Module.backward and "backward" not in vars(module):
            raise TypeError(
                f"{where}: has no backward; define backward(self, dout, accumulate=False), "
                "which returns the gradient with respect to the input of forward"
            )
        arguments = (None, False) if name else (None,)  # as containers call a layer's backward, and `fit` the model's
        try:
            inspect.signature(module.backward).bind(*arguments)
        except TypeError:
            got = f"backward{inspect.signature(module.backward)}"
            raise TypeError(f"{where}: backward must be backward(self, dout, accumulate=False); got {got}") from None


def _called_backward(model, prefix=""):
    """(name, module) of the model and of each module in it whose backward fastprop calls; a user's module calls its children's."""
    yield prefix, model
    if type(model).__module__.startswith("fastprop."):
        for name, child in model.named_children():
            yield from _called_backward(child, f"{prefix}.{name}" if prefix else name)


def check_loss(loss: Any) -> None:
    """Raise an error unless it is a loss: a callable with a backward."""
    if isinstance(loss, str):
        known = LOSS_NAMES.get(loss.lower().removesuffix("loss").rstrip("_"), loss if loss in LOSS_NAMES.values() else "MSELoss")
        raise TypeError(f"loss must be a loss, such as nn.{known}(); got {described(loss)}")
    if isinstance(loss, (type, Module, Optimizer)) or not callable(loss) or not hasattr(loss, "backward"):
        raise TypeError(f"loss must be a loss, such as nn.MSELoss(); got {described(loss, 'ElementwiseLoss')}")


def check_optimizer(optimizer: Any) -> None:
    """Raise an error unless it is an optimizer."""
    if not isinstance(optimizer, Optimizer):
        known = OPTIMIZER_NAMES.get(optimizer.lower(), "Adam") if isinstance(optimizer, str) else "Adam"
        expected = f"an optimizer of fastprop.nn, such as nn.{known}(model.parameters())"
        raise TypeError(f"optimizer must be {expected}; got {described(optimizer)}")


def check_model_and_loss(model: Any, loss: Any) -> None:
    """Raise an error unless these are a model and a loss, the first two arguments of a gradient check or of a trace."""
    if isinstance(loss, Module):
        if isinstance(model, Loss):
            raise TypeError(f"model and loss are swapped; write the model first, then the loss; got {described(model)} as model")
        if not isinstance(model, Module):
            raise TypeError(
                f"the order of the arguments is model, loss, X, y; got {described(model)} as model, and a Module as loss"
            )
    check_model(model)
    check_loss(loss)


def check_fit(model: Any, loss: Any, optimizer: Any, X: Any, y: Any) -> None:
    """Raise an error unless `Module.fit` can start with these arguments, as far as that is clear without computing anything."""
    if isinstance(loss, Optimizer) and not isinstance(optimizer, Optimizer):
        raise TypeError("loss and optimizer are swapped; write fit(X, y, loss, optimizer)")
    if isinstance(X, (Loss, Optimizer, Module)) or isinstance(y, (Loss, Optimizer, Module)):
        raise TypeError(
            f"the order of the arguments is fit(X, y, loss, optimizer); got {described(X)} as X and {described(y)} as y"
        )
    check_loss(loss)
    check_optimizer(optimizer)
    check_model(model)
    check_data(model, X, y)


def check_data(model: Any, X: Any, y: Any) -> None:
    """Raise an error unless X and y are arrays with rows for a model; what is in a tuple or a sparse X is checked later."""
    shapes = [None if isinstance(X, tuple) or is_sparse(X) else as_array("X", X).shape, as_array("y", y).shape]
    for name, given, shape in zip(("X", "y"), (X, y), shapes, strict=True):
        if shape == ():
            raise ValueError(f"{name} must be an array with a row for each sample; got {described(given)}")
    if shapes[0] is not None and len(shapes[0]) == 1 and _takes_rows(model):
        if len(shapes[1]) == 2 and shapes[1][:1] == shapes[0]:
            raise ValueError(f"X and y are swapped, or X has no columns; got shapes {shapes[0]} and {shapes[1]}")
        raise ValueError(f"X must have shape (n, n_in), a row per sample; got {shapes[0]}; for one column write X.reshape(-1, 1)")


def _takes_rows(model):
    """Whether X must be a matrix: a `Graph`, or a module of the user's own, may take one number for each sample."""
    return all(type(module).__module__.startswith("fastprop.") and not isinstance(module, Graph) for module in model.modules())


def activation_name(activation: Any) -> ActivationName:
    """The name of an activation that `Linear` can fuse, from the name itself, or from a layer of `nn` or its class."""
    name = _layer_names().get(activation if isinstance(activation, type) else type(activation))
    if name is not None:
        return name
    if isinstance(activation, str) and activation in ACTIVATIONS:
        return activation
    message = f"activation must be one of {list(ACTIVATIONS)}; put any other activation after this layer, as a separate layer"
    if isinstance(activation, str):
        known = FUNCTION_NAMES.get(activation.lower(), activation.lower())
        hint = f"; write {known!r}" if known in ACTIVATIONS else ""
        raise ValueError(f"{message}; got {activation!r}{hint}")
    if isinstance(activation, Module):
        raise TypeError(f"{message}: write nn.Sequential(nn.Linear(...), activation); got {described(activation)}")
    raise TypeError(f"{message}; got {described(activation)}")


def as_layer(activation: Any) -> Module | None:
    """The layer for an activation that `Linear` cannot fuse, None for one that it can."""
    if not isinstance(activation, Module) or type(activation) in _layer_names():
        return None
    return activation


def _layer_names():
    return {cls: name for name, cls in ACTIVATION_LAYERS.items()}
