"""Training with products of bfloat16: ``python bench/bfloat16.py speed`` or ``... quality``, about ten minutes each.

    speed     epochs of fastprop in float32 and bfloat16, and of PyTorch in float32, under autocast, and all in bfloat16, with the
              share of the processor's peak that they reach; with one thread and with all
    quality   test accuracy, loss curves and divergence in bfloat16 beside float32, over seeds and activations: digits of
              scikit-learn, and 10,000 images of MNIST where bench/README.md says that there are some

Contenders take turns; times are medians of rounds, and so are ratios. Before the times, the accuracy of each is compared.
"""

import sys
import warnings
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))  # at the end: the installed fastprop goes first

from bench import contenders, workloads
from bench.contest import Arena, Effort
from bench.limits import limits_or_none
from bench.rounds import take_turns
from fastprop import MLPClassifier
from fastprop.config import processor_name
from fastprop.threads import available_cores

NETWORKS = ("tabular-deep", "mnist", "mnist-deep", "wide")
N_EPOCHS, EFFORT = 3, Effort(budget=20.0, min_rounds=5, max_rounds=9)
# bfloat16 multiply-adds of a processor with AVX512-BF16, in units of those of float32
PEAK_RATIO = 2
SEEDS, ACTIVATIONS = range(10), ("relu", "tanh", "logistic", "gelu", "silu")
QUALITY = {"hidden_layer_sizes": (128,), "max_iter": 30, "tol": 0.0, "learning_rate": "cosine"}
GREAT_RATE = 10


class FastpropBFloat16(contenders.Fastprop):
    name = "fastprop bfloat16"

    def make(self, **options):
        return super().make(precision="bfloat16", **options)


class AutocastPyTorch(contenders.PyTorch):
    """The context is around the forward pass alone: it keeps the rounded weights to its end."""

    name = "PyTorch autocast"

    def compiled(self, model):
        def forward(rows):
            with self.torch.autocast("cpu", self.torch.bfloat16):
                return model(rows)

        return lambda rows: forward(rows).float()


class BFloat16PyTorch(contenders.PyTorch):
    """Parameters, moments and data too."""

    name = "PyTorch bfloat16"

    def __init__(self, *problem):
        super().__init__(*problem)
        self.model, self.rows = self.model.bfloat16(), self.rows.bfloat16()
        self.forward = self.model

    def layers(self):
        linear = [module for module in self.model if hasattr(module, "weight")]
        return [(module.weight.detach().float().numpy().T, module.bias.detach().float().numpy()) for module in linear]


IN_BFLOAT16 = {each.name for each in (FastpropBFloat16, AutocastPyTorch, BFloat16PyTorch)}
ALL = (contenders.Fastprop, FastpropBFloat16, contenders.PyTorch, AutocastPyTorch, BFloat16PyTorch)


def contest(name, n_threads):
    """(seconds of an epoch by contender and round, losses by contender, peak in float32) in a process with so many threads."""
    warnings.simplefilter("ignore")
    configuration, X, y = workloads.problem_named(name, "float32")
    here = {each.name: each(configuration, X, y, n_threads) for each in ALL if each.obstacle() is None}
    losses = {}
    for each in here.values():
        each.run(N_EPOCHS)
        losses[each.name] = workloads.loss_of(each.layers(), X, y)
    limits, peaks = limits_or_none(), []

    def epochs(each):
        return lambda: (each.run(1 + N_EPOCHS) - each.run(1)) / N_EPOCHS

    samples = take_turns(
        {key: epochs(each) for key, each in here.items()},
        EFFORT.budget,
        EFFORT.min_rounds,
        EFFORT.max_rounds,
        before_round=lambda: peaks.append(limits.sample_peak("float32", n_threads)) if limits else None,
    )
    return samples, losses, float(np.median(peaks)) if peaks else None


def speed():
    """Print a table for each number of threads."""
    arena = Arena()
    print(processor_name())
    for n_threads in sorted({1, available_cores()}):
        print(f"\n{n_threads} threads: ms an epoch; times as fast as fastprop's float32 (share of the peak)")
        for name in NETWORKS:
            samples, losses, peak = arena.run(n_threads, contest, name, n_threads)
            lowest = min(losses.values())
            assert all(loss < lowest + 0.1 for loss in losses.values()), losses
            flops, base = workloads.CONFIGURATIONS[name].flops, np.array(samples["fastprop"])
            print(f"  {name}")
            for key, seconds in samples.items():
                gain = np.median(base / np.array(seconds))
                of_peak = ""
                if peak is not None:
                    of_peak = f" ({flops / np.median(seconds) / peak / (PEAK_RATIO if key in IN_BFLOAT16 else 1):.0%})"
                print(f"    {key:20} {np.median(seconds) * 1e3:8.2f} {gain:6.2f}{of_peak}  loss {losses[key]:.4f}")


def quality():
    """Print means over the seeds for each set of data and activation."""
    warnings.simplefilter("ignore")
    print(processor_name())
    print(f"{'':8} {'':10} {'accuracy in float32':>20} {'bfloat16':>9} {'loss apart at most':>20} {'at 10 times the rate':>22}")
    for name, (X, y) in workloads.quality_sets().items():
        for activation in ACTIVATIONS:
            scores, apart, diverged = [], [], []
            for seed, train, test in workloads.splits(len(X), SEEDS):
                pair, great = [], []
                for precision in (None, "bfloat16"):
                    given = QUALITY | {"activation": activation, "random_state": seed, "precision": precision}
                    model = MLPClassifier(**given).fit(X[train], y[train])
                    pair.append((model.score(X[test], y[test]), np.array(model.loss_curve_)))
                    given["learning_rate_init"] = GREAT_RATE * MLPClassifier().learning_rate_init
                    great.append(MLPClassifier(**given).fit(X[train], y[train]).loss_)
                scores.append([score for score, _ in pair])
                apart.append(np.max(np.abs(pair[1][1] - pair[0][1]) / pair[0][1]))
                diverged.append(great)
            accuracy, losses = 100 * np.mean(scores, axis=0), np.mean(diverged, axis=0)
            print(
                f"{name:8} {activation:10} {accuracy[0]:18.2f} % {accuracy[1]:7.2f} % {np.median(apart):18.1%} "
                f"{losses[0]:12.4f} {losses[1]:9.4f}",
                flush=True,
            )


if __name__ == "__main__":
    parts = {"speed": speed, "quality": quality}
    if len(sys.argv) != 2 or sys.argv[1] not in parts:
        sys.exit(__doc__)
    parts[sys.argv[1]]()
