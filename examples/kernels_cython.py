# %% [markdown]
"""
# The training loop of `kernels_python.py` from a Cython module, `kernels_cython_loop.pyx`

fastprop installs `api.pxi`, which declares the kernels in C, and the headers that hold them. They are compiled into the user's
module, with the user's flags: add -march=native where the module only runs on this machine.

It needs Cython, setuptools and gcc or clang, and builds for half a minute.
"""

# %%
import importlib.util
import tempfile
from pathlib import Path

import kernels_python
import numpy as np
from Cython.Build import cythonize
from kernels_python import LR, N_STEPS, accuracy, initial_problem
from setuptools import Distribution, Extension

from fastprop import LossCurveDisplay, kernels

HEADERS = str(Path(kernels.__file__).parent / "cython_backend")
SOURCE = Path(kernels_python.__file__).resolve().with_name("kernels_cython_loop.pyx")  # a notebook has no __file__
# -Wno-psabi silences GCC's notes on vector arguments; the kernels that this module does not use are not worth a warning each.
FLAGS = ["-O3", "-Wno-psabi", "-Wno-unused-function"]


# %%
def build(folder):
    """Compile the module into a folder, which a project would do in its setup.py, and import it."""
    extension = Extension(SOURCE.stem, [str(SOURCE)], include_dirs=[HEADERS], extra_compile_args=FLAGS)
    extensions = cythonize([extension], include_path=[HEADERS], build_dir=folder, quiet=True)
    command = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
    command.build_lib = command.build_temp = folder
    command.ensure_finalized()
    command.run()
    spec = importlib.util.spec_from_file_location(SOURCE.stem, command.get_ext_fullpath(SOURCE.stem))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# %%
x, labels, params = initial_problem()
# An imported module cannot be deleted everywhere: what is left is the system's to clean.
with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as build_folder:
    losses = build(build_folder).train(x, labels.astype(np.intp), *params, N_STEPS, LR)
reached = accuracy(x, labels, params)
print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}, accuracy {reached:.1%}")

# %%
display = LossCurveDisplay(losses, name="from Cython", unit="nats").plot()
display.ax_.set_xlabel("step")
display.figure_.savefig("kernels_cython.png")
