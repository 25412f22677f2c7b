/* Which schedule a training call follows. All give the same bits.
 *
 * The work of a step is cut into as many parts as there are threads; every thread makes its part of the gradient (batch.h). Then
 *
 *   shared      after a barrier each thread adds up all parts' gradients for its share of the parameters and updates it, and
 *               after a second barrier all read the parameters. Parameters are streamed past the caches (optimizer.h).
 *   replicated  each thread has its own copy of the parameters and of the optimizer's state. It streams its part of the gradient
 *               to where the others read it, and after the only barrier adds up all parts' and updates all of its copy. Where it
 *               streams to changes from step to step. No other thread reads there any more: all met at the barrier in between.
 *
 * Which thread does a part may change while the cores are crowded (crew.h). Replicating saves a barrier and the transfer of the
 * updated parameters between the cores, but every thread updates all parameters. So it is for small networks, and for calls of
 * several steps, because the copies have to be made first: docs/tuning.md, the schedule of a training call. How many threads there
 * are is decided in fastprop/threads.py.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>

/* A call is replicated if a thread reads at most REPLICATED_BYTES of other parts' gradients in a step, and there are at least
 * STEPS_TO_REPLICATE steps. */
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
