"""A module as a chain of layers ``a = f(x @ weight + bias)``, whose backward is computed here, correctly and with mistakes.

It is recognised by its output alone, so it does not matter how a user's module is written.
"""

from functools import partial

import numpy as np

from .. import kernels
from ..kernels.spec import ACTIVATIONS

STEP = 1e-5
# Derivatives written as functions of the output a; relu has the same derivative at z and at a.
BY_OUTPUT = {
    "sigmoid": lambda a: a * (1 - a),
    "tanh": lambda a: 1 - a**2,
    "elu": lambda a: np.where(a > 0, 1, a + 1),
    "softplus": lambda a: 1 - np.exp(-a),
}


def _named(name, z):
    return kernels.activation_forward(np.ascontiguousarray(z), name)


def _softmax(z):
    return kernels.softmax_forward(np.ascontiguousarray(z))


FUNCTIONS = {name: partial(_named, name) for name in ACTIVATIONS}


def same(some, others):
    return some.shape == others.shape and np.allclose(some, others, rtol=1e-9, atol=1e-12)


# What takes the place of f'(z) -> the name of the mistake, and its sentence
WRONG_PLACES = {
    "a": ("derivative at the wrong place", "has the activation's derivative at its output a: f'(a) in place of f'(z)"),
    "x": ("derivative at the wrong place", "has the activation's derivative at the layer's input x: f'(x) in place of f'(z)"),
    "formula": ("derivative at the wrong place", "has z in a formula of the activation's derivative that takes the output a"),
    "none": ("missing derivative", "lacks the factor f'(z), the activation's derivative"),
}


class Chain:
    """Layers ``a_l = f_l(a_(l-1) @ weight_l + bias_l)``; without weights a single ``a = f(x)``.

    Parameters
    ----------
    x : ndarray, shape (n, n_in)
    weights, biases : list of ndarray or None
        For each layer, weights of shape (n_in, n_out).
    functions : list of callable
        The activation of each layer.
    names : list of (str or None, str or None)
        Names of the parameters that are the weight and the bias of each layer.
    is_transposed : bool
        Whether the parameters are the transposes (n_out, n_in).
    """

    def __init__(self, x, weights, biases, functions, names, is_transposed=False):
        self.weights, self.biases, self.functions, self.zs, self.values = weights, biases, functions, [], [x]
        self.names, self.is_transposed = names, is_transposed
        for weight, bias, function in zip(weights, biases, functions, strict=True):
            z = self.values[-1] if weight is None else self.values[-1] @ weight
            self.zs.append(z if bias is None else z + bias)
            self.values.append(function(self.zs[-1]))

    def slope(self, layer, place):
        """f'(z) of a layer, or what a mistake has in its place; None if that does not exist."""
        function, z, x, a = self.functions[layer], self.zs[layer], self.values[layer], self.values[layer + 1]
        if place == "none":
            return np.ones_like(z)
        if place == "formula":
            by_output = next((BY_OUTPUT[name] for name in BY_OUTPUT if same(function(z), FUNCTIONS[name](z))), None)
            return None if by_output is None else by_output(z)
        at = {"z": z, "a": a, "x": x}[place]
        return (function(at + STEP) - function(at - STEP)) / (2 * STEP) if at.shape == z.shape else None

    def backward(self, dout, places, transposed=()):
        """The gradients by name, with the slopes of each layer at ``places``, and W for its transpose in some layers; or None."""
        gradients = {}
        for layer in range(len(self.functions) - 1, -1, -1):
            weight, bias, a = self.weights[layer], self.biases[layer], self.values[layer + 1]
            if self.functions[layer] is _softmax:
                dz = a * (dout - (dout * a).sum(axis=1, keepdims=True))
            elif (slope := self.slope(layer, places[layer])) is not None:
                dz = dout * slope
            else:
                return None
            name, name_of_bias = self.names[layer]
            if weight is not None:
                dweight = self.values[layer].T @ dz
                gradients[name] = dweight.T if self.is_transposed else dweight
            if bias is not None:
                gradients[name_of_bias] = dz.sum(axis=0).reshape(bias.shape)
            dout = dz if weight is None else dz @ (weight if layer in transposed else weight.T)
        return gradients | {"x": dout}

    def backwards(self, dout):
        """Yield, for each mistake, its name, a sentence, and the gradients by name that a backward with it gives."""
        layers = range(len(self.functions))
        for chosen in [*([layer] for layer in layers), *([list(layers)] if len(layers) > 1 else [])]:
            for place, (name, sentence) in WRONG_PLACES.items():
                gradients = self.backward(dout, [place if layer in chosen else "z" for layer in layers])
                if gradients:
                    yield name, sentence, gradients
            if all(weight is not None and weight.shape[0] == weight.shape[1] for weight in (self.weights[i] for i in chosen)):
                gradients = self.backward(dout, ["z" for _ in layers], chosen)
                yield "transposed gradient", "has come through the weight in place of its transpose", gradients


def chains_of(isolated):
    """Yield every `Chain` that has the output of a module: several functions may have the same values at some points."""
    x, out = isolated.inputs[0], isolated.output
    if len(isolated.inputs) != 1 or x.ndim != 2 or out.ndim != 2:
        return
    if not isolated.parameters:
        yield from _elementwise(isolated, x, out)
        return
    names = _by_layers(isolated.parameters)
    data = {name: parameter.data for name, parameter in isolated.parameters.items()} | {None: None}
    weights, biases = ([data[pair[i]] for pair in names] for i in range(2))
    for is_transposed in (False, True):
        oriented = [weight.T if is_transposed else weight for weight in weights]
        widths = [x.shape[1], *(weight.shape[1] for weight in oriented)]
        if names and [weight.shape[0] for weight in oriented] == widths[:-1] and widths[-1] == out.shape[1]:
            for functions in _functions(isolated, names):
                chain = Chain(x, oriented, biases, functions, names, is_transposed)
                if same(chain.values[-1], out):
                    yield chain


def _elementwise(isolated, x, out):
    """A chain without weights for a module without parameters, if it works element by element."""
    if x.shape == out.shape:
        chain = Chain(x, [None], [None], [lambda z: np.asarray(isolated.forward([z]))], [(None, None)])
        if all(dx.is_right(chain.backward(isolated.dout, ["z"])["x"]) for dx in isolated.gradients):
            yield chain


def _by_layers(parameters):
    """The names of weight and bias, or None, of each layer; none if the parameters are not those of affine layers."""
    weights, biases = [], []
    for name, parameter in parameters.items():
        shape = parameter.shape
        is_row = len(shape) == 2 and shape[0] == 1 and len(weights) > len(biases) and shape[1] in parameters[weights[-1]].shape
        if len(shape) == 1 or is_row:
            biases.append(name)
        elif len(shape) == 2:
            weights.append(name)
        else:
            return []
    biases = biases or [None] * len(weights)
    return list(zip(weights, biases, strict=True)) if len(weights) == len(biases) else []


def _functions(isolated, names):
    """The activations of all layers that are tried: one for all hidden layers, and any for the last."""
    n_hidden, (weight, bias) = len(names) - 1, names[-1]
    hidden = [[function] * n_hidden for function in FUNCTIONS.values()] if n_hidden else [[]]
    yield from ([*functions, last] for functions in hidden for last in [*FUNCTIONS.values(), _softmax])
    if not n_hidden and bias is not None:
        yield [partial(_probed, isolated, isolated.parameters[weight], isolated.parameters[bias])]


def _probed(isolated, weight, bias, z):
    """f(z) of a layer f(x @ weight + bias), from its forward with the weight 0 and a row of z as bias."""
    kept = weight.data.copy(), bias.data.copy()
    try:
        weight.data[...] = 0
        out = []
        for row in z:
            bias.data[...] = row.reshape(bias.shape)
            out.append(np.asarray(isolated.forward())[0])
        return np.array(out)
    finally:
        weight.data[...], bias.data[...] = kept
