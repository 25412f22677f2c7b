"""Sequential, and what saves memory in it: Checkpoint."""

from .errors import LayerError
from .linear import Linear
from .module import Module, checked_modules


class Sequential(Module):
    """Layers one after the other.

    Parameters
    ----------
    *layers : Module
    checkpoint_every : int or None
        Keep only the input of every so many layers, and compute the others again in the backward; see `Checkpoint`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> model = nn.Sequential(nn.Linear(4, 8, activation="relu", random_state=0), nn.Linear(8, 3, random_state=1))
    >>> model
    Sequential(  # 67 parameters
      (0): Linear(4, 8, activation='relu')  # 40 parameters: weight (4, 8), bias (8,)
      (1): Linear(8, 3)  # 27 parameters: weight (8, 3), bias (3,)
    )
    >>> model(np.zeros((5, 4))).shape
    (5, 3)
    """

    def __init__(self, *layers, checkpoint_every=None):
        self.layers = checked_modules(layers)
        self.checkpoint_every = checkpoint_every
        self._stages = self.layers
        if checkpoint_every is not None:
            starts = range(0, len(layers), checkpoint_every)
            self._stages = [Checkpoint(Sequential(*layers[start : start + checkpoint_every])) for start in starts]

    def arguments(self):
        return {"layers": self.layers, "checkpoint_every": self.checkpoint_every}

    @classmethod
    def from_arguments(cls, layers, checkpoint_every):
        return cls(*layers, checkpoint_every=checkpoint_every)

    def __len__(self):
        return len(self.layers)

    def __iter__(self):
        return iter(self.layers)

    def __getitem__(self, index):
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]

    def modules(self):
        hidden = [stage for stage in self._stages if stage not in self.layers]
        return super().modules() + [module for stage in hidden for module in (stage, stage.block)]

    def forward(self, x):
        try:
            for stage in self._stages:
                x = stage.forward(x)
        except LayerError as error:
            raise error.located_in(self) from None
        return x

    def backward(self, dout, accumulate=False, need_dx=True):
        """As in `Module`; ``need_dx=False`` saves the gradient by the input where nobody asks for it, and returns None."""
        try:
            for stage in self._stages[:0:-1]:
                dout = stage.backward(dout, accumulate)
            for stage in self._stages[:1]:
                options = {} if need_dx or not isinstance(stage, (Linear, Sequential)) else {"need_dx": False}
                dout = stage.backward(dout, accumulate, **options)
        except LayerError as error:
            raise error.located_in(self) from None
        return dout if need_dx else None


class Checkpoint(Module):
    """A block whose intermediate values are not kept but computed again in the backward.

    A forward keeps only the input; a backward runs the block forward once more, with the same random numbers, and then backward.
    L equal layers in blocks of sqrt(L) keep about 2 sqrt(L) outputs instead of L, for one more forward.

    Parameters
    ----------
    block : Module

    References
    ----------
    Chen, Xu, Zhang, Guestrin, *Training deep nets with sublinear memory cost* (2016).
    """

    def __init__(self, block):
        (self.block,) = checked_modules([block])

    def forward(self, x):
        out = self.block.forward(x)
        self.block.forget()
        self._saved = x if self.training else None
        return out

    def backward(self, dout, accumulate=False):
        if self._saved is None:
            raise self.no_forward()
        modules = self.block.modules()
        for module in modules:
            module.recomputing = True
        try:
            self.block.forward(self._saved)
        finally:
            for module in modules:
                module.recomputing = False
        dx = self.block.backward(dout, accumulate)
        self.block.forget()
        return dx
