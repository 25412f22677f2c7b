"""to_c."""

from __future__ import annotations

from os import PathLike
from typing import Any, Literal

from ..annotations import TableLike
from ..files import write_text
from .c_source import c_source
from .c_text import checked_name
from .quantization import input_limits
from .steps import model_of


def to_c(
    estimator: Any,
    *,
    dtype: Literal["float32", "int8"] = "float32",
    name: str = "model",
    X: TableLike | None = None,
    path: str | PathLike[str] | None = None,
) -> str:
    """Write a fitted estimator as one file of C99.

    The file allocates no memory, keeps no state, and needs only ``math.h``. With ``name="model"`` it has

    * ``void model_predict_proba(const float *x, float *out)`` and ``int model_predict(const float *x)`` for a classifier: the
      probabilities of the classes, and the index of the most probable one. ``model_classes`` has the labels in their order.
    * ``void model_predict_proba(const float *x, float *out)`` and ``void model_predict(const float *x, int *out)`` for a
      multilabel classifier.
    * ``void model_predict(const float *x, float *out)`` for a regressor.

    x is one row. For a table its columns are ``double``, as dates need it, and so are the outputs of the estimators for tables. A
    missing value is NaN. A category that is a string is passed as its index in ``model_categories_3``, a table with the categories
    of x[3], or as -1 if it is not in that table. The comment at the top of the file describes each number.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor or Pipeline
        A fitted estimator. In a pipeline, an MLP may be preceded by a `TabularEncoder` as the first step, and by `StandardScaler`.
    dtype : {'float32', 'int8'}, default='float32'
        The type of the weights and of the values that are multiplied by them. Biases, norms, activations and the preprocessing are
        float32 in both, see Notes.
    name : str, default='model'
        The prefix of all names in the file: a C identifier.
    X : frame, array-like or sparse matrix, shape (n_samples, n_features), optional
        Only for 'int8': rows in the form that ``predict`` takes, from which the range of each layer's inputs is computed.
    path : str or path, optional
        A file to write. An existing file is replaced only when the new one is complete.

    Returns
    -------
    str
        The text of the file.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If it is of another class, including subclasses, or if a label is neither a number nor a string.
    NotImplementedError
        If a part of it cannot be written in C, such as an activation of your own or another step of a pipeline. The error names it.
    ValueError
        If another argument is not as described, or if weights are NaN, infinite or too large for float32. After an error, no file
        is written.

    Notes
    -----
    'float32' agrees with ``predict`` up to the rounding errors of float32.

    'int8' is symmetric: a weight is an integer from -127 to 127 times a scale of its output. The inputs of a layer are rounded to
    integers from -127 to 127 times one scale, so that the largest of the row becomes 127. With ``X`` the scale is fixed, by the
    largest number over all rows of X; larger values are clipped in prediction. Products are added up in int32, exactly, and the sum
    is scaled to float32. This holds for all layers, including the last one. Features of very different size should be standardized,
    because one scale is used for all of them.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastprop import MLPClassifier, export
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(solver="lbfgs", random_state=0).fit(X, y)
    >>> text = export.to_c(model, name="iris")
    >>> "int iris_predict(const float *x);" in text
    True
    """
    name = checked_name(name)
    if dtype not in ("float32", "int8"):
        raise ValueError(f"dtype must be 'float32' or 'int8'; got {dtype!r}")
    if X is not None and dtype != "int8":
        raise ValueError(f"X is only for dtype='int8', which takes ranges from it; got dtype={dtype!r}")
    model = model_of(estimator)
    limits = None if X is None else input_limits(estimator, X)
    text = c_source(model, name, dtype == "int8", limits)
    if path is not None:
        write_text(path, text)
    return text
