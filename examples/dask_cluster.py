# %% [markdown]
"""
# Training on a Dask cluster

The rows are in partitions on workers, and stay there: in each round every partition trains a copy of the network, and the copies
are averaged. Here the cluster is two processes of this machine; `Client("tcp://...")` would be one of many machines. It needs dask
and distributed (`pip install 'fastprop-mlp[dask]'`).
"""

# %%
import dask.array as da
import matplotlib.pyplot as plt
import numpy as np
from distributed import Client

from fastprop import LossCurveDisplay
from fastprop.dask import DaskMLPClassifier

N_ROWS, N_PARTITIONS = 8000, 4


# %% [markdown]
"""
Points on two spirals, sorted by spiral: each partition has points of one alone. Trained as they are, the copies would learn one
class each. So rows are first dealt at random into new partitions, which `shuffle_partitions` does by default.
"""


# %%
def spirals(n, seed):
    """n points on two spirals with noise, those of the first spiral first, and on which of them each is."""
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1], n // 2)
    turn = rng.uniform(0.2, 1.4, n)
    angle = 2 * np.pi * turn + np.pi * y
    return np.stack([turn * np.cos(angle), turn * np.sin(angle)], axis=1) + rng.normal(0, 0.03, (n, 2)), y


# %% [markdown]
"""
The stopping rule, the schedule and the validation rows are those of `MLPClassifier`, and so is what is printed. What was learnt
needs no cluster: `to_local` gives an `MLPClassifier`.
"""

# %%
if __name__ == "__main__":  # the workers import this file
    X, y = spirals(N_ROWS, seed=0)
    X_val, y_val = spirals(2000, seed=1)
    with Client(n_workers=2, threads_per_worker=1, dashboard_address=":0") as client:
        model = DaskMLPClassifier(hidden_layer_sizes=(64, 64), activation="silu", learning_rate="cosine", max_iter=30)
        model.set_params(learning_rate_init=0.01, random_state=0, verbose=True)
        n = N_ROWS // N_PARTITIONS
        model.fit(da.from_array(X, chunks=(n, -1)), da.from_array(y, chunks=n), X_val=X_val, y_val=y_val)

    local = model.to_local()
    accuracy = local.score(X_val, y_val)
    print(f"accuracy of the validation rows: {accuracy:.3f}")
    LossCurveDisplay.from_estimator(local)
    plt.savefig("dask_cluster.png")
    plt.show()
