"""The public kernels of normalisation: of every row (layer norm), and of every column over the batch (batch norm)."""

from __future__ import annotations

from . import checks
from .annotations import Floats


class NormalizationKernels:
    """Forward and backward of layer norm and batch norm."""

    def layer_norm_forward(
        self,
        x: Floats,
        gamma: Floats,
        beta: Floats,
        epsilon: float = 1e-5,
        y: Floats | None = None,
        mean: Floats | None = None,
        rstd: Floats | None = None,
        n_threads: int = 1,
    ) -> tuple[Floats, Floats, Floats]:
        """Layer normalisation: ``y = (x - mean) * rstd * gamma + beta`` with the mean and variance of every row.

        ``mean_i = sum_j x_ij / n_units``; ``rstd_i = 1 / sqrt(sum_j (x_ij - mean_i)^2 / n_units + epsilon)``.

        Parameters
        ----------
        x : ndarray, shape (n, n_units), float32 or float64
            The inputs. A row that contains a NaN or infinity gives a row of NaN.
        gamma : ndarray, shape (n_units,), dtype of x
            The scale of every column.
        beta : ndarray, shape (n_units,), dtype of x
            The shift of every column.
        epsilon : float
            Added to the variance; > 0, in units of x squared.
        y : ndarray, shape (n, n_units), optional
            Overwritten with the result. Must overlap neither the inputs nor the other outputs.
        mean : ndarray, shape (n,), optional
            Overwritten with the mean of every row.
        rstd : ndarray, shape (n,), optional
            Overwritten with the reciprocal standard deviation of every row.
        n_threads : int
            Number of threads. The result does not depend on it.

        Returns
        -------
        y : ndarray, shape (n, n_units)
            The normalised rows.
        mean : ndarray, shape (n,)
            The mean of every row, for the backward.
        rstd : ndarray, shape (n,)
            The reciprocal standard deviation of every row, for the backward.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or x has no columns; nothing was changed then.

        References
        ----------
        Ba, Kiros, Hinton, *Layer normalization* (2016).

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> y, mean, rstd = kernels.layer_norm_forward(np.array([[1.0, 3.0]]), np.ones(2), np.zeros(2))
        >>> y.round(3), mean
        (array([[-1.,  1.]]), array([2.]))
        """
        shape = checks.normalized("x", x, axis=1)
        return self._forward(self.raw.layer_norm_forward, shape, shape[0], (x, gamma, beta), epsilon, (y, mean, rstd), n_threads)

    def layer_norm_backward(
        self,
        dy: Floats,
        x: Floats,
        gamma: Floats,
        mean: Floats,
        rstd: Floats,
        accumulate: bool = False,
        dx: Floats | None = None,
        dgamma: Floats | None = None,
        dbeta: Floats | None = None,
        n_threads: int = 1,
    ) -> tuple[Floats, Floats, Floats]:
        """Backward of `layer_norm_forward`.

        With ``x_hat = (x - mean) * rstd`` and ``g = dy * gamma``:
        ``dx = rstd * (g - mean_j g - x_hat * mean_j (g * x_hat))``, the means over the row; ``dgamma = sum_i dy * x_hat``;
        ``dbeta = sum_i dy``.

        Parameters
        ----------
        dy : ndarray, shape (n, n_units), float32 or float64
            Gradient of the loss with respect to y.
        x : ndarray, shape (n, n_units), dtype of dy
            Input of the forward.
        gamma : ndarray, shape (n_units,), dtype of dy
            The scale in the forward.
        mean : ndarray, shape (n,), dtype of dy
            The second result of the forward.
        rstd : ndarray, shape (n,), dtype of dy
            The third result of the forward.
        accumulate : bool
            Add to ``dgamma`` and ``dbeta``, which then must be given, instead of overwriting them. ``dx`` is overwritten.
        dx : ndarray, shape (n, n_units), optional
            Overwritten with the gradient with respect to x. Must overlap neither the inputs nor the other outputs.
        dgamma : ndarray, shape (n_units,), optional
            Overwritten with the gradient with respect to gamma. Must overlap no input and no other output.
        dbeta : ndarray, shape (n_units,), optional
            Overwritten with the gradient with respect to beta. Must overlap no input and no other output.
        n_threads : int
            Number of threads. The result does not depend on it.

        Returns
        -------
        dx : ndarray, shape (n, n_units)
            Gradient with respect to x.
        dgamma : ndarray, shape (n_units,)
            Gradient with respect to gamma.
        dbeta : ndarray, shape (n_units,)
            Gradient with respect to beta.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or dy has no columns; nothing was changed then.

        References
        ----------
        Ba, Kiros, Hinton, *Layer normalization* (2016).

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> x, gamma, beta = np.array([[1.0, 3.0]]), np.ones(2), np.zeros(2)
        >>> y, mean, rstd = kernels.layer_norm_forward(x, gamma, beta)
        >>> dx, dgamma, dbeta = kernels.layer_norm_backward(np.ones((1, 2)), x, gamma, mean, rstd)
        >>> dgamma.round(3), dbeta
        (array([-1.,  1.]), array([1., 1.]))
        """
        shape = checks.normalized("dy", dy, axis=1)
        arrays, outputs = (dy, x, gamma, mean, rstd), (dx, dgamma, dbeta)
        return self._backward(self.raw.layer_norm_backward, shape, shape[0], arrays, accumulate, outputs, n_threads)

    def batch_norm_forward(
        self,
        x: Floats,
        gamma: Floats,
        beta: Floats,
        epsilon: float = 1e-5,
        y: Floats | None = None,
        mean: Floats | None = None,
        rstd: Floats | None = None,
        n_threads: int = 1,
    ) -> tuple[Floats, Floats, Floats]:
        """Batch normalisation in training: ``y = (x - mean) * rstd * gamma + beta`` with the mean and variance of every column.

        ``mean_j = sum_i x_ij / n``; ``rstd_j = 1 / sqrt(sum_i (x_ij - mean_j)^2 / n + epsilon)``. The variance is the biased one,
        computed in two passes and summed in blocks of rows, so that rounding errors grow with the number of blocks, not of rows.

        Parameters
        ----------
        x : ndarray, shape (n, n_units), float32 or float64
            The inputs. A column that contains a NaN or infinity gives a column of NaN.
        gamma : ndarray, shape (n_units,), dtype of x
            The scale of every column.
        beta : ndarray, shape (n_units,), dtype of x
            The shift of every column.
        epsilon : float
            Added to the variance; > 0, in units of x squared. The variance of the batch is ``1 / rstd^2 - epsilon``.
        y : ndarray, shape (n, n_units), optional
            Overwritten with the result. Must overlap neither the inputs nor the other outputs.
        mean : ndarray, shape (n_units,), optional
            Overwritten with the mean of every column.
        rstd : ndarray, shape (n_units,), optional
            Overwritten with the reciprocal standard deviation of every column.
        n_threads : int
            Number of threads. The result does not depend on it.

        Returns
        -------
        y : ndarray, shape (n, n_units)
            The normalised columns.
        mean : ndarray, shape (n_units,)
            The mean of every column, for the backward and for running statistics.
        rstd : ndarray, shape (n_units,)
            The reciprocal standard deviation of every column, also for both.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or x has no rows; nothing was changed then.

        References
        ----------
        Ioffe and Szegedy, *Batch normalization: accelerating deep network training by reducing internal covariate shift* (2015),
        algorithm 1; Chan, Golub, LeVeque, *Algorithms for computing the sample variance* (1983) for the two passes.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> y, mean, rstd = kernels.batch_norm_forward(np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1))
        >>> y.round(3).ravel(), mean
        (array([-1.,  1.]), array([2.]))
        """
        shape = checks.normalized("x", x, axis=0)
        return self._forward(self.raw.batch_norm_forward, shape, shape[1], (x, gamma, beta), epsilon, (y, mean, rstd), n_threads)

    def batch_norm_backward(
        self,
        dy: Floats,
        x: Floats,
        gamma: Floats,
        mean: Floats,
        rstd: Floats,
        accumulate: bool = False,
        dx: Floats | None = None,
        dgamma: Floats | None = None,
        dbeta: Floats | None = None,
        n_threads: int = 1,
    ) -> tuple[Floats, Floats, Floats]:
        """Backward of `batch_norm_forward`, through the statistics as well.

        With ``x_hat = (x - mean) * rstd``:
        ``dx = gamma * rstd * (dy - mean_i dy - x_hat * mean_i (dy * x_hat))``, the means over the column;
        ``dgamma = sum_i dy * x_hat``; ``dbeta = sum_i dy``.

        Parameters
        ----------
        dy : ndarray, shape (n, n_units), float32 or float64
            Gradient of the loss with respect to y.
        x : ndarray, shape (n, n_units), dtype of dy
            Input of the forward.
        gamma : ndarray, shape (n_units,), dtype of dy
            The scale in the forward.
        mean : ndarray, shape (n_units,), dtype of dy
            The second result of the forward.
        rstd : ndarray, shape (n_units,), dtype of dy
            The third result of the forward.
        accumulate : bool
            Add to ``dgamma`` and ``dbeta``, which then must be given, instead of overwriting them. ``dx`` is overwritten.
        dx : ndarray, shape (n, n_units), optional
            Overwritten with the gradient with respect to x. Must overlap neither the inputs nor the other outputs.
        dgamma : ndarray, shape (n_units,), optional
            Overwritten with the gradient with respect to gamma. Must overlap no input and no other output.
        dbeta : ndarray, shape (n_units,), optional
            Overwritten with the gradient with respect to beta. Must overlap no input and no other output.
        n_threads : int
            Number of threads. The result does not depend on it.

        Returns
        -------
        dx : ndarray, shape (n, n_units)
            Gradient with respect to x.
        dgamma : ndarray, shape (n_units,)
            Gradient with respect to gamma.
        dbeta : ndarray, shape (n_units,)
            Gradient with respect to beta.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or dy has no rows; nothing was changed then.

        References
        ----------
        Ioffe and Szegedy, *Batch normalization* (2015), section 3.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> x, gamma, beta = np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1)
        >>> y, mean, rstd = kernels.batch_norm_forward(x, gamma, beta)
        >>> dx, dgamma, dbeta = kernels.batch_norm_backward(np.array([[0.0], [1.0]]), x, gamma, mean, rstd)
        >>> dgamma.round(3), dbeta
        (array([1.]), array([1.]))
        """
        shape = checks.normalized("dy", dy, axis=0)
        arrays, outputs = (dy, x, gamma, mean, rstd), (dx, dgamma, dbeta)
        return self._backward(self.raw.batch_norm_backward, shape, shape[1], arrays, accumulate, outputs, n_threads)

    def batch_norm_inference(
        self,
        x: Floats,
        gamma: Floats,
        beta: Floats,
        running_mean: Floats,
        running_var: Floats,
        epsilon: float = 1e-5,
        out: Floats | None = None,
        n_threads: int = 1,
    ) -> Floats:
        """Batch normalisation in evaluation: ``y = (x - running_mean) / sqrt(running_var + epsilon) * gamma + beta``.

        Parameters
        ----------
        x : ndarray, shape (n, n_units), float32 or float64
            The rows to normalise.
        gamma : ndarray, shape (n_units,), dtype of x
            The scale of every column.
        beta : ndarray, shape (n_units,), dtype of x
            The shift of every column.
        running_mean : ndarray, shape (n_units,), dtype of x
            Mean of every column as estimated in training.
        running_var : ndarray, shape (n_units,), dtype of x
            Variance of every column as estimated in training. A variance below -epsilon gives NaN.
        epsilon : float
            Added to the variance; > 0, in units of x squared.
        out : ndarray, shape (n, n_units), optional
            Overwritten with the result; may be ``x`` itself.
        n_threads : int
            Number of threads. The result does not depend on it.

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
        Ioffe and Szegedy, *Batch normalization* (2015), algorithm 2.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> one, zero = np.ones(1), np.zeros(1)
        >>> kernels.batch_norm_inference(np.array([[1.0], [3.0]]), one, zero, np.array([2.0]), one).round(3)
        array([[-1.],
               [ 1.]])
        """
        shape = checks.matrix("x", x)
        epsilon, n_threads = checks.real("epsilon", epsilon), checks.threads(n_threads)
        inputs = {"x": x, "gamma": gamma, "beta": beta, "running_mean": running_mean, "running_var": running_var}
        for name in list(inputs)[1:]:
            checks.like(name, inputs[name], shape[1:], "x", x)
        y = checks.output("out", out, shape, x, inputs, in_place_of="x")
        arrays = (checks.c_order(name, array) for name, array in inputs.items())
        self.raw.batch_norm_inference(*arrays, epsilon, y, n_threads)
        return y

    def _forward(self, raw, shape, n_statistics, arrays, epsilon, outputs, n_threads):
        """(y, mean, rstd) of either norm; ``n_statistics`` is the number of rows or of columns."""
        epsilon, n_threads = checks.real("epsilon", epsilon), checks.threads(n_threads)
        inputs = dict(zip(("x", "gamma", "beta"), arrays, strict=True))
        for name in ("gamma", "beta"):
            checks.like(name, inputs[name], shape[1:], "x", inputs["x"])
        shapes = {"y": shape, "mean": (n_statistics,), "rstd": (n_statistics,)}
        outputs = _outputs(shapes, outputs, inputs["x"], inputs)
        raw(*(checks.c_order(name, array) for name, array in inputs.items()), epsilon, *outputs, n_threads)
        return outputs

    def _backward(self, raw, shape, n_statistics, arrays, accumulate, outputs, n_threads):
        """(dx, dgamma, dbeta) of either norm."""
        accumulate, n_threads = checks.flag("accumulate", accumulate), checks.threads(n_threads)
        inputs = dict(zip(("dy", "x", "gamma", "mean", "rstd"), arrays, strict=True))
        shapes = {"x": shape, "gamma": shape[1:], "mean": (n_statistics,), "rstd": (n_statistics,)}
        for name, expected in shapes.items():
            checks.like(name, inputs[name], expected, "dy", inputs["dy"])
        if accumulate and any(output is None for output in outputs[1:]):
            raise ValueError("dgamma and dbeta must be given with accumulate=True; got None")
        shapes = {"dx": shape, "dgamma": shape[1:], "dbeta": shape[1:]}
        outputs = _outputs(shapes, outputs, inputs["dy"], inputs)
        raw(*(checks.c_order(name, array) for name, array in inputs.items()), accumulate, *outputs, n_threads)
        return outputs


def _outputs(shapes, outputs, first, inputs):
    """The arrays to write to, in the order of ``shapes``, a dict name -> shape; none may overlap an input or another output."""
    written, others = [], dict(inputs)
    for (name, shape), out in zip(shapes.items(), outputs, strict=True):
        written.append(checks.output(name, out, shape, first, others))
        others[name] = out
    return tuple(written)
