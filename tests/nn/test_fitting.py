"""Sequential.fit: the same numbers compiled, layer by layer and from the estimators; history, callback, Ctrl-C, errors."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from fastprop import MLPClassifier, MLPRegressor, Network, loop, nn
from fastprop.nn.arrays import raw

# Relative to the largest number of an array: the sums of some dozens of updates are formed in another order.
TOLERANCE = 1e-12
OPTIMIZERS = {
    "sgd": lambda p: nn.SGD(p, lr=0.05),
    "momentum": lambda p: nn.SGD(p, lr=0.05, momentum=0.9),
    "nesterov": lambda p: nn.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda p: nn.Adam(p, lr=0.01, betas=(0.8, 0.99), eps=1e-3),
}


def problem(loss, n_out=3, n=53):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, 4))
    y = {
        "SoftmaxCrossEntropy": lambda: rng.integers(0, n_out, n),
        "BinaryCrossEntropy": lambda: rng.integers(0, 2, (n, n_out)),
        "MSELoss": lambda: rng.normal(size=(n, n_out)),
        "PoissonLoss": lambda: rng.poisson(2.0, (n, n_out)),
    }[loss]()
    return X, y, getattr(nn, loss)()


def stack(n_out=3, dtype=np.float64):
    """A plain stack with each way of writing an activation."""
    rng = np.random.default_rng(0)
    options = {"random_state": rng, "dtype": dtype}
    return nn.Sequential(
        nn.Linear(4, 7, activation="tanh", **options),
        nn.Linear(7, 6, **options),
        nn.ReLU(),
        nn.Linear(6, 5, **options),
        nn.Identity(),
        nn.Linear(5, n_out, **options),
    )


def dropping_stack():
    """Dropout behind a fused activation, behind a layer, and behind none."""
    options = {"random_state": np.random.default_rng(0)}
    return nn.Sequential(
        nn.Linear(4, 17, activation="tanh", **options),
        nn.Dropout(0.3, **options),
        nn.Linear(17, 9, **options),
        nn.Sigmoid(),
        nn.Dropout(0.1, random_state=2**62),
        nn.Linear(9, 6, activation="relu", **options),
        nn.Linear(6, 5, **options),
        nn.Dropout(0.5, **options),
        nn.Linear(5, 3, **options),
    )


def assert_close(a, b, tolerance=TOLERANCE):
    assert np.abs(np.subtract(a, b)).max() <= tolerance * np.abs(b).max()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", ["SoftmaxCrossEntropy", "BinaryCrossEntropy", "MSELoss", "PoissonLoss"])
def test_the_same_numbers_compiled_and_layer_by_layer(loss, optimizer):
    X, y, loss = problem(loss)
    runs = []
    for compiled in (True, False):
        model = stack()
        rule = OPTIMIZERS[optimizer](model.parameters())
        options = {"batch_size": 10, "compiled": compiled}
        first = model.fit(X, y, loss, rule, epochs=4, random_state=0, validation_data=(X, y), **options)
        rule.lr /= 2  # goes on with the same state at another rate
        second = model.fit(X, y, loss, rule, epochs=3, random_state=1, **options)
        assert rule.t == 7 * 6
        state = [array for slots in rule.state for array in slots]
        runs.append([first["loss"], first["val_loss"], second["loss"], *model.state_dict().values(), *state])
    for ours, theirs in zip(*runs, strict=True):
        assert_close(ours, theirs)


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_same_masks_compiled_and_layer_by_layer(optimizer, n_jobs):
    """One epoch a call and several; forwards by hand and counts of one's own in between."""
    X, y, loss = problem("SoftmaxCrossEntropy")
    runs = []
    for compiled in (True, False):
        model = dropping_stack()
        rule = OPTIMIZERS[optimizer](model.parameters())
        options = {"batch_size": 10, "compiled": compiled, "n_jobs": n_jobs}
        first = model.fit(X, y, loss, rule, epochs=4, random_state=0, validation_data=(X, y), **options)
        assert [model[i].n_forwards for i in (1, 4, 7)] == [4 * 6] * 3
        outputs = model.train()(X)
        model[4].n_forwards = 3
        second = model.fit(X, y, loss, rule, epochs=5, random_state=1, **options)
        assert [model[i].n_forwards for i in (1, 4, 7)] == [9 * 6 + 1, 5 * 6 + 3, 9 * 6 + 1]
        state = [array for slots in rule.state for array in slots]
        runs.append([first["loss"], first["val_loss"], second["loss"], outputs, *model.state_dict().values(), *state])
    for ours, theirs in zip(*runs, strict=True):
        assert_close(ours, theirs)


def test_the_same_numbers_in_float32():
    X, y, loss = problem("SoftmaxCrossEntropy")
    models = [stack(dtype=np.float32) for _ in range(2)]
    for model, compiled in zip(models, (True, False), strict=True):
        model.fit(X, y, loss, nn.SGD(model.parameters(), lr=0.05), epochs=4, random_state=0, compiled=compiled)
    for ours, theirs in zip(*(model.state_dict().values() for model in models), strict=True):
        assert ours.dtype == np.float32
        assert_close(ours, theirs, 1e-5)


@pytest.mark.parametrize(
    ("loss", "estimator", "factor"),
    [("SoftmaxCrossEntropy", MLPClassifier, 1), ("MSELoss", MLPRegressor, 2)],
)
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_the_estimators_numbers(loss, estimator, factor, solver):
    """From the same weights, without the penalty and without shuffling: the same loss curve and weights."""
    n_out = 3 if estimator is MLPClassifier else 1
    X, y, loss = problem(loss, n_out)
    options = {"hidden_layer_sizes": (6,), "alpha": 0, "batch_size": 10, "max_iter": 5, "shuffle": False, "random_state": 0}
    theirs = estimator(solver=solver, learning_rate_init=0.01, nesterovs_momentum=False, tol=0, **options)
    with pytest.warns(match="Maximum iterations"):
        theirs.fit(X, y if n_out > 1 else y.ravel())
    model = nn.mlp([4, 6, n_out])
    network = Network([4, 6, n_out])
    network.initialize(np.random.RandomState(0))
    for layer, weight, bias in zip(model, network.coefs, network.intercepts, strict=True):
        layer.weight.data, layer.bias.data = weight, bias
    # The gradient of MSELoss is twice the estimator's: half the rate, or twice the eps, gives the same steps.
    if solver == "sgd":
        optimizer = nn.SGD(model.parameters(), lr=0.01 / factor, momentum=0.9)
    else:
        optimizer = nn.Adam(model.parameters(), lr=0.01, eps=1e-8 * factor)
    history = model.fit(X, y, loss, optimizer, epochs=5, batch_size=10, shuffle=False, compiled=True)
    assert_close(history["loss"], factor * np.array(theirs.loss_curve_), 1e-7)  # scikit-learn clips probabilities for its loss
    for layer, weight in zip(model, theirs.coefs_, strict=True):
        assert_close(layer.weight.data, weight)


def test_sparse_rows(rng):
    X = rng.normal(size=(40, 4)) * (rng.uniform(size=(40, 4)) < 0.3)
    y, loss = rng.integers(0, 3, 40), nn.SoftmaxCrossEntropy()
    runs = []
    for given in (X, csr_array(X)):
        for compiled in (True, False):
            model = stack()
            optimizer = nn.Adam(model.parameters())
            history = model.fit(given, y, loss, optimizer, epochs=2, validation_data=(given, y), random_state=0, compiled=compiled)
            runs.append(history["loss"] + history["val_loss"])
    for run in runs[1:]:
        assert_close(run, runs[0])


@pytest.mark.parametrize("compiled", [True, False])
def test_callback_sees_the_model_changes_the_rate_and_stops(compiled):
    X, y, loss = problem("SoftmaxCrossEntropy")
    model = stack()
    optimizer = nn.SGD(model.parameters(), lr=0.1, momentum=0.9)
    seen = []

    def callback(epoch, history):
        seen.append((epoch, len(history["loss"]), model[0].weight.data.copy()))
        optimizer.lr = 0.0 if epoch == 1 else optimizer.lr
        return epoch == 2

    history = model.fit(X, y, loss, optimizer, epochs=10, random_state=0, callback=callback, compiled=compiled)
    assert [(epoch, n) for epoch, n, _ in seen] == [(0, 1), (1, 2), (2, 3)]
    assert len(history["loss"]) == 3
    assert (seen[0][2] != seen[1][2]).any()
    np.testing.assert_array_equal(seen[2][2], model[0].weight.data)
    np.testing.assert_array_equal(seen[1][2], seen[2][2])
    assert all(np.isfinite(velocity).all() and velocity.any() for (velocity,) in optimizer.state)


@pytest.mark.parametrize("compiled", [True, False])
def test_ctrl_c_ends_the_training_and_loses_nothing(monkeypatch, compiled):
    X, y, loss = problem("SoftmaxCrossEntropy")
    model, reference = dropping_stack(), dropping_stack()
    done = reference.fit(X, y, loss, nn.SGD(reference.parameters(), lr=0.1), epochs=2, random_state=0, compiled=compiled)
    runs = []

    def interrupted(*arguments, run):
        if len(runs) == (2 if compiled else 4):  # after two epochs, of two batches each
            raise KeyboardInterrupt
        runs.append(1)
        return run(*arguments)

    monkeypatch.setattr(loop, "VISITS_PER_CALL", 1)  # so that every epoch is a call
    target, name = (raw, "train_epochs") if compiled else (nn.SGD, "step")
    original = getattr(target, name)
    monkeypatch.setattr(target, name, lambda *arguments: interrupted(*arguments, run=original))
    with pytest.warns(UserWarning, match=r"Training interrupted by user\."):
        history = model.fit(X, y, loss, nn.SGD(model.parameters(), lr=0.1), epochs=9, random_state=0, compiled=compiled)
    assert history == done
    for ours, theirs in zip(model.state_dict().values(), reference.state_dict().values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_modes_are_as_before():
    X, y, loss = problem("SoftmaxCrossEntropy")
    model = nn.Sequential(nn.Linear(4, 3, random_state=0), nn.Dropout(0.5, random_state=0), nn.BatchNorm1d(3))
    model[1].eval()
    modes = []

    def raising(epoch, history):
        modes.append([module.training for module in model.modules()])
        model.train() if epoch else model[2].train()
        if epoch == 2:
            raise RuntimeError("from the callback")

    with pytest.raises(RuntimeError, match="from the callback"):
        model.fit(X, y, loss, nn.SGD(model.parameters()), batch_size=53, validation_data=(X, y), callback=raising)
    assert modes == [[False] * 4] * 3
    assert [module.training for module in model.modules()] == [True, True, False, True]


@pytest.mark.parametrize("compiled", [True, False])
def test_what_a_callback_does_with_the_model_does_not_change_the_training(compiled):
    X, y, loss = problem("SoftmaxCrossEntropy")

    def run(act):
        model = dropping_stack() if compiled else nn.Sequential(*dropping_stack(), nn.BatchNorm1d(3))
        options = {"epochs": 3, "batch_size": 10, "random_state": 0, "compiled": compiled}
        history = model.fit(X, y, loss, nn.SGD(model.parameters(), lr=0.1), callback=lambda *_: act(model), **options)
        return [*history["loss"], *model.state_dict().values(), [m.n_forwards for m in model if isinstance(m, nn.Dropout)]]

    def act(model):
        model(X)
        model.eval()
        model[0].train()

    for ours, theirs in zip(run(act), run(lambda model: None), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("answer", "n_epochs"),
    [(np.float64(0.5), 3), (np.ones(2), 3), ([1], 3), (1, 3), ("stop", 3), (True, 1), (np.True_, 1)],
    ids=repr,
)
def test_true_alone_stops(answer, n_epochs):
    X, y, loss = problem("SoftmaxCrossEntropy")
    model = stack()
    history = model.fit(X, y, loss, nn.SGD(model.parameters()), epochs=3, callback=lambda epoch, history: answer)
    assert len(history["loss"]) == n_epochs


def test_progress_bar(capsys):
    X, y, loss = problem("SoftmaxCrossEntropy")
    model = stack()
    model.fit(X, y, loss, nn.SGD(model.parameters()), epochs=2, progress=True)
    assert "loss" in capsys.readouterr().err


@pytest.mark.parametrize("compiled", [None, False])
def test_errors_before_anything_changes(compiled):
    X, y, loss = problem("SoftmaxCrossEntropy")
    model = stack()
    before = model.state_dict()

    def fit(X, y, **options):
        model.fit(X, y, loss, nn.SGD(model.parameters()), epochs=1, batch_size=10, compiled=compiled, **options)

    with pytest.raises(nn.ShapeError, match=r"^layer '0', Linear\(4, 7, activation='tanh'\): [xX] must have shape \(n, 4\)"):
        fit(X[:, :3], y)
    with pytest.raises(nn.ShapeError, match=r"y must be in \[0, 2\]; got 3 at position"):
        fit(X, y + 1, shuffle=False)
    with pytest.raises(ValueError, match=r"X and y must have the same number of rows|y must be 53 integer labels"):
        fit(X, y[:-1])
    with pytest.raises(ValueError, match="X and y must have at least one row"):
        fit(X[:0], y[:0])
    with pytest.raises(ValueError, match="epochs must be at least 0 and batch_size at least 1; got 1 and 0"):
        model.fit(X, y, loss, nn.SGD(model.parameters()), epochs=1, batch_size=0)
    with pytest.raises(ValueError, match="optimizer has none of the model's parameters"):
        model.fit(X, y, loss, nn.SGD(stack().parameters()), epochs=1, compiled=compiled)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("compiled", [True, False])
def test_training_that_diverges_stops_with_a_warning(compiled):
    X, y, loss = problem("MSELoss", n_out=1)
    model = nn.mlp([4, 8, 1], random_state=0)
    optimizer = nn.SGD(model.parameters(), lr=1.0)
    reference = nn.mlp([4, 8, 1], random_state=0)
    options = {"batch_size": 32, "compiled": compiled, "random_state": 0}
    good = reference.fit(X, y, loss, nn.SGD(reference.parameters(), lr=1.0), epochs=4, **options)
    message = (
        r"^training stops in epoch 4, counted from 0, with loss nan: the first value that is not finite, in batch 0, is the loss, "
        r"for outputs of layer '1', Linear\(8, 1\) up to .*e\+\d+\. The model has the parameters from the end of epoch 3, with "
        r"loss .*\. "
        r"Try a learning rate below 1, clip_norm=1\.0, or smaller numbers in X and y$"
    )
    with pytest.warns(RuntimeWarning, match=message) as caught:
        history = model.fit(X, y, loss, optimizer, epochs=40, **options)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert history["loss"][:4] == good["loss"]
    np.testing.assert_array_equal(np.isnan(history["loss"]), [False] * 4 + [True])
    for ours, theirs in zip(model.state_dict().values(), reference.state_dict().values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert optimizer.t == 4 * 2


@pytest.mark.parametrize("compiled", [True, False])
def test_training_goes_on_where_an_infinite_loss_leaves_finite_parameters(compiled):
    X, y, loss = problem("MSELoss", n_out=1)
    model = nn.mlp([4, 1], random_state=0)
    with pytest.warns(RuntimeWarning, match="loss of epoch 0, .* is inf: training goes on") as caught:
        history = model.fit(X, 1e200 * y, loss, nn.SGD(model.parameters(), lr=1e-60), epochs=3, compiled=compiled)
    assert len([w for w in caught if "loss of epoch" in str(w.message)]) == 1
    assert history["loss"] == [np.inf] * 3


def test_a_callback_may_put_finite_parameters_back():
    X, y, loss = problem("MSELoss", n_out=1)
    model = nn.mlp([4, 8, 1], random_state=0)
    optimizer, start = nn.SGD(model.parameters(), lr=10.0), model.state_dict()

    def restored(epoch, history):
        if not np.isfinite(history["loss"][-1]):
            model.load_state_dict(start)
            optimizer.lr = 1e-3

    with pytest.warns(RuntimeWarning, match="loss of epoch"):
        history = model.fit(X, y, loss, optimizer, epochs=20, batch_size=8, callback=restored, random_state=0)
    assert len(history["loss"]) == 20
    assert np.isfinite(history["loss"][-1])
