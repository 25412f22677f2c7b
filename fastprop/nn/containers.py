"""Sequential, and what saves memory in it: Checkpoint."""

from itertools import pairwise

import numpy as np

from . import fitting
from .errors import LayerError
from .init import generator
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

    def fit(
        self,
        X,
        y,
        loss,
        optimizer,
        epochs=10,
        batch_size=32,
        *,
        validation_data=None,
        shuffle=True,
        random_state=None,
        callback=None,
        progress=False,
        compiled=None,
        n_jobs=None,
    ):
        """Train in mini-batches, in training mode; afterwards the modes are as before.

        A plain stack runs each epoch in one compiled call, as the estimators do: `Linear` layers with biases, each with its
        activation fused or as a layer `ReLU`, `Sigmoid`, `Tanh` or `Identity` behind it, and then a `Dropout` if any, the last
        without both; with `SoftmaxCrossEntropy`, `BinaryCrossEntropy`, `MSELoss` or `PoissonLoss`; and with `SGD` or with `Adam`
        (``eps_hat=True``), both without weight decay. Everything else runs layer by layer. The numbers are the same up to rounding.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix, shape (n, n_in)
        y : array-like
            As the loss takes it.
        loss : Loss
        optimizer : Optimizer
            Made from ``model.parameters()``; a later fit goes on with its state.
        epochs, batch_size : int
            The last batch of an epoch may be shorter.
        validation_data : (X, y), optional
            The loss on them is computed after each epoch, in evaluation mode.
        shuffle : bool
            Draw a new order of the rows for each epoch.
        random_state : int, Generator, RandomState or None
            For the orders.
        callback : function of (epoch, history), optional
            Called after each epoch, counted from 0; may look at the model and change the optimizer's lr, and stops the training by
            returning True.
        progress : bool
            Show a bar on stderr.
        compiled : bool, optional
            True: raise an error that gives the reason if epochs cannot be compiled. False: layer by layer in any case.
        n_jobs : int, optional
            Threads. None: as many as the work justifies; -1: all cores; never more than a limit of threadpoolctl.

        Returns
        -------
        dict
            'loss': of each epoch the mean over its batches, each before its update; with validation_data also 'val_loss'. After
            Ctrl-C, which ends the training with a warning, it holds the epochs that were finished.

        Raises
        ------
        ValueError
            If shapes or values do not fit; it names the layer. If the optimizer has none of the model's parameters.
        """
        return fitting.fit(
            self,
            X,
            y,
            loss,
            optimizer,
            epochs=epochs,
            batch_size=batch_size,
            validation_data=validation_data,
            shuffle=shuffle,
            random_state=random_state,
            callback=callback,
            progress=progress,
            compiled=compiled,
            n_jobs=n_jobs,
        )


def mlp(sizes, activation="relu", *, init="he_normal", random_state=None, dtype=np.float64):
    """A `Sequential` of Linear layers: the activation after each but the last.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of units from the inputs to the outputs.
    activation : {'identity', 'relu', 'sigmoid', 'tanh'} or Activation
    init, random_state, dtype
        As in `Linear`; a number seeds one generator for all layers.

    Examples
    --------
    >>> from fastprop import nn
    >>> nn.mlp([784, 128, 10], random_state=0).n_parameters
    101770
    """
    shapes, random_state = list(pairwise(sizes)), generator(random_state)
    if not shapes:
        raise ValueError(f"sizes must hold at least two numbers; got {list(sizes)}")
    options = {"init": init, "random_state": random_state, "dtype": dtype}
    own = isinstance(activation, Module)
    layers = []
    for shape in shapes[:-1]:
        layers.append(Linear(*shape, activation="identity" if own else activation, **options))
        if own:
            layers.append(activation.copied())
    return Sequential(*layers, Linear(*shapes[-1], **options))


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
