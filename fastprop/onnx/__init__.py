"""ONNX: teaches skl2onnx fastprop's estimators (``pip install 'fastprop-mlp[onnx]'``).

After `register_onnx_converters`, ``skl2onnx.to_onnx(model, X)`` converts an estimator, also as the last step of a pipeline. The
graph has one Gemm for each layer, into which batch norm is folded, and then what the layer has: layer norm, activation or link. It
computes in double where the input is double, else in float. The graph of an estimator for tables takes the table's columns.
"""

from __future__ import annotations

__all__ = ["register_onnx_converters"]

# As skl2onnx declares them for scikit-learn's classifier.
CLASSIFIER_OPTIONS = {"zipmap": [True, False, "columns"], "output_class_labels": [False, True], "nocl": [True, False]}


def register_onnx_converters() -> None:
    """Register converters for fastprop's estimators and `TabularEncoder` with skl2onnx, in this process; it may be called again.

    A classifier gives labels (int64 or strings; int64 indicators for several labels) and probabilities, and has skl2onnx's
    options ``zipmap``, ``output_class_labels`` and ``nocl``. A regressor gives values of shape (n, n_outputs), also for one
    output, as skl2onnx does. All losses, norms and activations that have a name are included, several quantiles come in order as
    from `predict`, and ``target_opset`` may be 7 or higher.

    `TabularClassifier`, `TabularRegressor` and `TabularEncoder` take the table: one tensor with all columns, or one of shape (n, 1)
    for each column, by name or else in the order of `fit`. Categories are strings where they were strings in `fit`; the empty
    string is a missing one, unless it is a category. NaN is a missing number, and dates and durations are numbers of seconds.
    Outputs are double where an input is, and ``target_opset`` must be 11 or higher. With the option ``return_std``, the regressor
    gives the standard deviation of the members, too.

    Raises
    ------
    ImportError
        Where skl2onnx is not installed.

    Notes
    -----
    Subclasses are not included; skl2onnx looks for the exact class. There is no converter for `transform`, nor for an
    `nn.Activation`: the conversion of a pipeline or a union that has an estimator in place of a transformer, or of an estimator
    with an activation of your own, raises a ValueError. ``to_onnx`` reads the types of a frame's columns from its first row, which
    must have a string wherever there are strings.

    Examples
    --------
    ::

        from fastprop.onnx import register_onnx_converters
        from skl2onnx import to_onnx

        register_onnx_converters()
        model = to_onnx(pipeline, X[:1].astype("float32"), options={"zipmap": False})
    """
    try:
        from skl2onnx import update_registered_converter
    except ImportError as error:
        raise ImportError("the conversion to ONNX needs skl2onnx: pip install 'fastprop-mlp[onnx]'") from error
    from ..estimators import MLPClassifier, MLPRegressor
    from ..preprocessing import TabularEncoder
    from ..tabular import TabularClassifier, TabularRegressor
    from . import converters, tabular

    classifier = {"options": CLASSIFIER_OPTIONS}
    tabular_regressor = {"options": {"return_std": [False, True]}, "parser": tabular.parse_regressor}
    for model, shapes, convert, more in (
        (MLPClassifier, converters.set_classifier_shapes, converters.convert_classifier, classifier),
        (MLPRegressor, converters.set_regressor_shapes, converters.convert_regressor, {}),
        (TabularClassifier, tabular.set_classifier_shapes, tabular.convert_classifier, classifier),
        (TabularRegressor, tabular.set_regressor_shapes, tabular.convert_regressor, tabular_regressor),
        (TabularEncoder, tabular.set_encoder_shapes, tabular.convert_encoder, {}),
    ):
        update_registered_converter(model, f"Fastprop{model.__name__}", shapes, convert, overwrite=True, **more)
