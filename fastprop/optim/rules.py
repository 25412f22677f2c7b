"""The optimizers' formulas, with PyTorch's names, and scikit-learn's form of gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .base import Optimizer

if TYPE_CHECKING:
    from ..network import Network
    from ..nn import Parameter


class SGD(Optimizer):
    """Gradient descent: with g = grad + weight_decay * p, ``v = momentum * v + g``; ``p -= lr * v``.

    With Nesterov's momentum, ``p -= lr * (g + momentum * v)``. The same as ``torch.optim.SGD`` without dampening.

    Parameters
    ----------
    params : iterable of Parameter, or Network
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

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> weight = nn.Parameter([1.0, 2.0])
    >>> weight.grad = np.array([1.0, -1.0])
    >>> nn.SGD([weight], lr=0.5, momentum=0.9).step()
    >>> weight.data
    array([0.5, 2.5])
    """

    name = "momentum"

    def __init__(
        self,
        params: Iterable[Parameter] | Network,
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

    @property
    def hyper(self) -> NDArray[np.float64]:
        return self._hyper(self.momentum, self.nesterov)


class StepSGD(Optimizer):
    """Gradient descent as in scikit-learn: with g = grad + weight_decay * p, ``v = momentum * v - lr * g``; ``p += v``.

    With Nesterov's momentum, ``p += momentum * v - lr * g``. The velocity v sums steps, which include lr, while that of `SGD` sums
    gradients, so the two differ if lr changes.

    Parameters
    ----------
    params : iterable of Parameter, or Network
        As in `Optimizer`.
    lr : float
        As in `Optimizer`.
    momentum : float
        In [0, 1].
    weight_decay : float
        As in `Optimizer`, for all parameters, biases included.
    nesterov : bool
        Whether to use Nesterov's momentum.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn, optim
    >>> weight = nn.Parameter([1.0, 2.0])
    >>> weight.grad = np.array([1.0, -1.0])
    >>> optim.StepSGD([weight], lr=0.5).step()
    >>> weight.data
    array([0.05, 2.95])
    """

    name = "sgd"

    def __init__(
        self,
        params: Iterable[Parameter] | Network,
        lr: float = 1e-3,
        momentum: float = 0.9,
        *,
        weight_decay: float = 0.0,
        nesterov: bool = True,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must be in [0, 1]; got {momentum!r}")
        self.momentum, self.nesterov = float(momentum), bool(nesterov)

    @property
    def hyper(self) -> NDArray[np.float64]:
        return self._hyper(self.momentum, self.nesterov)


class Adam(Optimizer):
    """Adam: ``m = b1 m + (1 - b1) g``; ``v = b2 v + (1 - b2) g^2``; ``p -= lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps)``.

    g = grad + weight_decay * p. Two conventions exist for where eps is added (see ``eps_hat``). They differ by a factor
    sqrt(1 - b2^t) of eps, which is 0.03 in the first step for b2 = 0.999 and tends to 1. So the difference only matters if
    gradients are not much larger than eps.

    Parameters
    ----------
    params : iterable of Parameter, or Network
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
        `fastprop.MLPClassifier`. With the default, True, `Module.fit` computes the same steps as the estimators. To reproduce a
        run of PyTorch, pass False.

    References
    ----------
    Kingma and Ba, *Adam: a method for stochastic optimization* (2015).

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> weight = nn.Parameter([1.0, 2.0])
    >>> weight.grad = np.array([10.0, -0.1])
    >>> nn.Adam([weight], lr=0.5).step()
    >>> weight.data.round(4)
    array([0.5, 2.5])
    """

    eps_hat = True

    def __init__(
        self,
        params: Iterable[Parameter] | Network,
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

    @property
    def name(self) -> str:  # type: ignore[override]
        """Which of the two formulas: 'adam' or 'adamw'."""
        return "adam" if self.eps_hat else "adamw"

    @property
    def hyper(self) -> NDArray[np.float64]:
        return self._hyper(*self.betas, self.eps)


class AdamW(Adam):
    """Adam with decoupled weight decay: ``p *= 1 - lr * weight_decay`` before Adam's step, where g is the gradient alone.

    The same as ``torch.optim.AdamW``.

    Parameters
    ----------
    params : iterable of Parameter, or Network
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

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> weight = nn.Parameter([[1.0, 2.0]])
    >>> weight.grad = np.zeros((1, 2))
    >>> nn.AdamW([weight], lr=0.5, weight_decay=0.1).step()
    >>> weight.data
    array([[0.95, 1.9 ]])
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Parameter] | Network,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, eps_hat=False)


class RMSprop(Optimizer):
    """RMSprop: with g = grad + weight_decay * p, ``v = alpha v + (1 - alpha) g^2``; ``p -= lr * g / (sqrt(v) + eps)``.

    The same as ``torch.optim.RMSprop`` without momentum and centring.

    Parameters
    ----------
    params : iterable of Parameter, or Network
        As in `Optimizer`.
    lr : float
        As in `Optimizer`.
    alpha : float
        The decay rate of v, in [0, 1).
    eps : float
        Added to the square root of v; above 0.
    weight_decay : float
        As in `Optimizer`.

    References
    ----------
    Tieleman and Hinton, *Lecture 6.5 - rmsprop*, Coursera: Neural networks for machine learning (2012).

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import nn
    >>> weight = nn.Parameter([1.0, 2.0])
    >>> weight.grad = np.array([10.0, -0.1])
    >>> nn.RMSprop([weight], lr=0.1, alpha=0.75).step()
    >>> weight.data.round(4)
    array([0.8, 2.2])
    """

    name = "rmsprop"

    def __init__(
        self,
        params: Iterable[Parameter] | Network,
        lr: float = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        self.alpha, self.eps = float(alpha), float(eps)
        if not (0 <= self.alpha < 1 and self.eps > 0):
            raise ValueError(f"alpha must be in [0, 1) and eps above 0; got {alpha} and {eps}")

    @property
    def hyper(self) -> NDArray[np.float64]:
        return self._hyper(self.alpha, self.eps)
