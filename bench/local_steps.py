"""What local steps cost in progress: ``python bench/local_steps.py [FIRST_SEED [LEARNING_RATE]]``, about two minutes.

Each of P workers trains on a part of the rows with a copy of the parameters, and they are averaged after every epoch or every few
steps. After equal passes over the data, each variant is compared with one worker. All runs in one process, without Dask.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, make_classification, make_friedman1
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

sys.path.append(str(Path(__file__).parents[1]))  # at the end: the installed fastprop goes first

from fastprop import Network, kernels
from fastprop.config import processor_name
from fastprop.optim import Adam, StepSGD

EPOCHS, BATCH, HIDDEN, N_SEEDS = 30, 200, 100, 3
WORKERS = (2, 4, 8)
N_ROWS, N_TEST = 16_000, 8_000


def _checkerboard(seed):
    generator = np.random.default_rng(seed)
    X = generator.uniform(-2, 2, (N_ROWS + N_TEST, 2))
    y = np.floor(X).sum(axis=1) % 2
    return X, np.where(generator.random(len(y)) < 0.05, 1 - y, y).astype(int)


def _classes(seed):
    shape = {"n_samples": N_ROWS + N_TEST, "n_features": 20, "n_informative": 15, "n_redundant": 0}
    return make_classification(**shape, n_classes=8, n_clusters_per_class=4, flip_y=0.05, class_sep=0.8, random_state=seed)


TASKS = {
    "digits": lambda seed: load_digits(return_X_y=True),
    "breast cancer": lambda seed: load_breast_cancer(return_X_y=True),
    "classes": _classes,
    "friedman": lambda seed: make_friedman1(N_ROWS + N_TEST, n_features=10, noise=1.0, random_state=seed),
    "checkerboard": _checkerboard,
}


@dataclass(frozen=True)
class Variant:
    """``momentum``, ``share`` and ``factor`` are functions of P: of the outer step, of the batch that a worker takes, of the
    learning rate. ``sync_every`` is in steps, None for an epoch."""

    memory: str = "averaged"
    momentum: Callable[[int], float] = lambda P: 1 - P**-0.5
    nesterov: bool = True
    share: Callable[[int], float] = lambda P: 1 / P
    factor: Callable[[int], float] = lambda P: 1
    sync_every: int | None = None
    is_sorted: bool = False
    solver: str = "adam"


CHOSEN = Variant()
PLAIN = replace(CHOSEN, momentum=lambda P: 0)
FULL_PLAIN = replace(PLAIN, share=lambda P: 1)
FULL = replace(FULL_PLAIN, momentum=lambda P: 1 - 1 / P)
VARIANTS = [
    ("batches of 200 on each worker, plain averaging, memory reset", replace(FULL_PLAIN, memory="reset")),
    ("... memory local", replace(FULL_PLAIN, memory="local")),
    ("... memory averaged", FULL_PLAIN),
    ("... memory averaged, every 10 steps", replace(FULL_PLAIN, sync_every=10)),
    ("... memory averaged, learning rate times P", replace(FULL_PLAIN, factor=lambda P: P)),
    ("batches of 200 on each worker, momentum 1 - 1/P, memory reset", replace(FULL, memory="reset")),
    ("... memory local", replace(FULL, memory="local")),
    ("... memory averaged", FULL),
    ("... memory averaged, every 2 steps", replace(FULL, sync_every=2)),
    ("batches of 200/P, plain averaging", PLAIN),
    ("... every 2 steps", replace(PLAIN, sync_every=2)),
    ("... learning rate times sqrt(P)", replace(PLAIN, factor=lambda P: P**0.5)),
    ("batches of 200/P, momentum 1 - 1/sqrt(P), memory reset", replace(CHOSEN, memory="reset")),
    ("... memory local", replace(CHOSEN, memory="local")),
    ("... memory averaged", CHOSEN),
    ("... memory averaged, every 50 steps", replace(CHOSEN, sync_every=50)),
    ("... memory averaged, every 10 steps", replace(CHOSEN, sync_every=10)),
    ("... memory averaged, every 2 steps", replace(CHOSEN, sync_every=2)),
    ("... memory averaged, not Nesterov's", replace(CHOSEN, nesterov=False)),
    ("batches of 200/P, momentum 0.5", replace(CHOSEN, momentum=lambda P: 0.5)),
    ("batches of 200/P, momentum 1 - 1/P", replace(CHOSEN, momentum=lambda P: 1 - 1 / P)),
    ("SGD, batches of 200/P, plain averaging", replace(PLAIN, solver="sgd")),
    ("SGD, batches of 200/P, plain averaging, every 10 steps", replace(PLAIN, solver="sgd", sync_every=10)),
    ("SGD, batches of 200/P, momentum 1 - 1/sqrt(P)", replace(CHOSEN, solver="sgd")),
    ("sorted by target, batches of 200/P, plain averaging", replace(PLAIN, is_sorted=True)),
    ("... every 10 steps", replace(PLAIN, is_sorted=True, sync_every=10)),
    ("... momentum 1 - 1/sqrt(P)", replace(CHOSEN, is_sorted=True)),
]


# The optimizer for a network and Adam's learning rate
SOLVERS = {
    "adam": Adam,
    "sgd": lambda network, rate: StepSGD(network, 20 * rate, 0.9, nesterov=True),
}


class Problem:
    """A task with a seed: training rows in a random order, and test rows."""

    def __init__(self, name, seed, rate):
        X, y = TASKS[name](seed)
        n_test = N_TEST if len(X) > N_TEST else 0.25
        X, X_test, y, y_test = train_test_split(X, y, test_size=n_test, random_state=seed)
        scaler = StandardScaler().fit(X)
        self.X, self.X_test = (scaler.transform(rows).astype(np.float32) for rows in (X, X_test))
        self.seed, self.rate, self.is_regression = seed, rate, y.dtype.kind == "f"
        mean, scale = (y.mean(), y.std()) if self.is_regression else (0, 1)
        self.y, self.y_test = (y - mean) / scale, (y_test - mean) / scale

    def network(self):
        loss = "squared_error" if self.is_regression else "softmax_cross_entropy"
        n_out = 1 if self.is_regression else int(self.y.max()) + 1
        network = Network([self.X.shape[1], HIDDEN, n_out], loss=loss, dtype=np.float32)
        network.initialize(np.random.RandomState(self.seed))
        return network

    def judged(self, network):
        """(training loss, test error): the error is the share of wrong classes, or 1 - R²."""
        loss, _ = network.loss_gradient(self.training_set(network, np.arange(len(self.y))))
        outputs = network.forward(self.X_test)
        if self.is_regression:
            return loss, np.mean((outputs[:, 0] - self.y_test) ** 2) / self.y_test.var()
        return loss, np.mean(outputs.argmax(axis=1) != self.y_test)

    def training_set(self, network, rows):
        y = self.y[rows].astype(np.float32 if self.is_regression else np.intp)
        return network.training_set(self.X[rows], y)


class Worker:
    """A part of the rows, an optimizer, and an order of the rows for each epoch."""

    def __init__(self, problem, rows, number, solver, share=1, factor=1):
        self.network = problem.network()
        self.data, self.n_rows = problem.training_set(self.network, rows), len(rows)
        self.optimizer = SOLVERS[solver](self.network, problem.rate * factor)
        self.batch = max(1, min(round(BATCH * share), len(rows)))
        self.generator = np.random.RandomState((problem.seed, number))

    def begin_epoch(self):
        self.order = self.generator.permutation(self.n_rows)

    def run(self, n_steps):
        """The next steps of the epoch; whether there were any."""
        part, self.order = np.split(self.order, [min(n_steps * self.batch, len(self.order))])
        if len(part):
            losses, orders = np.empty(1), part[None].astype(np.intp)
            self.network.train_epochs(self.data, orders, self.optimizer, losses, batch_size=self.batch, alpha=1e-4)
        return len(part) > 0


def trained(problem, variant, n_workers):
    """The parameters after all epochs."""
    momentum, options = variant.momentum(n_workers), (variant.solver, variant.share(n_workers), variant.factor(n_workers))
    n = len(problem.y)
    order = np.argsort(problem.y, kind="stable") if variant.is_sorted else np.arange(n)
    parts = np.array_split(order, n_workers)
    workers = [Worker(problem, rows, i, *options) for i, rows in enumerate(parts)]
    shares = [worker.n_rows / n for worker in workers]
    params, velocity = workers[0].network.params.copy(), 0.0
    for _ in range(EPOCHS):
        for worker in workers:
            worker.begin_epoch()
        while True:
            for worker in workers:
                worker.network.params[:] = params
                if variant.memory == "reset":
                    worker.optimizer.memory[:], worker.optimizer.t = 0, 0
            ran = [worker.run(variant.sync_every or n) for worker in workers]
            if not any(ran):
                break
            mean = _mean(shares, [worker.network.params for worker in workers])
            if variant.memory == "averaged":
                memory = _mean(shares, [worker.optimizer.memory for worker in workers])
                for worker in workers:
                    worker.optimizer.memory[:] = memory
            if not momentum:
                params = mean
                continue
            moved = mean - params
            velocity = momentum * velocity + moved
            params = params + (moved + momentum * velocity if variant.nesterov else velocity)
    return params


def _mean(shares, arrays):
    total = shares[0] * arrays[0]
    for share, array in zip(shares[1:], arrays[1:], strict=True):
        total += share * array
    return total.astype(arrays[0].dtype, copy=False)


def plain(problem, solver):
    """The parameters after all epochs of one worker, in one call."""
    worker = Worker(problem, np.arange(len(problem.y)), 0, solver)
    orders = np.stack([worker.generator.permutation(worker.n_rows) for _ in range(EPOCHS)])
    options = {"batch_size": worker.batch, "alpha": 1e-4}
    worker.network.train_epochs(worker.data, orders, worker.optimizer, np.empty(EPOCHS), **options)
    return worker.network.params


def references(problems, solver):
    """(training loss, test error) of one worker on each problem."""
    found = []
    for problem in problems:
        network = problem.network()
        network.params[:] = plain(problem, solver)
        np.testing.assert_array_equal(trained(problem, replace(CHOSEN, solver=solver), 1), network.params)
        found.append(problem.judged(network))
    return np.array(found)


def judged(variant, problems, n_workers):
    """(training loss, test error) of a variant on each problem."""
    found = []
    for problem in problems:
        network = problem.network()
        network.params[:] = trained(problem, variant, n_workers)
        found.append(problem.judged(network))
    return np.array(found)


def main(arguments):
    first, rate = int(arguments[0]) if arguments else 0, float(arguments[1]) if arguments[1:] else 0.001
    problems = [Problem(name, seed, rate) for name in TASKS for seed in range(first, first + N_SEEDS)]
    plain_ones = {solver: references(problems, solver) for solver in SOLVERS}
    print(f"{processor_name()}, {kernels.active}\n")
    print(f"{len(TASKS)} tasks, seeds {first} to {first + N_SEEDS - 1}, learning rate {rate}, {EPOCHS} epochs: training loss /")
    print(f"test error in units of one worker's, geometric means; the last column has the test errors at P = {WORKERS[-1]}\n")
    print(f"| variant | {' | '.join(f'P = {n}' for n in WORKERS)} | {', '.join(TASKS)} |")
    print("| --- " * (len(WORKERS) + 2) + "|")
    for name, variant in VARIANTS:
        cells = []
        for n in WORKERS:
            logs = np.log(judged(variant, problems, n) / plain_ones[variant.solver])
            cells.append(" / ".join(f"{value:.2f}" for value in np.exp(logs.mean(axis=0))))
        by_task = np.exp(logs[:, 1].reshape(len(TASKS), -1).mean(axis=1))
        print(f"| {name} | {' | '.join(cells)} | {', '.join(f'{value:.2f}' for value in by_task)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
