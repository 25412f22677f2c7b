"""The training loop by itself: the stopping rule, schedules, validation, and the optimizers' memory."""

import math

import numpy as np
import pytest

from fastprop import Network
from fastprop.lbfgs import pack, packed_spans, unpack
from fastprop.training import SGD, Adam, History, Options, Validation, train


def _problem(seed=0):
    rng = np.random.default_rng(seed)
    network = Network([3, 4, 2], loss="squared_error")
    network.initialize(np.random.RandomState(seed))
    x = rng.normal(size=(30, 3))
    return network, network.training_set(x, x[:, :2])


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
    for score, count, is_best in steps:
        assert history.judge_score(score, 0.1) is is_best
        assert history.no_improvement_count == count
    assert history.best_validation_score == 0.9
    assert len(history.validation_scores) == len(steps)


def test_training_ends():
    network, data = _problem()
    options = Options(n_epochs=50, batch_size=10, tol=1e9, n_iter_no_change=3)
    history = History()
    assert train(network, data, np.arange(30), Adam(network), history, np.random.RandomState(0), options)
    assert history.n_epochs == 5  # the first does not count, and it must be more than 3
    history = History()
    options = Options(n_epochs=4, batch_size=10)
    assert not train(network, data, np.arange(30), Adam(network), history, None, Options(n_epochs=4, batch_size=10, shuffle=False))
    assert history.n_epochs == len(history.loss_curve) == 4
    assert history.n_samples_seen == 120


def test_only_the_given_rows_are_trained_on():
    rows = np.arange(4, 21)
    (a, data), (b, _) = _problem(), _problem()
    part = b.training_set(data.x[rows], data.targets[rows])
    options = Options(n_epochs=3, batch_size=5)
    train(a, data, rows, Adam(a), History(), np.random.RandomState(0), options)
    train(b, part, np.arange(len(rows)), Adam(b), History(), np.random.RandomState(0), options)
    np.testing.assert_array_equal(a.params, b.params)


def test_the_best_parameters_come_back():
    network, data = _problem()
    scores, seen = iter([1.0, 3.0, 2.0, 2.0]), []

    def score(outputs):
        seen.append(network.params.copy())
        return next(scores)

    history = History(best_loss=None, validation_scores=[], best_validation_score=-math.inf)
    validation = Validation(data.x, score, network.params.copy())
    train(network, data, np.arange(30), Adam(network), history, None, Options(4, 10, shuffle=False), validation)
    assert history.validation_scores == [1.0, 3.0, 2.0, 2.0]
    np.testing.assert_array_equal(network.params, seen[1])
    assert (seen[1] != seen[3]).any()


def test_schedules(capsys):
    network, _ = _problem()
    sgd = SGD(network, 0.5, "invscaling", power_t=0.5)
    sgd.iteration_ends(99)
    assert sgd.learning_rate == pytest.approx(0.05)
    sgd = SGD(network, 0.5, "adaptive")
    rates = []
    while not sgd.trigger_stopping("Enough.", verbose=True):
        rates.append(sgd.learning_rate)
    np.testing.assert_allclose(rates, 0.5 / 5.0 ** np.arange(1, len(rates) + 1))
    assert rates[-1] < 1e-6 < rates[-2]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Enough. Setting learning rate to 0.100000"
    assert lines[-1] == "Enough. Learning rate too small. Stopping."
    for optimizer in (Adam(network), SGD(network)):
        assert optimizer.trigger_stopping("Enough.", verbose=False)
    assert capsys.readouterr().out == ""


def test_adams_rate_is_that_of_its_last_update():
    adam = Adam(_problem()[0], 0.1, beta_1=0.5, beta_2=0.75)
    assert adam.learning_rate == 0.1
    adam.advance(1)
    adam.advance(1)
    assert adam.learning_rate == pytest.approx(0.1 * np.sqrt(1 - 0.75**2) / (1 - 0.5**2))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (Adam, "learning_rate_init"),
        (SGD, "learning_rate_init"),
        (SGD, "learning_rate"),
        (lambda network: SGD(network, lr_schedule="invscaling"), "learning_rate_init"),
    ],
)
def test_a_rate_that_can_be_set_is_used(make, name):
    network, data = _problem()
    optimizer, before = make(network), network.params.copy()
    setattr(optimizer, name, 0.0)
    network.train_epoch(data, np.arange(30), optimizer, batch_size=10)
    optimizer.iteration_ends(30)
    np.testing.assert_array_equal(network.params, before)
    assert optimizer.learning_rate == 0


def test_a_rate_that_would_not_be_used_cannot_be_set():
    network, _ = _problem()
    for optimizer in (Adam(network), SGD(network, lr_schedule="invscaling")):
        with pytest.raises(AttributeError, match="follows from learning_rate_init: set that"):
            optimizer.learning_rate = 0.5


def test_setting_the_initial_rate_keeps_the_schedules_place():
    sgd = SGD(_problem()[0], 0.5, "adaptive")
    sgd.trigger_stopping("Enough.", verbose=False)
    sgd.learning_rate_init = 0.05
    assert sgd.learning_rate == pytest.approx(0.01)


def test_an_optimizer_goes_on_only_with_the_same_shapes():
    network, _ = _problem()
    adam = Adam(network)
    adam.attach(network.astype(np.float32))
    assert adam.state.dtype == np.float32
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
