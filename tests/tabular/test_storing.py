"""Copies and stored estimators predict the same and train on, and a file has objects of few types."""

import copy
import io
import pickle

import joblib
import numpy as np
import pytest

KINDS = ["binary", "multiclass", "one output", "two outputs"]


def _joblib(estimator):
    file = io.BytesIO()
    joblib.dump(estimator, file)
    return joblib.load(io.BytesIO(file.getvalue()))


def _skops(estimator):
    skops = pytest.importorskip("skops.io", reason="skops is not installed")
    stored = skops.dumps(estimator)
    return skops.loads(stored, trusted=skops.get_untrusted_types(data=stored))


def _cloudpickle(estimator):
    return pickle.loads(pytest.importorskip("cloudpickle", reason="cloudpickle is not installed").dumps(estimator))


WAYS = {
    "pickle": lambda estimator: pickle.loads(pickle.dumps(estimator)),
    "deepcopy": copy.deepcopy,
    "joblib": _joblib,
    "cloudpickle": _cloudpickle,
    "skops": _skops,
}


@pytest.mark.pairwise
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_round_trip_and_further_training(data, make, assert_same, kind, way):
    X, y = data(kind)
    ours = make(kind, warm_start=True).fit(X, y)
    again = WAYS[way](ours)
    assert_same(again, ours, X)
    assert again.get_params() == ours.get_params()
    assert_same(again.fit(X, y), ours.fit(X, y), X)


@pytest.mark.parametrize("way", WAYS)
def test_a_frame_with_every_kind_of_column(pandas, make, way):
    frame = pandas.DataFrame(
        {
            "number": np.linspace(-1, 1, 40),
            "string": ["a", "b", None, "c"] * 10,
            "category": pandas.Categorical([1, 2, 3, 4] * 10),
            "bool": [True, False] * 20,
            "date": pandas.date_range("2020-01-01", periods=40),
        }
    )
    ours = make("binary", min_frequency=2).fit(frame, ["yes", "no"] * 20)
    np.testing.assert_array_equal(WAYS[way](ours).predict_proba(frame[::-1]), ours.predict_proba(frame[::-1]))


@pytest.mark.parametrize("kind", ["multiclass", "one output"])
def test_what_skops_has_to_trust(data, make, kind):
    """The classes of fastprop, and nothing of others."""
    skops = pytest.importorskip("skops.io", reason="skops is not installed")
    untrusted = skops.get_untrusted_types(data=skops.dumps(make(kind, categorical_features=[2]).fit(*data(kind))))
    assert {name.partition(".")[0] for name in untrusted} == {"fastprop"}


@pytest.mark.parametrize("kind", ["multiclass", "one output"])
def test_size(data, make, kind):
    """Little more than the weights: nothing of the training is stored."""
    ours = make(kind, hidden_layer_sizes=(100, 100)).fit(*data(kind))
    n_bytes = sum(network.params.nbytes for network in ours.members_)
    assert n_bytes <= len(pickle.dumps(ours)) <= 1.1 * n_bytes
