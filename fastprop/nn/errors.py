"""What goes wrong inside a model, said with the name that the layer has in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .module import Module


class LayerError(Exception):
    """An error in one layer. What the user called looks up the layer's name, so that the message says where it is.

    Parameters
    ----------
    layer : Module, Loss or other object
        Where it happened.
    message : str
        What is wrong.
    name : str, optional
        The layer's name in the model, such as '2.block'.
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
            Of the same class; this one where the layer is not in the model.
        """
        names = [name for name, module in root.named_modules() if module is self.layer and name]
        return type(self)(self.layer, self.message, names[0]) if names else self

    def __str__(self) -> str:
        text = repr(self.layer)
        what = type(self.layer).__name__ if "\n" in text else text
        return f"layer '{self.name}', {what}: {self.message}" if self.name else f"{what}: {self.message}"


class ShapeError(LayerError, ValueError):
    """An array does not have the shape, or the values, that a layer or loss expects.

    Parameters
    ----------
    layer : Module, Loss or other object
        Where it happened.
    message : str
        What is wrong.
    name : str, optional
        The layer's name in the model, such as '2.block'.
    """


class NotPlain(ValueError):
    """Why whole epochs of a model cannot run in one compiled call."""


class NoForwardError(LayerError, RuntimeError):
    """`backward` was called where no forward in training mode left anything to go back from.

    Parameters
    ----------
    layer : Module, Loss or other object
        Where it happened.
    message : str
        What is wrong.
    name : str, optional
        The layer's name in the model, such as '2.block'.
    """
