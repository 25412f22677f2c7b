"""Training on several processes: in a block ``with collective.mpi():`` each rank fits to its own rows, and all get the same model.

Each step sums the gradients of all ranks, so the result is that of one process with all rows. MPI or torch manages the
processes and the communication; for other libraries, write a `Group` and pass it to `use`.
"""

from .adapters import mpi, torch
from .context import Group, RankError, use

__all__ = ["Group", "RankError", "mpi", "torch", "use"]
