/* Which schedule a training call follows. All give the same bits.
 *
 * The work of a step is cut into as many parts as there are threads; every thread makes its part of the gradient (batch.h). Then
 *
 *   shared      after a barrier each thread adds up all parts' gradients for its share of the parameters and updates it, and
 *               after a second barrier all read the parameters. Parameters are streamed past the caches (optimizer.h).
 *   replicated  each thread has its own copy of the parameters and of the optimizer's state. It streams its part of the gradient
 *               to where the others read it, and after the only barrier adds up all parts' and updates all of its copy. Where it
 *               streams to changes from step to step: nobody reads there any more, as everybody has been at the barrier in between.
 *
 * Who does a part may change while the cores are crowded (crew.h). What they cost beside the products was measured on two cores of
 * an EPYC of which the host changes the distance (a cache line's way there and back takes 110 ns or 350 ns). Of 50-128-64-5 in
 * float32, shared, in thousands of cycles a step of 200 rows; one thread takes 635 for the gradient and 18 for the update:
 *   barriers                              2 to 4 each, and the wait for the slower thread: 10 to 40
 *   update, parameters stored as usual    59 near, 175 to 197 far, for each thread's half: all wait for lines of the other's
 *   update, parameters streamed           21 to 28, near or far
 * Epochs with two threads, shared in units of replicated, near and far:
 *   20-100-1     float32 (9 KB)  1.05 to 1.10 and 1.13 to 1.32     float64 (18 KB)  1.0 to 1.07 and 1.08 to 1.14
 *   64-100-10    float32 (30 KB) 0.99 to 1.01 and 1.02 to 1.11     float64 (60 KB)  0.97 to 1.0 and 1.09
 *   50-128-64-5  float32 (60 KB) 0.95 to 1.0  and 1.06 to 1.11     float64 (121 KB) 0.95 to 0.97 and 1.06
 * (With gradients that are not streamed, replicated: 1.0 to 1.06 near, 0.95 to 1.22 far. Streaming them in the shared schedule,
 * too, gained 10 % for 64-100-10 far, and lost 1 to 6 % elsewhere. Replicating up to 128 KB where barriers at the beginning of a
 * call say that the threads are far gained 1 to 6 % there, and lost 1 to 3 % near.) A call of a single step loses a tenth by making
 * the copies. Up to how many threads are worth while, decides fastprop/threads.py.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>

/* Up to so many bytes of other parts' gradients that a thread reads in a step, and from so many steps on, a call is replicated. */
enum { REPLICATED_BYTES = 32 * 1024, STEPS_TO_REPLICATE = 8 };

enum schedule { AS_MEASURED, SHARED, REPLICATED };

/* For tests: what every call follows. */
static atomic_int forced_schedule;
static void force_schedule(int schedule) { atomic_store(&forced_schedule, schedule); }

static int replicates(size_t gradient_bytes, int n_parts, ptrdiff_t n_steps)
{
    const int forced = atomic_load_explicit(&forced_schedule, memory_order_relaxed);
    if (n_parts == 1 || forced == SHARED)
        return 0;
    return forced == REPLICATED || (n_steps >= STEPS_TO_REPLICATE && (size_t)(n_parts - 1) * gradient_bytes <= REPLICATED_BYTES);
}
