"""The estimators' ``_optimizer``: an optimizer of `fastprop.optim`, its learning rates, and what is stored with it.

The attributes have scikit-learn's names, because scripts read them.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .. import optim
from ..annotations import Floats
from ..kernels.spec import OPTIMIZERS
from ..network import Network
from .learning_rates import Schedule, schedule_of

# Below this learning rate the adaptive schedule stops instead of dividing further (scikit-learn's number).
SMALLEST_ADAPTIVE_RATE = 1e-6


@dataclass
class Masks:
    """What determines the masks of dropout: a seed for each hidden layer, and the number of updates before this optimizer."""

    seeds: list[int]
    n_updates: int = 0


@dataclass
class Averages:
    """The exponential moving average of a network's parameters, and the ``raw`` ones with which training continues.

    ``shown`` is the `fingerprint` of the parameters that the estimator had: if it has others, somebody has set them since.
    """

    average: Floats
    raw: Floats
    shown: str


def fingerprint(network):
    """A digest of a network's parameters."""
    return hashlib.sha256(network.params.tobytes()).hexdigest()


class ScheduledOptimizer:
    """An optimizer, ``rule``, and its next learning rate.

    ``parameters`` are the names of the arguments of scikit-learn's optimizer of the same kind; here they are attributes.
    ``n_epochs`` counts epochs, for the ``schedule`` that a fit sets.
    """

    parameters: tuple[str, ...]
    rule: Any
    learning_rate_init: float
    schedule: Schedule | None = None
    n_epochs = 0
    masks: Masks | None = None
    averages: Averages | None = None
    _last_rates: list[float] | None = None  # of epochs that have begun and not ended

    @property
    def learning_rate(self) -> float:
        """The learning rate without a schedule, as in scikit-learn."""
        raise NotImplementedError

    @property
    def t(self) -> int:
        """The number of updates done."""
        return self.rule.t

    def attach(self, network: Network) -> None:
        """Continue with a network whose parameters were replaced; the dtype may differ, the shapes must not."""
        self.rule.attach(network)

    @property
    def varies(self) -> bool:
        """Whether the learning rate changes."""
        return self.schedule is not None

    @property
    def has_planned_end(self) -> bool:
        """Whether the schedule is planned for all epochs up to the last one."""
        return self.schedule is not None and self.schedule.shape is not None

    def begin(self, n_samples_seen: int, n_samples: int, n_epochs: int, n_steps: int) -> NDArray[np.float64] | None:
        """Set the optimizer's rate for the next epochs of n_samples and n_steps each; return its factors for all steps, or None."""
        rates = self._rates(n_samples_seen, n_samples, n_epochs, n_steps)
        if self.schedule is not None:
            factors = self.schedule.factors(self.n_epochs, n_epochs, n_steps)
            rates = factors if rates is None else rates * factors
        last = np.ones(n_epochs) if rates is None else rates[n_steps - 1 :: n_steps]
        self._last_rates = (self.rule.lr * last).tolist() if self.varies else None
        return rates

    def _rates(self, n_samples_seen, n_samples, n_epochs, n_steps):
        """`begin`, without the schedule."""
        return None

    def iteration_ends(self, n_samples_seen: int) -> float:
        """Adapt the learning rate after an epoch, and return that of the epoch's last step."""
        self.n_epochs += 1
        return self._last_rates.pop(0) if self._last_rates else self.rule.lr

    def trigger_stopping(self, message: str, verbose: bool | int) -> bool:
        """What to do after epochs without improvement: True to stop, False to go on with another learning rate."""
        if verbose:
            print(message + " Stopping.")
        return True

    def as_dict(self) -> dict[str, Any]:
        """Its whole state as Python and NumPy objects, not copied; `from_dict` is the inverse."""
        shapes = [list(slots[0].shape) for slots in self.rule.state[::2]]
        weights = [shape for shape in shapes if len(shape) == 2]
        sizes = [weights[0][0], *(n_out for _, n_out in weights)]
        fields = {name: getattr(self, name) for name in (*self.parameters, "learning_rate", "t")}
        fields |= {name: vars(kept) for name in KEPT if (kept := getattr(self, name)) is not None}
        seldom = {"has_norms": len(weights) < len(shapes), "n_epochs": self.n_epochs}
        fields |= {name: value for name, value in seldom.items() if value}
        return {"name": self.rule.name, **fields, "sizes": sizes, "memory": self.rule.memory}

    def slots(self) -> dict[str, list[Floats]]:
        """scikit-learn's name -> a row of the memory in scikit-learn's form: an array for each weight, then for each bias."""
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
        The initial learning rate.
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

    @property
    def varies(self) -> bool:
        return self.schedule is not None or self.lr_schedule != "constant"

    def _rates(self, n_samples_seen, n_samples, n_epochs, n_steps):
        if self.lr_schedule != "invscaling":
            self.rule.lr = self._rate
            return None
        # The first epoch has the present rate, which may differ from the schedule's rate at this step, as in the first fit.
        rates = [self._rate, *(self._scaled(n_samples_seen + i * n_samples) for i in range(1, n_epochs))]
        self.rule.lr = 1.0
        return np.repeat(rates, n_steps)

    def _scaled(self, n_samples_seen):
        return self._init / (n_samples_seen + 1) ** self.power_t

    def iteration_ends(self, n_samples_seen):
        if self.lr_schedule == "invscaling":
            self._rate = self._scaled(n_samples_seen)
        return super().iteration_ends(n_samples_seen)

    def trigger_stopping(self, message, verbose):
        if self.lr_schedule != "adaptive":
            return super().trigger_stopping(message, verbose)
        if self._rate <= SMALLEST_ADAPTIVE_RATE:
            return super().trigger_stopping(message + " Learning rate too small.", verbose)
        self._rate /= 5.0
        if verbose:
            print(message + f" Setting learning rate to {self._rate:f}")
        return False


class AdaptiveOptimizer(ScheduledOptimizer):
    """Base of optimizers that divide by the root of the mean square: ``learning_rate_init`` is the optimizer's own rate.

    Parameters
    ----------
    rule : optim.Adam or optim.RMSprop
        The optimizer.
    """

    def __init__(self, rule: optim.Adam | optim.RMSprop) -> None:
        self.rule = rule

    @property
    def learning_rate_init(self) -> float:
        return self.rule.lr

    @learning_rate_init.setter
    def learning_rate_init(self, value):
        self.rule.lr = value

    @property
    def epsilon(self) -> float:
        """The optimizer's."""
        return self.rule.eps


class Adam(AdaptiveOptimizer):
    """Adam, with a constant ``learning_rate_init``, which can be set between calls.

    ``learning_rate`` is the rate of the last update, with the bias corrections, as in scikit-learn.

    Parameters
    ----------
    rule : optim.Adam
        The optimizer.
    """

    parameters = ("learning_rate_init", "beta_1", "beta_2", "epsilon")

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
    def ms(self) -> list[Floats]:
        """The mean gradient of every weight array, then of every bias."""
        return self._slot(0)

    @property
    def vs(self) -> list[Floats]:
        """The mean squared gradient of every weight array, then of every bias."""
        return self._slot(1)


class AdamW(Adam):
    """Adam with PyTorch's place of epsilon, after the bias correction.

    Parameters
    ----------
    rule : optim.AdamW
        The optimizer.
    """


class RMSprop(AdaptiveOptimizer):
    """RMSprop with PyTorch's decay rate, and a constant ``learning_rate_init``, which can be set between calls.

    Parameters
    ----------
    rule : optim.RMSprop
        The optimizer.
    """

    parameters = ("learning_rate_init", "epsilon")

    @property
    def learning_rate(self) -> float:
        return self.rule.lr


# scikit-learn's names of an optimizer's rows of memory
SLOTS = {"adam": ("ms", "vs"), "sgd": ("velocities",), "adamw": ("ms", "vs"), "rmsprop": ("vs",)}
# What is kept with the optimizer, and stored only if it exists
KEPT = {"masks": Masks, "averages": Averages}
ADAMS = {"adam": (optim.Adam, Adam), "adamw": (optim.AdamW, AdamW)}


def new_optimizer(network: Network, name: Literal["adam", "sgd", "adamw", "rmsprop"], given: Any) -> ScheduledOptimizer:
    """A new optimizer for a network and an estimator's parameters, which are attributes of ``given``."""
    made: ScheduledOptimizer
    if name in ADAMS:
        rule, scheduled = ADAMS[name]
        made = scheduled(rule(network, given.learning_rate_init, (given.beta_1, given.beta_2), given.epsilon))
    elif name == "rmsprop":
        made = RMSprop(optim.RMSprop(network, given.learning_rate_init, eps=given.epsilon))
    else:
        step = optim.StepSGD(network, given.learning_rate_init, given.momentum, nesterov=given.nesterovs_momentum)
        shape = given.learning_rate if given.learning_rate in ("invscaling", "adaptive") else "constant"
        made = SGD(step, given.learning_rate_init, shape, given.power_t)
    return made


def follow(optimizer: ScheduledOptimizer, given: Any) -> None:
    """Set an optimizer's schedule and weight decay to an estimator's parameters, which are attributes of ``given``."""
    optimizer.rule.weight_decay, optimizer.rule.decoupled = float(given.weight_decay), True
    optimizer.schedule = schedule_of(given.learning_rate, given.warmup, given.max_iter)


def from_dict(fields: dict[str, Any]) -> ScheduledOptimizer:
    """The optimizer that `ScheduledOptimizer.as_dict` of this or an earlier version described; it uses the same array."""
    name = fields["name"]
    if "layers" in fields:  # earlier versions: a table (n, 7) that begins with n_in and n_out of each layer
        sizes, memory = [int(fields["layers"][0, 0]), *fields["layers"][:, 1].tolist()], fields["state"]
    else:
        sizes, memory = fields["sizes"], fields["memory"]
    memory = np.asarray(memory, memory.dtype.newbyteorder("="))
    normalization: Literal["layer"] | None = "layer" if fields.get("has_norms") else None
    network = Network(sizes, "identity", "squared_error", memory.dtype, normalization=normalization)
    if memory.shape != (OPTIMIZERS[name].n_slots, len(network.params)):
        raise ValueError(f"the memory of {name!r} for layers of sizes {sizes} does not have the shape {memory.shape}")
    made = new_optimizer(network, name, _Given(fields))
    if isinstance(made, SGD):
        made._rate = fields["learning_rate"]
    made.n_epochs = fields.get("n_epochs", 0)
    for kept, kind in KEPT.items():
        if kept in fields:
            setattr(made, kept, kind(**fields[kept]))
    made.rule.__setstate__({**made.rule.__getstate__(), "memory": memory, "t": int(fields["t"])})
    return made


class _Given:
    """The fields of an optimizer as the parameters of an estimator."""

    def __init__(self, fields):
        names = {"lr_schedule": "learning_rate", "nesterov": "nesterovs_momentum"}
        given = {name: value for name, value in fields.items() if name != "learning_rate"}
        vars(self).update({names.get(name, name): value for name, value in given.items()})
