"""Contests of training: epochs, and whole fits to convergence."""

import math

from .contenders import CONTENDERS
from .contest import Outcome
from .limits import limits_or_none
from .rounds import seconds_of, take_turns
from .workloads import loss_of, problem_named

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


def time_convergence(problem, dtype, n_threads, names, effort):
    """Seconds of a whole fit with scikit-learn's defaults by the estimators named; the outcome as of `time_epochs`."""
    configuration, X, y = problem_named(problem, dtype)
    contenders = {name: CONTENDERS[name](configuration, X, y, n_threads) for name in names}
    outcome = Outcome()
    reference = CONTENDERS["scikit-learn"](configuration, X, y, n_threads)

    def fit(contender):
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
