"""The layer table: a network as a small array of `spec.LAYER` that every back end reads, one row for each operation on a batch.

Row i takes value number i and makes value number i + 1; value 0 is X. `spec.KINDS` says what each kind of row does.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np

from .annotations import ActivationName, Floats, Layers, LinkName
from .checks import integer, option, real
from .random_bits import rate_number
from .spec import ACTIVATION_CODES, KINDS, LAYER, LAYER_FIELDS, LINKS


class LayerProgram:
    """A layer table that is built row by row, from the inputs to the link.

    Parameters
    ----------
    n_in : int
        The number of columns of X, at least 1.

    Attributes
    ----------
    width : int
        The number of columns of the last value.
    value : int
        The number of the last value, for `add`.

    Examples
    --------
    >>> from fastprop import kernels
    >>> layers = kernels.LayerProgram(4).linear(8).layer_norm().activation("gelu").linear(3).link("softmax")
    >>> kernels.n_parameters(layers)
    83
    """

    def __init__(self, n_in: int) -> None:
        self.width = integer("n_in", n_in, 1)
        self._rows: list[dict[str, Any]] = []
        self._n_parameters, self._n_buffers = 0, 0

    @property
    def value(self) -> int:
        """The number of the last value."""
        return len(self._rows)

    def linear(self, n_out: int) -> Self:
        """Add ``y = x @ weight + bias``.

        Parameters
        ----------
        n_out : int
            The number of columns of y.

        Returns
        -------
        LayerProgram
            This one.
        """
        n_out = integer("n_out", n_out, 1)
        return self._add("linear", (self.width + 1) * n_out, n_out=n_out)

    def activation(self, name: ActivationName) -> Self:
        """Add an activation.

        Parameters
        ----------
        name : str
            A name of `spec.ACTIVATIONS`.

        Returns
        -------
        LayerProgram
            This one.
        """
        return self._add("activation", code=option("activation", name, ACTIVATION_CODES))

    def dropout(self, rate: float, seed: int, stream: int) -> Self:
        """Add dropout: update number s, counted from 1, applies ``dropout_forward(x, rate, seed, stream + s)``.

        Parameters
        ----------
        rate : float
            The probability that an element is dropped, in [0, 1).
        seed : int
            From -2^63 to 2^63 - 1; taken modulo 2^64.
        stream : int
            From -2^63 to 2^63 - 1; taken modulo 2^64.

        Returns
        -------
        LayerProgram
            This one.
        """
        seed, stream = integer("seed", seed), integer("stream", stream)
        return self._add("dropout", rate=rate_number(real("rate", rate)) / 2**53, seed=seed, stream=stream)

    def layer_norm(self, epsilon: float = 1e-5) -> Self:
        """Add a layer norm: gamma and beta are parameters.

        Parameters
        ----------
        epsilon : float
            Added to the variance; above 0.

        Returns
        -------
        LayerProgram
            This one.
        """
        return self._add("layer_norm", 2 * self.width, epsilon=real("epsilon", epsilon))

    def batch_norm(self, epsilon: float = 1e-5, momentum: float = 0.1) -> Self:
        """Add a batch norm: gamma and beta are parameters, running mean and variance are buffers.

        Parameters
        ----------
        epsilon : float
            Added to the variance; above 0.
        momentum : float
            The weight of a new batch in the running statistics, in [0, 1].

        Returns
        -------
        LayerProgram
            This one.
        """
        buffers, self._n_buffers = self._n_buffers, self._n_buffers + 2 * self.width
        constants = {"epsilon": real("epsilon", epsilon), "momentum": real("momentum", momentum)}
        return self._add("batch_norm", 2 * self.width, buffers=buffers, **constants)

    def add(self, source: int) -> Self:
        """Add an earlier value to the last one: the end of a residual block.

        Parameters
        ----------
        source : int
            The number of the value: what `value` was before the block.

        Returns
        -------
        LayerProgram
            This one.
        """
        source = integer("source", source, 0, self.value)
        has = self._rows[source]["n_in"] if source < self.value else self.width
        if has != self.width:
            raise ValueError(f"source must be a value with {self.width} columns, like the last one; value {source} has {has}")
        return self._add("add", source=source)

    def link(self, name: LinkName) -> Layers:
        """End with a link, and make the table.

        Parameters
        ----------
        name : {'identity', 'sigmoid', 'softmax', 'exp'}
            The function that turns logits into outputs.

        Returns
        -------
        ndarray of `spec.LAYER`, shape (n_rows,)
            The table.

        Raises
        ------
        ValueError
            If there is no linear row, or there are more parameters than an index can count.
        """
        code = option("link", name, LINKS)
        if not any(row["kind"] == KINDS["linear"] for row in self._rows):
            raise ValueError("a network must have at least one linear row")
        if self._n_parameters > sys.maxsize:
            raise ValueError(f"there must be at most {sys.maxsize} parameters; the rows have {self._n_parameters}")
        self._add("link", code=code)
        return np.array([tuple((BLANK | row).values()) for row in self._rows], LAYER)

    def _add(self, kind, n_parameters=0, n_out=None, **fields):
        sizes = {"n_in": self.width, "n_out": n_out or self.width}
        self._rows.append({"kind": KINDS[kind], **sizes, "offset": self._n_parameters, **fields})
        self._n_parameters += n_parameters
        self.width = sizes["n_out"]
        return self


def layer_table(
    sizes: Sequence[int],
    activation: ActivationName | Sequence[ActivationName] = "relu",
    link: LinkName = "identity",
    dropout: Sequence[tuple[float, int, int]] | None = None,
    normalization: Literal["batch", "layer"] | None = None,
) -> Layers:
    """Describe a plain stack of Linear layers for `network_forward`, `network_loss_gradient` and `train_epoch`.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of units from the inputs to the outputs, at least two, each at least 1.
    activation : str or sequence of str
        The activation of every hidden layer, or one for each: a name that `linear_forward` takes.
    link : {'identity', 'sigmoid', 'softmax', 'exp'}
        The function that turns the last layer's logits into outputs.
    dropout : sequence of (rate, seed, stream), optional
        For each hidden layer, what `train_epoch` does to its activations: update number s, counted from 1, applies
        ``dropout_forward(a, rate, seed, stream + s)`` to those of its batch. Rate 0 means no dropout. The other kernels ignore it.
    normalization : {'batch', 'layer'}, optional
        The norm between each hidden layer and its activation, as `LayerProgram` adds it by default.

    Returns
    -------
    ndarray of `spec.LAYER`, shape (n_rows,)
        A linear row for each layer, followed in hidden layers by the norm if any, the activation, and dropout if any; then the
        link. For other networks see `LayerProgram`.

    Examples
    --------
    >>> from fastprop import kernels
    >>> layers = kernels.layer_table([64, 100, 10], "tanh", link="softmax")
    >>> kernels.n_parameters(layers)
    7510
    """
    sizes = [integer("sizes", size) for size in sizes]
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"sizes must hold at least two numbers, each at least 1; got {sizes}")
    n_hidden = len(sizes) - 2
    if isinstance(activation, str):
        option("activation", activation, ACTIVATION_CODES)
    activations = [activation] * n_hidden if isinstance(activation, str) else list(activation)
    dropout = [(0.0, 0, 0)] * n_hidden if dropout is None else list(dropout)
    if len(activations) != n_hidden:
        raise ValueError(f"activation must have a name for each of {n_hidden} hidden layers; got {activation!r}")
    if len(dropout) != n_hidden or not all(0 <= rate < 1 for rate, _, _ in dropout):
        expected = f"(rate, seed, stream), the rate in [0, 1), for each of {n_hidden} hidden layers"
        raise ValueError(f"dropout must have {expected}; got {dropout}")
    if normalization is not None:
        option("normalization", normalization, NORMALIZATIONS)
    program = LayerProgram(sizes[0])
    for n_out, name, masks in zip(sizes[1:-1], activations, dropout, strict=True):
        program.linear(n_out)
        if normalization is not None:
            NORMALIZATIONS[normalization](program)
        program.activation(name)
        if masks[0]:
            program.dropout(*masks)
    return program.linear(sizes[-1]).link(link)


def parameter_spans(layers: Layers) -> list[list[tuple[int, tuple[int, ...]]]]:
    """For each row of a layer table, the (offset, shape) of each of its parameters in the flat block.

    Parameters
    ----------
    layers : ndarray of `spec.LAYER`
        From `layer_table` or `LayerProgram`.

    Returns
    -------
    list of list
        Weight and bias of linear rows, gamma and beta of norms; nothing for the others.
    """
    spans = []
    for kind, n_in, n_out, offset, *_ in layers.tolist():
        if kind == KINDS["linear"]:
            spans.append([(offset, (n_in, n_out)), (offset + n_in * n_out, (n_out,))])
        elif kind in NORMS:
            spans.append([(offset, (n_in,)), (offset + n_in, (n_in,))])
        else:
            spans.append([])
    return spans


def n_parameters(layers: Layers) -> int:
    """Length of the flat block that a layer table describes.

    Parameters
    ----------
    layers : ndarray of `spec.LAYER`
        From `layer_table` or `LayerProgram`.

    Returns
    -------
    int
        The number of weights and biases, and of the parameters of norms.

    Examples
    --------
    >>> from fastprop import kernels
    >>> kernels.n_parameters(kernels.layer_table([64, 100, 10]))
    7510
    """
    return n_spanned(parameter_spans(layers))


def n_spanned(spans):
    """The number of elements of a flat block with these parameters, as listed by `parameter_spans`."""
    return max(offset + math.prod(shape) for row in spans for offset, shape in row)


def n_buffers(layers: Layers) -> int:
    """Length of the flat block of running statistics that a layer table describes.

    Parameters
    ----------
    layers : ndarray of `spec.LAYER`
        From `layer_table` or `LayerProgram`.

    Returns
    -------
    int
        Two numbers for each column of each batch norm.

    Examples
    --------
    >>> from fastprop import kernels
    >>> kernels.n_buffers(kernels.layer_table([64, 100, 10], normalization="batch"))
    200
    """
    return sum(2 * n_in for kind, n_in, *_ in layers.tolist() if kind == KINDS["batch_norm"])


def layer_views(layers: Layers, block: Floats) -> list[tuple[Floats, Floats]]:
    """Return the views of each layer's weight and bias in a flat block of parameters, gradients or moments.

    Parameters
    ----------
    layers : ndarray of `spec.LAYER`
        From `layer_table` or `LayerProgram`.
    block : ndarray, shape (n_parameters(layers),)
        The block; not copied, so writing into a view writes into the block.

    Returns
    -------
    list of (ndarray, ndarray)
        The views of shape (n_in, n_out) and (n_out,), first layer first; for a norm its gamma and beta, both (n_in,).

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import kernels
    >>> layers = kernels.layer_table([64, 100, 10])
    >>> params = np.zeros(kernels.n_parameters(layers))
    >>> [(weight.shape, bias.shape) for weight, bias in kernels.layer_views(layers, params)]
    [((64, 100), (100,)), ((100, 10), (10,))]
    """
    return [(views[0], views[1]) for views in parameter_views(layers, block) if views]


def parameter_views(layers, block):
    """For each row, the tuple of views of its parameters in a flat block; empty for rows without parameters."""
    return views_of(parameter_spans(layers), block)


def views_of(spans, block):
    """`parameter_views` from the result of `parameter_spans`."""
    return [tuple(block[offset : offset + math.prod(shape)].reshape(shape) for offset, shape in row) for row in spans]


def buffer_views(layers, block):
    """For each row, the views of a batch norm's running mean and variance in a flat block, or None."""
    views = []
    for kind, n, start in layers[["kind", "n_in", "buffers"]].tolist():
        has_buffers = kind == KINDS["batch_norm"]
        views.append((block[start : start + n], block[start + n : start + 2 * n]) if has_buffers else None)
    return views


NORMS = KINDS["layer_norm"], KINDS["batch_norm"]
NORMALIZATIONS = {"batch": LayerProgram.batch_norm, "layer": LayerProgram.layer_norm}
# An empty row
BLANK = dict.fromkeys(LAYER_FIELDS, 0)
