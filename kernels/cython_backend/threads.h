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

/* Spins, because the wait is usually shorter than a system call (libgomp's own barrier takes four times as long), and gives
 * the processor away when it is not. */
enum { SPINS_BEFORE_YIELD = 4096 };

/* One more turn of a loop that waits for another thread. */
static void wait_a_turn(int turn)
{
    if (turn < SPINS_BEFORE_YIELD)
        relax();
    else
        sched_yield();
}

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
    for (int turn = 0; atomic_load_explicit(&barrier->generation, memory_order_acquire) == generation; turn++)
        wait_a_turn(turn);
}

/* The end of a region: the first thread waits for the others here, and not in libgomp, which spins for milliseconds without giving
 * the processor away. A kernel that saves processors may put a thread that it wakes on that of the thread that wakes it: after a
 * pause 100 rows of 784-128-10 then took 7.6 ms without this and 3.8 ms with it, a time slice for which libgomp spins after the
 * region, where it is 0.2 ms on two processors. */
static void join(atomic_int *finished, int thread, int n_threads)
{
    if (thread > 0) {
        atomic_fetch_add_explicit(finished, 1, memory_order_release);
        return;
    }
    for (int turn = 0; atomic_load_explicit(finished, memory_order_acquire) < n_threads - 1; turn++)
        wait_a_turn(turn);
}

static void run_region(region_fn function, void *argument, int n_threads)
{
    if (usable_threads(n_threads) == 1) {
        function(argument, 0, 1);
        return;
    }
#ifdef _OPENMP
    atomic_int finished = 0;
#pragma omp parallel num_threads(n_threads)
    {
        function(argument, omp_get_thread_num(), omp_get_num_threads());
        join(&finished, omp_get_thread_num(), omp_get_num_threads());
    }
#endif
}
