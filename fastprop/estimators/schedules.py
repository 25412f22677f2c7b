"""scikit-learn's learning rates, beside an optimizer of `fastprop.optim`: together they are the estimators' ``_optimizer``.

The attributes have scikit-learn's names, as scripts read them.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .. import optim
from ..annotations import Floats
from ..kernels.spec import OPTIMIZERS
from ..network import Network

# Below this learning rate the adaptive schedule stops instead of dividing further (scikit-learn's number).
SMALLEST_ADAPTIVE_RATE = 1e-6


class ScheduledOptimizer:
    """An optimizer, ``rule``, and the learning rate that it has next.

    ``parameters`` are what scikit-learn's optimizer of the same kind is made with, by its names, and attributes here.
    """

    parameters: tuple[str, ...]
    rule: Any
    learning_rate_init: float

    @property
    def learning_rate(self) -> float:
        """The learning rate by itself, as scikit-learn has it."""
        raise NotImplementedError

    @property
    def t(self) -> int:
        """The number of updates done."""
        return self.rule.t

    def attach(self, network: Network) -> None:
        """Go on with a network whose parameters were replaced; its dtype may differ, its shapes may not."""
        self.rule.attach(network)

    def begin(self, n_samples_seen: int, n_samples: int, n_epochs: int, n_steps: int) -> NDArray[np.float64] | None:
        """Set the optimizer's rate for the next epochs of n_samples and n_steps each, and return factors of it for all steps, or
        None."""
        return None

    def iteration_ends(self, n_samples_seen: int) -> None:
        """Adapt the learning rate after an epoch."""

    def trigger_stopping(self, message: str, verbose: bool | int) -> bool:
        """What to do after epochs without improvement: True to stop, False to go on with another learning rate."""
        if verbose:
            print(message + " Stopping.")
        return True

    def as_dict(self) -> dict[str, Any]:
        """Everything it remembers, as Python and NumPy objects, uncopied; `from_dict` is the way back."""
        weights = [list(slots[0].shape) for slots in self.rule.state[::2]]
        sizes = [weights[0][0], *(n_out for _, n_out in weights)]
        fields = {name: getattr(self, name) for name in (*self.parameters, "learning_rate", "t")}
        return {"name": self.rule.name, **fields, "sizes": sizes, "memory": self.rule.memory}

    def slots(self) -> dict[str, list[Floats]]:
        """scikit-learn's name -> a row of the memory as scikit-learn lists it: for every weight array, then for every bias."""
        return {name: self._slot(i) for i, name in enumerate(SLOTS[self.rule.name])}

    def _slot(self, i):
        arrays = [slots[i] for slots in self.rule.state]
        return arrays[::2] + arrays[1::2]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in (*self.parameters, 't'))})"


class SGD(ScheduledOptimizer):
    """Gradient descent with momentum; between calls, ``learning_rate_init`` can be set, which scales the rate.

    ``learning_rate`` can be set, too, but not with 'invscaling', where it follows from ``learning_rate_init``.

    Parameters
    ----------
    rule : optim.StepSGD
        The optimizer.
    learning_rate_init : float
        The learning rate at first.
    lr_schedule : {'constant', 'invscaling', 'adaptive'}
        'invscaling' divides ``learning_rate_init`` by ``(samples seen + 1) ** power_t``; 'adaptive' divides the rate by 5 where
        training would stop otherwise.
    power_t : float
        Exponent of the schedule 'invscaling'.
    """

    parameters = ("learning_rate_init", "lr_schedule", "momentum", "nesterov", "power_t")

    def __init__(
        self,
        rule: optim.StepSGD,
        learning_rate_init: float,
        lr_schedule: Literal["constant", "invscaling", "adaptive"] = "constant",
        power_t: float = 0.5,
    ) -> None:
        self.rule, self.lr_schedule, self.power_t = rule, lr_schedule, power_t
        self._init = self._rate = float(learning_rate_init)

    @property
    def learning_rate_init(self) -> float:
        return self._init

    @learning_rate_init.setter
    def learning_rate_init(self, value):
        self._rate, self._init = value * (self._rate / self._init), value

    @property
    def learning_rate(self) -> float:
        return self._rate

    @learning_rate.setter
    def learning_rate(self, value):
        if self.lr_schedule == "invscaling":
            raise AttributeError(f"learning_rate of {self!r} follows from learning_rate_init: set that")
        self._rate = value

    @property
    def momentum(self) -> float:
        """The optimizer's."""
        return self.rule.momentum

    @property
    def nesterov(self) -> bool:
        """The optimizer's."""
        return self.rule.nesterov

    @property
    def velocities(self) -> list[Floats]:
        """The velocity of every weight array, then of every bias."""
        return self._slot(0)

    def begin(self, n_samples_seen, n_samples, n_epochs, n_steps):
        if self.lr_schedule != "invscaling":
            self.rule.lr = self._rate
            return None
        # The first epoch has the present rate. It may differ from the rate of the schedule at this step, as in the first fit.
        rates = [self._rate, *(self._scaled(n_samples_seen + i * n_samples) for i in range(1, n_epochs))]
        self.rule.lr = 1.0
        return np.repeat(rates, n_steps)

    def _scaled(self, n_samples_seen):
        return self._init / (n_samples_seen + 1) ** self.power_t

    def iteration_ends(self, n_samples_seen):
        if self.lr_schedule == "invscaling":
            self._rate = self._scaled(n_samples_seen)

    def trigger_stopping(self, message, verbose):
        if self.lr_schedule != "adaptive":
            return super().trigger_stopping(message, verbose)
        if self._rate <= SMALLEST_ADAPTIVE_RATE:
            return super().trigger_stopping(message + " Learning rate too small.", verbose)
        self._rate /= 5.0
        if verbose:
            print(message + f" Setting learning rate to {self._rate:f}")
        return False


class Adam(ScheduledOptimizer):
    """Adam, with a constant ``learning_rate_init``, which can be set between calls.

    ``learning_rate`` is what the last update used, with the bias corrections: scikit-learn has it as an attribute.

    Parameters
    ----------
    rule : optim.Adam
        The optimizer.
    """

    parameters = ("learning_rate_init", "beta_1", "beta_2", "epsilon")

    def __init__(self, rule: optim.Adam) -> None:
        self.rule = rule

    @property
    def learning_rate_init(self) -> float:
        return self.rule.lr

    @learning_rate_init.setter
    def learning_rate_init(self, value):
        self.rule.lr = value

    @property
    def learning_rate(self) -> float:
        t, (beta_1, beta_2) = self.t, self.rule.betas
        return self.rule.lr * math.sqrt(1 - beta_2**t) / (1 - beta_1**t) if t else self.rule.lr

    @learning_rate.setter
    def learning_rate(self, value):
        raise AttributeError(f"learning_rate of {self!r} follows from learning_rate_init: set that")

    @property
    def beta_1(self) -> float:
        """The optimizer's."""
        return self.rule.betas[0]

    @property
    def beta_2(self) -> float:
        """The optimizer's."""
        return self.rule.betas[1]

    @property
    def epsilon(self) -> float:
        """The optimizer's."""
        return self.rule.eps

    @property
    def ms(self) -> list[Floats]:
        """The mean gradient of every weight array, then of every bias."""
        return self._slot(0)

    @property
    def vs(self) -> list[Floats]:
        """The mean squared gradient of every weight array, then of every bias."""
        return self._slot(1)


# scikit-learn's names of an optimizer's rows of memory
SLOTS = {"adam": ("ms", "vs"), "sgd": ("velocities",)}


def new_optimizer(network: Network, name: Literal["adam", "sgd"], given: Any) -> ScheduledOptimizer:
    """For a network and an estimator's parameters, as attributes of ``given``."""
    if name == "adam":
        return Adam(optim.Adam(network, given.learning_rate_init, (given.beta_1, given.beta_2), given.epsilon))
    rule = optim.StepSGD(network, given.learning_rate_init, given.momentum, nesterov=given.nesterovs_momentum)
    return SGD(rule, given.learning_rate_init, given.learning_rate, given.power_t)


def from_dict(fields: dict[str, Any]) -> ScheduledOptimizer:
    """The optimizer that `ScheduledOptimizer.as_dict` described, by this version or an earlier one; it uses its array."""
    name = fields["name"]
    if "layers" in fields:  # earlier versions: a table (n, 7) that begins with n_in and n_out of each layer
        sizes, memory = [int(fields["layers"][0, 0]), *fields["layers"][:, 1].tolist()], fields["state"]
    else:
        sizes, memory = fields["sizes"], fields["memory"]
    memory = np.asarray(memory, memory.dtype.newbyteorder("="))
    network = Network(sizes, "identity", "squared_error", memory.dtype)
    if memory.shape != (OPTIMIZERS[name].n_slots, len(network.params)):
        raise ValueError(f"the memory of {name!r} for layers of sizes {sizes} does not have the shape {memory.shape}")
    if name == "adam":
        rule = optim.Adam(network, fields["learning_rate_init"], (fields["beta_1"], fields["beta_2"]), fields["epsilon"])
        made = Adam(rule)
    else:
        rule = optim.StepSGD(network, fields["learning_rate"], fields["momentum"], nesterov=fields["nesterov"])
        made = SGD(rule, fields["learning_rate_init"], fields["lr_schedule"], fields["power_t"])
        made._rate = fields["learning_rate"]
    rule.__setstate__({**rule.__getstate__(), "memory": memory, "t": int(fields["t"])})
    return made
