/* Fork-join over OpenMP, and a barrier for the threads of one region.
 *
 * A region is entered with a function and its argument, so that the numeric code holds no pragma. One thread never touches
 * OpenMP. In a forked child libgomp's pool is gone but believed to be there, and a region would wait for it for ever
 * (gcc bug 52303): after a fork everything runs on one thread.
 */
#pragma once

#include "platform.h"
#include <sched.h>
#include <stdatomic.h>
#if defined(_OPENMP) && !defined(_WIN32)
#include <pthread.h>
#endif

typedef void (*region_fn)(void *argument, int thread, int n_threads);

static int forked_child = 0;

#if defined(_OPENMP) && !defined(_WIN32)
static void note_fork(void) { forked_child = 1; }
static void threads_init(void) { pthread_atfork(NULL, NULL, note_fork); }
#else
static void threads_init(void) {}
#endif

static int has_openmp(void)
{
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

/* How many threads a region of this many will really have. */
static int usable_threads(int n_threads)
{
    return has_openmp() && !forked_child ? n_threads : 1;
}

static void run_region(region_fn function, void *argument, int n_threads)
{
    if (usable_threads(n_threads) == 1) {
        function(argument, 0, 1);
        return;
    }
#ifdef _OPENMP
#pragma omp parallel num_threads(n_threads)
    function(argument, omp_get_thread_num(), omp_get_num_threads());
#endif
}

/* Spins, because the wait is usually shorter than a system call (libgomp's own barrier takes four times as long), and gives
 * the processor away when it is not. */
enum { SPINS_BEFORE_YIELD = 4096 };

struct barrier {
    _Alignas(CACHE_LINE) atomic_int arrived;
    _Alignas(CACHE_LINE) atomic_int generation;
};

static void barrier_wait(struct barrier *barrier, int n_threads)
{
    if (n_threads == 1)
        return;
    int generation = atomic_load_explicit(&barrier->generation, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&barrier->arrived, 1, memory_order_acq_rel) == n_threads - 1) {
        atomic_store_explicit(&barrier->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&barrier->generation, generation + 1, memory_order_release);
        return;
    }
    for (int spins = 0; atomic_load_explicit(&barrier->generation, memory_order_acquire) == generation; spins++) {
        if (spins < SPINS_BEFORE_YIELD)
            relax();
        else
            sched_yield();
    }
}
