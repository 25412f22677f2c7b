"""For skl2onnx: `TabularEncoder`, and the estimators for tables with their encoder. Needs skl2onnx and onnx."""

import numpy as np
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, guess_tensor_type

from .converters import add_labels, check_predicts, label_values, type_of_labels
from .encodings import encoded
from .graph import Graph


def set_encoder_shapes(operator):
    """The type and shape of the features."""
    encoder, variable = operator.raw_operator, operator.outputs[0]
    n_features = sum(column.n for column in encoder.columns_)
    if not n_features:
        raise ValueError("this TabularEncoder has no features that could be converted to ONNX: all columns are left out")
    shape = [operator.inputs[0].get_first_dimension(), n_features]
    variable.set_type((DoubleTensorType if _dtype_of(encoder) is np.float64 else FloatTensorType)(shape))


def convert_encoder(scope, operator, container):
    """The nodes of `transform`."""
    encoder = operator.raw_operator
    features = encoded(Graph(scope, container, np.float64), encoder, operator)
    Graph(scope, container, _dtype_of(encoder)).as_number(features, operator.outputs[0].full_name)


def set_classifier_shapes(operator):
    """The types and shapes of labels and probabilities."""
    check_predicts(operator)
    n = operator.inputs[0].get_first_dimension()
    labels, probabilities = operator.outputs
    labels.set_type(type_of_labels(operator, n))
    probabilities.set_type(_type_of_outputs(operator)([n, len(operator.raw_operator.classes_)]))


def convert_classifier(scope, operator, container):
    """The nodes of `predict` and `predict_proba`."""
    estimator = operator.raw_operator
    graph, members = _members(scope, operator, container)
    mean = _mean(graph, members, estimator.member_weights_)
    if len(estimator.classes_) == 1:
        mean = graph.compute("Add", graph.compute("Mul", mean, 0), 1)
    elif len(estimator.classes_) == 2:
        mean = graph.node("Concat", [graph.compute("Sub", 1, mean), mean], axis=1)
    labels, probabilities = (output.full_name for output in operator.outputs)
    Graph(scope, container, _dtype_of_outputs(operator)).as_number(mean, probabilities)
    add_labels(graph, probabilities, label_values(scope, estimator), labels)


def parse_regressor(scope, model, inputs, custom_parsers=None):
    """What the regressor has as outputs: with option ``return_std`` the members' standard deviation, too."""
    operator = scope.declare_local_operator("FastpropTabularRegressor", model)
    operator.inputs = inputs
    names = ["variable", "std"] if scope.get_options(model, {"return_std": False})["return_std"] else ["variable"]
    for name in names:
        operator.outputs.append(scope.declare_local_variable(name, guess_tensor_type(inputs[0].type)))
    return operator.outputs


def set_regressor_shapes(operator):
    """The types and shapes of the values, and of their standard deviations."""
    check_predicts(operator)
    shape = [operator.inputs[0].get_first_dimension(), len(operator.raw_operator._scale.lowest)]
    for variable in operator.outputs:
        variable.set_type(_type_of_outputs(operator)(list(shape)))


def convert_regressor(scope, operator, container):
    """The nodes of `predict`."""
    graph, members = _members(scope, operator, container)
    predictions = _predictions(graph, operator.raw_operator._scale, members)
    weights = operator.raw_operator.member_weights_
    results = [_mean(graph, predictions, weights)]
    if len(operator.outputs) == 2:
        differences = [graph.compute("Sub", values, results[0]) for values in predictions]
        variance = _mean(graph, [graph.compute("Mul", each, each) for each in differences], weights)
        results.append(graph.compute("Sqrt", variance))
    for result, variable in zip(results, operator.outputs, strict=True):
        Graph(scope, container, _dtype_of_outputs(operator)).as_number(result, variable.full_name)


def _members(scope, operator, container):
    """A `Graph` in double, and in it each member's outputs, which are computed in float, as in `predict`."""
    estimator = operator.raw_operator
    graph, floats = Graph(scope, container, np.float64), Graph(scope, container, np.float32)
    views = [floats.as_number(encoded(graph, encoder, operator)) for encoder in estimator.encoders_]
    outputs = [floats.network(network, estimator._view(views, member)) for member, network in enumerate(estimator.members_)]
    return graph, [graph.as_number(each) for each in outputs]


def _predictions(graph, scale, members):
    """y of each member's outputs: the share of the way from the lowest to the highest target, so that nothing overflows."""
    low, high = scale.network_targets(np.stack([scale.lowest, scale.highest]))
    start, way = graph.array("start", low[None]), graph.array("way", np.where(high > low, high - low, 1)[None])
    lowest, highest = graph.array("lowest", scale.lowest[None]), graph.array("highest", scale.highest[None])
    predictions = []
    for outputs in members:
        share = graph.compute("Div", graph.compute("Sub", outputs, start), way)
        share = graph.compute("Max", graph.compute("Min", share, 1), 0)
        rest = graph.compute("Mul", graph.compute("Sub", 1, share), lowest)
        predictions.append(graph.compute("Add", rest, graph.compute("Mul", share, highest)))
    return predictions


def _mean(graph, members, weights):
    return graph.node("Sum", [graph.compute("Mul", each, weight) for each, weight in zip(members, weights.tolist(), strict=True)])


def _type_of_outputs(operator):
    """Double where an input is, else float."""
    is_double = any(isinstance(variable.type, DoubleTensorType) for variable in operator.inputs)
    return DoubleTensorType if is_double else FloatTensorType


def _dtype_of_outputs(operator):
    return np.float64 if _type_of_outputs(operator) is DoubleTensorType else np.float32


def _dtype_of(encoder):
    return np.dtype(encoder.dtype).type
