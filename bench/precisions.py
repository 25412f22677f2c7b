"""Predictions with fewer bits: ``python bench/precisions.py speed`` or ``... quality``, some minutes each.

    speed     predictors of fastprop in float32, bfloat16 and int8, and onnxruntime in float32 and with its own int8, dynamic (with
              ranges of values from each call) and static (from training data); with one thread and with all
    quality   test accuracy in float32, bfloat16 and int8, over seeds and activations: digits of scikit-learn, and 10,000 images of
              MNIST where bench/README.md says that there are some

Contenders take turns; times are medians of rounds, and so are ratios. Before the times, their probabilities are compared.
"""

import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))  # at the end: the installed fastprop goes first

from bench import predictors, workloads
from bench.contest import Arena, Effort
from bench.rounds import repeated, take_turns
from fastprop import MLPClassifier
from fastprop.config import processor_name
from fastprop.inspection import compare_precisions
from fastprop.kernels import active
from fastprop.threads import available_cores

NETS, N_ROWS = ("784-128-10", "256-1024-1024-10"), (1, 100, 10_000)
EFFORT = Effort(budget=4.0, min_rounds=9, max_rounds=60)
CALIBRATION_ROWS = 500
# Of probabilities. onnxruntime clips values beyond its static ranges and, without instructions for int8, sums of two products.
TOLERANCE = {"float32": 1e-5, "bfloat16": 0.05, "int8": 0.03, "clipped": 0.5}
SEEDS, ACTIVATIONS = range(10), ("relu", "tanh", "logistic", "gelu", "silu")
QUALITY = {"hidden_layer_sizes": (128,), "max_iter": 30, "tol": 0.0}


class BFloat16Bound(predictors.Bound):
    precision = "bfloat16"


class Int8Bound(predictors.Bound):
    precision = "int8"


class Int8OnnxRuntime(predictors.OnnxRuntime):
    """With weights per channel."""

    def model_bytes(self):
        from onnxruntime.quantization import quantize_dynamic

        return self.quantized(lambda source, target: quantize_dynamic(source, target, per_channel=True))

    def quantized(self, quantize):
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
            source.write_bytes(predictors.onnx_model(self.layers).SerializeToString())
            quantize(source, target)
            return target.read_bytes()


class StaticOnnxRuntime(Int8OnnxRuntime):
    def model_bytes(self):
        from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

        class Reader(CalibrationDataReader):
            rows = iter([{"X": calibration_rows(self.layers[0][0].shape[0])}])

            def get_next(self):
                return next(self.rows, None)

        types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
        return self.quantized(lambda source, target: quantize_static(source, target, Reader(), per_channel=True, **types))


def calibration_rows(n_features):
    return np.random.default_rng(1).standard_normal((CALIBRATION_ROWS, n_features)).astype(np.float32)


CONTENDERS = {
    "fastprop float32": (predictors.Bound, "float32"),
    "fastprop bfloat16": (BFloat16Bound, "bfloat16"),
    "fastprop int8": (Int8Bound, "int8"),
    "onnxruntime float32": (predictors.OnnxRuntime, "float32"),
    "onnxruntime int8, dynamic": (Int8OnnxRuntime, "clipped"),
    "onnxruntime int8, static": (StaticOnnxRuntime, "clipped"),
}


def contest(name, n_rows, n_threads):
    """(seconds of a call by contender and round, largest error of a probability by contender)."""
    warnings.simplefilter("ignore")
    net = predictors.NETS[name]
    options = {"hidden_layer_sizes": net.hidden, "max_iter": 1, "random_state": 0}
    estimator = MLPClassifier(**options).fit(*workloads.random_data(net, "float32"))
    X = np.random.default_rng(0).standard_normal((n_rows, net.n_features)).astype(np.float32)
    layers = list(zip(estimator.coefs_, estimator.intercepts_, strict=True))
    expected, turns, errors = workloads.probabilities_of(layers, X[:1000]), {}, {}
    for key, (contender, tolerance) in CONTENDERS.items():
        if contender.obstacle() is None:
            here = contender(estimator, n_threads)
            errors[key] = np.abs(here.predict(X)[:1000] - expected).max()
            assert errors[key] <= TOLERANCE[tolerance], (key, errors[key])
            turns[key] = repeated(lambda here=here: here.predict(X), 0.01)
    return take_turns(turns, EFFORT.budget, EFFORT.min_rounds, EFFORT.max_rounds), errors


def speed():
    """Print a table for each network, number of rows and number of threads."""
    arena = Arena()
    print(f"{processor_name()}, {active}")
    for n_threads in sorted({1, available_cores()}):
        for name in NETS:
            for n_rows in N_ROWS:
                samples, errors = arena.run(n_threads, contest, name, n_rows, n_threads)
                print(f"\n{name}, {n_rows} rows, {n_threads} threads: µs a call; times as fast as fastprop's float32")
                base = np.array(samples["fastprop float32"])
                for key, seconds in samples.items():
                    gain = np.median(base / np.array(seconds))
                    print(f"  {key:26} {np.median(seconds) * 1e6:10.1f} {gain:6.2f}  error {errors[key]:.1g}", flush=True)


def quality():
    """Print mean accuracies over the seeds for each set of data and activation."""
    warnings.simplefilter("ignore")
    print(f"{processor_name()}, {active}")
    print(f"{'':8} {'':10} {'float32':>9} {'bfloat16':>9} {'int8':>9} {'calibrated':>11} {'a seed lost at most':>21}")
    for name, (X, y) in workloads.quality_sets().items():
        for activation in ACTIVATIONS:
            scores = []
            for seed, train, test in workloads.splits(len(X), SEEDS):
                model = MLPClassifier(**QUALITY, activation=activation, random_state=seed).fit(X[train], y[train])
                plain = compare_precisions(model, X[test], y[test])
                calibrated = compare_precisions(model, X[test], y[test], X[train])
                scores.append([plain[key].score for key in ("float32", "bfloat16", "int8")] + [calibrated["int8"].score])
            means, worst = 100 * np.mean(scores, axis=0), 100 * np.max(np.array(scores)[:, :1] - scores)
            columns = " ".join(f"{mean:7.2f} %" for mean in means)
            print(f"{name:8} {activation:10} {columns} {worst:20.2f}", flush=True)


if __name__ == "__main__":
    parts = {"speed": speed, "quality": quality}
    if len(sys.argv) != 2 or sys.argv[1] not in parts:
        sys.exit(__doc__)
    parts[sys.argv[1]]()
