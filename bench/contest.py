"""Contests: what is computed in a process with a fixed number of threads, in which contenders take turns.

A process of its own for each number of threads, because OpenBLAS, XLA and OpenMP read theirs when they are loaded.
"""

import atexit
import contextlib
import importlib
import math
import multiprocessing
import os
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
# XLA takes one thread per core that it may use; these keep its products on one where there is one.
XLA_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


@dataclass(frozen=True)
class Effort:
    """How long a contest goes on: seconds of a sample, seconds of all rounds, numbers of rounds."""

    sample: float = 0.1
    budget: float = 6.0
    min_rounds: int = 3
    max_rounds: int = 7


QUICK = Effort(sample=0.02, budget=1.0, min_rounds=3, max_rounds=3)


@dataclass
class Outcome:
    """Seconds by contender and round, what was wrong by contender, and by round the state of the machine."""

    samples: dict = field(default_factory=dict)
    wrong: dict = field(default_factory=dict)
    ping_pong: list = field(default_factory=list)
    peak: list = field(default_factory=list)

    def log_machine(self, limits, dtype, n_threads):
        """Add the ping-pong latency and the multiply-add peak of this moment."""
        if limits is None:
            return
        self.ping_pong.append(limits.ping_pong() if n_threads > 1 else None)
        self.peak.append(limits.sample_peak(dtype, n_threads))


class Arena:
    """Runs functions in a process with so many threads; only one process lives at a time, so that none disturbs another."""

    def __init__(self):
        self._executor = self._n_threads = None
        atexit.register(self.close)

    def run(self, n_threads, function, *arguments):
        """``function(*arguments)`` of a module that can be imported, in the process with n_threads."""
        if n_threads != self._n_threads:
            self.close()
            context = multiprocessing.get_context("spawn")
            self._executor, self._n_threads = ProcessPoolExecutor(1, mp_context=context), n_threads
        with _environment(n_threads):  # the process starts when it gets its first work
            future = self._executor.submit(function, *arguments)
        return future.result()

    def close(self):
        if self._executor is not None:
            self._executor.shutdown()
        self._executor = self._n_threads = None


@contextlib.contextmanager
def _environment(n_threads):
    """Environment and cores that a process started now inherits."""
    wanted = dict.fromkeys(THREAD_VARIABLES, str(n_threads))
    if n_threads == 1:
        wanted["XLA_FLAGS"] = XLA_ONE_THREAD
    before = {name: os.environ.get(name) for name in wanted}
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    os.environ.update(wanted)
    if cores:
        os.sched_setaffinity(0, sorted(cores)[-n_threads:])
    try:
        yield
    finally:
        if cores:
            os.sched_setaffinity(0, cores)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def take_turns_checked(contenders, effort):
    """The `Outcome` of short functions of this process, name -> (check, function): what fails its check is not timed."""
    from .rounds import repeated, take_turns

    outcome, turns = Outcome(), {}
    for name, (check, function) in contenders.items():
        try:
            check()
        except AssertionError as error:
            outcome.wrong[name] = str(error)
        else:
            turns[name] = repeated(function, effort.sample)
    outcome.samples = take_turns(turns, effort.budget, effort.min_rounds, effort.max_rounds) if turns else {}
    return outcome


# Training

# Relative, of the loss after the checked epochs: every contender took the same steps but for Adam's epsilon, which PyTorch applies
# before the bias correction, and for float32 gradients that are nothing but rounding errors: JAX's loss on mnist-deep is off by
# 2e-3. Where the order of rows differs, so does the loss, a little.
SAME_STEPS, OTHER_ORDER = 5e-3, 5e-2
# So many updates at least are done before losses are compared.
CHECKED_UPDATES = 20
CHECKED_ROWS = 2000
# Of a sample; of a single one, as the difference of two fits, the noise would be three times a fit's.
MIN_EPOCHS, MAX_EPOCHS = 2, 50_000


def time_epochs(problem, dtype, n_threads, names, effort):
    """Seconds an epoch of training by the contenders named.

    Parameters
    ----------
    problem : str
        A configuration or a data set.
    dtype : str
    n_threads : int
        Of this process.
    names : list of str
    effort : Effort

    Returns
    -------
    Outcome
    """
    from .contenders import CONTENDERS
    from .limits import limits_or_none
    from .rounds import take_turns

    configuration, X, y = problem_named(problem, dtype)
    outcome, timed, n_epochs = Outcome(), {}, {}
    n_checked = math.ceil(CHECKED_UPDATES / configuration.n_batches)
    reference = CONTENDERS["scikit-learn"](configuration, X, y, n_threads)
    reference.run(n_checked)
    for name in names:
        try:
            contender = CONTENDERS[name](configuration, X, y, n_threads)
            seconds = contender.run(n_checked) / n_checked
            outcome.wrong[name] = _disagreement(contender, reference)
        except Exception as error:  # one library's failure must not take the others along
            outcome.wrong[name] = f"{type(error).__name__}: {error}"
        if not outcome.wrong[name]:
            timed[name], n_epochs[name] = contender, _epochs_of_a_sample(contender, seconds, effort)
    short = {name: [] for name in timed}

    def sample(name):
        if timed[name].fit_has_fixed_cost:
            short[name].append(timed[name].run(1))
        return timed[name].run(n_epochs[name] + timed[name].fit_has_fixed_cost)

    turns = {name: (lambda name=name: sample(name)) for name in timed}
    limits = limits_or_none()
    rounds = effort.budget, effort.min_rounds, effort.max_rounds
    long = take_turns(turns, *rounds, lambda: outcome.log_machine(limits, dtype, n_threads)) if timed else {}
    for name, samples in long.items():
        # fit(1 + k epochs) - fit(1 epoch) is k epochs without what a fit does once.
        fixed = sorted(short[name])[len(short[name]) // 2] if short[name] else 0.0
        outcome.samples[name] = [(total - fixed) / n_epochs[name] for total in samples]
    return outcome


def problem_named(name, dtype):
    """(configuration, X, y): one of the seven configurations, or a data set."""
    from . import workloads

    if name in workloads.CONFIGURATIONS:
        configuration = workloads.CONFIGURATIONS[name]
        return configuration, *workloads.random_data(configuration, dtype)
    hidden = (128,) if name == "MNIST data" else (100,)
    X, y = {"digits data": workloads.digits, "MNIST data": workloads.mnist, "word counts": workloads.word_counts}[name](dtype)
    return workloads.Configuration(name, *X.shape, int(y.max()) + 1, hidden, 200), X, y


def _epochs_of_a_sample(contender, seconds, effort):
    """How many epochs take about a sample's time, of which the first estimate may be mostly setting up."""
    n = _between(MIN_EPOCHS, round(effort.sample / seconds), MAX_EPOCHS)
    if n > MIN_EPOCHS:
        fixed = contender.run(1) if contender.fit_has_fixed_cost else 0.0
        total = contender.run(n + contender.fit_has_fixed_cost)
        again = max(total - fixed, total / 10) / n  # where the shorter fit was held up, the difference may be nothing
        n = _between(MIN_EPOCHS, round(effort.sample / again), MAX_EPOCHS)
    return n


def _between(low, value, high):
    return max(low, min(value, high))


def _disagreement(contender, reference):
    """What is wrong with a contender after its first run, or None."""
    from .workloads import loss_of

    X, y = contender.X[:CHECKED_ROWS], contender.y[:CHECKED_ROWS]
    X = X.toarray() if hasattr(X, "toarray") else X
    start, expected, actual = (loss_of(each, X, y) for each in (reference.start()[1], reference.layers(), contender.layers()))
    tolerance = SAME_STEPS if contender.same_order else OTHER_ORDER
    # Training must have moved the loss by far more than the tolerance, or agreement says nothing.
    if abs(start - expected) < 3 * tolerance * expected and contender.same_order:
        return f"the loss after the checked epochs, {expected:.6g}, is too near the first, {start:.6g}, to compare"
    if not abs(actual - expected) <= tolerance * expected:
        return f"its loss is {actual:.6g} after the checked epochs, scikit-learn's {expected:.6g}"
    return None


# Fits to convergence


def time_convergence(problem, dtype, n_threads, names, effort):
    """Seconds of a whole fit with scikit-learn's defaults by the estimators named; the outcome as of `time_epochs`."""
    from .contenders import CONTENDERS
    from .limits import limits_or_none
    from .rounds import take_turns

    configuration, X, y = problem_named(problem, dtype)
    contenders = {name: CONTENDERS[name](configuration, X, y, n_threads) for name in names}
    outcome = Outcome()
    reference = CONTENDERS["scikit-learn"](configuration, X, y, n_threads)

    def fit(contender):
        from .rounds import seconds_of

        return seconds_of(contender.train, contender.make(max_iter=1000), None)

    fit(reference)
    for name, contender in contenders.items():
        fit(contender)
        ours, theirs = contender.fitted, reference.fitted
        # In float32 rounding errors decide in which epoch the loss improves by less than tol.
        close = abs(ours.n_iter_ - theirs.n_iter_) <= 0.2 * theirs.n_iter_ and abs(ours.score(X, y) - theirs.score(X, y)) <= 0.01
        said = [f"{each.n_iter_} epochs and {each.score(X, y):.4f} training accuracy" for each in (ours, theirs)]
        outcome.wrong[name] = None if close else f"it needed {said[0]}; scikit-learn {said[1]}"
    turns = {name: (lambda c=c: fit(c)) for name, c in contenders.items() if not outcome.wrong[name]}
    limits = limits_or_none()
    rounds = effort.budget, effort.min_rounds, effort.max_rounds
    outcome.samples = take_turns(turns, *rounds, lambda: outcome.log_machine(limits, dtype, n_threads)) if turns else {}
    return outcome


# Searches


def search(module, backend, n_jobs):
    """The best score of a small grid on digits; imported by the process that runs it."""
    import joblib
    from sklearn.model_selection import GridSearchCV

    from .workloads import digits

    estimator = importlib.import_module(module).MLPClassifier(max_iter=20, random_state=0)
    grid = {"alpha": [1e-5, 1e-4, 1e-3, 1e-2], "hidden_layer_sizes": [(50,), (100,)]}
    with warnings.catch_warnings(), joblib.parallel_config(backend):
        warnings.simplefilter("ignore")  # that it did not converge
        return GridSearchCV(estimator, grid, cv=2, n_jobs=n_jobs, refit=False).fit(*digits("float64")).best_score_


def time_searches(backend, n_jobs, names, effort):
    """Seconds of a search with so many jobs by the estimators named; outcome as of `time_epochs`."""
    from joblib.externals.loky import get_reusable_executor

    from .rounds import seconds_of, take_turns

    modules = {"fastprop": "fastprop", "scikit-learn": "sklearn.neural_network"}
    expected, outcome = search(modules["scikit-learn"], backend, n_jobs), Outcome()
    for name in names:
        score = search(modules[name], backend, n_jobs)
        outcome.wrong[name] = None if abs(score - expected) <= 1e-3 else f"best score {score:.4f}, scikit-learn's {expected:.4f}"
    turns = {name: (lambda m=modules[name]: seconds_of(search, m, backend, n_jobs)) for name in names if not outcome.wrong[name]}
    outcome.samples = take_turns(turns, effort.budget, effort.min_rounds, effort.max_rounds)
    if backend == "loky":
        # Its workers live on for five minutes, for which the end of this process would wait.
        get_reusable_executor().shutdown(wait=True)
    return outcome
