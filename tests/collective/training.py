"""What each rank of test_processes.py runs: a fit to its share of the digits; prints a digest of the parameters."""

import contextlib
import hashlib
import os
import signal
import sys
import warnings

from sklearn.datasets import load_digits

from fastprop import MLPClassifier, collective

engine, mode, checkpoint = sys.argv[1:]
warnings.simplefilter("ignore")


class Scorer:
    """The accuracy; in the fifth epoch the second rank fails as the mode says."""

    def __init__(self, rank):
        self.rank, self.n = rank, 0

    def __repr__(self):
        return "Scorer"

    def __call__(self, estimator, X, y):
        self.n += 1
        if self.n == 5 and self.rank == 1:
            if mode == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if mode == "error":
                raise OSError("the disk is gone")
        return float((estimator.predict(X) == y).mean())


@contextlib.contextmanager
def group_of_torch():
    from torch import distributed

    distributed.init_process_group("gloo")
    with collective.torch(checkpoint=checkpoint or None) as group:
        yield group
    distributed.destroy_process_group()


X, y = load_digits(return_X_y=True)
X = X / 16
with collective.mpi(checkpoint=checkpoint or None) if engine == "mpi" else group_of_torch() as group:
    rows = slice(group.rank, 1700, group.size)
    model = MLPClassifier((20,), max_iter=8, random_state=0, verbose=mode == "plain", scoring=Scorer(group.rank))
    if checkpoint:
        from fastprop.estimators import shares

        shares.SECONDS_BETWEEN_SAVES = 0
    model.fit(X[rows], y[rows], X_val=X[1700:], y_val=y[1700:])
    print(f"rank {group.rank}: {hashlib.sha256(model.coefs_[0].tobytes()).hexdigest()}", flush=True)
