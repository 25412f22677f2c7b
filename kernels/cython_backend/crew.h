/* Which threads of a region take part in its steps: all of them, or while the cores are crowded the first alone.
 *
 * Threads that meet at a barrier in every step are as slow as the slowest of them, and the operating system may set one aside for
 * another program for some milliseconds. So every thread measures how much of a WINDOW it waited. Where that is more than half, two
 * threads are slower than one. The first thread then goes on alone, with all parts of the work. The others sleep, and join in again
 * after a pause; the next pause is four times as long if this one was too short. The first thread also begins alone, unless the
 * others are there at once, so that it does not wait for a thread that is still waking up. The result does not depend on this: a
 * part gives the same numbers in any thread. See docs/tuning.md, crowded cores.
 */
#pragma once

#include "threads.h"
#include <limits.h>

struct crew {
    _Alignas(CACHE_LINE) atomic_llong alone_from; /* the step from which the first thread is alone, or NEVER */
    atomic_llong together_from;               /* the last step from which all threads took part, or -1 */
    atomic_int crowded;                       /* a thread waited too long */
    _Alignas(CACHE_LINE) atomic_int ready;    /* threads that want to join in */
    atomic_int over;
    long long dismissed;                      /* when the first thread was done */
    struct barrier barrier;
};

/* Nanoseconds. WINDOW is about a time slice of the scheduler: shorter waits have other causes. */
#define WINDOW 4000000LL
#define SHORTEST_PAUSE 10000000LL
#define LONGEST_PAUSE 400000000LL
/* A pause was too short if the cores are crowded again within this many times its length. */
#define REMEMBERED 2
/* How long a thread sleeps before it looks again. Waking up disturbs the first thread, so naps should not be short: docs/tuning.md,
 * crowded cores. The end of a region waits for a nap, so that it must be shorter than half of WINDOW. */
enum { NAP_NANOSECONDS = 1000000 };
/* At the beginning, threads that are awake come sooner than this; the others come after the first step. */
#define PATIENCE 10000LL
#define NEVER LLONG_MAX

/* The end and the length of the last pause, in nanoseconds: where the cores were crowded, they will be for the next call too. */
static atomic_llong crowded_until, pause_length;
/* For tests: the cores count as crowded once in this many steps, and pauses end at once. */
static atomic_int drill_period;
static void drill_crew(int period) { atomic_store(&drill_period, period); }

/* How many threads a region of steps should have: one while a pause lasts, because the end of a region waits for all its
 * threads. */
static int crew_assemble(struct crew *crew, int n_threads)
{
    *crew = (struct crew){.together_from = -1};
    return n_threads > 1 && nanoseconds() < atomic_load_explicit(&crowded_until, memory_order_relaxed) ? 1 : n_threads;
}

/* How many threads take part in a step, out of the n_threads of the region, which may be fewer than were asked for. */
static int crew_size(struct crew *crew, int n_threads, ptrdiff_t step)
{
    return step < atomic_load_explicit(&crew->alone_from, memory_order_relaxed) ? n_threads : 1;
}

static void begin_pause(long long now)
{
    const long long last = atomic_load_explicit(&pause_length, memory_order_relaxed);
    const int too_short = now < atomic_load_explicit(&crowded_until, memory_order_relaxed) + REMEMBERED * last;
    const long long longer = 4 * last < LONGEST_PAUSE ? 4 * last : LONGEST_PAUSE;
    const long long length = too_short && longer > SHORTEST_PAUSE ? longer : SHORTEST_PAUSE;
    atomic_store_explicit(&pause_length, length, memory_order_relaxed);
    atomic_store_explicit(&crowded_until, now + length, memory_order_relaxed);
}

static void nap(void)
{
    sleep_nanoseconds(NAP_NANOSECONDS);
}

/* Wait until this thread takes part. Returns the step at which it does, `step` or a later one, or -1 when nothing is left to do. */
static ptrdiff_t crew_join(struct crew *crew, int thread, ptrdiff_t step)
{
    if (thread == 0 || step < atomic_load_explicit(&crew->alone_from, memory_order_acquire))
        return step;
    while (nanoseconds() < atomic_load_explicit(&crowded_until, memory_order_relaxed)) {
        if (atomic_load_explicit(&crew->over, memory_order_acquire))
            return -1;
        nap();
    }
    atomic_fetch_add_explicit(&crew->ready, 1, memory_order_acq_rel);
    for (;;) {
        const long long next = atomic_load_explicit(&crew->together_from, memory_order_acquire);
        if (next >= step)
            return (ptrdiff_t)next;
        if (atomic_load_explicit(&crew->over, memory_order_acquire))
            return -1;
        give_way();
    }
}

/* When a thread began to measure, and how long it has waited since. */
struct stopwatch { long long began, waited; };

static void crew_wait(struct crew *crew, int active, struct stopwatch *watch)
{
    if (active == 1)
        return;
    const long long before = nanoseconds();
    barrier_wait(&crew->barrier, active);
    watch->waited += nanoseconds() - before;
}

/* The barrier that every step has. Before it each thread notes whether it waited too much, and the first thread decides whether it
 * goes on alone from the next step on. After it all threads know. */
static void crew_meet(struct crew *crew, int thread, int active, ptrdiff_t step, struct stopwatch *watch)
{
    if (active == 1)
        return;
    const long long now = nanoseconds(), passed = now - watch->began;
    const int period = atomic_load_explicit(&drill_period, memory_order_relaxed);
    if ((passed > WINDOW && 2 * watch->waited > passed) || (period && step % period == 0))
        atomic_store_explicit(&crew->crowded, 1, memory_order_relaxed);
    if (passed > WINDOW)
        *watch = (struct stopwatch){.began = now};
    if (thread == 0 && atomic_load_explicit(&crew->crowded, memory_order_relaxed)) {
        if (!period)
            begin_pause(now);
        atomic_store_explicit(&crew->alone_from, step + 1, memory_order_relaxed);
    }
    barrier_wait(&crew->barrier, active);
    watch->waited += nanoseconds() - now;
}

/* To call before a step, when the first thread is alone: from this step on all threads take part, if all are there. */
static void crew_unite(struct crew *crew, int n_threads, ptrdiff_t step, struct stopwatch *watch)
{
    if (n_threads == 1 || atomic_load_explicit(&crew->ready, memory_order_acquire) < n_threads - 1)
        return;
    *watch = (struct stopwatch){.began = nanoseconds()};
    atomic_store_explicit(&crew->ready, 0, memory_order_relaxed);
    atomic_store_explicit(&crew->crowded, 0, memory_order_relaxed);
    atomic_store_explicit(&crew->alone_from, NEVER, memory_order_relaxed);
    atomic_store_explicit(&crew->together_from, step, memory_order_release);
}

/* The first thread calls this before the first step. */
static void crew_begin(struct crew *crew, int n_threads, ptrdiff_t step, struct stopwatch *watch)
{
    const long long began = nanoseconds();
    while (atomic_load_explicit(&crew->ready, memory_order_relaxed) < n_threads - 1 && nanoseconds() - began < PATIENCE)
        relax();
    crew_unite(crew, n_threads, step, watch);
}

/* The first thread calls this after the last step. */
static void crew_dismiss(struct crew *crew)
{
    crew->dismissed = nanoseconds();
    atomic_store_explicit(&crew->over, 1, memory_order_release);
}

/* To call after the region: the first thread may have waited for its end, too. */
static void crew_disband(const struct crew *crew, int n_threads)
{
    const long long now = nanoseconds();
    if (n_threads > 1 && now - crew->dismissed > WINDOW / 2)
        begin_pause(now);
}
