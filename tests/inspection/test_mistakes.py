"""Mistakes planted in the backwards of modules and losses of one's own: each is recognised by its name, and no other one is."""

import numpy as np
import pytest
from scipy.special import expit

from fastprop import nn
from fastprop.inspection import check_gradients

# value and derivative of z
FUNCTIONS = {
    "sigmoid": (expit, lambda z: expit(z) * (1 - expit(z))),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "softplus": (lambda z: np.logaddexp(z, 0), expit),
    "own": (lambda z: z + np.sin(z), lambda z: 1 + np.cos(z)),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(float)),
}
BY_OUTPUT = {"sigmoid": lambda a: a * (1 - a), "tanh": lambda a: 1 - a**2, "softplus": lambda a: 1 - np.exp(-a)}


class Affine(nn.Module):
    """``x @ weight + bias``, with a mistake."""

    def __init__(self, n_in, n_out, rng, mistake=""):
        self.weight, self.bias = nn.Parameter(rng.normal(size=(n_in, n_out))), nn.Parameter(rng.normal(size=n_out))
        self.mistake, self.kept, self.before = mistake, None, None

    def forward(self, x):
        self.before = self.kept if self.kept is not None else x
        if self.kept is None or self.mistake != "first forward":
            self.kept = x
        return x @ self.weight.data + self.bias.data

    def backward(self, dout, accumulate=False):
        x = self.before if self.mistake == "forward before" else self.kept
        return self.gradients(x, dout)

    def gradients(self, x, dz):
        mistake, n = self.mistake, len(x)
        dweight, dbias = x.T @ dz, dz.sum(axis=0)
        if mistake == "row 0":
            dbias = dz[0]
        elif mistake == "last row":  # overwritten by each row
            dweight, dbias = np.outer(x[-1], dz[-1]), dz[-1]
        elif mistake == "mean":
            dbias = dz.mean(axis=0)
        elif mistake == "all":
            dbias = np.full_like(dbias, dz.sum())
        elif mistake == "n":
            dweight, dbias = dweight * n, dbias * n
        elif mistake == "1/n":
            dweight, dbias = dweight / n, dbias / n
        elif mistake == "sign":
            dweight = -dweight
        elif mistake == "transposed":
            dweight = dz.T @ x if len(set(dweight.shape)) == 1 else (dz.T @ x).reshape(dweight.shape)
        self.weight.grad, self.bias.grad = dweight, dbias
        return dz @ (self.weight.data if mistake == "weight" else self.weight.data.T) * (-1 if mistake == "sign of dx" else 1)


class Function(nn.Module):
    """An activation, with a mistake."""

    def __init__(self, name, mistake=""):
        self.name, self.mistake = name, mistake

    def forward(self, z):
        a = FUNCTIONS[self.name][0](z)
        self._saved = z, a
        return a

    def backward(self, dout, accumulate=False):
        return dout * self.slope(*self._saved)

    def slope(self, z, a, x=None):
        if self.mistake == "formula":
            return BY_OUTPUT[self.name](z)
        at = {"a": a, "x": x}.get(self.mistake, z)
        return np.ones_like(z) if self.mistake == "none" else FUNCTIONS[self.name][1](at)


class Layer(Affine):
    """Both in one."""

    def __init__(self, n_in, n_out, rng, mistake="", name="tanh"):
        super().__init__(n_in, n_out, rng, mistake)
        self.function = Function(name, mistake)  # in no list of modules' forwards: its methods are called below

    def forward(self, x):
        self.z = super().forward(x)
        self.a = FUNCTIONS[self.function.name][0](self.z)
        return self.a

    def backward(self, dout, accumulate=False):
        return super().backward(dout * self.function.slope(self.z, self.a, self.kept))


class TwoLayers(nn.Module):
    """A network in one module, as the texts write them."""

    def __init__(self, n_in, n_hidden, n_out, rng, mistake="", name="tanh"):
        self.W1, self.b1 = nn.Parameter(rng.normal(size=(n_in, n_hidden))), nn.Parameter(np.zeros((1, n_hidden)))
        self.W2, self.b2 = nn.Parameter(rng.normal(size=(n_hidden, n_out))), nn.Parameter(np.zeros((1, n_out)))
        self.name, self.mistake, self.x, self.before = name, mistake, None, None

    def forward(self, x):
        self.before, self.x = x if self.x is None else self.x, x
        self.z1 = x @ self.W1.data + self.b1.data
        self.a1 = FUNCTIONS[self.name][0](self.z1)
        return self.a1 @ self.W2.data + self.b2.data

    def backward(self, dout, accumulate=False):
        mistake, x = self.mistake, self.before if self.mistake == "forward before" else self.x
        scale = {"n": len(x), "1/n": 1 / len(x), "sign": -1}.get(mistake, 1)
        dz2 = dout * scale
        da1 = dz2 @ (self.W2.data if mistake == "weight" else self.W2.data.T)
        dz1 = da1 * Function(self.name, mistake).slope(self.z1, self.a1)
        self.W2.grad = self.a1.T @ dz2
        self.b2.grad, self.b1.grad = dz2.sum(axis=0, keepdims=True), dz1.sum(axis=0, keepdims=True)
        self.W1.grad = (dz1.T @ x).reshape(self.W1.shape) if mistake == "transposed" else x.T @ dz1
        if mistake in ("mean", "row 0"):
            self.b1.grad = dz1.mean(axis=0, keepdims=True) if mistake == "mean" else dz1[:1]
        return dz1 @ self.W1.data.T


class SquaredError:
    """A loss that derives from nothing, with a mistake: the mean over rows of the sum over columns, or the mean over all."""

    def __init__(self, mistake="", of_all=False):
        self.mistake, self.of_all, self.kept = mistake, of_all, None

    def __call__(self, outputs, y):
        error = outputs - y
        if self.kept is None or self.mistake != "first forward":
            self.kept = error
        return (error**2).mean() if self.of_all else (error**2).sum() / len(error)

    def backward(self):
        n = self.kept.size if self.of_all else len(self.kept)
        return 2 * self.kept / n * {"n": n, "1/n": 1 / n, "sign": -1, "2": 0.5}.get(self.mistake, 1)


PLACE = "derivative at the wrong place"
# where and how it is planted -> the name by which it is recognised
PLANTED = {
    ("affine", "n"): "factor n",
    ("affine", "1/n"): "factor n",
    ("affine", "transposed"): "transposed gradient",
    ("affine", "weight"): "transposed gradient",
    ("affine", "row 0"): "missing batch sum",
    ("affine", "last row"): "missing batch sum",
    ("affine", "mean"): "missing batch sum",
    ("affine", "all"): "missing batch sum",
    ("affine", "sign"): "wrong sign",
    ("affine", "sign of dx"): "wrong sign",
    ("affine", "first forward"): "stale cache",
    ("affine", "forward before"): "stale cache",
    ("function", "a"): PLACE,
    ("function", "formula"): PLACE,
    ("function", "none"): "missing derivative",
    ("layer", "a"): PLACE,
    ("layer", "x"): PLACE,
    ("layer", "formula"): PLACE,
    ("layer", "mean"): "missing batch sum",
    ("layer", "transposed"): "transposed gradient",
    ("layer", "forward before"): "stale cache",
    ("network", "n"): "factor n",
    ("network", "1/n"): "factor n",
    ("network", "a"): PLACE,
    ("network", "formula"): PLACE,
    ("network", "transposed"): "transposed gradient",
    ("network", "weight"): "transposed gradient",
    ("network", "mean"): "missing batch sum",
    ("network", "row 0"): "missing batch sum",
    ("network", "sign"): "wrong sign",
    ("network", "forward before"): "stale cache",
    ("loss", "n"): "factor n",
    ("loss", "1/n"): "factor n",
    ("loss", "sign"): "wrong sign",
    ("loss", "2"): "constant factor",
    ("loss", "first forward"): "stale cache",
}
# Only square weights can be confused with their transposes, or have inputs as wide as outputs.
SQUARE = {("affine", "weight"), ("layer", "x"), ("network", "weight")}


def planted(where, mistake, seed):
    """A random network with data, and a mistake at one place."""
    rng = np.random.default_rng([seed, len(where), len(mistake)])
    n, n_in, n_hidden, n_out = (int(size) for size in rng.integers([3, 2, 2, 2], 6))
    if (where, mistake) in SQUARE:
        n_in = n_hidden = n_out
    curved = list(BY_OUTPUT) if mistake == "formula" else ["sigmoid", "tanh", "softplus", "own"]
    # The derivative of relu is the same at z and at a, and may be zero for all that a row contributes.
    names = curved if mistake in ("a", "x", "formula", "none", "row 0", "last row") else list(FUNCTIONS)
    name = names[seed % len(names)]
    if where == "network" and name == "own":
        name = "tanh"
    in_loss = mistake if where == "loss" else ""
    losses = SquaredError(in_loss), SquaredError(in_loss, of_all=True), nn.MSELoss(), nn.SoftmaxCrossEntropy()
    loss = losses[seed % (2 if in_loss else 4)]
    X, y = rng.normal(size=(n, n_in)), rng.normal(size=(n, n_out))
    if isinstance(loss, nn.SoftmaxCrossEntropy):
        y = rng.integers(0, n_out, n)
    if where == "network":
        return TwoLayers(n_in, n_hidden, n_out, rng, mistake, name), loss, X, y
    if where == "layer":
        return nn.Sequential(Layer(n_in, n_hidden, rng, mistake, name), Affine(n_hidden, n_out, rng)), loss, X, y
    own = {where: mistake}
    first = Affine(n_in, n_hidden, rng, own.get("affine", "") if seed % 2 else "")
    last = Affine(n_hidden, n_out, rng, own.get("affine", "") if not seed % 2 else "")
    return nn.Sequential(first, Function(name, own.get("function", "")), last), loss, X, y


def names_found(*problem):
    check = check_gradients(*problem)
    return {found.name for found in check.mistakes}, check


def check_names(where, mistake, seeds):
    for seed in seeds:
        found, check = names_found(*planted(where, mistake, seed))
        assert found == {PLANTED[where, mistake]}, (seed, check)


@pytest.mark.parametrize(("where", "mistake"), PLANTED)
def test_each_way_of_planting_it_is_recognised(where, mistake):
    check_names(where, mistake, range(2))


@pytest.mark.full
@pytest.mark.parametrize(("where", "mistake"), PLANTED)
def test_in_many_random_networks(where, mistake):
    check_names(where, mistake, range(2, 40))


@pytest.mark.parametrize("where", ["affine", "function", "layer", "network", "loss"])
def test_nothing_is_named_in_right_networks(where):
    for seed in range(8):
        found, check = names_found(*planted(where, "", seed))
        assert (check.verdict, found) == ("correct", set()), (seed, check)


def linear_problem(weight, X, mistake, y=None):
    """A single `Affine` with mean squared error."""
    model = Affine(*np.shape(weight), np.random.default_rng(0), mistake)
    model.weight.data = weight
    return nn.Sequential(model), nn.MSELoss(), X, np.zeros((len(X), len(weight[0]))) + (0.3 if y is None else y)


RNG = np.random.default_rng(7)
X3 = RNG.normal(size=(4, 3))


def test_where_the_numbers_are_right_nothing_is_named():
    """A batch of one row, a symmetric weight, and relu, whose derivatives at z and at a are the same."""
    symmetric = X3.T @ X3
    for problem in (
        linear_problem(RNG.normal(size=(3, 2)), X3[:1], "n"),
        linear_problem(RNG.normal(size=(3, 2)), X3[:1], "row 0"),
        linear_problem(symmetric, X3, "weight"),
        (nn.Sequential(Layer(3, 2, RNG, "a", "relu")), nn.MSELoss(), X3, np.ones((4, 2))),
    ):
        found, check = names_found(*problem)
        assert (check.verdict, found) == ("correct", set())


def test_mistakes_that_give_the_same_numbers_are_all_named():
    """A weight whose transpose is its negative; and two rows, so that n may be the factor 2 of the square."""
    skew = X3.T @ RNG.normal(size=(4, 3))
    for mistake in ("weight", "sign of dx"):
        found, check = names_found(*linear_problem(skew - skew.T, X3, mistake))
        assert found == {"wrong sign or transposed gradient"}, check
    assert "The gradient of x has the wrong sign; or it has come through the weight in place of its transpose" in repr(check)

    class Doubled(SquaredError):
        def backward(self):
            return 2 * super().backward()

    _, check = names_found(Affine(3, 2, RNG), Doubled(), X3[:2], np.ones((2, 2)))
    (mistake,) = check.mistakes
    assert mistake.name == "factor n"
    assert mistake.explanation == "is n = 2 or n_out = 2 times too large"


def test_what_is_said():
    rng = np.random.default_rng(1)
    model = nn.Sequential(nn.Linear(4, 5, activation="tanh", random_state=0), Affine(5, 3, rng, "mean"))
    X, y = rng.normal(size=(6, 4)), rng.integers(0, 3, 6)
    check = check_gradients(model, nn.SoftmaxCrossEntropy(), X, y)
    (mistake,) = check.mistakes
    assert (mistake.name, mistake.layer, mistake.part, mistake.gradients) == ("missing batch sum", "1", "Affine", ("bias",))
    text = "layer '1', Affine: missing batch sum. The gradient of bias is the mean over the n = 6 rows, and not their sum"
    assert f"likely mistake: {text}\ntogether: bug" in repr(check)
    with pytest.raises(AssertionError, match="likely mistake: layer '1', Affine: missing batch sum"):
        check_gradients(model, nn.SoftmaxCrossEntropy(), X, y, raise_on="bug")


def test_arrays_of_which_only_some_elements_are_looked_at():
    rng = np.random.default_rng(0)
    for mistake, name in (("transposed", "transposed gradient"), ("weight", "transposed gradient"), ("sign of dx", "wrong sign")):
        model = nn.Sequential(nn.Linear(5, 25, random_state=0), Affine(25, 25, rng, mistake))
        found, check = names_found(model, nn.MSELoss(), rng.normal(size=(6, 5)), rng.normal(size=(6, 25)))
        assert found == {name}, check


def test_two_mistakes_in_two_layers_and_the_loss():
    rng = np.random.default_rng(2)
    model = nn.Sequential(Affine(4, 5, rng, "sign"), Function("tanh", "a"), Affine(5, 3, rng, "row 0"))
    check = check_gradients(model, SquaredError("n"), rng.normal(size=(6, 4)), rng.normal(size=(6, 3)))
    found = {(mistake.layer, mistake.name) for mistake in check.mistakes}
    assert str(check.mistakes[0]).startswith("SquaredError: factor n. The gradient of outputs is ")
    assert found == {("", "factor n"), ("0", "wrong sign"), ("1", "derivative at the wrong place"), ("2", "missing batch sum")}


def test_a_mistake_at_a_kink_is_named():
    """All units of the first layer are at their kinks for the row of zeros."""
    rng = np.random.default_rng(3)
    first = Layer(2, 4, rng, "n", "relu")
    first.bias = np.zeros(4)
    X, y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0]
    check = check_gradients(nn.Sequential(first, nn.Linear(4, 2, random_state=0)), nn.SoftmaxCrossEntropy(), X, y)
    assert [(mistake.name, mistake.gradients) for mistake in check.mistakes] == [("factor n", ("weight", "bias"))], check


@pytest.mark.parametrize("name", ["own", "leaky"])
def test_the_activation_of_a_layer_may_be_any(name, monkeypatch):
    """Also one that is the identity at all points of the batch: it is found by other inputs."""
    monkeypatch.setitem(FUNCTIONS, "leaky", (lambda z: np.where(z > 0, z, 0.1 * z), lambda z: np.where(z > 0, 1, 0.1)))
    rng = np.random.default_rng(0)
    layer = Layer(3, 3, rng, "x", name)
    layer.bias = np.full(3, 9.0)
    found, check = names_found(nn.Sequential(layer), nn.MSELoss(), rng.normal(size=(5, 3)), np.zeros((5, 3)))
    assert found == {"derivative at the wrong place"}, check


def test_a_cache_from_before_the_check():
    """Of a forward that the user did, and in a tuple."""

    class Kept(nn.Module):
        def __init__(self):
            self.kept = None

        def forward(self, x):
            if self.kept is None:
                self.kept = x, np.tanh(x)
            return np.tanh(x)

        def backward(self, dout, accumulate=False):
            return dout * (1 - self.kept[1] ** 2)

    X, model = RNG.normal(size=(5, 3)), nn.Sequential(Affine(3, 4, RNG), Kept())
    model(X + 1)
    found, check = names_found(model, nn.MSELoss(), X, np.zeros((5, 4)))
    assert found == {"stale cache"}
    assert "from which 'kept' is kept" in repr(check)


def test_a_cache_in_a_dict():
    """That was filled once, before the check or in it."""

    class Kept(nn.Module):
        def __init__(self):
            self.cache = {}

        def forward(self, x):
            self.cache.setdefault("a", np.tanh(x))
            return np.tanh(x)

        def backward(self, dout, accumulate=False):
            return dout * (1 - self.cache["a"] ** 2)

    for is_used in (False, True):
        X, model = RNG.normal(size=(5, 3)), nn.Sequential(Affine(3, 4, RNG), Kept())
        if is_used:
            model(X + 1)
        before = dict(model[1].cache)
        found, check = names_found(model, nn.MSELoss(), X, np.zeros((5, 4)))
        assert found == {"stale cache"}, check
        assert model[1].cache == before


def test_a_small_difference_is_named_too():
    """Where weights are small, z and tanh(z) hardly differ: look again."""
    rng = np.random.default_rng(0)
    model = nn.Sequential(Affine(3, 4, rng), Function("tanh", "a"), Affine(4, 2, rng))
    for layer in model[::2]:
        layer.weight, layer.bias = 0.1 * layer.weight.data, 0 * layer.bias.data
    found, check = names_found(model, nn.MSELoss(), X3, np.zeros((4, 2)))
    assert (check.verdict, found) == ("look again", {"derivative at the wrong place"}), check


def test_a_module_of_modules_is_at_fault_if_those_inside_are_right():
    class Scaled(nn.Module):
        def __init__(self):
            self.inner = nn.Linear(3, 3, random_state=0)

        def forward(self, x):
            return np.tanh(self.inner.forward(x))

        def backward(self, dout, accumulate=False):
            return self.inner.backward(dout, accumulate)

    found, check = names_found(nn.Sequential(Scaled()), nn.MSELoss(), X3, np.zeros((4, 3)))
    assert found == {"missing derivative"}
    assert check.mistakes[0].gradients == ("inner.weight", "inner.bias", "x")


def test_forgotten_and_other_factors():
    class Forgetful(Affine):
        def gradients(self, x, dz):
            dx = super().gradients(x, dz)
            self.bias.grad, self.weight.grad = None, 1.5 * self.weight.grad
            return dx

    check = check_gradients(Forgetful(3, 2, RNG), nn.MSELoss(), X3, np.ones((4, 2)))
    assert {(mistake.name, mistake.gradients) for mistake in check.mistakes} == {
        ("missing gradient", ("bias",)),
        ("constant factor", ("weight",)),
    }


def test_a_gradient_that_was_forgotten_may_be_that_of_a_row_of_zeros():
    class Forgetful(Affine):
        def gradients(self, x, dz):
            dx = super().gradients(x, dz)
            self.weight.grad, self.bias.grad = None, -self.bias.grad
            return dx

    X = X3 * (np.arange(4) > 0)[:, None]
    check = check_gradients(Forgetful(3, 2, RNG), nn.MSELoss(), X, np.ones((4, 2)))
    assert {(mistake.name, mistake.gradients) for mistake in check.mistakes} == {
        ("missing gradient or missing batch sum", ("weight",)),
        ("wrong sign", ("bias",)),
    }
    # The gradient of the bias is not zero, but the last row's, and that explains the zeros as well.
    check = check_gradients(Affine(3, 2, RNG, "last row"), nn.MSELoss(), X[::-1], np.ones((4, 2)))
    assert [(mistake.name, mistake.gradients) for mistake in check.mistakes] == [("missing batch sum", ("weight", "bias"))]


def test_what_nothing_explains_has_no_name():
    class Noisy(Affine):
        def gradients(self, x, dz):
            dx = super().gradients(x, dz)
            self.weight.grad = self.weight.grad + np.arange(self.weight.size).reshape(self.weight.shape)
            return dx

    assert names_found(Noisy(3, 2, RNG), nn.MSELoss(), X3, np.ones((4, 2)))[0] == set()


def test_model_and_loss_stay_as_they_were():
    model, loss, X, y = planted("affine", "forward before", 3)
    model(X), loss(model(X), y)
    before = [(module, dict(vars(module))) for module in [*model.modules(), loss]]
    state = model.state_dict()
    check = check_gradients(model, loss, X, y)
    assert check.mistakes
    for part, attributes in before:
        assert vars(part) == attributes
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, state[name])
    for name, parameter in model.named_parameters():
        assert np.linalg.norm(parameter.grad) == pytest.approx(check[name].norm)
