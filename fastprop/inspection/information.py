"""Entropy, cross-entropy and KL divergence of the rows of a batch, in nats."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

# How much the sum of a row may differ from 1: enough for float32 probabilities of thousands of classes.
SUM_TOLERANCE = 1e-4


def entropy(p: ArrayLike) -> Any:
    """Entropy of every row: ``H(p) = -sum_c p_c log p_c``, with 0 log 0 = 0.

    Parameters
    ----------
    p : array-like, shape (n, n_classes) or (n_classes,)
        Distributions: rows of nonnegative numbers that sum to 1.

    Returns
    -------
    ndarray of float64, shape (n,), or a scalar for a single distribution
        In nats, between 0 and log(n_classes); divide by log(2) for bits.

    Raises
    ------
    ValueError
        If a row is not a distribution.

    References
    ----------
    Cover and Thomas, *Elements of Information Theory* (2006), section 2.1.

    Examples
    --------
    >>> from fastprop.inspection import entropy
    >>> entropy([[0.5, 0.5], [0.25, 0.75]]).round(4)
    array([0.6931, 0.5623])
    """
    p = _distributions("p", p)
    return -(p * _log(p, p)).sum(axis=-1)


def cross_entropy(p: ArrayLike, q: ArrayLike) -> Any:
    """Cross-entropy of every row: ``H(p, q) = -sum_c p_c log q_c = H(p) + KL(p || q)``.

    Parameters
    ----------
    p : array-like, shape (n, n_classes) or (n_classes,)
        Distributions, the targets.
    q : array-like, shape (n, n_classes) or (n_classes,)
        Distributions, the predictions.

    Returns
    -------
    ndarray of float64, shape (n,), or a scalar for a single pair
        In nats; infinite where q is 0 and p is not.

    Raises
    ------
    ValueError
        If a row is not a distribution, or if the shapes differ.

    References
    ----------
    Goodfellow, Bengio, Courville, *Deep Learning* (2016), section 3.13.

    Examples
    --------
    >>> from fastprop.inspection import cross_entropy
    >>> cross_entropy([[0.0, 1.0]], [[0.5, 0.5]]).round(4)
    array([0.6931])
    """
    p, q = _pair(p, q)
    return -(p * _log(q, p)).sum(axis=-1)


def kl_divergence(p: ArrayLike, q: ArrayLike) -> Any:
    """Kullback-Leibler divergence of every row: ``KL(p || q) = sum_c p_c log(p_c / q_c)``.

    Parameters
    ----------
    p : array-like, shape (n, n_classes) or (n_classes,)
        Distributions, the targets.
    q : array-like, shape (n, n_classes) or (n_classes,)
        Distributions, the predictions.

    Returns
    -------
    ndarray of float64, shape (n,), or a scalar for a single pair
        In nats, not negative, 0 where p = q, infinite where q is 0 and p is not.

    Raises
    ------
    ValueError
        If a row is not a distribution, or if the shapes differ.

    References
    ----------
    Cover and Thomas, *Elements of Information Theory* (2006), section 2.3.

    Examples
    --------
    >>> from fastprop.inspection import kl_divergence
    >>> kl_divergence([[0.5, 0.5]], [[0.25, 0.75]]).round(4)
    array([0.1438])
    """
    p, q = _pair(p, q)
    return (p * (_log(p, p) - _log(q, p))).sum(axis=-1)


def _pair(p, q):
    p, q = _distributions("p", p), _distributions("q", q)
    if p.shape != q.shape:
        raise ValueError(f"q must have the shape of p, {p.shape}; got {q.shape}")
    return p, q


def _log(q, p):
    """log q where p counts, so that p log q is 0 where p is 0; -inf where q is 0 and p is not."""
    with np.errstate(divide="ignore"):
        return np.log(q, where=p > 0, out=np.zeros_like(p))


def _distributions(name, values):
    """The values in float64, if every row is a distribution."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim not in (1, 2) or values.shape[-1] == 0:
        raise ValueError(f"{name} must have shape (n, n_classes) or (n_classes,); got {values.shape}")
    sums = np.atleast_1d(values.sum(axis=-1))
    # The test is for correct rows, so that NaN fails it too.
    wrong = ~((np.atleast_2d(values) >= 0).all(axis=1) & (np.abs(sums - 1) <= SUM_TOLERANCE))
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{name} must hold distributions, not negative and with sum 1; "
            f"got row {row} with minimum {np.atleast_2d(values)[row].min():g} and sum {sums[row]:g}"
        )
    return values
