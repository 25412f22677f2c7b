"""The public kernels of updates: one step of an optimizer on an array of parameters, in place."""

from __future__ import annotations

import numpy as np

from . import checks
from .annotations import Floats
from .spec import OPTIMIZER_CODES


class UpdateKernels:
    """The steps of the optimizers."""

    def _update(self, optimizer, params, grad, state, hyper, step, n_threads):
        """Check the arrays, and update ``params`` and the arrays of ``state``, a dict name -> array."""
        n_threads = checks.threads(n_threads)
        checks.floats("params", params)
        checks.like("grad", grad, params.shape, "params", params)
        slots = checks.updated({"params": params} | state, params, {"grad": grad})
        if len(slots) == 2:
            slots.append(slots[0][:0])
        params, *slots = slots
        grad = checks.c_order("grad", grad).reshape(-1)
        hyper = np.array(hyper, dtype=np.float64)
        self.raw.update(OPTIMIZER_CODES[optimizer], params, grad, *slots, hyper, step, n_threads)

    def sgd_update(
        self,
        params: Floats,
        grad: Floats,
        velocity: Floats,
        lr: float,
        momentum: float = 0.9,
        nesterov: bool = True,
        l2: float = 0.0,
        n_threads: int = 1,
    ) -> None:
        """One step of gradient descent with momentum, in place, where g = grad + l2 * params.

        ``velocity = momentum * velocity - lr * g``; then ``params += velocity``, or with Nesterov's momentum
        ``params += momentum * velocity - lr * g``.

        Parameters
        ----------
        params : ndarray of any shape, float32 or float64, C-contiguous
            Updated in place.
        grad : ndarray, shape and dtype of params
            The gradient; not changed.
        velocity : ndarray, shape and dtype of params, C-contiguous
            The memory of the optimizer, zeros before the first step. Updated in place.
        lr : float
            Learning rate >= 0.
        momentum : float
            In [0, 1].
        nesterov : bool
            Whether to use Nesterov's momentum.
        l2 : float
            Factor of the parameters in g, >= 0.
        n_threads : int
            Number of threads.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or two of the arrays overlap; nothing was changed then.

        References
        ----------
        Sutskever, Martens, Dahl, Hinton, *On the importance of initialization and momentum in deep learning* (2013).

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> params, velocity = np.array([1.0, 2.0]), np.zeros(2)
        >>> kernels.sgd_update(params, np.array([1.0, -1.0]), velocity, lr=0.5)
        >>> params
        array([0.05, 2.95])
        """
        rates = checks.real("lr", lr), checks.real("momentum", momentum), checks.flag("nesterov", nesterov)
        hyper = rates[0], checks.real("l2", l2), 0.0, *rates[1:]
        self._update("sgd", params, grad, {"velocity": velocity}, hyper, 1, n_threads)

    def momentum_update(
        self,
        params: Floats,
        grad: Floats,
        velocity: Floats,
        lr: float,
        momentum: float = 0.9,
        nesterov: bool = False,
        l2: float = 0.0,
        n_threads: int = 1,
    ) -> None:
        """One step of gradient descent with momentum in PyTorch's form, in place, where g = grad + l2 * params.

        ``velocity = momentum * velocity + g``; then ``params -= lr * velocity``, or with Nesterov's momentum
        ``params -= lr * (g + momentum * velocity)``. Here the velocity sums gradients; in `sgd_update` it sums steps. Both give the
        same steps while lr is constant. After a change, lr applies to the whole velocity here, but only to new gradients in
        `sgd_update`.

        Parameters
        ----------
        params : ndarray of any shape, float32 or float64, C-contiguous
            Updated in place.
        grad : ndarray, shape and dtype of params
            The gradient; not changed.
        velocity : ndarray, shape and dtype of params, C-contiguous
            The memory of the optimizer, zeros before the first step. Updated in place.
        lr : float
            Learning rate >= 0.
        momentum : float
            In [0, 1].
        nesterov : bool
            Whether to use Nesterov's momentum.
        l2 : float
            Factor of the parameters in g, >= 0.
        n_threads : int
            Number of threads.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or two of the arrays overlap; nothing was changed then.

        References
        ----------
        Sutskever, Martens, Dahl, Hinton, *On the importance of initialization and momentum in deep learning* (2013); the form of
        ``torch.optim.SGD`` without dampening.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> params, velocity = np.array([1.0, 2.0]), np.zeros(2)
        >>> kernels.momentum_update(params, np.array([1.0, -1.0]), velocity, lr=0.5, momentum=0.9)
        >>> params
        array([0.5, 2.5])
        """
        rates = checks.real("lr", lr), checks.real("momentum", momentum), checks.flag("nesterov", nesterov)
        hyper = rates[0], checks.real("l2", l2), 0.0, *rates[1:]
        self._update("momentum", params, grad, {"velocity": velocity}, hyper, 1, n_threads)

    def rmsprop_update(
        self,
        params: Floats,
        grad: Floats,
        square_avg: Floats,
        lr: float,
        alpha: float = 0.99,
        epsilon: float = 1e-8,
        l2: float = 0.0,
        n_threads: int = 1,
    ) -> None:
        """One step of RMSprop, in place, where g = grad + l2 * params.

        ``square_avg = alpha * square_avg + (1 - alpha) * g^2``; ``params -= lr * g / (sqrt(square_avg) + epsilon)``.

        Parameters
        ----------
        params : ndarray of any shape, float32 or float64, C-contiguous
            Updated in place.
        grad : ndarray, shape and dtype of params
            The gradient; not changed.
        square_avg : ndarray, shape and dtype of params, C-contiguous
            The memory of the optimizer, zeros before the first step. Updated in place. A negative element gives NaN.
        lr : float
            Learning rate >= 0.
        alpha : float
            Decay rate in [0, 1).
        epsilon : float
            Added to the square root; > 0.
        l2 : float
            Factor of the parameters in g, >= 0.
        n_threads : int
            Number of threads.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or two of the arrays overlap; nothing was changed then.

        References
        ----------
        Tieleman and Hinton, *Lecture 6.5 - rmsprop*, Coursera: Neural networks for machine learning (2012); the form of
        ``torch.optim.RMSprop``, with epsilon outside the root.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> params, square_avg = np.array([1.0, 2.0]), np.zeros(2)
        >>> kernels.rmsprop_update(params, np.array([10.0, -0.1]), square_avg, lr=0.1, alpha=0.75)
        >>> params.round(4)
        array([0.8, 2.2])
        """
        rates = checks.real("lr", lr), checks.real("alpha", alpha, "decay"), checks.real("epsilon", epsilon)
        hyper = rates[0], checks.real("l2", l2), 0.0, *rates[1:]
        self._update("rmsprop", params, grad, {"square_avg": square_avg}, hyper, 1, n_threads)

    def adam_update(
        self,
        params: Floats,
        grad: Floats,
        m: Floats,
        v: Floats,
        lr: float,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        step: int = 1,
        l2: float = 0.0,
        n_threads: int = 1,
    ) -> None:
        """One step of Adam, in place, where g = grad + l2 * params.

        ``m = beta_1 m + (1 - beta_1) g``; ``v = beta_2 v + (1 - beta_2) g^2``;
        ``params -= lr sqrt(1 - beta_2^step) / (1 - beta_1^step) * m / (sqrt(v) + epsilon)``.

        Parameters
        ----------
        params : ndarray of any shape, float32 or float64, C-contiguous
            Updated in place.
        grad : ndarray, shape and dtype of params
            The gradient; not changed.
        m : ndarray, shape and dtype of params, C-contiguous
            Running mean of g, zeros before the first step. Updated in place.
        v : ndarray, shape and dtype of params, C-contiguous
            Running mean of g^2, zeros before the first step. Updated in place. A negative element gives NaN.
        lr : float
            Learning rate >= 0.
        beta_1 : float
            Decay rate of m, in [0, 1).
        beta_2 : float
            Decay rate of v, in [0, 1).
        epsilon : float
            Added to the square root of v before its bias correction; > 0.
        step : int
            The number of the step, counted from 1.
        l2 : float
            Factor of the parameters in g, >= 0.
        n_threads : int
            Number of threads.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or two of the arrays overlap; nothing was changed then.

        References
        ----------
        Kingma and Ba, *Adam: a method for stochastic optimization* (2015), the form at the end of section 2.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> params, m, v = np.array([1.0, 2.0]), np.zeros(2), np.zeros(2)
        >>> kernels.adam_update(params, np.array([10.0, -0.1]), m, v, lr=0.5, step=1)
        >>> params.round(4)  # the first step has the length lr
        array([0.5, 2.5])
        """
        rates = checks.real("lr", lr), checks.real("beta_1", beta_1), checks.real("beta_2", beta_2)
        epsilon, step = checks.real("epsilon", epsilon), checks.integer("step", step, 1)
        hyper = rates[0], checks.real("l2", l2), 0.0, *rates[1:], epsilon
        self._update("adam", params, grad, {"m": m, "v": v}, hyper, step, n_threads)

    def adamw_update(
        self,
        params: Floats,
        grad: Floats,
        m: Floats,
        v: Floats,
        lr: float,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        step: int = 1,
        weight_decay: float = 0.01,
        l2: float = 0.0,
        n_threads: int = 1,
    ) -> None:
        """One step of Adam in PyTorch's form with decoupled weight decay, in place, where g = grad + l2 * params.

        ``params *= 1 - lr * weight_decay``; ``m = beta_1 m + (1 - beta_1) g``; ``v = beta_2 v + (1 - beta_2) g^2``;
        ``params -= lr / (1 - beta_1^step) * m / (sqrt(v) / sqrt(1 - beta_2^step) + epsilon)``. With ``weight_decay=0`` it is
        ``torch.optim.Adam``, for which l2 is the weight decay. `adam_update` differs in that epsilon is added before the bias
        correction.

        Parameters
        ----------
        params : ndarray of any shape, float32 or float64, C-contiguous
            Updated in place.
        grad : ndarray, shape and dtype of params
            The gradient; not changed.
        m : ndarray, shape and dtype of params, C-contiguous
            Running mean of g, zeros before the first step. Updated in place.
        v : ndarray, shape and dtype of params, C-contiguous
            Running mean of g^2, zeros before the first step. Updated in place. A negative element gives NaN.
        lr : float
            Learning rate >= 0.
        beta_1 : float
            Decay rate of m, in [0, 1).
        beta_2 : float
            Decay rate of v, in [0, 1).
        epsilon : float
            Added to the square root of v after its bias correction; > 0.
        step : int
            The number of the step, counted from 1.
        weight_decay : float
            Factor of lr * params in the step, separate from g and its moments; >= 0.
        l2 : float
            Factor of the parameters, as they are before the decay, in g; >= 0.
        n_threads : int
            Number of threads.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or two of the arrays overlap; nothing was changed then.

        References
        ----------
        Loshchilov and Hutter, *Decoupled weight decay regularization* (2019), algorithm 2 with the schedule multiplier in lr.

        Examples
        --------
        >>> import numpy as np
        >>> from fastprop import kernels
        >>> params, m, v = np.array([1.0, 2.0]), np.zeros(2), np.zeros(2)
        >>> kernels.adamw_update(params, np.zeros(2), m, v, lr=0.5, step=1, weight_decay=0.1)
        >>> params  # the decay alone
        array([0.95, 1.9 ])
        """
        rates = checks.real("lr", lr), checks.real("beta_1", beta_1), checks.real("beta_2", beta_2)
        epsilon, step = checks.real("epsilon", epsilon), checks.integer("step", step, 1)
        hyper = rates[0], checks.real("l2", l2), checks.real("weight_decay", weight_decay), *rates[1:], epsilon
        self._update("adamw", params, grad, {"m": m, "v": v}, hyper, step, n_threads)
