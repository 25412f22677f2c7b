"""The public kernels of layers: affine map with activation, activations alone, dropout, and softmax.

Every method here and in `public_losses` and `public` has three parts: checks that change nothing, new arrays for outputs that are
not given, and one call of the raw function. The docstring of `public.Kernels` says what holds for arrays in all of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import checks, public_bfloat16
from .annotations import ActivationName, BFloat16, Floats, Values
from .bfloat16 import is_bfloat16
from .random_bits import MASK_64, drop_threshold, stream_key
from .spec import ACTIVATION_CODES


class LayerKernels:
    """Forward and backward of the layers."""

    def linear_forward(
        self,
        x: Values,
        weight: Floats | BFloat16,
        bias: Floats | BFloat16,
        activation: ActivationName = "identity",
        out: Values | None = None,
        n_threads: int = 1,
    ) -> Values:
        """Affine map and activation: ``a = f(x @ weight + bias)``.

        x may also be bfloat16: an array of the package ml_dtypes, or the bits as uint16. Then the products use x and the weight
        rounded to bfloat16, sums and bias are float32, and a is rounded to the dtype of x.

        Parameters
        ----------
        x : ndarray, shape (n, n_in), float32, float64 or bfloat16
            The inputs, one row for each sample.
        weight : ndarray, shape (n_in, n_out), dtype of x
            The transpose of PyTorch's weight. If x is bfloat16, it may be float32.
        bias : ndarray, shape (n_out,), dtype of x
            Added to every row. If x is bfloat16, it may be float32.
        activation : {'identity', 'relu', 'sigmoid', 'tanh', 'leaky_relu', 'elu', 'selu', 'gelu', 'silu', 'mish', 'softplus'}
            f, with PyTorch's formulas and default constants: identity is z, relu max(z, 0), sigmoid 1 / (1 + exp(-z)), tanh
            tanh(z), leaky_relu z above 0 and 0.01 z below, elu z above 0 and exp(z) - 1 below, selu 1.0507 times (z above 0 and
            1.6733 (exp(z) - 1) below) with both constants in full precision, gelu z Phi(z) with the standard normal distribution
            function Phi, silu z / (1 + exp(-z)), mish z tanh(log(1 + exp(z))), softplus log(1 + exp(z)) and z itself above 20. NaN
            stays NaN.
        out : ndarray, shape (n, n_out), optional
            Overwritten with the result. Must not overlap the inputs.
        n_threads : int
            Number of threads.

        Returns
        -------
        ndarray, shape (n, n_out)
            The activations a: ``out`` if given.

        Raises
        ------
        TypeError, ValueError
            If an array or option is not as described; nothing was changed then.

        References
        ----------
        Goodfellow, Bengio, Courville, *Deep Learning* (2016), sections 6.2 and 6.3; Clevert, Unterthiner, Hochreiter (2016) for
        elu; Klambauer et al. (2017) for selu; Hendrycks and Gimpel (2016) for gelu; Elfwing, Uchibe, Doya (2018) for silu; Misra
        (2020) for mish.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> x, weight, bias = np.array([[1.0, 2.0]]), np.array([[1.0, -1.0], [1.0, -1.0]]), np.array([0.5, 0.5])
        >>> kernels.linear_forward(x, weight, bias, "relu")
        array([[3.5, 0. ]])
        """
        code = checks.option("activation", activation, ACTIVATION_CODES)
        if isinstance(x, np.ndarray) and is_bfloat16(x):
            return public_bfloat16.linear_forward(self, x, weight, bias, code, out, n_threads)
        n, n_in = checks.matrix("x", x)
        n_out = checks.columns("weight", weight, n_in, "x", x)
        checks.like("bias", bias, (n_out,), "x", x)
        n_threads = checks.threads(n_threads)
        a = checks.output("out", out, (n, n_out), x, {"x": x, "weight": weight, "bias": bias})
        c_order = checks.c_order
        self.raw.linear_forward(c_order("x", x), c_order("weight", weight), c_order("bias", bias), code, a, n_threads)
        return a

    def linear_backward(
        self,
        da: Values,
        x: Values,
        weight: Floats | BFloat16,
        a: Values,
        activation: ActivationName = "identity",
        need_dx: bool = True,
        accumulate: bool = False,
        dx: Values | None = None,
        dweight: Floats | None = None,
        dbias: Floats | None = None,
        n_threads: int = 1,
    ) -> tuple[Values | Any, Floats, Floats]:
        """Backward of `linear_forward`: ``dz = da * f'(z)``, ``dx = dz @ weight.T``, ``dweight = x.T @ dz``, ``dbias = sum dz``.

        f' is computed from a for identity (1), relu (1 where a > 0, else 0), sigmoid (a (1 - a)) and tanh (1 - a^2), and from z for
        the other activations. For relu it is 0 at a = 0 and where a is NaN.

        da, x and a may also be bfloat16, as in `linear_forward`. Then dz is rounded to bfloat16 as well, sums are float32, dx is
        bfloat16, and dweight and dbias are float32.

        Parameters
        ----------
        da : ndarray, shape (n, n_out), float32, float64 or bfloat16
            Gradient of the loss with respect to a.
        x : ndarray, shape (n, n_in), dtype of da
            Input of the forward.
        weight : ndarray, shape (n_in, n_out), dtype of da
            Weight of the forward. If da is bfloat16, it may be float32.
        a : ndarray, shape (n, n_out), dtype of da
            For identity, relu, sigmoid and tanh, the output a of the forward. For leaky_relu, elu, selu, gelu, silu, mish and
            softplus, z = x @ weight + bias, which `linear_forward` computes with the activation identity; `activation_forward`
            then computes a.
        activation : {'identity', 'relu', 'sigmoid', 'tanh', 'leaky_relu', 'elu', 'selu', 'gelu', 'silu', 'mish', 'softplus'}
            The activation of the forward.
        need_dx : bool
            False saves a matrix product, for a first layer.
        accumulate : bool
            Add to ``dweight`` and ``dbias``, which then must be given, instead of overwriting them. ``dx`` is overwritten.
        dx : ndarray, shape (n, n_in), optional
            Overwritten with the gradient with respect to x. Must overlap neither the inputs nor the other outputs.
        dweight : ndarray, shape (n_in, n_out), optional
            Overwritten with the gradient with respect to the weight. Must overlap no input and no other output.
        dbias : ndarray, shape (n_out,), optional
            Overwritten with the gradient with respect to the bias. Must overlap no input and no other output.
        n_threads : int
            Number of threads.

        Returns
        -------
        dx : ndarray, shape (n, n_in), or None
            Gradient with respect to x; None unless ``need_dx``.
        dweight : ndarray, shape (n_in, n_out)
            Gradient with respect to the weight.
        dbias : ndarray, shape (n_out,)
            Gradient with respect to the bias.

        Raises
        ------
        TypeError, ValueError
            If an array or option is not as described; nothing was changed then.

        References
        ----------
        Goodfellow, Bengio, Courville, *Deep Learning* (2016), section 6.5, algorithm 6.4.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> x, weight, bias = np.array([[1.0, 2.0]]), np.array([[1.0, -1.0], [1.0, -1.0]]), np.array([0.5, 0.5])
        >>> a = kernels.linear_forward(x, weight, bias, "relu")
        >>> dx, dweight, dbias = kernels.linear_backward(np.ones((1, 2)), x, weight, a, "relu")
        >>> dweight
        array([[1., 0.],
               [2., 0.]])
        """
        code = checks.option("activation", activation, ACTIVATION_CODES)
        need_dx, accumulate = checks.flag("need_dx", need_dx), checks.flag("accumulate", accumulate)
        n_threads = checks.threads(n_threads)
        if dx is not None and not need_dx:
            raise ValueError("dx must not be given with need_dx=False; got an array")
        if accumulate and (dweight is None or dbias is None):
            raise ValueError("dweight and dbias must be given with accumulate=True; got None")
        if isinstance(da, np.ndarray) and is_bfloat16(da):
            outputs = dx, dweight, dbias
            return public_bfloat16.linear_backward(self, da, x, weight, a, code, accumulate, need_dx, *outputs, n_threads)
        n, n_out = checks.matrix("da", da)
        n_in = checks.columns("x", x, n, "da", da)
        checks.like("weight", weight, (n_in, n_out), "da", da)
        checks.like("a", a, (n, n_out), "da", da)
        inputs = {"da": da, "x": x, "weight": weight, "a": a}
        raw_dx = checks.output("dx", dx, (n, n_in) if need_dx else (0, 0), da, inputs)
        dweight = checks.output("dweight", dweight, (n_in, n_out), da, inputs | {"dx": dx})
        dbias = checks.output("dbias", dbias, (n_out,), da, inputs | {"dx": dx, "dweight": dweight})
        da, x, weight, a = (checks.c_order(name, array) for name, array in inputs.items())
        self.raw.linear_backward(da, x, weight, a, code, accumulate, raw_dx, dweight, dbias, n_threads)
        return raw_dx if need_dx else None, dweight, dbias

    def activation_forward(self, z: Floats, activation: ActivationName, out: Floats | None = None, n_threads: int = 1) -> Floats:
        """An activation alone: ``a = f(z)``. `linear_forward` fuses it with the affine map.

        Parameters
        ----------
        z : ndarray, shape (n, n_units), float32 or float64
            Pre-activations.
        activation : {'identity', 'relu', 'sigmoid', 'tanh', 'leaky_relu', 'elu', 'selu', 'gelu', 'silu', 'mish', 'softplus'}
            f, as in `linear_forward`. NaN stays NaN.
        out : ndarray, shape (n, n_units), optional
            Overwritten with the result; may be ``z`` itself.
        n_threads : int
            Number of threads.

        Returns
        -------
        ndarray, shape (n, n_units)
            The activations a: ``out`` if given.

        Raises
        ------
        TypeError, ValueError
            If an array or option is not as described; nothing was changed then.

        References
        ----------
        Goodfellow, Bengio, Courville, *Deep Learning* (2016), section 6.3.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> kernels.activation_forward(np.array([[-1.0, 0.0, 2.0]]), "relu")
        array([[0., 0., 2.]])
        """
        code = checks.option("activation", activation, ACTIVATION_CODES)
        shape = checks.matrix("z", z)
        n_threads = checks.threads(n_threads)
        a = checks.output("out", out, shape, z, {"z": z}, in_place_of="z")
        self.raw.activation_forward(checks.c_order("z", z), code, a, n_threads)
        return a

    def activation_backward(
        self, da: Floats, a: Floats, activation: ActivationName, out: Floats | None = None, n_threads: int = 1
    ) -> Floats:
        """Backward of `activation_forward`: ``dz = da * f'(z)``, where f' is computed from a = f(z) or from z.

        f' is computed from a for identity (1), relu (1 where a > 0, else 0), sigmoid (a (1 - a)) and tanh (1 - a^2), and from z for
        the other activations. For relu it is 0 at a = 0 and where a is NaN.

        Parameters
        ----------
        da : ndarray, shape (n, n_units), float32 or float64
            Gradient of the loss with respect to a.
        a : ndarray, shape (n, n_units), dtype of da
            For identity, relu, sigmoid and tanh, the output a of the forward. For leaky_relu, elu, selu, gelu, silu, mish and
            softplus, the input z of the forward.
        activation : {'identity', 'relu', 'sigmoid', 'tanh', 'leaky_relu', 'elu', 'selu', 'gelu', 'silu', 'mish', 'softplus'}
            The activation of the forward.
        out : ndarray, shape (n, n_units), optional
            Overwritten with the result; may be ``da`` itself.
        n_threads : int
            Number of threads.

        Returns
        -------
        ndarray, shape (n, n_units)
            The gradient dz: ``out`` if given.

        Raises
        ------
        TypeError, ValueError
            If an array or option is not as described; nothing was changed then.

        References
        ----------
        Goodfellow, Bengio, Courville, *Deep Learning* (2016), section 6.5, algorithm 6.4.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> a = kernels.activation_forward(np.array([[-1.0, 0.0, 2.0]]), "sigmoid")
        >>> kernels.activation_backward(np.ones((1, 3)), a, "sigmoid").round(4)
        array([[0.1966, 0.25  , 0.105 ]])
        """
        code = checks.option("activation", activation, ACTIVATION_CODES)
        shape = checks.matrix("da", da)
        checks.like("a", a, shape, "da", da)
        n_threads = checks.threads(n_threads)
        dz = checks.output("out", out, shape, da, {"da": da, "a": a}, in_place_of="da")
        self.raw.activation_backward(checks.c_order("da", da), checks.c_order("a", a), code, dz, n_threads)
        return dz

    def dropout_forward(
        self, x: Floats, rate: float, seed: int, stream: int = 0, out: Floats | None = None, n_threads: int = 1
    ) -> Floats:
        """Inverted dropout: ``y = x / (1 - rate)`` where the element is kept, 0 where it is dropped.

        Whether element (i, j) is kept depends only on (seed, stream, i * n_units + j), from which its random bits are computed. So
        no mask is stored, and the result has the same bits in every back end and for every number of threads.

        Parameters
        ----------
        x : ndarray, shape (n, n_units), float32 or float64
            The inputs. A NaN or infinity that is dropped gives 0, too.
        rate : float
            The probability that an element is dropped, in [0, 1), rounded to a multiple of 2^-32.
        seed : int
            The seed, in [0, 2^64).
        stream : int
            In [0, 2^64). Each pair of seed and stream gives its own mask: for example, use one stream for each layer and step.
        out : ndarray, shape (n, n_units), optional
            Overwritten with the result; may be ``x`` itself.
        n_threads : int
            Number of threads.

        Returns
        -------
        ndarray, shape (n, n_units)
            The result y: ``out`` if given.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described; nothing was changed then.

        References
        ----------
        Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, *Dropout: a simple way to prevent neural networks from
        overfitting* (2014), section 10 for the scaling; Salmon et al., *Parallel random numbers: as easy as 1, 2, 3* (2011) for
        random numbers by position; Steele, Lea, Flood, *Fast splittable pseudorandom number generators* (2014) for the bits.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> y = kernels.dropout_forward(np.ones((100, 100)), rate=0.5, seed=0, stream=1)
        >>> np.unique(y)
        array([0., 2.])
        """
        return self._dropout("x", x, rate, seed, stream, out, n_threads)

    def dropout_backward(
        self, dy: Floats, rate: float, seed: int, stream: int = 0, out: Floats | None = None, n_threads: int = 1
    ) -> Floats:
        """Backward of `dropout_forward`: ``dx = dy / (1 - rate)`` where the element was kept, 0 where it was dropped.

        Parameters
        ----------
        dy : ndarray, shape (n, n_units), float32 or float64
            Gradient of the loss with respect to y.
        rate : float
            The rate of the forward.
        seed : int
            The seed of the forward.
        stream : int
            The stream of the forward. The mask is computed again from rate, seed and stream.
        out : ndarray, shape (n, n_units), optional
            Overwritten with the result; may be ``dy`` itself.
        n_threads : int
            Number of threads.

        Returns
        -------
        ndarray, shape (n, n_units)
            The gradient dx: ``out`` if given.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described; nothing was changed then.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> y = kernels.dropout_forward(np.ones((4, 3)), rate=0.5, seed=0, stream=1)
        >>> dx = kernels.dropout_backward(np.ones((4, 3)), rate=0.5, seed=0, stream=1)
        >>> np.array_equal(dx, y)  # the same elements are kept
        True
        """
        return self._dropout("dy", dy, rate, seed, stream, out, n_threads)

    def _dropout(self, name, x, rate, seed, stream, out, n_threads):
        """Forward and backward, which are the same map."""
        rate, n_threads = checks.real("rate", rate), checks.threads(n_threads)
        key = stream_key(checks.integer("seed", seed, 0, MASK_64), checks.integer("stream", stream, 0, MASK_64))
        shape = checks.matrix(name, x)
        y = checks.output("out", out, shape, x, {name: x}, in_place_of=name)
        self.raw.dropout(checks.c_order(name, x), key, drop_threshold(rate), 1.0 / (1.0 - rate), y, n_threads)
        return y

    def softmax_forward(self, logits: Floats, out: Floats | None = None, n_threads: int = 1) -> Floats:
        """Softmax of every row: ``probs = exp(logits) / sum_c exp(logits)``, computed without overflow.

        Parameters
        ----------
        logits : ndarray, shape (n, n_classes), float32 or float64
            The logits. A row that contains a NaN or +infinity gives a row of NaN.
        out : ndarray, shape (n, n_classes), optional
            Overwritten with the result; may be ``logits`` itself.
        n_threads : int
            Number of threads.

        Returns
        -------
        ndarray, shape (n, n_classes)
            The probabilities: ``out`` if given.

        Raises
        ------
        TypeError, ValueError
            If an array is not as described, or there are no classes; nothing was changed then.

        References
        ----------
        Goodfellow, Bengio, Courville, *Deep Learning* (2016), section 6.2.2.3.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> kernels.softmax_forward(np.log([[1.0, 3.0]])).round(4)
        array([[0.25, 0.75]])
        """
        shape = checks.classes("logits", logits)
        n_threads = checks.threads(n_threads)
        probs = checks.output("out", out, shape, logits, {"logits": logits}, in_place_of="logits")
        self.raw.softmax_forward(checks.c_order("logits", logits), probs, n_threads)
        return probs

    def softmax_backward(self, dprobs: Floats, probs: Floats, out: Floats | None = None, n_threads: int = 1) -> Floats:
        """Backward of `softmax_forward`: ``dlogits = probs * (dprobs - sum_c dprobs * probs)``.

        Parameters
        ----------
        dprobs : ndarray, shape (n, n_classes), float32 or float64
            Gradient of the loss with respect to probs.
        probs : ndarray, shape (n, n_classes), dtype of dprobs
            The output of the forward.
        out : ndarray, shape (n, n_classes), optional
            Overwritten with the result; may be ``probs`` itself.
        n_threads : int
            Number of threads.

        Returns
        -------
        ndarray, shape (n, n_classes)
            The gradient dlogits: ``out`` if given.

        Raises
        ------
        TypeError, ValueError
            If an array is not as described, or there are no classes; nothing was changed then.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> kernels.softmax_backward(np.array([[0.0, 1.0]]), np.array([[0.25, 0.75]]))
        array([[-0.1875,  0.1875]])
        """
        shape = checks.classes("dprobs", dprobs)
        checks.like("probs", probs, shape, "dprobs", dprobs)
        n_threads = checks.threads(n_threads)
        dlogits = checks.output("out", out, shape, dprobs, {"dprobs": dprobs, "probs": probs}, in_place_of="probs")
        self.raw.softmax_backward(checks.c_order("dprobs", dprobs), checks.c_order("probs", probs), dlogits, n_threads)
        return dlogits
