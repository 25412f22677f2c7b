"""The loop over epochs by itself, with scikit-learn's stopping rule, schedules and validation."""

import math

import numpy as np
import pytest

from fastprop import MLPClassifier, Network, loop, nn, optim
from fastprop.estimators.held_out import Validation
from fastprop.estimators.schedules import SGD, Adam
from fastprop.estimators.stopping import History, StoppingRule
from fastprop.lbfgs import pack, packed_spans, unpack
from fastprop.loop import run_epochs, shuffled_orders


def _problem(seed=0):
    rng = np.random.default_rng(seed)
    network = Network([3, 4, 2], loss="squared_error")
    network.initialize(np.random.RandomState(seed))
    x = rng.normal(size=(30, 3))
    return network, network.training_set(x, x[:, :2])


def _adam(network, lr=0.001, **options):
    return Adam(optim.Adam(network, lr, **options))


def _sgd(network, lr=0.1, schedule="constant", power_t=0.5):
    return SGD(optim.StepSGD(network, lr), lr, schedule, power_t)


def _train(network, data, n_epochs, batch_size=10, rows=None, optimizer=None, history=None, seed=None, validation=None, **rule):
    """How training ends; it shuffles where a seed is given."""
    rows = np.arange(30) if rows is None else rows
    optimizer, history = optimizer or _adam(network), history or History()
    history.expect(validation is not None, optimizer.varies)
    stopping = StoppingRule(optimizer, history, len(rows), validation, **rule)
    orders = shuffled_orders(rows, None if seed is None else np.random.RandomState(seed))

    def rates(n_epochs, n_steps):
        return optimizer.begin(history.n_samples_seen, len(rows), n_epochs, n_steps)

    runner = loop.NetworkEpochs(network, data, len(rows), optimizer.rule, rates, batch_size=batch_size)
    return run_epochs(runner, orders, stopping, n_epochs)


def test_the_stopping_rule():
    """More than n_iter_no_change epochs in a row that are not better by tol; the first one cannot be worse than nothing."""
    history = History()
    for loss, count in [(5.0, 0), (4.95, 1), (4.0, 0), (4.0, 1), (math.nan, 0), (3.95, 1), (3.9, 1 + 1)]:
        history.end_epoch(loss, 7)
        history.judge_loss(0.1)
        assert history.no_improvement_count == count
    assert history.best_loss == 3.9
    assert history.n_samples_seen == 49


def test_the_stopping_rule_of_validation():
    history = History(best_loss=None, validation_scores=[], best_validation_score=-math.inf)
    steps = [(0.5, 0, True), (0.55, 1, True), (0.55, 2, False), (math.nan, 0, False), (0.9, 0, True), (0.1, 1, False)]
    history.expect(True, False)
    for score, count, is_best in steps:
        history.add_validation(-score, score)
        history.judge_score(0.1)
        assert history.no_improvement_count == count
        assert history.is_best() is is_best
    assert (history.best_validation_score, history.best_epoch) == (0.9, 5)
    assert history.validation_losses == pytest.approx([-score for score in history.validation_scores], nan_ok=True)


def test_training_ends():
    network, data = _problem()
    history = History()
    assert _train(network, data, 50, history=history, seed=0, tol=1e9, n_iter_no_change=3) == "stopped"
    assert history.n_epochs == 5  # the first does not count, and it must be more than 3
    history = History()
    assert _train(network, data, 4, history=history) == "finished"
    assert history.n_epochs == len(history.loss_curve) == 4
    assert history.n_samples_seen == 120


def test_only_the_given_rows_are_trained_on():
    rows = np.arange(4, 21)
    (a, data), (b, _) = _problem(), _problem()
    part = b.training_set(data.x[rows], data.targets[rows])
    _train(a, data, 3, 5, rows, seed=0)
    _train(b, part, 3, 5, np.arange(len(rows)), seed=0)
    np.testing.assert_array_equal(a.params, b.params)


def test_the_best_parameters_are_kept():
    network, data = _problem()
    scores, seen = iter([1.0, 3.0, 2.0, 2.0]), []

    def score(loss, outputs):
        np.testing.assert_allclose(outputs, network.forward(data.x), rtol=1e-12)
        assert loss == pytest.approx(((outputs - data.targets) ** 2).mean() / 2)
        seen.append(network.params.copy())
        return next(scores)

    history = History(best_loss=None, validation_scores=[], best_validation_score=-math.inf)
    validation = Validation(network, data, score, True, network.params.copy())
    _train(network, data, 4, history=history, validation=validation)
    assert history.validation_scores == [1.0, 3.0, 2.0, 2.0]
    np.testing.assert_array_equal(validation.best_params, seen[1])
    assert (seen[1] != seen[3]).any()


class _Steps:
    """A runner and a rule in one: losses 1, 2, ..., as many in a call as there are orders."""

    epochs_per_call = 4

    def __init__(self, sure_epochs=math.inf, stop_at=None, interrupt_at=None):
        self.sure_epochs, self.stop_at, self.interrupt_at = sure_epochs, stop_at, interrupt_at
        self.calls, self.told = [], []

    def run(self, orders, losses):
        start = sum(self.calls)
        self.calls.append(len(orders))
        losses += range(start + 1, start + 1 + len(orders))
        if self.interrupt_at == len(self.calls):
            raise KeyboardInterrupt

    def epoch_ends(self, loss, later):
        self.told.append((loss, list(later)))
        return loss == self.stop_at


def _run(steps, n_epochs, **options):
    return run_epochs(steps, lambda n: [None] * n, steps, n_epochs, **options)


def test_several_epochs_in_a_call():
    steps, seen = _Steps(), []
    assert _run(steps, 6, advance=lambda *arguments: seen.append(arguments)) == "finished"
    assert steps.calls == [4, 2]
    assert steps.told == [(1, [2, 3, 4]), (2, [3, 4]), (3, [4]), (4, []), (5, [6]), (6, [])]
    assert seen == [(4, "loss 4"), (2, "loss 6")]
    steps = _Steps(sure_epochs=3, stop_at=3)
    assert _run(steps, 7) == "stopped"
    assert (steps.calls, len(steps.told)) == ([3], 3)


def test_whoever_watches_sees_every_epoch():
    events = []

    class Observer:
        def begin(self):
            events.append("begin")

        def end(self):
            events.append("end")
            return len(events) == 4

    steps = _Steps()
    assert _run(steps, 9, observer=Observer()) == "stopped"
    assert steps.calls == [1, 1]
    assert events == ["begin", "end", "begin", "end"]


def test_an_interrupt_loses_no_epoch():
    steps = _Steps(interrupt_at=2)
    assert _run(steps, 20) == "interrupted"
    assert [loss for loss, _ in steps.told] == list(range(1, 9))


def test_a_time_limit(monkeypatch):
    clock = iter([0.0, 1.0, 2.0, 3.0])
    monkeypatch.setattr(loop.time, "monotonic", lambda: next(clock))
    steps = _Steps(sure_epochs=2)
    assert _run(steps, 100, time_limit=2.5) == "stopped"
    assert steps.calls == [1, 1, 1]


@pytest.mark.parametrize("n_batches", [1, 3])
def test_the_rates_of_a_schedule_do_not_depend_on_the_calls(monkeypatch, n_batches):
    """One epoch in a call, several, and a long one in parts: the same numbers, each step with the rate of its epoch."""
    runs = []
    for name, value in ((None, None), ("VISITS_PER_CALL", 1), ("FLOPS_PER_CALL", 1.0)):
        with monkeypatch.context() as patch:
            if name:
                patch.setattr(loop, name, value)
            network, data = _problem()
            optimizer = _sgd(network, 0.5, "invscaling", 0.7)
            _train(network, data, 6, 30 // n_batches, optimizer=optimizer, seed=0)
            runs.append(network.params.copy())
            assert optimizer.learning_rate == pytest.approx(0.5 / 181**0.7)
    network, data = _problem()
    optimizer, rates = optim.StepSGD(network), [0.5, *(0.5 / (30 * i + 1) ** 0.7 for i in range(1, 6))]
    for rate, order in zip(rates, shuffled_orders(np.arange(30), np.random.RandomState(0))(6), strict=True):
        optimizer.lr = rate
        network.train_epoch(data, order, optimizer, batch_size=30 // n_batches)
    for params in runs:
        np.testing.assert_array_equal(params, network.params)


def test_schedules(capsys):
    network, _ = _problem()
    sgd = _sgd(network, 0.5, "invscaling")
    sgd.iteration_ends(99)
    assert sgd.learning_rate == pytest.approx(0.05)
    sgd = _sgd(network, 0.5, "adaptive")
    rates = []
    while not sgd.trigger_stopping("Enough.", verbose=True):
        rates.append(sgd.learning_rate)
    np.testing.assert_allclose(rates, 0.5 / 5.0 ** np.arange(1, len(rates) + 1))
    assert rates[-1] < 1e-6 < rates[-2]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Enough. Setting learning rate to 0.100000"
    assert lines[-1] == "Enough. Learning rate too small. Stopping."
    for optimizer in (_adam(network), _sgd(network)):
        assert optimizer.trigger_stopping("Enough.", verbose=False)
    assert capsys.readouterr().out == ""


def test_adams_rate_is_that_of_its_last_update():
    adam = _adam(_problem()[0], 0.1, betas=(0.5, 0.75))
    assert adam.learning_rate == 0.1
    adam.rule.t += 2
    assert adam.learning_rate == pytest.approx(0.1 * np.sqrt(1 - 0.75**2) / (1 - 0.5**2))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (_adam, "learning_rate_init"),
        (_sgd, "learning_rate_init"),
        (_sgd, "learning_rate"),
        (lambda network: _sgd(network, schedule="invscaling"), "learning_rate_init"),
    ],
)
def test_a_rate_that_can_be_set_is_used(make, name):
    network, data = _problem()
    optimizer, before = make(network), network.params.copy()
    setattr(optimizer, name, 0.0)
    _train(network, data, 2, optimizer=optimizer)
    np.testing.assert_array_equal(network.params, before)
    assert optimizer.learning_rate == 0


def test_a_rate_that_would_not_be_used_cannot_be_set():
    network, _ = _problem()
    for optimizer in (_adam(network), _sgd(network, schedule="invscaling")):
        with pytest.raises(AttributeError, match="follows from learning_rate_init: set that"):
            optimizer.learning_rate = 0.5


def test_setting_the_initial_rate_keeps_the_schedules_place():
    sgd = _sgd(_problem()[0], 0.5, "adaptive")
    sgd.trigger_stopping("Enough.", verbose=False)
    sgd.learning_rate_init = 0.05
    assert sgd.learning_rate == pytest.approx(0.01)


def test_an_optimizer_goes_on_only_with_the_same_shapes():
    network, _ = _problem()
    adam = optim.Adam(network)
    adam.attach(network.astype(np.float32))
    assert adam.memory.dtype == np.float32
    with pytest.raises(ValueError, match=r"was made for layers of shapes \[\[3, 4\], \[4, 2\]\]"):
        adam.attach(Network([3, 2, 4], loss="squared_error"))


def test_pack_is_all_weights_and_then_all_biases():
    network, _ = _problem()
    packed = pack(network, network.params)
    np.testing.assert_array_equal(packed, np.concatenate([a.ravel() for a in network.coefs + network.intercepts]))
    assert packed_spans(network) == ([(0, 12, (3, 4)), (12, 20, (4, 2))], [(20, 24), (24, 26)])
    before = network.params.copy()
    network.params[:] = 0
    unpack(network, packed)
    np.testing.assert_array_equal(network.params, before)


class Wild(np.random.RandomState):
    """A random state of the user's own, whose orders are no rows."""

    def shuffle(self, x):
        x[:] = 10**7

    def permutation(self, x):
        return np.full(len(x), 10**7)


def test_orders_of_a_foreign_random_state_are_checked():
    X, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 3
    model = nn.mlp([3, 4, 3], random_state=0)
    before = model.state_dict()
    for fit in (
        lambda: MLPClassifier((3,), random_state=Wild(0)).fit(X, y),
        lambda: model.fit(X, y, nn.SoftmaxCrossEntropy(), nn.Adam(model.parameters()), random_state=Wild(0), compiled=True),
    ):
        with pytest.raises(ValueError, match=r"the shuffled rows must be in \[0, 20\); got 10000000"):
            fit()
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
