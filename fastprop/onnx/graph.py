"""The nodes of one estimator's network. Needs skl2onnx and onnx."""

import numpy as np
from onnx import TensorProto
from skl2onnx.common.data_types import guess_proto_type

from ..estimators.scikit_learns_form import folded_weights
from ..kernels.spec import KINDS
from .activations import FORMULAS

LINKS = {"identity": "Identity", "logistic": "Sigmoid", "exp": "Exp", "softmax": "Softmax"}


class Graph:
    """What adds nodes to a container of skl2onnx's; nodes are known by the names of their outputs, and numbers are float or double.

    Attributes
    ----------
    dtype : type
        float64 if the operator's input is double, else float32.
    opset : int
        The version of ONNX's operators that the model is for.
    """

    def __init__(self, scope, operator, container):
        self._scope, self._operator, self._container = scope, operator, container
        is_double = guess_proto_type(operator.inputs[0].type) == TensorProto.DOUBLE
        self.dtype, self.opset = np.float64 if is_double else np.float32, container.target_opset
        self._numbers = {}

    def network(self, output=None):
        """The network's outputs (n, n_outputs_)."""
        estimator = self._operator.raw_operator
        # Of the present weights: a user may have assigned others than those that were learnt. In double until norms are folded in.
        network = estimator._current_network().astype(np.float64)
        for activation in network.activations:
            if not isinstance(activation, str):
                raise ValueError(f"activation must have a name to be converted to ONNX; got {activation!r}")
        x = self.as_number(self._operator.inputs[0].full_name)
        folded = folded_weights(network) if network.normalization == "batch" else (network.coefs, network.intercepts)
        *hidden, last = zip(*folded, strict=True)
        for i, (parameters, activation) in enumerate(zip(hidden, network.activations, strict=True)):
            z = self._affine(x, *parameters)
            if network.normalization == "layer":
                z = self._layer_norm(z, *network.norms[i], _epsilons(network)[i])
            x = FORMULAS[activation](self, z)
        link = LINKS[estimator.out_activation_]
        # Before ONNX 13 Softmax is over all axes from `axis` on, which is the same for a matrix.
        return self.node(link, [self._affine(x, *last)], output, **({"axis": 1} if link == "Softmax" else {}))

    def _affine(self, x, weight, bias):
        return self.node("Gemm", [x, self._array("weight", weight), self._array("bias", bias)])

    def _layer_norm(self, x, gamma, beta, epsilon):
        # A mean over each row is a product, in every version: ReduceMean has changed.
        average = self._array("average", np.full((len(gamma), 1), 1 / len(gamma)))
        centred = self.compute("Sub", x, self.node("MatMul", [x, average]))
        variance = self.node("MatMul", [self.compute("Mul", centred, centred), average])
        deviation = self.compute("Sqrt", self.compute("Add", variance, epsilon))
        normed = self.compute("Mul", self.compute("Div", centred, deviation), self._array("gamma", gamma))
        return self.compute("Add", normed, self._array("beta", beta))

    def compute(self, kind, *inputs):
        """Add a node without attributes; its inputs are other nodes, or numbers."""
        return self.node(kind, [each if isinstance(each, str) else self._number(each) for each in inputs])

    def as_number(self, x):
        """Add a conversion to float or double."""
        return self.node("Cast", [x], to=self._float_type)

    def node(self, kind, inputs, output=None, **attributes):
        """Add a node and return the name of its output, by default a new one."""
        output = output or self.new_name(kind.lower())
        self._container.add_node(kind, inputs, output, name=self._scope.get_unique_operator_name(kind), **attributes)
        return output

    def constant(self, name, values):
        """Add an array of integers or strings."""
        if values.dtype.kind == "i":
            return self._initializer(name, TensorProto.INT64, values.shape, values)
        return self._initializer(name, TensorProto.STRING, values.shape, [str(value).encode() for value in values])

    def new_name(self, name):
        """A name that nothing in the model has yet."""
        return self._scope.get_unique_variable_name(name)

    @property
    def _float_type(self):
        return TensorProto.DOUBLE if self.dtype is np.float64 else TensorProto.FLOAT

    def _array(self, name, values):
        return self._initializer(name, self._float_type, values.shape, values.astype(self.dtype).ravel())

    def _number(self, value):
        if value not in self._numbers:
            self._numbers[value] = self._initializer("number", self._float_type, (), np.array([value], self.dtype))
        return self._numbers[value]

    def _initializer(self, name, kind, shape, values):
        name = self.new_name(name)
        self._container.add_initializer(name, kind, list(shape), values)
        return name


def _epsilons(network):
    return network.layers["epsilon"][network.layers["kind"] == KINDS["layer_norm"]].tolist()
