"""`clip`: the cross-entropies as reported of clipped probabilities, against the formula in NumPy; nothing else depends on it."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import expit, softmax, xlogy

from fastprop import kernels
from fastprop.kernels.spec import LOSSES, OPTIMIZERS

SOFTMAX, BINARY = "softmax_cross_entropy", "binary_cross_entropy"
FORMS = {"softmax labels": SOFTMAX, "softmax dense": SOFTMAX, "binary labels": BINARY, "binary dense": BINARY}
# Near 0, where no rounding is magnified; and where the probabilities are 0 or 1 to the last bit of float64.
LOGITS = (-800.0, -90.0, -60.0, -1.5, -0.5, 0.0, 0.75, 2.0, 60.0, 90.0, 800.0)


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


def link_only(loss, n):
    """(layers, params) of a network whose logits are its inputs."""
    layers = kernels.layer_table([n, n], link=LOSSES[loss].link)
    return layers, np.concatenate([np.eye(n).ravel(), np.zeros(n)])


def clipped_losses(loss, z, targets, clip, dtype):
    """The loss of each row; 1 - clip and, as probabilities are rounded to the dtype, 1 - p are the dtype's."""
    p = softmax(z, axis=1) if loss == SOFTMAX else expit(z)
    y = np.eye(z.shape[1])[targets] if loss == SOFTMAX and targets.ndim == 1 else targets.reshape(z.shape)
    one = dtype.type(1)
    low, high = float(dtype.type(clip)), float(one - dtype.type(clip))
    p = np.clip(p.astype(dtype).astype(np.float64), low, high)
    values = -xlogy(y, p)
    return (values - xlogy(1 - y, 1 - p) if loss == BINARY else values).sum(axis=1)


@pytest.fixture
def saturated(form, rng, dtype):
    """(loss, z, targets): rows in which some classes are certain, rightly or wrongly, and others are not."""
    loss, n_out = FORMS[form], 1 if form == "binary labels" else 5
    z = rng.choice(LOGITS, size=(300, n_out))
    z[:40] = rng.uniform(-2, 2, (40, n_out))
    if form.endswith("labels"):
        return loss, z, rng.integers(0, max(n_out, 2), 300)
    return loss, z, rng.choice([0.0, 0.25, 1.0], size=z.shape).astype(dtype)


def arguments(loss, z, targets, dtype):
    layers, params = link_only(loss, z.shape[1])
    return {"x": z.astype(dtype), "targets": targets, "layers": layers, "params": params.astype(dtype), "loss": loss}


@pytest.mark.parametrize("clip", ["eps", 0.2])
def test_the_loss_is_that_of_clipped_probabilities(backend, saturated, rng, assert_close, dtype, clip):
    clip = float(np.finfo(dtype).eps) if clip == "eps" else clip
    loss, z, targets = saturated
    given, expected = arguments(*saturated, dtype), clipped_losses(loss, z, targets, clip, dtype)
    for n_threads, weight in ((1, None), (2, rng.random(300).astype(dtype)), (3, None)):
        mean = np.average(expected, weights=weight)
        got = backend.network_loss_gradient(**given, clip=clip, sample_weight=weight, n_threads=n_threads)[0]
        assert_close(got, mean, dtype, "network")
        assert (
            abs(backend.network_loss_gradient(**given, sample_weight=weight)[0] / mean - 1) > 1e-3
        )  # so it is clipping that is seen
        sparse = given | {"x": sp.csr_array(given["x"])}
        assert_close(
            backend.network_loss_gradient(**sparse, clip=clip, sample_weight=weight, n_threads=n_threads)[0], mean, dtype, "network"
        )


def test_single_rows(backend, saturated, dtype):
    """Row by row, so that no large loss hides a small one: the one of a certain, right class is about eps, not 0."""
    loss, z, targets = saturated
    eps = float(np.finfo(dtype).eps)
    for i in range(0, 300, 7):
        given = arguments(loss, z[i : i + 1], targets[i : i + 1], dtype)
        expected = clipped_losses(loss, z[i : i + 1], targets[i : i + 1], eps, dtype)[0]
        got = backend.network_loss_gradient(**given, clip=eps)[0]
        # 1 - p is a multiple of eps / 2, which one unit in the last place of p moves.
        assert got == pytest.approx(expected, rel=16 * eps, abs=16 * eps)
        if not np.array_equal(targets[i], targets[i].astype(int)):
            continue
        assert got > 0.0


def test_the_largest_loss(backend, dtype):
    """A certain wrong class counts -log(eps): 15.9 in float32, 36.0 in float64."""
    eps = float(np.finfo(dtype).eps)
    for loss, z, targets in (
        (SOFTMAX, [[200.0, 0.0]], np.array([1])),
        (SOFTMAX, [[0.0, 200.0]], np.array([[1, 0]], dtype)),
        (BINARY, [[200.0]], np.array([0])),
        (BINARY, [[-200.0]], np.array([1])),
    ):
        got = backend.network_loss_gradient(**arguments(loss, np.array(z), targets, dtype), clip=eps)[0]
        assert got == pytest.approx(-math.log(eps), rel=1e-6 if dtype == np.float32 else 1e-14)


def test_the_rounding_of_1_minus_p_is_seen(backend):
    """In float64, z = 33 and y = 0: 1 - p is 32 or 33 units of eps / 2 (exactly, 41.9), so the loss is not 33."""
    z = np.array([[25.0], [30.0], [33.0], [35.0]])
    given = arguments(BINARY, z, np.zeros(4, np.intp), np.dtype(np.float64))
    expected = -np.log(1 - expit(z))  # of the rounded p
    assert np.abs(expected - z).max() > 1e-3
    for i in range(4):
        row = given | {"x": given["x"][i : i + 1], "targets": given["targets"][i : i + 1]}
        got = backend.network_loss_gradient(**row, clip=2.0**-52)[0]
        # What one unit in the last place of p makes.
        assert abs(got - expected[i, 0]) <= 1.01 * 2.0**-53 / (1 - expit(z[i, 0])) + 1e-14
        assert backend.network_loss_gradient(**row)[0] == pytest.approx(z[i, 0], rel=1e-9)


def epoch(backend, given, optimizer, **options):
    params = given["params"].copy()
    state = np.full((OPTIMIZERS[optimizer].n_slots, len(params)), 0.01, params.dtype)
    given = given | {"params": params, "state": state, "optimizer": optimizer}
    loss = backend.train_epoch(**given, order=np.arange(len(given["x"]))[::-1].copy(), batch_size=70, **options)
    return loss, params, state


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_only_the_reported_loss_depends_on_it(backend, saturated, dtype, optimizer):
    given = arguments(*saturated, dtype)
    plain, clipped = (backend.network_loss_gradient(**given, clip=clip) for clip in (0.0, 0.1))
    assert plain[0] != clipped[0]
    np.testing.assert_array_equal(plain[1], clipped[1])
    plain, clipped = (epoch(backend, given, optimizer, clip=clip, n_threads=2) for clip in (0.0, 0.1))
    assert plain[0] != clipped[0]
    for a, b in zip(plain[1:], clipped[1:], strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(plain[1], given["params"])


def test_an_epoch_reports_its_batches_clipped(backend, saturated, rng, assert_close, dtype):
    loss, z, targets = saturated
    given, weight = arguments(*saturated, dtype), rng.random(300).astype(dtype)
    expected = clipped_losses(loss, z, targets, 0.01, dtype)[::-1]
    for n_threads, w in ((1, None), (2, weight)):
        means = [np.average(expected[i : i + 70], weights=None if w is None else w[::-1][i : i + 70]) for i in range(0, 300, 70)]
        mean = np.dot(means, [70, 70, 70, 70, 20]) / 300
        got = epoch(backend, given, "sgd", hyper={"lr": 0, "momentum": 0}, clip=0.01, sample_weight=w, n_threads=n_threads)
        assert_close(got[0], mean, dtype, "network")
        np.testing.assert_array_equal(got[1], given["params"])


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_other_losses_do_not_know_it(backend, rng, dtype, loss):
    given = arguments(loss, rng.uniform(-3, 3, (40, 3)), rng.integers(0, 4, (40, 3)).astype(dtype), dtype)
    for sample_weight in (None, rng.random(40).astype(dtype)):
        losses = [backend.network_loss_gradient(**given, sample_weight=sample_weight, clip=clip)[0] for clip in (0.0, 0.3)]
        assert losses[0] == losses[1]


def test_nan_stays_nan(backend, saturated, dtype):
    loss, z, targets = saturated
    for i, weight in ((0, None), (17, np.ones(300, dtype)), (299, None)):
        given = arguments(loss, z, targets, dtype)
        given["x"][i, -1] = np.nan
        assert math.isnan(backend.network_loss_gradient(**given, clip=0.1, sample_weight=weight)[0])
        assert math.isnan(epoch(backend, given, "sgd", clip=0.1)[0])


@pytest.mark.parametrize("clip", [-1e-9, 0.5, 1, math.nan, math.inf])
def test_out_of_range(dtype, clip):
    given = arguments(SOFTMAX, np.zeros((3, 2)), np.zeros(3, np.intp), dtype)
    state, out = np.zeros((2, 6), dtype), np.full(6, 7, dtype)
    with pytest.raises(ValueError, match=r"^clip must be in \[0, 0\.5\); got"):
        kernels.network_loss_gradient(**given, clip=clip, out=out)
    with pytest.raises(ValueError, match=r"^clip must be in \[0, 0\.5\); got"):
        kernels.train_epoch(**given, order=np.arange(3), state=state, clip=clip)
    assert (out == 7).all()
    assert not state.any()


@pytest.mark.parametrize("clip", [None, True, "0.1", 0.1j])
def test_not_a_number(dtype, clip):
    given = arguments(SOFTMAX, np.zeros((3, 2)), np.zeros(3, np.intp), dtype)
    with pytest.raises(TypeError, match=r"^clip must be a real number; got"):
        kernels.network_loss_gradient(**given, clip=clip)
