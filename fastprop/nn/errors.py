"""What goes wrong inside a model, said with the name that the layer has in it."""


class LayerError(Exception):
    """An error in one layer. What the user called looks up the layer's name, so that the message says where it is."""

    def __init__(self, layer, message, name=None):
        super().__init__(layer, message, name)
        self.layer, self.message, self.name = layer, message, name

    def located_in(self, root):
        """The same error with the name of the layer in ``root``; it stays as it is where the layer is not in it."""
        names = [name for name, module in root.named_modules() if module is self.layer and name]
        return type(self)(self.layer, self.message, names[0]) if names else self

    def __str__(self):
        text = repr(self.layer)
        what = type(self.layer).__name__ if "\n" in text else text
        return f"layer '{self.name}', {what}: {self.message}" if self.name else f"{what}: {self.message}"


class ShapeError(LayerError, ValueError):
    """An array does not have the shape, or the values, that a layer or loss expects."""


class NoForwardError(LayerError, RuntimeError):
    """`backward` was called where no forward in training mode left anything to go back from."""
