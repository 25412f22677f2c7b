"""The estimators' training against a plain loop in NumPy: solvers, decay, clipping, schedules, averages of the weights, masks.

The network has one hidden layer of tanh and learns two outputs by half the squared error.
"""

import math

import numpy as np
import pytest
from sklearn.metrics import r2_score

pytestmark = pytest.mark.usefixtures("no_convergence_warning")

RATE, N_EPOCHS, N_BATCHES = 0.02, 20, 6
N_STEPS = N_EPOCHS * N_BATCHES
TARGET = "two outputs"


def sgd(estimator, p, g, memory, lr, step):
    memory[0] = estimator.momentum * memory[0] - lr * g
    return p + (estimator.momentum * memory[0] - lr * g if estimator.nesterovs_momentum else memory[0])


def mean_and_square(estimator, g, memory):
    memory[0] = estimator.beta_1 * memory[0] + (1 - estimator.beta_1) * g
    memory[1] = estimator.beta_2 * memory[1] + (1 - estimator.beta_2) * g**2
    return memory


def adam(estimator, p, g, memory, lr, step):
    m, v = mean_and_square(estimator, g, memory)
    lr *= math.sqrt(1 - estimator.beta_2**step) / (1 - estimator.beta_1**step)
    return p - lr * m / (np.sqrt(v) + estimator.epsilon)


def adamw(estimator, p, g, memory, lr, step):
    m, v = mean_and_square(estimator, g, memory)
    m, v = m / (1 - estimator.beta_1**step), v / (1 - estimator.beta_2**step)
    return p - lr * m / (np.sqrt(v) + estimator.epsilon)


def rmsprop(estimator, p, g, memory, lr, step):
    memory[0] = 0.99 * memory[0] + 0.01 * g**2
    return p - lr * g / (np.sqrt(memory[0]) + estimator.epsilon)


SOLVERS = {"sgd": sgd, "adam": adam, "adamw": adamw, "rmsprop": rmsprop}


class Loop:
    """The training of an estimator, from the `Start` that it had; ``history`` has what there is after each epoch."""

    def __init__(self, estimator, begin, X, y, masks_of, factor=lambda step: 1.0):
        self.estimator, self.X, self.y, self._masks_of, self._factor = estimator, X, y, masks_of, factor
        self._seeds = getattr(begin, "seeds", None)
        self.params = [*begin.coefs, *begin.intercepts]
        self._memory = [[0.0, 0.0] for _ in self.params]
        self._sums, self._total, self.step, self.history = [0.0] * len(self.params), 0.0, 0, []
        for batches in begin.batches():
            for rows in batches:
                lr = self._update(rows)
            averages = [each / self._total for each in self._sums]
            self.history.append({"raw": self.params, "average": averages, "rate": lr})

    def _update(self, rows):
        estimator, lr = self.estimator, self.estimator.learning_rate_init * self._factor(self.step)
        gradients, self.step = self._gradients(rows), self.step + 1
        if estimator.clip_norm is not None:
            norm = math.sqrt(sum((g**2).sum() for g in gradients))
            gradients = [g * min(1, estimator.clip_norm / (norm + 1e-6)) for g in gradients]
        decay = 1 - lr * estimator.weight_decay
        decayed = [decay * p if p.ndim == 2 else p for p in self.params]
        formula = SOLVERS[estimator.solver]
        self.params = [
            formula(estimator, p, g, memory, lr, self.step) for p, g, memory in zip(decayed, gradients, self._memory, strict=True)
        ]
        d = estimator.ema_decay or 0.0
        self._sums, self._total = [d * s + p for s, p in zip(self._sums, self.params, strict=True)], d * self._total + 1
        return lr

    def _gradients(self, rows):
        x, n, alpha = self.X[rows], len(rows), self.estimator.alpha
        (mask,) = self._masks(n)
        w1, w2, b1, b2 = self.params
        a = np.tanh(x @ w1 + b1)
        dz = (mask * a @ w2 + b2 - self.y[rows]) / n
        dh = (dz @ w2.T) * mask * (1 - a**2)
        return [x.T @ dh + alpha / n * w1, (mask * a).T @ dz + alpha / n * w2, dh.sum(axis=0), dz.sum(axis=0)]

    def _masks(self, n_rows):
        if self._seeds is None:
            return [1.0]
        return self._masks_of(self.estimator.dropout, self._seeds, self.step + 1, n_rows, self.estimator.hidden_layer_sizes)


def arrays(params):
    return {"coefs_": params[:2], "intercepts_": params[2:]}


def predicted(params, X):
    w1, w2, b1, b2 = params
    return np.tanh(X @ w1 + b1) @ w2 + b2


@pytest.fixture
def untrained(make):
    """untrained(**parameters) -> the estimator that all tests here are about."""
    return lambda **parameters: make(TARGET, **{"hidden_layer_sizes": (6,)} | parameters)


@pytest.fixture
def loop(problem, start, masks_of):
    """loop(estimator, factor) -> the `Loop` of a fitted estimator."""
    X, y = problem(TARGET)
    return lambda estimator, *factor: Loop(estimator, start(estimator, len(X)), X, y, masks_of, *factor)


@pytest.mark.pairwise
@pytest.mark.parametrize("shuffled", [True, False], ids=["shuffled", "in order"])
@pytest.mark.parametrize(
    "parameters", [{}, {"weight_decay": 0.5}, {"clip_norm": 0.3, "weight_decay": 0.5}, {"dropout": 0.3}], ids=str
)
@pytest.mark.parametrize("solver", SOLVERS)
def test_solvers(problem, untrained, loop, assert_learnt, solver, parameters, shuffled):
    estimator = untrained(solver=solver, shuffle=shuffled, alpha=0.1, **parameters).fit(*problem(TARGET))
    assert_learnt(estimator, arrays(loop(estimator).params))


# Schedules: factors of a step, counted from 0


def one_cycle(step):
    first, top, end = 1 / 25, 0.3 * N_STEPS - 1, N_STEPS - 1
    start, stop, share = (first, 1, step / top) if step <= top else (1, first / 1e4, (step - top) / (end - top))
    return stop + (start - stop) * (1 + math.cos(math.pi * share)) / 2


def warmed(n_warm, factor):
    """The schedule of the share of the steps after the warm ones."""
    return lambda step: (step + 1) / (n_warm + 1) if step < n_warm else factor((step - n_warm) / (N_STEPS - n_warm))


def coslog4(share):
    return (1 - math.cos(2 * math.pi * math.log2(1 + 15 * share))) / 2


def cosine(share):
    return (1 + math.cos(math.pi * share)) / 2


def inverse_scaling(step):
    epoch = step // N_BATCHES
    return 1 / math.sqrt(45 * epoch + 1)


SCHEDULES = {
    "cosine": ({"learning_rate": "cosine"}, warmed(0, cosine)),
    "one_cycle": ({"learning_rate": "one_cycle"}, one_cycle),
    "coslog4": ({"learning_rate": "coslog4"}, warmed(0, coslog4)),
    "a function": ({"learning_rate": lambda share: 1 - share**2}, warmed(0, lambda share: 1 - share**2)),
    "warmup": ({"warmup": 0.25}, warmed(30, lambda share: 1.0)),
    "warmup and cosine": ({"warmup": 0.13, "learning_rate": "cosine"}, warmed(16, cosine)),
    "warmup and coslog4": ({"warmup": 0.2, "learning_rate": "coslog4"}, warmed(24, coslog4)),
    "warmup and a function": ({"warmup": 0.2, "learning_rate": lambda share: 1 - share}, warmed(24, lambda share: 1 - share)),
}


def assert_follows(estimator, by_hand, assert_learnt):
    assert_learnt(estimator, arrays(by_hand.params))
    rates = [epoch["rate"] for epoch in by_hand.history]
    np.testing.assert_allclose(estimator.learning_rate_curve_, rates, rtol=1e-9, atol=1e-16)


@pytest.mark.parametrize("solver", ["sgd", "adamw"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(problem, untrained, loop, assert_learnt, name, solver):
    parameters, factor = SCHEDULES[name]
    estimator = untrained(solver=solver, weight_decay=0.2, **parameters).fit(*problem(TARGET))
    assert_follows(estimator, loop(estimator, factor), assert_learnt)


@pytest.mark.parametrize("warmup", [0.0, 0.25])
def test_inverse_scaling_with_warmup(problem, untrained, loop, assert_learnt, warmup):
    estimator = untrained(solver="sgd", learning_rate="invscaling", warmup=warmup).fit(*problem(TARGET))
    rising = warmed(round(warmup * N_STEPS), lambda share: 1.0)
    assert_follows(estimator, loop(estimator, lambda step: inverse_scaling(step) * rising(step)), assert_learnt)


@pytest.mark.parametrize("solver", SOLVERS)
def test_partial_fit_goes_on_with_the_schedule(problem, untrained, loop, assert_learnt, solver):
    """And has the last factor in epochs after those of the schedule."""
    estimator = untrained(solver=solver, learning_rate="cosine", warmup=0.25, shuffle=False)
    for _ in range(N_EPOCHS + 2):
        estimator.partial_fit(*problem(TARGET))
    factor = warmed(30, cosine)
    estimator.max_iter += 2  # for the loop by hand, which has as many epochs
    assert_follows(estimator, loop(estimator, lambda step: factor(min(step, N_STEPS - 1))), assert_learnt)


def test_a_warm_start_begins_the_schedule_anew(problem, untrained):
    estimator = untrained(learning_rate="cosine", warm_start=True, max_iter=5)
    rates = estimator.fit(*problem(TARGET)).learning_rate_curve_.copy()
    assert rates == sorted(rates, reverse=True)
    assert estimator.fit(*problem(TARGET)).learning_rate_curve_ == rates * 2


# The average of the weights

DECAYS = [0.0, 0.8, 0.99]


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_average(problem, untrained, loop, assert_learnt, solver, decay):
    X, y = problem(TARGET)
    estimator = untrained(solver=solver, ema_decay=decay).fit(X, y)
    averages = loop(estimator).history[-1]["average"]
    assert_learnt(estimator, arrays(averages))
    np.testing.assert_allclose(estimator.predict(X), predicted(averages, X), rtol=1e-8)
    assert estimator.score(X, y) == pytest.approx(r2_score(y, predicted(averages, X)))


def test_the_average_after_each_epoch(problem, untrained, loop, assert_learnt):
    """With ``partial_fit``; an epoch is one step here."""
    X, y = problem(TARGET)
    estimator = untrained(solver="adamw", ema_decay=0.9, batch_size=len(X), shuffle=False).partial_fit(X, y)
    for epoch in loop(estimator).history:
        assert_learnt(estimator, arrays(epoch["average"]))
        estimator.partial_fit(X, y)


@pytest.mark.parametrize("scoring", [None, "loss", "neg_mean_absolute_error"])
def test_validation_scores_are_those_of_the_average(problem, untrained, loop, scoring):
    X, y = problem(TARGET)
    estimator = untrained(ema_decay=0.9, scoring=scoring).fit(X, y, X_val=X[:20], y_val=y[:20])
    scores, losses = [], []
    for epoch in loop(estimator).history:
        outputs = predicted(epoch["average"], X[:20])
        losses.append(((outputs - y[:20]) ** 2).mean() / 2)
        mean_error = np.abs(outputs - y[:20]).mean()
        scores.append({None: r2_score(y[:20], outputs), "loss": -losses[-1]}.get(scoring, -mean_error))
    np.testing.assert_allclose(estimator.validation_scores_, scores, rtol=1e-7)
    np.testing.assert_allclose(estimator.validation_loss_curve_, losses, rtol=1e-8)


def test_early_stopping_keeps_the_best_average(problem, untrained, loop, assert_learnt):
    X, y = problem(TARGET)
    options = {"ema_decay": 0.7, "early_stopping": True, "learning_rate_init": 0.2, "solver": "sgd", "scoring": "loss"}
    X_val, y_val = X[::-1] + 0.3, y
    estimator = untrained(**options).fit(X, y, X_val=X_val, y_val=y_val)
    averages = [epoch["average"] for epoch in loop(estimator).history]
    losses = [((predicted(average, X_val) - y_val) ** 2).mean() for average in averages]
    best = int(np.argmin(losses))
    assert 0 < best < N_EPOCHS - 1
    assert estimator.best_iter_ == best + 1
    assert_learnt(estimator, arrays(averages[best]))


def raw(estimator):
    """The weights that training goes on with."""
    return estimator._optimizer.averages.raw


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("normalization", [None, "batch"])
def test_training_has_the_bits_that_it_has_without_an_average(problem, untrained, normalization, decay):
    """In fit, warm starts and `partial_fit`."""
    X, y = problem(TARGET)
    options = {"warm_start": True, "normalization": normalization, "dropout": 0.2, "max_iter": 3}
    averaging, plain = untrained(ema_decay=decay, **options), untrained(**options)
    for method in ("fit", "fit", "partial_fit", "partial_fit", "fit"):
        for estimator in (averaging, plain):
            getattr(estimator, method)(X, y)
        np.testing.assert_array_equal(raw(averaging), plain._network.params)
        np.testing.assert_array_equal(averaging._network.buffers, plain._network.buffers)
        assert averaging.loss_curve_ == plain.loss_curve_
        assert np.array_equal(averaging.coefs_[0], plain.coefs_[0]) == (decay == 0)


def test_a_warm_start_begins_the_average_anew(problem, untrained):
    """As its optimizer is new: after one step the average is of one element."""
    X, y = problem(TARGET)
    estimator = untrained(ema_decay=0.9, batch_size=len(X), warm_start=True).fit(X, y).set_params(max_iter=1).fit(X, y)
    np.testing.assert_array_equal(estimator._network.params, raw(estimator))


def test_weights_set_by_hand_are_what_training_goes_on_with(problem, untrained):
    X, y = problem(TARGET)
    averaging, plain = (untrained(ema_decay=decay, solver="sgd", momentum=0.0, shuffle=False) for decay in (0.9, None))
    for estimator in (averaging, plain):
        estimator.fit(X, y)
        estimator.coefs_, estimator.intercepts_ = [np.full((4, 6), 0.1), np.full((6, 2), 0.2)], [np.zeros(6), np.zeros(2)]
        estimator.partial_fit(X, y)
    np.testing.assert_array_equal(raw(averaging), plain._network.params)
    assert np.abs(averaging.coefs_[0] - plain.coefs_[0]).max() < 0.1


def test_without_the_average_again_the_estimator_has_what_it_showed(problem, untrained):
    X, y = problem(TARGET)
    estimator = untrained(ema_decay=0.9).fit(X, y)
    shown = [coef.copy() for coef in estimator.coefs_]
    plain = untrained(warm_start=True, max_iter=1, learning_rate_init=1e-12)
    estimator.set_params(**plain.get_params()).fit(X, y)
    for one, other in zip(estimator.coefs_, shown, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)
