"""Which models are a plain stack, for which whole epochs run in one compiled call, and how they get there and back.

`Network.train_epochs` knows Linear layers with an activation and dropout each, a loss on the logits, and gradient descent or Adam.
Its conventions are scikit-learn's; `CompiledEpochs` translates.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from .. import training
from ..kernels.layer_table import with_dropout
from ..network import Network
from .activations import Identity, ReLU, Sigmoid, Tanh
from .dropout import Dropout
from .linear import Linear
from .losses import BinaryCrossEntropy, MSELoss, PoissonLoss, SoftmaxCrossEntropy
from .module import matrix
from .optimizers import SGD, Adam

ACTIVATION_LAYERS = {Identity: "identity", ReLU: "relu", Sigmoid: "sigmoid", Tanh: "tanh"}
# Loss -> (its name in Network, and for n_out outputs what its gradient and its value are there, if they are 1 here).
LOSSES = {
    SoftmaxCrossEntropy: ("softmax_cross_entropy", lambda n_out: (1, 1)),
    BinaryCrossEntropy: ("binary_cross_entropy", lambda n_out: (n_out, n_out)),
    MSELoss: ("squared_error", lambda n_out: (n_out / 2, 0.5)),
    PoissonLoss: ("poisson", lambda n_out: (n_out, n_out)),
}

# Instead of the rate 0, which would erase the velocity: no parameter but an exact 0 is changed by such a step.
NEXT_TO_NOTHING = 1e-30


class NotPlain(ValueError):
    """Why whole epochs of a model cannot run in one compiled call."""


def plain_stack(model):
    """([Linear, ...], [name of the activation], [Dropout or None] behind each but the last) of a Sequential, or `NotPlain`."""
    linears, activations, dropouts = [], [], []
    if model.checkpoint_every is not None:
        raise NotPlain("it has checkpoint_every")
    for i, layer in enumerate(model.layers):
        if type(layer) is Linear and layer.bias is not None:
            linears.append(layer)
            activations.append(layer.activation)
            dropouts.append(None)
        elif type(layer) is Dropout and linears and dropouts[-1] is None:
            dropouts[-1] = layer
        elif type(layer) in ACTIVATION_LAYERS and linears and activations[-1] == "identity" and dropouts[-1] is None:
            activations[-1] = ACTIVATION_LAYERS[type(layer)]
        else:
            raise NotPlain(f"layer '{i}', {layer!r}, is not a Linear layer with a bias, its activation or then its dropout")
    if not linears or activations[-1] != "identity" or dropouts[-1] is not None:
        raise NotPlain("its last layer is not a Linear layer without activation and dropout, as the loss takes logits")
    if len({layer.weight.dtype for layer in linears}) > 1:
        raise NotPlain("its layers differ in dtype")
    for i, (before, after) in enumerate(pairwise(linears)):
        if before.n_out != after.n_in:
            raise NotPlain(f"Linear layer {i + 1} expects {after.n_in} columns, the one before gives {before.n_out}")
    return linears, activations[:-1], dropouts[:-1]


def check_rules(model, loss, optimizer):
    """Raise `NotPlain` unless loss and optimizer are among those of the compiled loop, and the optimizer is for all parameters."""
    if type(loss) not in LOSSES:
        raise NotPlain(f"the loss is {loss!r}")
    if type(optimizer) not in (SGD, Adam) or optimizer.weight_decay or not getattr(optimizer, "eps_hat", True):
        raise NotPlain(f"the optimizer is {optimizer!r}; SGD and Adam(eps_hat=True), both without weight_decay, could be compiled")
    own = model.parameters()
    if len(own) != len(optimizer.parameters) or any(a is not b for a, b in zip(own, optimizer.parameters, strict=True)):
        raise NotPlain("the optimizer is not for exactly the model's parameters, in their order")


class DroppingNetwork(Network):
    """A `Network` that drops hidden activations in training."""

    def set_dropout(self, dropout):
        """(rate, seed, stream) for each hidden layer, as in `kernels.layer_table`."""
        self._layers = with_dropout(self._layers, dropout)
        self._layers.setflags(write=False)


class CompiledEpochs:
    """Epochs of a plain stack in compiled calls, on copies of the parameters and of the optimizer's state.

    Between `load` and `store` the numbers are in the `Network`; outside they are where the user sees them.
    """

    def __init__(self, model, loss, optimizer, X, y, batch_size):
        linears, activations, self._dropouts = plain_stack(model)
        check_rules(model, loss, optimizer)
        name, units = LOSSES[type(loss)]
        sizes = [linears[0].n_in, *(layer.n_out for layer in linears)]
        self._network = DroppingNetwork(sizes, activations, name, linears[0].weight.dtype)
        # Checked as layer and loss check them, so that an error is the same both ways.
        X = X if hasattr(X, "tocsr") else matrix(linears[0], "X", X, sizes[0], self._network.dtype)
        loss.targets(y, (X.shape[0], sizes[-1]), self._network.dtype)
        self._data = self._network.training_set(X, y)
        self._gradient_unit, self._loss_unit = units(sizes[-1])
        self._model, self._loss, self._optimizer, self._parameters = model, loss, optimizer, model.parameters()
        self._options = training.Options(n_epochs=1, batch_size=batch_size, alpha=0.0)
        self._compiled, self._loaded = None, False

    @property
    def n_samples(self):
        return self._data.n_samples

    def use_threads(self, n_threads):
        """How many threads `run` uses; 1 at first."""
        self._options = replace(self._options, n_threads=n_threads)

    @property
    def epochs_per_call(self):
        """How many epochs `run` best gets at a time."""
        return training.epochs_per_call(self._network, self._data, self.n_samples, self._options)

    def run(self, orders, losses):
        """An epoch over the rows in each of the orders; appends the mean losses to a list."""
        means = []
        try:
            training.run_epochs(self._network, self._data, np.stack(orders), self._compiled, self._options, means)
        finally:
            losses.extend(mean / self._loss_unit for mean in means)

    def load(self):
        """Take the numbers from where the user sees them."""
        theirs, unit = self._optimizer, self._gradient_unit
        check_rules(self._model, self._loss, theirs)  # a callback may have set what the compiled loop does not know
        if isinstance(theirs, SGD):
            # There velocity = momentum velocity - lr g, here v = momentum v + g.
            lr = theirs.lr or NEXT_TO_NOTHING
            self._compiled = training.SGD(self._network, lr / unit, momentum=theirs.momentum, nesterov=theirs.nesterov)
            self._slot_units = [-lr]
        else:
            # A gradient that is larger by a factor makes m larger by it, v by its square; so the same eps is larger by it too.
            self._compiled = training.Adam(self._network, theirs.lr, *theirs.betas, theirs.eps * unit)
            self._slot_units = [unit, unit**2]
        self._compiled.t = theirs.t
        # The mask of update number t + 1, the next one, is that of forward number n_forwards + 1.
        layers = [(0.0, 0, 0) if layer is None else (layer.p, layer.seed, layer.n_forwards - theirs.t) for layer in self._dropouts]
        self._network.set_dropout(layers)
        for block, arrays, factor in self._pairs():
            np.multiply(np.concatenate([array.reshape(-1) for array in arrays]), factor, out=block)
        self._loaded = True

    def store(self):
        """Put the numbers back, if they were taken."""
        if not self._loaded:
            return
        for block, arrays, factor in self._pairs():
            start = 0
            for array in arrays:
                np.divide(block[start : start + array.size].reshape(array.shape), factor, out=array)
                start += array.size
        for layer in self._dropouts:
            if layer is not None:
                layer.n_forwards += self._compiled.t - self._optimizer.t
        self._optimizer.t = self._compiled.t
        self._loaded = False

    def _pairs(self):
        """(flat block in the network, arrays of the user's, what 1 there is in the block) for the parameters and each slot.

        The block has weight, bias, weight, bias, ..., as `Module.parameters` lists them.
        """
        yield self._network.params, [parameter.data for parameter in self._parameters], 1
        for i, factor in enumerate(self._slot_units):
            yield self._compiled.state[i], [slots[i] for slots in self._optimizer.state], factor
