"""ONNX: teaches skl2onnx fastprop's estimators (``pip install 'fastprop-mlp[onnx]'``).

After `register_onnx_converters`, ``skl2onnx.to_onnx(model, X)`` converts an estimator, also as the last step of a pipeline. The
graph has one Gemm for each layer, into which batch norm is folded, and then what the layer has: layer norm, activation or link. It
computes in double where the input is double, else in float.
"""

from __future__ import annotations

__all__ = ["register_onnx_converters"]

# As skl2onnx declares them for scikit-learn's classifier.
CLASSIFIER_OPTIONS = {"zipmap": [True, False, "columns"], "output_class_labels": [False, True], "nocl": [True, False]}


def register_onnx_converters() -> None:
    """Register a converter for `MLPClassifier` and one for `MLPRegressor` with skl2onnx, in this process; it may be called again.

    The classifier gives labels (int64 or strings; int64 indicators for several labels) and probabilities, and has skl2onnx's
    options ``zipmap``, ``output_class_labels`` and ``nocl``. The regressor gives values of shape (n, n_outputs), also for one
    output, as skl2onnx does. All losses, norms and activations that have a name are included, several quantiles come in order as
    from `predict`, and ``target_opset`` may be 7 or higher.

    Raises
    ------
    ImportError
        Where skl2onnx is not installed.

    Notes
    -----
    Subclasses are not included; skl2onnx looks for the exact class. There is no converter for `transform`, nor for an
    `nn.Activation`: the conversion of a pipeline or a union that has an estimator in the place of a transformer, or of an estimator
    with an activation of your own, raises a ValueError.

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
    from . import converters

    update_registered_converter(
        MLPClassifier,
        "FastpropMLPClassifier",
        converters.set_classifier_shapes,
        converters.convert_classifier,
        options=CLASSIFIER_OPTIONS,
        overwrite=True,
    )
    update_registered_converter(
        MLPRegressor, "FastpropMLPRegressor", converters.set_regressor_shapes, converters.convert_regressor, overwrite=True
    )
