"""Who predicts against whom: probabilities of a trained network, by library, in float32."""

import warnings
from abc import ABC, abstractmethod
from functools import partial
from importlib import util

import numpy as np

from . import contenders, workloads
from .contest import Outcome
from .workloads import Configuration

NETS = {
    net.name: net
    for net in (
        Configuration("64-100-10", 500, 64, 10, (100,), 200),
        Configuration("784-128-10", 500, 784, 10, (128,), 200),
        Configuration("256-1024-1024-10", 500, 256, 10, (1024, 1024), 200),
    )
}
# Of probabilities, against float64.
TOLERANCE = 1e-5


class Predictor(ABC):
    """One library with the weights of an estimator trained for an epoch; ``predict(X)`` gives probabilities."""

    modules = ()

    def __init__(self, estimator, n_threads):
        self.estimator, self.n_threads = estimator, n_threads
        self.layers = list(zip(estimator.coefs_, estimator.intercepts_, strict=True))
        self.prepare()

    @abstractmethod
    def prepare(self): ...

    @abstractmethod
    def predict(self, X): ...

    @classmethod
    def obstacle(cls):
        missing = [module for module in cls.modules if util.find_spec(module) is None]
        return f"{', '.join(missing)} not installed" if missing else None


class Fastprop(Predictor):
    """`predict_proba`, with all that it checks."""

    def prepare(self):
        self.predict = self.estimator.set_params(n_jobs=1 if self.n_threads == 1 else None).predict_proba

    def predict(self, X): ...  # replaced by the estimator's own method, so that no call of ours is timed


class BareKernel(Predictor):
    """`kernels.network_forward` into an array that is there: what `predict_proba` costs around it is the difference."""

    def prepare(self):
        from fastprop import kernels

        self.kernel = kernels.network_forward
        sizes = [self.layers[0][0].shape[0], *(weight.shape[1] for weight, _ in self.layers)]
        self.table = kernels.layer_table(sizes, "relu", "softmax")
        self.params = np.empty(kernels.n_parameters(self.table), np.float32)
        views = kernels.layer_views(self.table, self.params)
        for (to_weight, to_bias), (weight, bias) in zip(views, self.layers, strict=True):
            to_weight[...], to_bias[...] = weight, bias
        self.out = {}

    def predict(self, X):
        out = self.out.get(len(X))
        if out is None:
            out = self.out[len(X)] = np.empty((len(X), len(self.layers[-1][1])), np.float32)
        return self.kernel(X, self.table, self.params, out, self.n_threads)


class Bound(Predictor):
    """`estimator.predictor`, made once for the rows: with the weights packed, as onnxruntime has them too, and nothing checked."""

    precision = None

    def prepare(self):
        self.rows = None

    def predict(self, X):
        if X is not self.rows:
            from fastprop.threads import n_threads_of_prediction

            flops = 2 * sum(weight.size for weight, _ in self.layers)
            for _ in range(2):  # as `predict_proba` would take if one call followed the other
                n_threads = n_threads_of_prediction(1 if self.n_threads == 1 else None, len(X), flops)
            self.rows, self.out = X, np.empty((len(X), len(self.layers[-1][1])), np.float32)
            self.call = self.estimator.predictor(X, self.out, n_threads, precision=self.precision)
        self.call()
        return self.out


class ScikitLearn(Predictor):
    modules = ("sklearn",)

    def prepare(self):
        self.predict = self.estimator.to_sklearn().predict_proba

    def predict(self, X): ...  # replaced, as above


class OnnxRuntime(Predictor):
    """A graph of Gemm, Relu and Softmax: what the converters make has more nodes and is slower."""

    modules = ("onnx", "onnxruntime")

    def prepare(self):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.n_threads, 1
        self.session = onnxruntime.InferenceSession(self.model_bytes(), options, providers=["CPUExecutionProvider"])

    def model_bytes(self):
        return onnx_model(self.layers).SerializeToString()

    def predict(self, X):
        return self.session.run(None, {"X": X})[0]


class PyTorch(Predictor):
    modules = ("torch",)

    def prepare(self):
        import torch

        torch.set_num_threads(self.n_threads)
        self.torch = torch
        sizes = [self.layers[0][0].shape[0], *(weight.shape[1] for weight, _ in self.layers)]
        self.model = contenders.torch_model(sizes, np.float32).append(torch.nn.Softmax(dim=1)).eval()
        contenders.load_layers(self.model, self.layers)

    def predict(self, X):
        with self.torch.inference_mode():
            return self.model(self.torch.from_numpy(X)).numpy()


PREDICTORS = {
    "fastprop": Fastprop,
    "fastprop kernel": BareKernel,
    "fastprop predictor": Bound,
    "scikit-learn": ScikitLearn,
    "onnxruntime": OnnxRuntime,
    "PyTorch": PyTorch,
}


def onnx_model(layers):
    """The network as an ONNX graph from X (n, n_in) to probabilities."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights, name = [], [], "X"
    for i, (weight, bias) in enumerate(layers):
        arrays = {f"W{i}": weight, f"b{i}": bias}
        weights += [numpy_helper.from_array(np.ascontiguousarray(array, np.float32), key) for key, array in arrays.items()]
        nodes.append(helper.make_node("Gemm", [name, f"W{i}", f"b{i}"], [f"z{i}"]))
        last = i == len(layers) - 1
        name = "probabilities" if last else f"a{i}"
        nodes.append(helper.make_node("Softmax" if last else "Relu", [f"z{i}"], [name], **({"axis": 1} if last else {})))
    value = helper.make_tensor_value_info
    inputs = [value("X", TensorProto.FLOAT, [None, layers[0][0].shape[0]])]
    outputs = [value("probabilities", TensorProto.FLOAT, [None, len(layers[-1][1])])]
    graph = helper.make_graph(nodes, "network", inputs, outputs, weights)
    # An opset and a format that any onnxruntime since 2021 reads.
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


def time_predictions(net_name, n_rows, n_threads, names, effort, pause=0.0):
    """Seconds of one call with float32 rows by the predictors named; outcome as of `training.time_epochs`.

    Of one call in a loop, or with ``pause`` of one call after so many seconds in which the process slept.
    """
    import fastprop

    from .limits import limits_or_none
    from .rounds import after_a_pause, repeated, take_turns

    net, dtype = NETS[net_name], "float32"
    rng, outcome = np.random.default_rng(0), Outcome()
    options = {"hidden_layer_sizes": net.hidden, "max_iter": 1, "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it did not converge
        estimator = fastprop.MLPClassifier(**options).fit(*workloads.random_data(net, dtype))
    X = rng.standard_normal((n_rows, net.n_features)).astype(dtype)
    checked = X[:1000]
    expected = workloads.probabilities_of(list(zip(estimator.coefs_, estimator.intercepts_, strict=True)), checked)
    turns = {}
    for name in names:
        try:
            predictor = PREDICTORS[name](estimator, n_threads)
            error = np.abs(predictor.predict(X)[: len(checked)] - expected).max()
            outcome.wrong[name] = None if error <= TOLERANCE else f"a probability is off by {error:.2g}"
        except Exception as error:  # one library's failure must not take the others along
            outcome.wrong[name] = f"{type(error).__name__}: {error}"
        if not outcome.wrong[name]:
            call = partial(predictor.predict, X)
            turns[name] = after_a_pause(call, pause) if pause else repeated(call, effort.sample / 5)
    limits = limits_or_none()
    rounds = effort.budget, effort.min_rounds, effort.max_rounds
    outcome.samples = take_turns(turns, *rounds, lambda: outcome.log_machine(limits, dtype, n_threads)) if turns else {}
    return outcome
