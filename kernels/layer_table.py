"""The layer table: the shape of a network as one small intp array that every back end reads (columns: `codes.LAYER_COLUMNS`)."""

import numpy as np

from .codes import ACTIVATIONS, LINKS


def layer_table(sizes, activation="relu", link="identity"):
    """Describe a plain stack of Linear layers for `network_forward`, `network_loss_gradient` and `train_epoch`.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of units from the inputs to the outputs, at least two, each at least 1.
    activation : {'identity', 'relu', 'sigmoid', 'tanh'}
        The activation of every hidden layer.
    link : {'identity', 'sigmoid', 'softmax', 'exp'}
        What turns the last layer's logits into outputs.

    Returns
    -------
    ndarray of intp, shape (n_layers, 4)
        Rows (n_in, n_out, activation code, offset into the flat block).
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"sizes must hold at least two numbers, each at least 1; got {list(sizes)}")
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {list(ACTIVATIONS)}; got {activation!r}")
    if link not in LINKS:
        raise ValueError(f"link must be one of {list(LINKS)}; got {link!r}")
    n_in, n_out = np.array(sizes[:-1], dtype=np.intp), np.array(sizes[1:], dtype=np.intp)
    codes = np.full(len(n_in), ACTIVATIONS[activation], dtype=np.intp)
    codes[-1] = LINKS[link]
    ends = np.cumsum((n_in + 1) * n_out)
    return np.ascontiguousarray(np.stack([n_in, n_out, codes, ends - (n_in + 1) * n_out], axis=1))


def n_parameters(layers):
    """The length of the flat block that a layer table describes."""
    return int(((layers[:, 0] + 1) * layers[:, 1]).sum())


def layer_views(layers, block):
    """The (weight, bias) views of each layer into one flat block of parameters, gradients or moments, first layer first."""
    views = []
    for n_in, n_out, _, offset in layers:
        end = offset + n_in * n_out
        views.append((block[offset:end].reshape(n_in, n_out), block[end : end + n_out]))
    return views
