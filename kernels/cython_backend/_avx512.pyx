# cython: language_level=3, boundscheck=False, wraparound=False
include "core.pxi"
include "probes.pxi"

ISA = "avx512"
