"""ONNX: teaches skl2onnx fastprop's estimators (``pip install 'fastprop-mlp[onnx]'``).

After `register_onnx_converters`, ``skl2onnx.to_onnx(model, X)`` converts an estimator, also as a part of a pipeline. The graph is
built from ``coefs_`` and ``intercepts_``, one Gemm and one activation for each layer, in double where the input is double, else in
float.
"""

from __future__ import annotations

import numpy as np

ACTIVATIONS = {"identity": "Identity", "logistic": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "softmax": "Softmax", "exp": "Exp"}
# As skl2onnx declares them for scikit-learn's classifier.
CLASSIFIER_OPTIONS = {"zipmap": [True, False, "columns"], "output_class_labels": [False, True], "nocl": [True, False]}


def register_onnx_converters() -> None:
    """Register a converter for `MLPClassifier` and one for `MLPRegressor` with skl2onnx, in this process; it may be called again.

    The classifier gives labels (int64 or strings; int64 indicators for several labels) and probabilities, and has skl2onnx's
    options ``zipmap``, ``output_class_labels`` and ``nocl``. The regressor gives values of shape (n, n_outputs), also for one
    output, as skl2onnx does; several outputs and ``loss='poisson'`` are included.

    Raises
    ------
    ImportError
        Where skl2onnx is not installed.

    Notes
    -----
    Subclasses are not included; skl2onnx looks for the exact class.

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
    from .estimators import MLPClassifier, MLPRegressor

    names = "FastpropMLPClassifier", "FastpropMLPRegressor"
    update_registered_converter(
        MLPClassifier, names[0], _set_classifier_shapes, _convert_classifier, options=CLASSIFIER_OPTIONS, overwrite=True
    )
    update_registered_converter(MLPRegressor, names[1], _set_regressor_shapes, _convert_regressor, overwrite=True)


def _set_classifier_shapes(operator):
    from skl2onnx.common.data_types import Int64TensorType, StringTensorType

    estimator, n = operator.raw_operator, operator.inputs[0].get_first_dimension()
    labels, probabilities = operator.outputs
    if _has_several_labels(estimator):
        labels.set_type(Int64TensorType([n, estimator.n_outputs_]))
    else:
        is_number = _label_values(operator.scope_inst, estimator).dtype.kind == "i"
        labels.set_type(Int64TensorType([n]) if is_number else StringTensorType([n]))
    probabilities.type.shape = [n, max(2, estimator.n_outputs_) if not _has_several_labels(estimator) else estimator.n_outputs_]


def _set_regressor_shapes(operator):
    from skl2onnx.common.data_types import guess_tensor_type

    values = operator.outputs[0]
    values.set_type(guess_tensor_type(operator.inputs[0].type))
    values.type.shape = [operator.inputs[0].get_first_dimension(), operator.raw_operator.n_outputs_]


def _convert_regressor(scope, operator, container):
    _Graph(scope, operator, container).network(operator.outputs[0].full_name)


def _convert_classifier(scope, operator, container):
    graph, estimator = _Graph(scope, operator, container), operator.raw_operator
    labels, probabilities = (output.full_name for output in operator.outputs)
    if _has_several_labels(estimator):
        graph.network(probabilities)
        above = graph.node("Greater", [probabilities, graph.constant("half", graph.float_type, [], [0.5])])
        graph.node("Cast", [above], labels, to=_proto().INT64)
        return
    if estimator.n_outputs_ == 1:
        positive = graph.network()
        negative = graph.node("Sub", [graph.constant("one", graph.float_type, [], [1.0]), positive])
        graph.node("Concat", [negative, positive], probabilities, axis=1)
    else:
        graph.network(probabilities)
    values = _label_values(scope, estimator)
    kind = _proto().INT64 if values.dtype.kind == "i" else _proto().STRING
    given = values.tolist() if kind == _proto().INT64 else [str(value).encode() for value in values]
    winner = graph.node("ArgMax", [probabilities], axis=1, keepdims=0)
    graph.node("Gather", [graph.constant("classes", kind, [len(given)], given), winner], labels, axis=0)


class _Graph:
    """The nodes of one estimator."""

    def __init__(self, scope, operator, container):
        from skl2onnx.common.data_types import guess_proto_type

        self.scope, self.operator, self.container = scope, operator, container
        is_double = guess_proto_type(operator.inputs[0].type) == _proto().DOUBLE
        self.float_type, self.dtype = (_proto().DOUBLE, np.float64) if is_double else (_proto().FLOAT, np.float32)

    def network(self, output=None):
        """The network's outputs (n, n_outputs_); the name of the tensor, by default a new one."""
        estimator = self.operator.raw_operator
        if not isinstance(estimator.activation, str):
            raise ValueError(f"an activation of your own has no converter; got {estimator.activation!r}")
        # A copy of the present weights: a user may have assigned others than those that were learnt.
        coefs, intercepts = ([np.asarray(a, self.dtype) for a in arrays] for arrays in (estimator.coefs_, estimator.intercepts_))
        x = self.node("Cast", [self.operator.inputs[0].full_name], to=self.float_type)
        for weight, bias in zip(coefs, intercepts, strict=True):
            is_last = weight is coefs[-1]
            parameters = [
                self.constant("weight", self.float_type, weight.shape, weight.ravel()),
                self.constant("bias", self.float_type, bias.shape, bias),
            ]
            z = self.node("Gemm", [x, *parameters])
            activation = ACTIVATIONS[estimator.out_activation_ if is_last else estimator.activation]
            # Before ONNX 13 Softmax is over all axes from `axis` on, which is the same for a matrix.
            attributes = {"axis": 1} if activation == "Softmax" else {}
            x = self.node(activation, [z], output if is_last else None, **attributes)
        return x

    def node(self, kind, inputs, output=None, **attributes):
        """Add a node and return the name of its output, by default a new one."""
        output = output or self.scope.get_unique_variable_name(kind.lower())
        name = self.scope.get_unique_operator_name(kind)
        self.container.add_node(kind, inputs, output, name=name, **attributes)
        return output

    def constant(self, name, kind, shape, values):
        name = self.scope.get_unique_variable_name(name)
        self.container.add_initializer(name, kind, list(shape), values)
        return name


def _proto():
    from onnx import TensorProto

    return TensorProto


def _has_several_labels(estimator):
    return estimator._label_binarizer.y_type_ == "multilabel-indicator"


def _label_values(scope, estimator):
    """What the labels are in the graph, at least two: int64 for numbers and booleans, and for all with ``nocl``; else strings."""
    from skl2onnx.common.utils_classifier import get_label_classes

    values = np.asarray(get_label_classes(scope, estimator))
    values = values.astype(np.int64 if values.dtype.kind in "biuf" else str)
    # A single class has two probabilities too, and is always the answer.
    return np.resize(values, 2) if len(values) == 1 else values
