"""What fit and predict offer beside the steps: metrics, validation, clipping, a flow, and the end where numbers are not finite."""

import warnings

import numpy as np
import pytest
from scipy.sparse import csr_array

from fastprop import loop, nn
from fastprop.inspection import GradientFlow, GradientWarning, activation_statistics, check_gradients, gradient_flow
from fastprop.nn.arrays import raw

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(53, 4)), RNG.integers(0, 3, 53)
X_NEW, Y_NEW = RNG.normal(size=(31, 4)), RNG.integers(0, 3, 31)
# The back end in NumPy says what overflows on the way.
pytestmark = pytest.mark.filterwarnings("ignore:(invalid value|overflow) encountered")
WAYS = pytest.mark.parametrize("compiled", [True, False])


def a_model():
    """With layers that do something else in evaluation."""
    options = {"random_state": np.random.default_rng(0)}
    return nn.Sequential(
        nn.Linear(4, 9, activation="tanh", **options),
        nn.BatchNorm1d(9),
        nn.Dropout(0.3, random_state=1),
        nn.Linear(9, 3, **options),
    )


def fitted(model, loss=None, lr=0.1, epochs=4, data=(X, Y), **options):
    """The history of a fit in batches of 10."""
    options = {"batch_size": 10, "random_state": 0} | options
    return model.fit(*data, loss or nn.SoftmaxCrossEntropy(), nn.SGD(model.parameters(), lr=lr), epochs=epochs, **options)


# predict


def test_predict_is_the_forward_in_evaluation_mode():
    model = a_model()
    fitted(model)
    model[1].eval()
    modes = [module.training for module in model.modules()]
    outputs = model.predict(X, batch_size=20)
    assert [module.training for module in model.modules()] == modes
    assert all(module._saved is None for module in model.modules())
    np.testing.assert_array_equal(outputs, model.eval()(X))
    for given in (X.tolist(), csr_array(X), X.astype(np.float32).astype(float), np.asfortranarray(X)):
        np.testing.assert_allclose(model.predict(given), outputs, rtol=1e-5)
    assert model.predict(X[:0]).shape == (0, 3)


def test_predict_goes_through_the_rows_in_batches():
    sizes = []

    class Counting(nn.Linear):
        def forward(self, x):
            sizes.append(len(x))
            return super().forward(x)

    Counting(4, 2, random_state=0).predict(X, batch_size=20)
    assert sizes == [20, 20, 13]


def test_predict_gives_an_array_of_its_own():
    assert not np.shares_memory(nn.Sequential(nn.Dropout(0.5)).predict(X), X)


def test_predict_of_several_inputs():
    a, b = nn.Input(), nn.Input()
    graph = nn.Graph([a, b], a * b)
    np.testing.assert_array_equal(graph.predict(X, 2 * X, batch_size=20), 2 * X * X)
    assert graph.predict(2.0, 3.0) == 6
    with pytest.raises(ValueError, match=r"all inputs must have the same number of rows; got shapes \[\(53, 4\), \(31, 4\)\]"):
        graph.predict(X, X_NEW)


class Sum(nn.Module):
    """Of two inputs, through a layer."""

    def __init__(self):
        self.layer = nn.Linear(4, 3, activation="sigmoid", random_state=0)

    def forward(self, a, b):
        return self.layer(a + b)

    def backward(self, dout, accumulate=False):
        dx = self.layer.backward(dout, accumulate)
        return dx, dx


@pytest.mark.parametrize("model", [Sum(), nn.Sequential(Sum(), nn.Linear(3, 3, random_state=0))])
def test_a_tuple_has_the_inputs_of_any_model(model):
    """As it does in the functions that look at a model."""
    data, loss = (X, csr_array(X)), nn.SoftmaxCrossEntropy()
    history = fitted(model, data=(data, Y), validation_data=(data, Y), metrics="accuracy", flow=GradientFlow(model))
    assert history["val_loss"][-1] < history["val_loss"][0]
    np.testing.assert_array_equal(model.predict(data), model.predict(*data))
    few = X[:3], X[3:6].tolist()
    assert check_gradients(model, loss, few, Y[:3]).verdict == "correct"
    names = [name for name, _ in model.named_modules() if name.endswith("layer")]
    assert [row.name for row in activation_statistics(model, few).rows] == names
    assert np.isfinite(gradient_flow(model, loss, few, Y[:3]).input_norms).all()


def test_predict_of_several_outputs():
    x = nn.Input()
    outputs = nn.Graph(x, [2 * x, x.sum(axis=1)]).predict(X, batch_size=20)
    assert type(outputs) is tuple
    np.testing.assert_array_equal(outputs[0], 2 * X)
    np.testing.assert_allclose(outputs[1], X.sum(axis=1))


def test_errors_of_predict():
    model = a_model()
    with pytest.raises(nn.ShapeError, match=r"each output must have one row for each row of X; got shape \(1, 4\) for 20 rows"):
        nn.Graph(nn.Input().sum(axis=0, keepdims=True)).predict(X, batch_size=20)
    with pytest.raises(nn.ShapeError, match=r"^layer '0', Linear\(4, 9, .*\): x must have shape \(n, 4\); got \(53,\)"):
        model.predict(X[:, 0])
    with pytest.raises(ValueError, match="batch_size must be at least 1; got 0"):
        model.predict(X, batch_size=0)


# Metrics


@WAYS
def test_metrics_of_both_data_after_each_epoch(compiled):
    model, expected = a_model(), {"spread": [], "val_spread": [], "accuracy": [], "val_accuracy": []}

    def spread(outputs, y):
        assert len(outputs) == len(y)
        return outputs.max() - y.mean()

    def by_hand(epoch, history):
        assert {len(values) for values in history.values()} == {epoch + 1}
        for prefix, x, y in (("", X, Y), ("val_", X_NEW, Y_NEW)):
            expected[f"{prefix}spread"].append(spread(model(x), y))
            expected[f"{prefix}accuracy"].append((model(x).argmax(axis=1) == y).mean())

    metrics = {"spread": spread, "accuracy": "accuracy"}
    options = {"metrics": metrics, "validation_data": (X_NEW, Y_NEW), "compiled": compiled}
    history = fitted(model, callback=by_hand, **options)
    assert list(history) == ["loss", "spread", "accuracy", "val_loss", "val_spread", "val_accuracy"]
    assert {name: history[name] for name in expected} == expected
    assert all(type(value) is float for values in history.values() for value in values)

    again = fitted(a_model(), **options)  # they change nothing of the training, and need no callback
    plain = fitted(a_model(), compiled=compiled)
    assert again == history
    assert plain == {"loss": history["loss"]}


def test_accuracy():
    one_hot, binary = np.eye(3)[Y], (Y[:, None] == [0, 1]).astype(float)
    still = {"lr": 0.0, "epochs": 1, "compiled": False}
    plain = nn.mlp([4, 3], random_state=0)
    logits = plain.predict(X)
    right = (logits.argmax(axis=1) == Y).mean()
    for y in (Y, one_hot):
        assert fitted(plain, data=(X, y), metrics="accuracy", **still)["accuracy"] == [right]
    two = nn.mlp([4, 2], random_state=0)
    history = fitted(two, nn.BinaryCrossEntropy(), data=(X, binary), metrics=["accuracy"], **still)
    assert history["accuracy"] == [((two.predict(X) > 0) == binary).mean()]
    one = nn.mlp([4, 1], random_state=0)
    history = fitted(one, nn.BinaryCrossEntropy(), data=(X, binary[:, 0]), metrics={"share": "accuracy"}, **still)
    assert history["share"] == [((one.predict(X)[:, 0] > 0) == binary[:, 0]).mean()]


class Own:
    """A loss that derives from nothing."""

    def __call__(self, outputs, y):
        return outputs.mean()

    def backward(self):
        return 1.0


def test_errors_of_metrics():
    for metrics in ({"loss": min}, {"val_f": min}):
        with pytest.raises(ValueError, match=r"the name of a metric must not be 'loss' or begin with 'val_'; got"):
            fitted(a_model(), metrics=metrics)
    for metrics in ("f1", {"f": "f1"}, {"f": 3}, {3: min}, [min], min):
        with pytest.raises(TypeError, match=r"metrics must be 'accuracy' or a dict of functions of \(outputs, y\) by name; got"):
            fitted(a_model(), metrics=metrics)
    with pytest.raises(ValueError, match=r"'accuracy' is for SoftmaxCrossEntropy and BinaryCrossEntropy; the loss is MSELoss\(\)"):
        fitted(a_model(), nn.MSELoss(), metrics="accuracy")
    with pytest.raises(ValueError, match=r"'accuracy' is for SoftmaxCrossEntropy .*; the loss is <.*Own"):
        fitted(a_model(), Own(), metrics="accuracy")
    with pytest.raises(TypeError, match=r"the metric 'f' must return a number; got 'x'"):
        fitted(a_model(), metrics={"f": lambda outputs, y: "x"})


# Validation


def calls_of_training(monkeypatch):
    """A list that gets the number of epochs of every compiled call."""
    calls, original = [], raw.train_epochs

    def counted(job, n_threads):
        calls.append(len(job.losses))
        original(job, n_threads)

    monkeypatch.setattr(raw, "train_epochs", counted)
    return calls


def test_validation_is_inside_the_compiled_calls(monkeypatch):
    calls = calls_of_training(monkeypatch)
    history = fitted(a_model(), validation_data=(X_NEW, Y_NEW), compiled=True)
    assert calls == [4]
    by_hand, model = [], a_model()
    fitted(model, callback=lambda *_: by_hand.append(nn.SoftmaxCrossEntropy()(model(X_NEW), Y_NEW)), compiled=True)
    np.testing.assert_allclose(history["val_loss"], by_hand, rtol=1e-13)


def test_validation_at_the_end_of_an_epoch_in_several_calls(monkeypatch):
    options = {"validation_data": (X_NEW, Y_NEW), "compiled": True}
    whole = fitted(a_model(), **options)
    monkeypatch.setattr(loop, "FLOPS_PER_CALL", 1)
    calls = calls_of_training(monkeypatch)
    parts = fitted(a_model(), **options)
    assert calls == [1] * 4 * 6
    assert parts.keys() == whole.keys()
    for name in whole:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-13)


def test_forms_of_validation_data():
    expected = fitted(a_model(), validation_data=(X_NEW, Y_NEW))["val_loss"]
    forms = [(csr_array(X_NEW), Y_NEW), [X_NEW.tolist(), Y_NEW.tolist()], (X_NEW, np.eye(3)[Y_NEW])]
    for form in forms:
        for compiled in (True, False):
            np.testing.assert_allclose(fitted(a_model(), validation_data=form, compiled=compiled)["val_loss"], expected, rtol=1e-12)


@WAYS
def test_bad_validation_data_before_anything_changes(compiled):
    model = a_model()
    before = model.state_dict()
    cases = [
        ((X_NEW[:, :3], Y_NEW), r"validation_data: [xX] must have shape \(n, 4\); got \(\d+, 3\)"),
        ((X_NEW, Y_NEW[:-1]), r"validation_data: (y must be 31 integer labels|X and y must have the same number of rows)"),
        ((X_NEW, Y_NEW + 1), r"validation_data: y must be in \[0, 2\]; got 3 at position"),
        ((X_NEW[:0], Y_NEW[:0]), "validation_data must have at least one row"),
        (X_NEW, r"validation_data must be a pair \(X, y\); got an array of shape \(31, 4\)"),
    ]
    for data, message in cases:
        with pytest.raises((ValueError, TypeError), match=message):
            fitted(model, validation_data=data, compiled=compiled)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


# Clipping


@WAYS
def test_clip_norm(compiled):
    model, reference, loss = nn.mlp([4, 9, 3], random_state=0), nn.mlp([4, 9, 3], random_state=0), nn.SoftmaxCrossEntropy()
    fitted(model, lr=1.0, clip_norm=0.6, shuffle=False, compiled=compiled)
    optimizer, norms = nn.SGD(reference.parameters(), lr=1.0), []
    for _ in range(4):
        for start in range(0, 53, 10):
            loss(reference(X[start : start + 10]), Y[start : start + 10])
            reference.backward(loss.backward())
            norms.append(nn.clip_grad_norm(reference.parameters(), 0.6))
            optimizer.step()
    assert min(norms) < 0.6 < max(norms)
    for ours, theirs in zip(model.state_dict().values(), reference.state_dict().values(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)
    with pytest.raises(ValueError, match="clip_norm must be above 0, or None; got 0"):
        fitted(model, clip_norm=0, compiled=compiled)


# A flow


@WAYS
@pytest.mark.parametrize("at", ["parameters", "outputs"])
def test_a_flow_records_the_first_batch_of_each_epoch_and_changes_nothing(compiled, at):
    model, reference, loss = a_model(), a_model(), nn.SoftmaxCrossEntropy()
    flow, expected = GradientFlow(model, at), GradientFlow(reference, at)
    history = fitted(model, flow=flow, clip_norm=0.1, shuffle=False, compiled=compiled)
    assert flow.norms.shape == (4, 3)
    assert fitted(a_model(), clip_norm=0.1, shuffle=False, compiled=compiled) == history

    optimizer = nn.SGD(reference.parameters(), lr=0.1)
    for _ in range(4):
        for start in range(0, 53, 10):
            loss(reference(X[start : start + 10]), Y[start : start + 10])
            (reference if start else expected).backward(loss.backward())
            nn.clip_grad_norm(reference.parameters(), 0.1)
            optimizer.step()
    np.testing.assert_allclose(flow.norms, expected.norms, rtol=1e-9)
    for ours, theirs in zip(model.state_dict().values(), reference.state_dict().values(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_a_flow_warns_inside_fit():
    model = nn.mlp([4, *[9] * 10, 3], "sigmoid", random_state=0)
    with pytest.warns(GradientWarning, match=r"step 1: the gradient vanishes on its way back: .* at layer '0'"):
        fitted(model, flow=GradientFlow(model))
    model = nn.mlp([4, *[9] * 10, 3], random_state=0)
    for layer in model:
        layer.weight.data *= 4
    with pytest.warns(GradientWarning, match=r"step 1: the gradient explodes on its way back: .* at layer '0'"):
        fitted(model, lr=0.0, epochs=1, flow=GradientFlow(model, "outputs"))


def test_a_flow_of_another_model():
    with pytest.raises(ValueError, match="flow must be a GradientFlow of this model; got"):
        fitted(a_model(), flow=GradientFlow(a_model()))


# Numbers that are not finite


def stopped(model, message, loss=None, **options):
    """A history that ended with one warning; the parameters are those from before, and finite."""
    with pytest.warns(RuntimeWarning, match=message) as caught:
        history = fitted(model, loss, **options)
    assert len([warning for warning in caught if "training stops" in str(warning.message)]) == 1
    assert all(np.isfinite(array).all() for array in model.state_dict().values())
    return history


@WAYS
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_that_is_not_finite(compiled, value):
    x, y = X.copy(), RNG.normal(size=(53, 3))
    x[17, 2] = value
    message = r"stops in epoch 0, counted from 0, with loss nan: row 17 of X is not finite\. The model has the parameters from "
    model = a_model()
    before = model.state_dict()
    history = stopped(model, message + r"before this fit\. Leave out such rows", data=(x, Y), compiled=compiled)
    assert len(history["loss"]) == 1
    assert np.isnan(history["loss"]).all()
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    y[5, 1] = value
    stopped(a_model(), "row 5 of y is not finite", nn.MSELoss(), data=(X, y), compiled=compiled)


@WAYS
def test_the_first_layer_that_is_not_finite(compiled):
    options = {"compiled": compiled, "shuffle": False}
    deep = nn.mlp([4, 8, 8, 3], random_state=0)
    where = r"the first value that is not finite, in batch 1, is the output of layer '1', Linear\(8, 8, activation='relu'\)\."
    stopped(deep, where, lr=1e200, **options)

    x, y = np.full((53, 1), 1e160), np.full((53, 1), 1e150)
    where = r"the first value that is not finite, in batch 0, is the gradient of layer '0', Linear\(1, 1\)\."
    small = nn.mlp([1, 1], random_state=0)
    small[0].weight.data = [[0.0]]
    stopped(small, where, nn.MSELoss(), data=(x, y), **options)

    small = nn.mlp([4, 1], random_state=0)
    where = r"is the update of 0\.weight\. .* Try a learning rate below 1e\+308, or smaller numbers"
    stopped(small, where, nn.MSELoss(), data=(1e3 * X, X[:, 0]), lr=1e308, batch_size=53, epochs=1, clip_norm=1e9, **options)


def test_a_residual_block_is_named_by_its_innermost_layer():
    inner = nn.Linear(4, 4, random_state=0)
    inner.weight.data = np.eye(4) * 1e308
    model = nn.Sequential(nn.Residual(nn.Sequential(nn.Linear(4, 4, random_state=1), inner)), nn.Linear(4, 3, random_state=0))
    stopped(model, r"is the output of layer '0\.block\.1', Linear\(4, 4\)\.", data=(100 * X, Y))


@WAYS
@pytest.mark.parametrize("callback", [None, lambda *_: None])
def test_the_state_of_the_last_finite_epoch_is_kept(compiled, callback):
    """Parameters, running statistics, the numbers of dropout's masks, and the optimizer, whose history is as long as it was."""

    def model():
        return nn.Sequential(nn.Dropout(0.2, random_state=0), nn.Linear(4, 3, random_state=0))

    ours, theirs = model(), model()
    optimizers = [nn.SGD(m.parameters(), lr=1e-3, momentum=0.9) for m in (ours, theirs)]
    runs = {"batch_size": 53, "random_state": 0, "compiled": compiled}
    rows, loss = (1e4 * X, 1e3 * X[:, :3]), nn.MSELoss()
    with pytest.warns(RuntimeWarning) as caught:
        history = ours.fit(*rows, loss, optimizers[0], epochs=200, callback=callback, validation_data=rows, **runs)
    n_good = len(history["loss"]) - 1
    goes_on, stops = (text for text in map(str, (warning.message for warning in caught)) if "training" in text)
    assert "is inf: training goes on, because the parameters are finite" in goes_on
    assert f"training stops in epoch {n_good}, counted from 0" in stops
    assert n_good > 10
    assert len(history["val_loss"]) == n_good + 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a loss that is infinite
        again = theirs.fit(*rows, loss, optimizers[1], epochs=n_good, **runs)
    np.testing.assert_array_equal(again["loss"], history["loss"][:-1])
    for one, other in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert ours[0].n_forwards == theirs[0].n_forwards == optimizers[0].t == n_good
    np.testing.assert_array_equal(optimizers[0].memory, optimizers[1].memory)


def test_parameters_that_were_never_finite():
    model = nn.mlp([4, 8, 3], random_state=0)
    model[1].weight.data[0, 0] = np.inf
    with pytest.warns(RuntimeWarning, match=r"1\.weight was not finite before\. .* Start from other parameters"):
        fitted(model)


def test_a_callback_that_makes_parameters_finite_again_goes_on(recwarn):
    model = nn.mlp([4, 8, 3], random_state=0)
    start = model.state_dict()
    n_bad = []

    def restored(epoch, history):
        if not np.isfinite(model[0].weight.data).all():
            n_bad.append(epoch)
            model.load_state_dict(start)

    history = fitted(model, lr=1e200, epochs=3, callback=restored)
    assert n_bad == [0, 1, 2]
    assert len(history["loss"]) == 3
    assert not [warning for warning in recwarn if "training stops" in str(warning.message)]


@WAYS
def test_metrics_and_callbacks_at_a_stop(compiled):
    """A metric may not take NaN, and a callback that stops does not hide that parameters are not finite."""

    def finite(outputs, y):
        assert np.isfinite(outputs).all()
        return 1.0

    options = {"metrics": {"finite": finite}, "validation_data": (X, Y), "callback": lambda *_: True, "compiled": compiled}
    history = stopped(nn.mlp([4, 8, 8, 3], random_state=0), "training stops in epoch 0", lr=1e200, **options)
    assert len(history["loss"]) == 1
    np.testing.assert_array_equal([history["finite"], history["val_finite"]], np.nan)
