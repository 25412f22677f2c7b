"""The estimators against PyTorch: the same network, loss, optimizer and schedule, for 20 epochs from the same weights."""

import math

import numpy as np
import pytest
from scipy.sparse import csr_array

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

pytestmark = pytest.mark.usefixtures("no_convergence_warning")

F = torch.nn.functional
ACTIVATIONS = {
    "identity": torch.nn.Identity,
    "logistic": torch.nn.Sigmoid,
    "tanh": torch.nn.Tanh,
    "relu": torch.nn.ReLU,
    "leaky_relu": torch.nn.LeakyReLU,
    "elu": torch.nn.ELU,
    "selu": torch.nn.SELU,
    "gelu": torch.nn.GELU,
    "silu": torch.nn.SiLU,
    "mish": torch.nn.Mish,
    "softplus": torch.nn.Softplus,
}
NORMS = {"batch": torch.nn.BatchNorm1d, "layer": torch.nn.LayerNorm}
POWER, LEVELS = 1.3, (0.9, 0.1, 0.5)
N_STEPS = 20 * 6  # 45 rows in batches of 8
# The gradient of a bias in front of a batch norm is 0 but for rounding errors, of which a small epsilon makes full steps.
NORM = {"epsilon": 1e-3}


def tensor(array):
    return torch.tensor(np.asarray(array))


# Losses: of logits z and targets y, for each row and output, or for each row


def softmax_loss(z, y, smoothing):
    return F.cross_entropy(z, y.argmax(dim=1), reduction="none", label_smoothing=smoothing)


def logistic_loss(z, y, smoothing):
    return F.binary_cross_entropy_with_logits(z, (1 - smoothing) * y + smoothing / 2, reduction="none")


def poisson_loss(z, y):
    return F.poisson_nll_loss(z, y, reduction="none") + torch.special.xlogy(y, y) - y


def gamma_loss(z, y):
    return -torch.distributions.Exponential(torch.exp(-z)).log_prob(y) - torch.log(y) - 1


def tweedie_loss(z, y):
    mean, p = torch.exp(z), POWER
    return y ** (2 - p) / ((1 - p) * (2 - p)) - y * mean ** (1 - p) / (1 - p) + mean ** (2 - p) / (2 - p)


def quantile_loss(levels):
    return lambda z, y: torch.maximum(tensor(levels) * (y - z), (tensor(levels) - 1) * (y - z))


LOSSES = {
    "squared_error": lambda z, y: F.mse_loss(z, y, reduction="none") / 2,
    "absolute_error": lambda z, y: F.l1_loss(z, y, reduction="none"),
    "huber": lambda z, y: F.huber_loss(z, y, reduction="none", delta=0.3),
    "poisson": poisson_loss,
    "gamma": gamma_loss,
    "tweedie": tweedie_loss,
}


def loss_for(estimator):
    """The function of (logits, targets) that gives the loss of each row."""
    if hasattr(estimator, "classes_"):
        softmax = estimator.out_activation_ == "softmax"
        function, options = softmax_loss if softmax else logistic_loss, (estimator.label_smoothing,)
    else:
        function, options = LOSSES.get(estimator.loss) or quantile_loss(np.array(estimator.quantile)), ()

    def of_rows(z, y):
        values = function(z, y, *options)
        return values if values.ndim == 1 else values.sum(dim=1)

    return of_rows


# Optimizers, which have the weights in their first group and all else in the second


def optimizer_for(estimator, weights, others):
    decayed = [{"params": weights, "weight_decay": estimator.weight_decay}, {"params": others, "weight_decay": 0.0}]
    betas = estimator.beta_1, estimator.beta_2
    if estimator.solver in ("adam", "adamw"):
        return torch.optim.AdamW(decayed, lr=estimator.learning_rate_init, betas=betas, eps=estimator.epsilon)
    plain = [{"params": weights}, {"params": others}]
    if estimator.solver == "rmsprop":
        return torch.optim.RMSprop(plain, lr=estimator.learning_rate_init, eps=estimator.epsilon)
    momentum, nesterov = estimator.momentum, estimator.nesterovs_momentum and estimator.momentum > 0
    return torch.optim.SGD(plain, lr=estimator.learning_rate_init, momentum=momentum, nesterov=nesterov)


def update(estimator, optimizer, step):
    weights, others = optimizer.param_groups
    if estimator.solver == "adam":  # scikit-learn's has epsilon outside the correction of the bias
        weights["eps"] = others["eps"] = estimator.epsilon / math.sqrt(1 - estimator.beta_2 ** (step + 1))
    if estimator.solver in ("sgd", "rmsprop"):  # PyTorch's have no decoupled decay
        with torch.no_grad():
            for weight in weights["params"]:
                weight *= 1 - weights["lr"] * estimator.weight_decay
    if estimator.clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(weights["params"] + others["params"], estimator.clip_norm)
    optimizer.step()


def cosine(optimizer):
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=N_STEPS)


def one_cycle(optimizer):
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.02, total_steps=N_STEPS, cycle_momentum=False)


def given_by(factor, warm_steps=0):
    """A schedule of the share of steps after ``warm_steps``, in which the rate rises."""

    def of_step(step):
        if step < warm_steps:
            return (step + 1) / (warm_steps + 1)
        return factor((step - warm_steps) / (N_STEPS - warm_steps))

    return lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, of_step)


def coslog4(share):
    return (1 - math.cos(2 * math.pi * math.log2(1 + 15 * share))) / 2


def falling(share):
    return (1 - share) ** 2


SCHEDULES = {
    "cosine": ({"learning_rate": "cosine"}, cosine),
    "one_cycle": ({"learning_rate": "one_cycle"}, one_cycle),
    "coslog4": ({"learning_rate": "coslog4"}, given_by(coslog4)),
    "a function": ({"learning_rate": falling}, given_by(falling)),
    "warmup": ({"warmup": 0.25}, given_by(lambda share: 1.0, 30)),
    "warmup and a function": ({"warmup": 0.13, "learning_rate": falling}, given_by(falling, 16)),
    "warmup and coslog4": ({"warmup": 0.2, "learning_rate": "coslog4"}, given_by(coslog4, 24)),
}


# Training


class Twin:
    """An estimator's network in PyTorch, from its initial weights, and what the training records."""

    def __init__(self, estimator, begin):
        names = [estimator.activation] * 2 if isinstance(estimator.activation, str) else estimator.activation
        modules, self.linears, self.norms = [], [], []
        for weight, bias, name in zip(begin.coefs, begin.intercepts, [*names, None], strict=True):
            linear = torch.nn.Linear(*weight.shape, dtype=torch.float64)
            linear.weight.data, linear.bias.data = tensor(weight.T.copy()), tensor(bias)
            self.linears.append(linear)
            modules.append(linear)
            if name is not None and estimator.normalization is not None:
                self.norms.append(NORMS[estimator.normalization](len(bias), dtype=torch.float64))
                modules.append(self.norms[-1])
            if name is not None:
                modules.append(ACTIVATIONS[name]())
        self.model = torch.nn.Sequential(*modules)
        self.loss_curve, self.learning_rates = [], []

    def train(self, estimator, epochs, X, y, sample_weight, schedule):
        weights = [linear.weight for linear in self.linears]
        others = [parameter for parameter in self.model.parameters() if not any(parameter is weight for weight in weights)]
        optimizer, loss, step = optimizer_for(estimator, weights, others), loss_for(estimator), 0
        n_terms = y.shape[1] if getattr(estimator, "loss", None) == "squared_error" else 1  # the reported loss is their mean
        scheduler = schedule and schedule(optimizer)
        for batches in epochs:
            total, n_rows = 0.0, 0
            for rows in batches:
                optimizer.zero_grad()
                weight = sample_weight[rows]
                of_data = (loss(self.model(X[rows]), y[rows]) * weight).sum() / weight.sum()
                penalty = estimator.alpha / 2 * sum((each**2).sum() for each in weights) / weight.sum()
                (of_data + penalty).backward()
                total, n_rows = total + len(rows) * (of_data / n_terms + penalty).item(), n_rows + len(rows)
                rate = optimizer.param_groups[0]["lr"]
                update(estimator, optimizer, step)
                step += 1
                if scheduler:
                    scheduler.step()
            self.loss_curve.append(total / n_rows)
            self.learning_rates.append(rate)

    def learnt(self):
        """What the estimator should have, by name of attribute."""
        found = {
            "coefs_": [linear.weight.detach().numpy().T for linear in self.linears],
            "intercepts_": [linear.bias.detach().numpy() for linear in self.linears],
        }
        if self.norms:
            found["norm_weights_"] = [norm.weight.detach().numpy() for norm in self.norms]
            found["norm_biases_"] = [norm.bias.detach().numpy() for norm in self.norms]
        if self.norms and hasattr(self.norms[0], "running_mean"):
            found["running_means_"] = [norm.running_mean.numpy() for norm in self.norms]
            found["running_vars_"] = [norm.running_var.numpy() for norm in self.norms]
        return found

    def outputs(self, estimator, X):
        """What the estimator should predict."""
        link = {"softmax": lambda z: z.softmax(dim=1), "logistic": torch.sigmoid, "identity": lambda z: z, "exp": torch.exp}
        with torch.no_grad():
            outputs = link[estimator.out_activation_](self.model.eval()(X)).numpy()
        if np.ndim(getattr(estimator, "quantile", 0)):  # they must not cross
            outputs = np.sort(outputs)[:, np.argsort(np.argsort(estimator.quantile))]
        is_binary = hasattr(estimator, "classes_") and outputs.shape[1] == 1
        return np.hstack([1 - outputs, outputs]) if is_binary else outputs


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Its threads wait for each other longer than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def compare(problem, make, start, targets_of, assert_learnt):
    """compare(target, weighted, schedule, sparse, **parameters): train both, and fail unless all that they have agrees."""

    def compare(target, weighted=False, schedule=None, sparse=False, **parameters):
        X, y = problem(target)
        sample_weight = np.random.default_rng(1).uniform(0.2, 2, len(X)) if weighted else None
        estimator = make(target, **parameters).fit(csr_array(X) if sparse else X, y, sample_weight)
        begin = start(estimator, len(X))
        twin, weights = Twin(estimator, begin), np.ones(len(X)) if sample_weight is None else sample_weight
        twin.train(estimator, begin.batches(), *map(tensor, (X, targets_of(estimator, y), weights)), schedule)
        assert_learnt(estimator, twin.learnt())
        np.testing.assert_allclose(estimator.loss_curve_, twin.loss_curve, rtol=1e-9)
        if schedule:
            np.testing.assert_allclose(estimator.learning_rate_curve_, twin.learning_rates, rtol=1e-9, atol=1e-15)
        predicted = getattr(estimator, "predict_proba", estimator.predict)(X)
        expected = twin.outputs(estimator, tensor(X))
        np.testing.assert_allclose(predicted.reshape(expected.shape), expected, rtol=1e-8)
        return estimator

    return compare


@pytest.fixture(params=[True, False], ids=["shuffled", "in order"])
def shuffled(request):
    return request.param


SOLVERS = {
    "adamw": {"solver": "adamw", "weight_decay": 0.3},
    "adamw with other constants": {"solver": "adamw", "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "weight_decay": 0.1},
    "rmsprop": {"solver": "rmsprop"},
    "rmsprop with weight decay": {"solver": "rmsprop", "weight_decay": 0.3, "epsilon": 1e-4},
    "adam with weight decay": {"solver": "adam", "weight_decay": 0.3},
    "sgd with weight decay": {"solver": "sgd", "weight_decay": 0.5, "learning_rate_init": 0.1},
    "sgd without momentum": {"solver": "sgd", "weight_decay": 0.5, "momentum": 0.0, "alpha": 0.3},
    "clipped sgd": {"solver": "sgd", "clip_norm": 0.05, "learning_rate_init": 0.1, "alpha": 0.3},
    "clipped adamw": {"solver": "adamw", "clip_norm": 0.05, "weight_decay": 0.2},
    "clipped rmsprop": {"solver": "rmsprop", "clip_norm": 0.2},
    "clipped adam": {"solver": "adam", "clip_norm": 0.2},
}


@pytest.mark.parametrize("name", SOLVERS)
def test_solvers(compare, shuffled, name):
    compare("multiclass", shuffle=shuffled, **SOLVERS[name])


@pytest.mark.parametrize("normalization", ["batch", "layer"])
@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw", "rmsprop"])
def test_norms_are_exempt_from_weight_decay(compare, solver, normalization):
    compare("binary", solver=solver, weight_decay=0.5, normalization=normalization, clip_norm=0.5, **NORM)


@pytest.mark.pairwise
@pytest.mark.parametrize("target", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_label_smoothing(compare, shuffled, target, weighted):
    compare(target, weighted, label_smoothing=0.2, shuffle=shuffled)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(compare, shuffled, activation):
    compare("two outputs", solver="adamw", activation=activation, shuffle=shuffled)


@pytest.mark.parametrize("activation", [("gelu", "logistic"), ("tanh", "mish"), ["selu", "leaky_relu"]], ids=str)
def test_an_activation_for_each_layer(compare, shuffled, activation):
    compare("multiclass", solver="sgd", activation=activation, shuffle=shuffled)


@pytest.mark.pairwise
@pytest.mark.parametrize("batch_size", [8, 11], ids=["", "a last batch of one row"])
@pytest.mark.parametrize("normalization", ["batch", "layer"])
@pytest.mark.parametrize("target", ["multiclass", "one output"])
def test_norms(compare, shuffled, target, normalization, batch_size):
    compare(target, normalization=normalization, shuffle=shuffled, batch_size=batch_size, activation="silu", **NORM)


@pytest.mark.parametrize("normalization", ["batch", "layer"])
def test_norms_with_weights_and_sparse_rows(compare, normalization):
    compare("multilabel", True, sparse=True, normalization=normalization, **NORM)


REGRESSIONS = {
    "squared_error": ("two outputs", {}),
    "absolute_error": ("two outputs", {}),
    "huber": ("two outputs", {"huber_delta": 0.3}),
    "quantile": ("two outputs", {"quantile": 0.8}),
    "quantiles": ("one output", {"loss": "quantile", "quantile": LEVELS}),
    "poisson": ("poisson", {}),
    "gamma": ("positive", {}),
    "tweedie": ("poisson", {"tweedie_power": POWER}),
}


@pytest.mark.pairwise
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("loss", REGRESSIONS)
def test_losses(compare, shuffled, loss, weighted):
    target, parameters = REGRESSIONS[loss]
    compare(target, weighted, shuffle=shuffled, alpha=0.1, **{"loss": loss} | parameters)


@pytest.mark.pairwise
@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("solver", ["adamw", "adam", "rmsprop", "sgd"])
def test_schedules(compare, shuffled, solver, name):
    """SGD without momentum: scikit-learn's velocity has the learning rate in it, PyTorch's has not."""
    parameters, schedule = SCHEDULES[name]
    compare("multiclass", schedule=schedule, solver=solver, momentum=0.0, shuffle=shuffled, weight_decay=0.1, **parameters)


def test_all_at_once(compare):
    estimator = compare(
        "multiclass",
        True,
        SCHEDULES["one_cycle"][1],
        solver="adamw",
        learning_rate="one_cycle",
        weight_decay=0.1,
        clip_norm=0.3,
        label_smoothing=0.1,
        normalization="batch",
        activation=("gelu", "silu"),
        **NORM,
    )
    assert estimator.n_iter_ == 20
