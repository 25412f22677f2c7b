# What tests and bench/ need of a compiled module beside its kernels. Not public. Included after core.pxi.

# For tests/kernels/test_crew.py and test_processes.py

cdef extern from "engine.h":
    void drill_crew(int) noexcept nogil
    void force_schedule(int) noexcept nogil
    void limit_workers(int) noexcept nogil
    enum schedule: AS_MEASURED, SHARED, REPLICATED


def drill(int period):
    """The cores count as crowded once in ``period`` steps of training, until 0 is given."""
    drill_crew(period)


def follow(schedule):
    """Every training call follows this schedule, "shared" or "replicated", until None is given. A sparse x is shared."""
    force_schedule(AS_MEASURED if schedule is None else {"shared": SHARED, "replicated": REPLICATED}[schedule])


def allow_workers(int n):
    """No more than n threads are started beside the callers' own, as if the system had no more."""
    limit_workers(n)


# The processor's limits, for bench/ to time

cdef extern from "engine.h":
    double multiply_add_f32(const void *, ptrdiff_t, int, double *) noexcept nogil
    double multiply_add_f64(const void *, ptrdiff_t, int, double *) noexcept nogil
    double read_memory_f32(const void *, ptrdiff_t, ptrdiff_t, int, double *) noexcept nogil
    double read_memory_f64(const void *, ptrdiff_t, ptrdiff_t, int, double *) noexcept nogil
    long long ping_pong(long long) noexcept nogil


def measure_peak(cnp.ndarray factor_and_term, Py_ssize_t repeats, int n_threads):
    """Multiply-adds on registers in the dtype of an array of two numbers: (operations done, a number made by them)."""
    cdef bint single = kernels_for(factor_and_term) == FLOAT_KERNELS
    cdef const void *values = cnp.PyArray_DATA(factor_and_term)
    cdef double done, result = 0
    with nogil:
        done = (multiply_add_f32 if single else multiply_add_f64)(values, repeats, n_threads, &result)
    return done, result


def measure_bandwidth(cnp.ndarray values, Py_ssize_t repeats, int n_threads):
    """Read an array ``repeats`` times: (bytes read, repeats times the sum of the last thread's part)."""
    cdef bint single = kernels_for(values) == FLOAT_KERNELS
    cdef const void *start = cnp.PyArray_DATA(values)
    cdef ptrdiff_t n = cnp.PyArray_SIZE(values)
    cdef double done, result = 0
    with nogil:
        done = (read_memory_f32 if single else read_memory_f64)(start, n, repeats, n_threads, &result)
    return done, result


def measure_ping_pong(long long n_trips):
    """Pass a cache line between two threads and back ``n_trips`` times: the round trips done, 0 without a second thread."""
    cdef long long done
    with nogil:
        done = ping_pong(n_trips)
    return done
