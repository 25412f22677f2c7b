"""Conversion of X, y and weights from users to NumPy: tensors, and errors that name the array or the column."""

from contextlib import contextmanager
from inspect import signature

import numpy as np
from sklearn.utils.validation import _check_sample_weight, validate_data

from ..training_set import FLOAT_DTYPES
from .inputs import plain_training_data


def host_array(array, name):
    """A tensor of another library as a NumPy array, whatever scikit-learn's ``array_api_dispatch`` is; anything else unchanged."""
    if isinstance(array, np.ndarray) or not hasattr(array, "__dlpack__"):
        return array
    try:
        return np.asarray(array)
    except (TypeError, RuntimeError) as error:  # on another device, or with a gradient
        raise TypeError(f"{name} cannot be converted to a NumPy array: {error}") from error


# scikit-learn 1.9 refuses weights that are all zero, unless it is told not to.
ALL_ZERO = {name: True for name in signature(_check_sample_weight).parameters if name == "allow_all_zero_weights"}


def checked_weights(sample_weight, X, name="sample_weight", of_a_part=False):
    """The weights of the rows of X as an array, or None; those of a part of the rows may all be zero."""
    if sample_weight is None:
        return None
    sample_weight = _check_sample_weight(host_array(sample_weight, name), X, **ALL_ZERO)
    if not of_a_part:
        check_some_weight(sample_weight.any())
    return sample_weight


def check_some_weight(there_is_some):
    """Raise an error unless a row has a weight that is not 0."""
    if not there_is_some:
        raise ValueError("Sample weights must contain at least one non-zero number.")


# Attributes by which scikit-learn tells callbacks, also after an error, that the fit is over.
ENDS_CALLBACKS = ("_callback_fit_ctx", "_skl_callbacks_to_teardown")


@contextmanager
def unchanged_by_errors(estimator):
    """A block of code whose errors leave the estimator's attributes as they were before it."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        now = vars(estimator)
        kept = {name: now[name] for name in ENDS_CALLBACKS if name in now}
        now.clear()
        now.update(before | kept)
        raise


# A note leaves the message as it is, which is scikit-learn's.
FOR_TABLES = "fastprop.TabularClassifier and TabularRegressor take missing values, text, categories and dates as they are."
WORDS_ABOUT_GAPS_OR_TEXT = ("X contains NaN", "could not convert string to float")


def validated(estimator, X, *y, reset, **options):
    """scikit-learn's `validate_data`, for sparse X too.

    An error names the column that does not hold numbers, and its note the estimators for tables. Dates are an error in `fit`, too:
    there scikit-learn converts them to numbers if X has nothing else, but not in `predict`.
    """
    if _holds_dates(X):
        raise TypeError(_not_a_number(X))
    try:
        valid = validate_data(estimator, X, *y, accept_sparse=("csr", "csc"), reset=reset, **options)
        # Without a dtype in the options, scikit-learn returns the objects of some frames unchanged.
        return valid.astype(np.float64) if not y and valid.dtype.kind == "O" else valid
    except (TypeError, ValueError) as error:
        found = _not_a_number(X)
        if not found:
            if any(words in str(error) for words in WORDS_ABOUT_GAPS_OR_TEXT):
                error.add_note(FOR_TABLES)
            raise
        reason, _, _ = str(error).partition("\n")
        named = (ValueError if isinstance(error, ValueError) else TypeError)(f"{found}: {reason}")
        named.add_note(FOR_TABLES)
        raise named from error


def training_data(estimator, X, y, reset, **options):
    """(X, y) for training: X in one of the two dtypes of the kernels, and y as scikit-learn validates it."""
    if not reset:
        own = vars(estimator)
        plain = plain_training_data(X, y, own.get("n_features_in_"), own.get("feature_names_in_"), estimator.n_jobs)
        if plain is not None:
            return plain
    return validated(estimator, X, y, reset=reset, multi_output=True, dtype=FLOAT_DTYPES[::-1], **options)


def _holds_dates(X):
    """Whether an array, or the first column of a frame, has dates or times."""
    if hasattr(X, "columns") and len(X.columns):
        X = X[X.columns[0]]
    return getattr(getattr(X, "dtype", None), "kind", None) in ("m", "M")


def _not_a_number(X):
    """What X holds besides numbers, in words; None if nothing."""
    if hasattr(X, "columns"):
        for name in X.columns:
            column = X[name]
            for value in _others(np.asarray(column)):
                # scikit-learn accepts NA of a nullable dtype as NaN.
                if type(value).__name__ != "NAType" or column.dtype == object:
                    return f"X must hold numbers; its column {name!r} of dtype {column.dtype} has {value!r}"
    elif _holds_dates(X):
        return f"X must hold numbers; got dtype {X.dtype}"
    return None


def _others(values):
    """The values that are neither real numbers nor None."""
    if values.dtype.kind in "biuf":
        return
    if values.dtype.kind in "mM":
        yield from values
        return
    for value in values.tolist():
        try:
            float(value)
        except (TypeError, ValueError):
            if value is not None:
                yield value
