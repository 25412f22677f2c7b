"""For skl2onnx: the shapes of an estimator's outputs, and the nodes that compute them. Needs skl2onnx and onnx."""

import numpy as np
from onnx import TensorProto
from skl2onnx.common._apply_operation import apply_topk
from skl2onnx.common.data_types import Int64TensorType, StringTensorType, guess_proto_type, guess_tensor_type
from skl2onnx.common.utils_classifier import get_label_classes

from .graph import Graph

ZIPMAPS = ("SklearnZipMap", "SklearnZipMapColumns")


def set_classifier_shapes(operator):
    """The types and shapes of labels and probabilities."""
    check_predicts(operator)
    estimator, n = operator.raw_operator, operator.inputs[0].get_first_dimension()
    labels, probabilities = operator.outputs
    if _has_several_labels(estimator):
        labels.set_type(Int64TensorType([n, estimator.n_outputs_]))
    else:
        labels.set_type(type_of_labels(operator, n))
    probabilities.type.shape = [n, max(2, estimator.n_outputs_) if not _has_several_labels(estimator) else estimator.n_outputs_]


def type_of_labels(operator, n):
    """That of n labels of classes."""
    is_number = label_values(operator.scope_inst, operator.raw_operator).dtype.kind == "i"
    return Int64TensorType([n]) if is_number else StringTensorType([n])


def set_regressor_shapes(operator):
    """The type and shape of the values."""
    check_predicts(operator)
    values = operator.outputs[0]
    values.set_type(guess_tensor_type(operator.inputs[0].type))
    values.type.shape = [operator.inputs[0].get_first_dimension(), operator.raw_operator.n_outputs_]


def convert_regressor(scope, operator, container):
    """The nodes of `predict`."""
    graph, estimator, values = _graph_of(scope, operator, container), operator.raw_operator, operator.outputs[0].full_name
    if not estimator._has_quantiles:
        _network(graph, operator, values)
        return
    n = estimator.n_outputs_
    descending, order = graph.new_name("descending"), graph.new_name("order")
    apply_topk(scope, [_network(graph, operator)], [descending, order], container, k=n)
    # What `predict` makes of 0, 1, ... in place of sorted outputs: the rank of each output
    ranks = estimator._in_order(np.arange(n)[None])[0]
    graph.node("Gather", [descending, graph.constant("places", n - 1 - ranks)], values, axis=1)


def convert_classifier(scope, operator, container):
    """The nodes of `predict` and `predict_proba`."""
    graph, estimator = _graph_of(scope, operator, container), operator.raw_operator
    labels, probabilities = (output.full_name for output in operator.outputs)
    if _has_several_labels(estimator):
        _network(graph, operator, probabilities)
        graph.node("Cast", [graph.compute("Greater", probabilities, 0.5)], labels, to=TensorProto.INT64)
        return
    if estimator.n_outputs_ == 1:
        positive = _network(graph, operator)
        graph.node("Concat", [graph.compute("Sub", 1, positive), positive], probabilities, axis=1)
    else:
        _network(graph, operator, probabilities)
    add_labels(graph, probabilities, label_values(scope, estimator), labels)


def add_labels(graph, probabilities, values, output):
    """Add the value of the most probable class of each row."""
    winner = graph.node("ArgMax", [probabilities], axis=1, keepdims=0)
    graph.node("Gather", [graph.constant("classes", values), winner], output, axis=0)


def _graph_of(scope, operator, container):
    """In double if the operator's input is double, else in float."""
    is_double = guess_proto_type(operator.inputs[0].type) == TensorProto.DOUBLE
    return Graph(scope, container, np.float64 if is_double else np.float32)


def _network(graph, operator, output=None):
    estimator = operator.raw_operator
    # Of the present weights: a user may have assigned others than those that were learnt.
    return graph.network(estimator._current_network(), operator.inputs[0].full_name, output)


def check_predicts(operator):
    """Fail in the middle of a pipeline, or in a union: skl2onnx would pass on predictions where `transform` is meant."""
    operators = operator.scope_inst.operators.values()
    outputs = {variable.full_name for variable in operator.outputs}
    for other in operators:
        if other.type in ZIPMAPS and any(variable.full_name in outputs for variable in other.inputs):
            outputs |= {variable.full_name for variable in other.outputs}
    for other in operators:
        takes = any(variable.full_name in outputs for variable in other.inputs)
        if takes and (other.type == "SklearnConcat" or other.raw_operator is not None) and other.type not in ZIPMAPS:
            name = type(operator.raw_operator).__name__
            raise ValueError(f"{name} must be the last step of what is converted to ONNX: its transform has no converter")


def _has_several_labels(estimator):
    return estimator._label_binarizer.y_type_ == "multilabel-indicator"


def label_values(scope, estimator):
    """What the labels are in the graph, at least two: int64 for numbers and booleans, and for all with ``nocl``; else strings."""
    values = np.asarray(get_label_classes(scope, estimator))
    values = values.astype(np.int64 if values.dtype.kind in "biuf" else str)
    # A single class has two probabilities too, and is always the answer.
    return np.resize(values, 2) if len(values) == 1 else values
