"""Optimizers, with PyTorch's names and formulas: each step is one kernel for each parameter."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..annotations import ArrayLike, Floats
from .module import raw
from .parameter import Parameter, writeable


class Optimizer:
    """Base of the optimizers.

    Parameters
    ----------
    params : iterable of Parameter
        ``model.parameters()``, or some of them.
    lr : float
        The learning rate, not negative; may be changed at any time.
    weight_decay : float
        Not negative; what it does is in the subclass.

    Attributes
    ----------
    parameters : tuple of Parameter
        What `step` changes.
    state : tuple of tuple of ndarray
        For every parameter the arrays that the optimizer remembers, shaped like it. What is assigned is copied into them.
    t : int
        Number of steps done.
    """

    n_threads: int = 1
    n_slots: int = 1

    def __init__(self, params: Iterable[Parameter], lr: float, weight_decay: float) -> None:
        self.parameters = tuple(params)
        if not self.parameters or not all(isinstance(p, Parameter) for p in self.parameters):
            raise TypeError("params must be parameters, such as model.parameters(), at least one")
        self.lr: float = lr
        self.weight_decay = float(weight_decay)
        if not self.lr >= 0 or not self.weight_decay >= 0:
            raise ValueError(f"lr and weight_decay must not be negative; got {lr} and {weight_decay}")
        self.t = 0
        self._own(tuple(tuple(np.zeros_like(p.data) for _ in range(self.n_slots)) for p in self.parameters))

    def __setattr__(self, name, value):
        if name == "parameters" and name in vars(self):
            raise AttributeError("parameters of an optimizer cannot be replaced: make another optimizer")
        super().__setattr__(name, value)

    def _own(self, state):
        # Neither a parameter's data nor an array of the state is ever replaced, so their flat views can be kept.
        self._state = state
        arrays = ([p.data, *slots] for p, slots in zip(self.parameters, state, strict=True))
        self._flat = [[array.reshape(-1) for array in group] for group in arrays]

    @property
    def state(self) -> tuple[tuple[Floats, ...], ...]:
        """For every parameter the arrays that the optimizer remembers; what is assigned is copied into them."""
        return self._state

    @state.setter
    def state(self, values: Iterable[Iterable[ArrayLike]]) -> None:
        values = [[np.asarray(array) for array in slots] for slots in values]
        own, given = ([[array.shape for array in slots] for slots in state] for state in (self._state, values))
        if own != given:
            raise ValueError(f"state must hold arrays of the shapes {own}, a list for each parameter; got {given}")
        for mine, theirs in zip(self._state, values, strict=True):
            for array, new in zip(mine, theirs, strict=True):
                array[...] = new

    def step(self) -> None:
        """Change every parameter by its gradient; parameters without a gradient stay as they are."""
        self.t += 1
        for parameter, (data, *slots) in zip(self.parameters, self._flat, strict=True):
            grad = parameter.grad
            if grad is not None:
                self._update(data, grad.reshape(-1), *slots)

    def zero_grad(self) -> None:
        """Set all gradients to zero: needed before ``backward(..., accumulate=True)``, as others overwrite them."""
        for parameter in self.parameters:
            parameter.grad_buffer()[...] = 0

    def _update(self, data: Floats, grad: Floats, *slots: Floats) -> None:
        raise NotImplementedError

    # Views do not survive a pickle or a deep copy as views.

    def __getstate__(self):
        kept = {name: value for name, value in vars(self).items() if name not in ("_flat", "_state")}
        return kept | {"state": self._state}

    def __setstate__(self, state):
        state = dict(state)
        arrays, parameters = state.pop("state"), tuple(state["parameters"])
        vars(self).update(state, parameters=parameters)
        self._own(tuple(tuple(writeable(array) for array in slots) for slots in arrays))

    def __repr__(self) -> str:
        hidden = ("parameters", "t", "_state", "_flat")
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items() if k not in hidden)})"


class SGD(Optimizer):
    """Gradient descent: with g = grad + weight_decay * p, ``v = momentum * v + g``; ``p -= lr * v``.

    Nesterov's momentum is ``p -= lr * (g + momentum * v)``. It is ``torch.optim.SGD`` without dampening.

    Parameters
    ----------
    params : iterable of Parameter
        As in `Optimizer`.
    lr : float
        As in `Optimizer`.
    momentum : float
        In [0, 1].
    weight_decay : float
        As in `Optimizer`, for all parameters, biases included.
    nesterov : bool
        Whether to use Nesterov's momentum.

    References
    ----------
    Sutskever, Martens, Dahl, Hinton, *On the importance of initialization and momentum in deep learning* (2013).
    """

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 1e-3,
        momentum: float = 0.0,
        *,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        if not 0 <= momentum <= 1 or (nesterov and momentum == 0):
            raise ValueError(f"momentum must be in [0, 1], and above 0 for nesterov; got {momentum!r}")
        self.momentum, self.nesterov = float(momentum), bool(nesterov)

    def _update(self, data, grad, velocity):
        raw.momentum_update(data, grad, velocity, self.lr, self.momentum, self.nesterov, self.weight_decay, self.n_threads)


class Adam(Optimizer):
    """Adam: ``m = b1 m + (1 - b1) g``; ``v = b2 v + (1 - b2) g^2``; ``p -= lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps)``.

    g = grad + weight_decay * p. The literature has two places for eps, and they differ by the factor sqrt(1 - b2^t), which is 0.03
    in the first step and tends to 1; so they only matter where gradients are not much larger than eps.

    Parameters
    ----------
    params : iterable of Parameter
        As in `Optimizer`.
    lr : float
        As in `Optimizer`.
    betas : (float, float)
        The decay rates b1 and b2, in [0, 1).
    eps : float
        Above 0; ``eps_hat`` says where it is added.
    weight_decay : float
        As in `Optimizer`.
    eps_hat : bool
        False: eps as above, in algorithm 1 of the paper and in ``torch.optim.Adam``. True: eps is the paper's epsilon-hat (end of
        its section 2), ``p -= lr sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps)``, as in scikit-learn, Keras and
        `fastprop.MLPClassifier`. The default is True, because it is the one form of the compiled loop: `Sequential.fit` then runs
        whole epochs in one call and gives the estimator's numbers. To repeat a run of PyTorch's, pass False.

    References
    ----------
    Kingma and Ba, *Adam: a method for stochastic optimization* (2015).
    """

    n_slots = 2

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        eps_hat: bool = True,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        self.betas = float(betas[0]), float(betas[1])
        self.eps, self.eps_hat = float(eps), bool(eps_hat)
        if not (0 <= self.betas[0] < 1 and 0 <= self.betas[1] < 1 and self.eps > 0):
            raise ValueError(f"betas must be in [0, 1) and eps above 0; got {betas} and {eps}")

    def _update(self, data, grad, m, v):
        arguments = data, grad, m, v, self.lr, *self.betas, self.eps, self.t
        if self.eps_hat:
            raw.adam_update(*arguments, self.weight_decay, self.n_threads)
        else:
            raw.adamw_update(*arguments, 0.0, self.weight_decay, self.n_threads)


class AdamW(Adam):
    """Adam with decoupled weight decay: ``p *= 1 - lr * weight_decay`` before Adam's step, whose g is the gradient alone.

    The form is that of ``torch.optim.AdamW``.

    Parameters
    ----------
    params : iterable of Parameter
        As in `Optimizer`.
    lr : float
        As in `Optimizer`.
    betas : (float, float)
        The decay rates b1 and b2, in [0, 1).
    eps : float
        Above 0, added as in algorithm 1 of Adam's paper.
    weight_decay : float
        Not negative, for all parameters, biases included.

    References
    ----------
    Loshchilov and Hutter, *Decoupled weight decay regularization* (2019).
    """

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, eps_hat=False)

    def _update(self, data, grad, m, v):
        arguments = data, grad, m, v, self.lr, *self.betas, self.eps, self.t
        raw.adamw_update(*arguments, self.weight_decay, 0.0, self.n_threads)


class RMSprop(Optimizer):
    """RMSprop: with g = grad + weight_decay * p, ``v = alpha v + (1 - alpha) g^2``; ``p -= lr * g / (sqrt(v) + eps)``.

    It is ``torch.optim.RMSprop`` without momentum and centring.

    Parameters
    ----------
    params : iterable of Parameter
        As in `Optimizer`.
    lr : float
        As in `Optimizer`.
    alpha : float
        In [0, 1).
    eps : float
        Above 0.
    weight_decay : float
        As in `Optimizer`.

    References
    ----------
    Tieleman and Hinton, *Lecture 6.5 - rmsprop*, Coursera: Neural networks for machine learning (2012).
    """

    def __init__(
        self, params: Iterable[Parameter], lr: float = 0.01, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, lr, weight_decay)
        self.alpha, self.eps = float(alpha), float(eps)
        if not (0 <= self.alpha < 1 and self.eps > 0):
            raise ValueError(f"alpha must be in [0, 1) and eps above 0; got {alpha} and {eps}")

    def _update(self, data, grad, square_avg):
        raw.rmsprop_update(data, grad, square_avg, self.lr, self.alpha, self.eps, self.weight_decay, self.n_threads)
