# cython: language_level=3, boundscheck=False, wraparound=False
include "core.pxi"

ISA = "avx512bf16"
