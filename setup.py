"""The compiled back end: one source, built once for each instruction set. Everything else is in pyproject.toml and setup.cfg.

A module that cannot be built is left out with a warning, and fastprop runs on the next best back end. Environment variables:

FASTPROP_BUILD_ISAS
    The instruction sets to build beside baseline, which the others need, such as "avx2,avx512"; by default all that the processor's
    family has.
FASTPROP_BUILD_FLAGS
    Flags for compiler and linker, after all others: for sanitizers. With them a module that cannot be built is an error.

The compiler is gcc or clang; CC names another. On Windows it is clang-cl of Visual Studio or LLVM: the engine needs vector
extensions, which MSVC's cl does not have.
"""

import os
import platform
import shutil
import sys
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext as setuptools_build_ext

SOURCES = Path("kernels/cython_backend")

# -fno-math-errno and -fno-trapping-math let the compiler vectorise square roots and comparisons. -ffast-math is wrong here: NaN
# must be handled, and at link time it makes the whole process flush subnormal numbers.
COMMON = ["-O3", "-g0", "-pthread", "-fno-math-errno", "-fno-trapping-math", "-Wno-unused-function", "-Wno-psabi"]
IS_X86_64 = platform.machine().lower() in {"x86_64", "amd64"} and sys.maxsize > 2**32
# On x86-64 baseline is for processors of before 2013. With -O1 it is nearly as fast and takes much less time to compile.
ISA_FLAGS = {
    "baseline": ["-O1"] if IS_X86_64 else [],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx2", "-mfma", "-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mprefer-vector-width=512"],
}
ISA_FLAGS["avx512bf16"] = [*ISA_FLAGS["avx512"], "-mavx512bf16"]
if sys.platform == "win32":  # clang-cl takes -m flags as they are, and clang's own others behind /clang:
    COMMON = ["/O2", "/std:c11", "/clang:-fno-math-errno", "/clang:-fno-trapping-math", "-Wno-unused-function", "-Wno-psabi"]
    ISA_FLAGS["baseline"] = []
# The real types of a module beside float32 and float64, or instead of them: see dispatch.py.
MACROS = {
    "baseline": {"HAS_BFLOAT16": "1"},
    "avx2": {"HAS_BFLOAT16": "1"},
    "avx512bf16": {"HAS_BFLOAT16": "1", "HAS_FLOATS": "0"},
}
FLAGS = os.environ.get("FASTPROP_BUILD_FLAGS", "").split()


def extension(isa):
    return Extension(
        f"fastprop.kernels.cython_backend._{isa}",
        [str(SOURCES / f"_{isa}.pyx")],
        depends=[str(path) for pattern in ("*.h", "*.pxi") for path in SOURCES.glob(pattern)],
        include_dirs=[numpy.get_include(), str(SOURCES)],
        extra_compile_args=COMMON + ISA_FLAGS[isa] + FLAGS,
        extra_link_args=[*([] if sys.platform == "win32" else ["-pthread"]), *FLAGS],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION"), *MACROS.get(isa, {}).items()],
    )


class build_ext(setuptools_build_ext):  # named so because setuptools reads [build_ext] options by the class's name
    """Compiles the modules side by side, and leaves out what cannot be compiled."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extensions(self):
        for ext in self.extensions:
            ext.optional = not FLAGS  # set here, because cythonize() makes new Extension objects and forgets it
        if self.compiler.compiler_type == "msvc":
            self.compiler.initialize()  # finds cl, headers and libraries
            self.compiler.cc = shutil.which("clang-cl") or "clang-cl"
        super().build_extensions()


isas = list(ISA_FLAGS) if IS_X86_64 else ["baseline"]
if wanted := os.environ.get("FASTPROP_BUILD_ISAS"):
    if unknown := set(wanted.split(",")) - set(isas):
        raise SystemExit(
            f"FASTPROP_BUILD_ISAS must name some of {isas}, separated by commas; got {wanted!r}, with {sorted(unknown)}"
        )
    isas = list(dict.fromkeys(["baseline", *wanted.split(",")]))

setup(
    ext_modules=cythonize(
        [extension(isa) for isa in isas],
        nthreads=len(isas) if len(isas) > 1 and hasattr(os, "fork") else 0,  # without fork each would run this file again
        compiler_directives={"language_level": "3", "embedsignature": False, "freethreading_compatible": True},
    ),
    cmdclass={"build_ext": build_ext},
)
