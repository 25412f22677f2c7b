"""The nodes of a network. Needs skl2onnx and onnx."""

import numpy as np
from onnx import TensorProto

from ..export.steps import network_steps
from .activations import FORMULAS

LINKS = {"identity": "Identity", "sigmoid": "Sigmoid", "exp": "Exp", "softmax": "Softmax"}
FLOAT_TYPES = {np.float32: TensorProto.FLOAT, np.float64: TensorProto.DOUBLE}


class Graph:
    """What adds nodes to a container of skl2onnx's; nodes are known by the names of their outputs, and numbers are float or double.

    Attributes
    ----------
    dtype : type
        float32 or float64: of its numbers.
    opset : int
        The version of ONNX's operators that the model is for.
    """

    def __init__(self, scope, container, dtype):
        self._scope, self._container = scope, container
        self.dtype, self.opset = dtype, container.target_opset
        self._numbers = {}

    def network(self, network, x, output=None):
        """The outputs (n, n_outputs) of a network for rows x."""
        try:
            *steps, link = network_steps(network)
        except NotImplementedError as error:
            raise ValueError(f"this estimator cannot be converted to ONNX: {error}") from error
        x = self.as_number(x)
        for step in steps:
            if step.kind == "affine":
                x = self.node("Gemm", [x, *(self.array(name, values) for name, values in step.numbers.items())])
            elif step.kind == "layer_norm":
                x = self._layer_norm(x, **step.numbers)
            else:
                x = FORMULAS[step.kind](self, x)
        # Before ONNX 13 Softmax is over all axes from `axis` on, which is the same for a matrix.
        options = {"axis": 1} if link.kind == "softmax" else {}
        return self.node(LINKS[link.kind], [x], output, **options)

    def _layer_norm(self, x, gamma, beta, epsilon):
        # A mean over each row is a product, in every version: ReduceMean has changed.
        average = self.array("average", np.full((len(gamma), 1), 1 / len(gamma)))
        centred = self.compute("Sub", x, self.node("MatMul", [x, average]))
        variance = self.node("MatMul", [self.compute("Mul", centred, centred), average])
        deviation = self.compute("Sqrt", self.compute("Add", variance, epsilon))
        normed = self.compute("Mul", self.compute("Div", centred, deviation), self.array("gamma", gamma))
        return self.compute("Add", normed, self.array("beta", beta))

    def compute(self, kind, *inputs):
        """Add a node without attributes; its inputs are other nodes, or numbers."""
        return self.node(kind, [each if isinstance(each, str) else self._number(each) for each in inputs])

    def as_number(self, x, output=None):
        """Add a conversion to float or double."""
        return self.node("Cast", [x], output, to=self._float_type)

    def node(self, kind, inputs, output=None, **attributes):
        """Add a node and return the name of its output, by default a new one."""
        output = output or self.new_name(kind.lower())
        self._container.add_node(kind, inputs, output, name=self._scope.get_unique_operator_name(kind), **attributes)
        return output

    def array(self, name, values):
        """Add an array of float or double."""
        return self._initializer(name, self._float_type, values.shape, values.astype(self.dtype).ravel())

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
        return FLOAT_TYPES[self.dtype]

    def _number(self, value):
        if value not in self._numbers:
            self._numbers[value] = self._initializer("number", self._float_type, (), np.array([value], self.dtype))
        return self._numbers[value]

    def _initializer(self, name, kind, shape, values):
        name = self.new_name(name)
        self._container.add_initializer(name, kind, list(shape), values)
        return name
