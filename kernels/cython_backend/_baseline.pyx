# cython: language_level=3, boundscheck=False, wraparound=False
include "core.pxi"
include "probes.pxi"

ISA = "baseline"

cdef extern from "cpu.h":
    int supports_avx2() noexcept nogil
    int supports_avx512() noexcept nogil
    int supports_avx512bf16() noexcept nogil


def supported_isas():
    """The instruction sets that this processor and operating system can run, best first."""
    isas = ("avx512bf16", supports_avx512bf16()), ("avx512", supports_avx512()), ("avx2", supports_avx2()), ("baseline", 1)
    return tuple(isa for isa, runs in isas if runs)
