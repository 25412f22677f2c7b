/* Waiting for another thread: one turn, a barrier. */
#pragma once

#include "system.h"
#include <stdatomic.h>

/* Waiting spins, because it is usually shorter than a system call, and gives the processor away when it takes longer. */
enum { SPINS_BEFORE_YIELD = 4096 };

/* One turn of a loop that waits for another thread. */
static void wait_a_turn(int turn)
{
    if (turn < SPINS_BEFORE_YIELD)
        relax();
    else
        give_way();
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
