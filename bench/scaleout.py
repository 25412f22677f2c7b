"""What data beyond memory and several processes cost: ``python bench/scaleout.py PART``.

    memory [GIGABYTES] [FOLDER]   one epoch on a memory map of float32 rows, 10 GB by default in a new folder of the system's for
                                  temporary files, and the peak of memory beyond the page cache
    mpi                           a step on two ranks of one thread each, and on one process with one thread
    dask                          an epoch on two workers of one thread each, and on one process; what a round of Dask costs

What is compared learns the same thing equally well, which is checked, and takes turns; times are medians of the rounds.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np

from fastprop import MLPClassifier, collective
from fastprop.config import processor_name

N_FEATURES, MEMORY_FEATURES = 50, 100
N_ROWS, HIDDEN = 200_000, (256, 256, 256)
BATCHES = (200, 512, 2048)
ROUNDS = 3
CHUNK = 200_000


def memory(gigabytes="10", folder=None):
    """Print the peak of anonymous memory in a fit to a memory map."""
    with tempfile.TemporaryDirectory(dir=folder) as made:
        n = int(float(gigabytes) * 1e9 / 4 / MEMORY_FEATURES)
        X = np.lib.format.open_memmap(Path(made) / "X.npy", "w+", np.float32, (n, MEMORY_FEATURES))
        y, rng = np.empty(n, np.int8), np.random.default_rng(0)
        for start in range(0, n, CHUNK):
            rows = X[start : start + CHUNK]
            rows[...] = rng.standard_normal(rows.shape, np.float32)
            y[start : start + CHUNK] = rows[:, :3].sum(axis=1) > 0
        X.flush()
        np.save(Path(made) / "y.npy", y)
        del X, y
        subprocess.run([sys.executable, __file__, "fit", made], check=True)


def fit(folder):
    """What `memory` measures, in a process of its own."""
    warnings.simplefilter("ignore")
    X, y = (np.load(Path(folder) / name, mmap_mode="r") for name in ("X.npy", "y.npy"))
    MLPClassifier((32,), max_iter=1, random_state=0).fit(X[:1000], y[:1000])
    before, began = anonymous(), time.perf_counter()
    watch = Watch()
    model = MLPClassifier((32,), max_iter=1, random_state=0).fit(X, y)
    watch.end()
    seconds, more = time.perf_counter() - began, (watch.peak - before) / 1e9
    print(f"{X.nbytes / 1e9:.1f} GB, {len(X):,} rows: {more:.2f} GB more than before, {seconds:.0f} s an epoch")
    print(f"accuracy of some rows {model.score(X[:CHUNK], y[:CHUNK]):.3f}; {processor_name()}")


def anonymous():
    """Memory of this process that is no page of a file, in bytes."""
    with open("/proc/self/status") as status:
        return sum(int(line.split()[1]) * 1024 for line in status if line.startswith(("RssAnon", "RssShmem")))


class Watch:
    """Looks at `anonymous` from a thread of its own."""

    def __init__(self):
        self.peak, self._running = 0, True
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self):
        while self._running:
            self.peak = max(self.peak, anonymous())
            time.sleep(0.01)

    def end(self):
        self._running = False
        self._thread.join()


def problem():
    """Rows, and labels of a linear model of them."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N_ROWS, N_FEATURES), np.float32)
    return X, (X @ rng.standard_normal((N_FEATURES, 10), np.float32)).argmax(axis=1)


def mpi():
    """Print how many times as fast two ranks are, and one process."""
    environment = os.environ | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    mpiexec = shutil.which("mpiexec", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]))
    subprocess.run([mpiexec, "-n", "2", sys.executable, "-m", "mpi4py", __file__, "ranks"], env=environment, check=True)


def ranks():
    """What `mpi` measures, on each rank: epochs on both ranks and on rank 0 alone take turns."""
    from mpi4py import MPI

    world, alone = MPI.COMM_WORLD, MPI.COMM_SELF
    X, y = problem()
    half = slice(world.rank, None, world.size)
    warnings.simplefilter("ignore")
    if world.rank == 0:
        print(f"{N_ROWS:,} rows, {N_FEATURES}-{'-'.join(map(str, HIDDEN))}-10, float32, {processor_name()}", flush=True)
    for batch_size in BATCHES:
        given = {"hidden_layer_sizes": HIDDEN, "batch_size": batch_size, "random_state": 0, "n_jobs": 1, "tol": 0.0}
        models, seconds = {}, {"together": [], "alone": []}
        for _ in range(ROUNDS):
            for name, communicator, rows in (("together", world, half), ("alone", alone, slice(None))):

                def fit(n_epochs, given=given, communicator=communicator, rows=rows):
                    with collective.mpi(communicator):
                        return MLPClassifier(max_iter=n_epochs, **given).fit(X[rows], y[rows])

                world.Barrier()
                if name == "together" or not world.rank:
                    models[name], time_of_epoch = seconds_of_epoch(fit, 4)
                    seconds[name].append(time_of_epoch)
        if world.rank == 0:
            check_accuracy(models, X, y)
            together, one = (float(np.median(seconds[name])) for name in ("together", "alone"))
            steps = -(-N_ROWS // batch_size)
            print(
                f"batches of {batch_size}: {one / steps * 1e3:.2f} ms a step alone, {together / steps * 1e3:.2f} ms on two ranks, "
                f"{one / together:.2f} times as fast",
                flush=True,
            )


def seconds_of_epoch(fit, n_epochs):
    """(what ``fit(n_epochs)`` returns, the time of an epoch, without that of looking at the data)."""
    times = []
    for n in (1, n_epochs):
        began = time.perf_counter()
        model = fit(n)
        times.append(time.perf_counter() - began)
    return model, (times[1] - times[0]) / (n_epochs - 1)


def check_accuracy(models, X, y):
    """Fail where one model learnt less than the other."""
    scores = [models[name].score(X[:20_000], y[:20_000]) for name in ("alone", "together")]
    assert abs(scores[0] - scores[1]) < 0.03, scores


def dask():
    """Print how many times as fast two workers are, and one process; and the cost of a round on hardly any rows."""
    import dask.array as da
    from distributed import Client

    from fastprop.dask import DaskMLPClassifier

    warnings.simplefilter("ignore")
    X, y = problem()
    lazy = da.from_array(X, chunks=(N_ROWS // 2, -1)), da.from_array(y, chunks=N_ROWS // 2)
    few = [array[:2000].rechunk({0: 1000}) for array in lazy]
    given = {"hidden_layer_sizes": HIDDEN, "batch_size": 512, "random_state": 0, "tol": 0.0, "n_jobs": 1}
    seconds = {"alone": [], "together": [], "rounds": []}
    print(f"{N_ROWS:,} rows, {N_FEATURES}-{'-'.join(map(str, HIDDEN))}-10, float32, batches of 512, {processor_name()}", flush=True)
    with Client(n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=0):
        for _ in range(ROUNDS):
            models = {}
            for name, kind, data, n_epochs in (
                ("alone", MLPClassifier, (X, y), 4),
                ("together", DaskMLPClassifier, lazy, 4),
                ("rounds", DaskMLPClassifier, few, 21),
            ):

                def fit(n_epochs, kind=kind, data=data):
                    return kind(max_iter=n_epochs, **given).fit(*data)

                models[name], time_of_epoch = seconds_of_epoch(fit, n_epochs)
                seconds[name].append(time_of_epoch)
            check_accuracy(models, X, y)
    alone, together, rounds = (float(np.median(seconds[name])) for name in ("alone", "together", "rounds"))
    print(f"an epoch: {alone:.2f} s alone, {together:.2f} s on two workers, {alone / together:.2f} times as fast")
    print(f"an epoch of 2,000 rows, which is a round: {rounds * 1e3:.0f} ms")


if __name__ == "__main__":
    parts = {each.__name__: each for each in (memory, mpi, dask, fit, ranks)}
    if len(sys.argv) < 2 or sys.argv[1] not in parts:
        sys.exit(__doc__)
    parts[sys.argv[1]](*sys.argv[2:])
