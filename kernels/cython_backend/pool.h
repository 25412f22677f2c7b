/* Regions: a function that is called once for each thread, so that the numeric code holds no threads. The threads beside the
 * caller's are started when they are first needed. Between two regions they spin for a while, then sleep. Two callers at the same
 * time have different threads.
 *
 *   run_together    the calls run at the same time, and may wait for each other
 *   run_parts       they must not wait for a call that has not begun (crew.h). When the caller is done with its own part, it also
 *                   does the parts that no thread has begun. So it never waits for a thread that is still waking up, or has no
 *                   processor
 *
 * They are our own, and not OpenMP's, because of where a sleeper wakes up. On a virtual machine Linux takes a processor that was
 * halted for one that is away (vcpu_is_preempted). It puts the woken thread on the caller's processor, where the thread waits until
 * the next tick of the clock: docs/tuning.md, waking threads. So a sleeper is kept off the caller's processor until it runs. These
 * threads also give the processor away while they wait, work again after a fork, and need no compiler that has OpenMP.
 */
#pragma once

#include "threads.h"
#include <limits.h>

typedef void (*region_fn)(void *argument, int thread, int n_threads);

struct region {
    region_fn function;
    void *argument;
    int n_threads;
    float_mode mode;     /* the caller's: results do not depend on which thread does a part */
    atomic_int n_others; /* threads beside the caller's that are not done */
};

/* A worker that is CALLED may still be called off. WORKING lasts until the function returns. */
enum worker_state { AWAKE, ASLEEP, CALLED, WORKING };

struct worker {
    _Alignas(CACHE_LINE) atomic_int state;
    int thread;               /* its number in the region */
    struct region *region;
    struct worker *next;      /* in the list of waiting workers, or of a region's */
    thread_handle handle;
    lock mutex;               /* to wake it */
    condition called;
#ifdef __linux__
    cpu_set_t processors;     /* that it may use, */
    cpu_set_t elsewhere;      /* and those until it runs */
    int displaced;
#endif
};

/* A worker spins this long for the next call: as long as Python may take between two calls of a loop. */
#define AWAKE_NANOSECONDS 2000000LL
enum { TURNS_BETWEEN_LOOKS = 64 };

static lock pool_mutex = LOCK_INITIALIZER;
static struct worker *waiting_workers; /* the one that worked last comes first */
static int n_workers;
/* For tests: the most workers that can be started, as if the system had no more. */
static atomic_int most_workers = INT_MAX;
static void limit_workers(int n) { atomic_store(&most_workers, n); }

/* Keep a worker off the caller's processor until it runs. Where that cannot be done, only time is lost. */
static void keep_off_this_processor(struct worker *worker)
{
#ifdef __linux__
    const int here = sched_getcpu();
    const size_t size = sizeof worker->processors;
    if (here < 0 || pthread_getaffinity_np(worker->handle, size, &worker->processors) || !CPU_ISSET(here, &worker->processors))
        return;
    worker->elsewhere = worker->processors;
    CPU_CLR(here, &worker->elsewhere);
    worker->displaced = CPU_COUNT(&worker->elsewhere) > 0 && !pthread_setaffinity_np(worker->handle, size, &worker->elsewhere);
#else
    (void)worker;
#endif
}

/* Let a worker run on all its processors again, unless somebody has set other ones since. */
static void may_run_anywhere(struct worker *worker)
{
#ifdef __linux__
    cpu_set_t now;
    if (worker->displaced && !pthread_getaffinity_np(worker->handle, sizeof now, &now) && CPU_EQUAL(&now, &worker->elsewhere))
        pthread_setaffinity_np(worker->handle, sizeof worker->processors, &worker->processors);
    worker->displaced = 0;
#else
    (void)worker;
#endif
}

static void call_worker(struct worker *worker, struct region *region, int thread)
{
    worker->region = region;
    worker->thread = thread;
    int state = AWAKE;
    if (atomic_compare_exchange_strong(&worker->state, &state, CALLED))
        return;
    keep_off_this_processor(worker);
    take_lock(&worker->mutex);
    atomic_store(&worker->state, CALLED);
    release_lock(&worker->mutex);
    wake(&worker->called);
}

/* Change a called worker's state, unless another thread was first. Who succeeds does the worker's part. */
static int claim(struct worker *worker, enum worker_state next)
{
    int state = CALLED;
    return atomic_compare_exchange_strong(&worker->state, &state, next);
}

/* Wait until the worker is called, or called off again. */
static void await_call(struct worker *worker)
{
    const long long began = nanoseconds();
    for (int turn = 0; atomic_load_explicit(&worker->state, memory_order_acquire) == AWAKE; turn++) {
        may_run_anywhere(worker); /* a new one, called off before it ran for the first time */
        wait_a_turn(turn);
        int state = AWAKE;
        if (turn % TURNS_BETWEEN_LOOKS == 0 && nanoseconds() - began > AWAKE_NANOSECONDS)
            atomic_compare_exchange_strong(&worker->state, &state, ASLEEP);
    }
    if (atomic_load_explicit(&worker->state, memory_order_acquire) == ASLEEP) {
        take_lock(&worker->mutex);
        while (atomic_load(&worker->state) == ASLEEP)
            wait_for(&worker->called, &worker->mutex);
        release_lock(&worker->mutex);
    }
    may_run_anywhere(worker); /* also where it was woken on its way to sleep */
}

static thread_result THREAD_CALL work(void *argument)
{
    struct worker *worker = argument;
    for (;;) {
        await_call(worker);
        if (!claim(worker, WORKING))
            continue;
        struct region *region = worker->region;
        set_float_mode(region->mode);
        region->function(region->argument, worker->thread, region->n_threads);
        atomic_store_explicit(&worker->state, AWAKE, memory_order_relaxed);
        atomic_fetch_sub_explicit(&region->n_others, 1, memory_order_release); /* from here on the region may be gone */
    }
    return 0;
}

/* A new worker, asleep, or NULL where the system has no more threads. */
static struct worker *start_worker(void)
{
    const size_t size = (size_t)round_up(sizeof(struct worker), CACHE_LINE);
    struct worker *worker = n_workers < atomic_load(&most_workers) ? aligned_memory(CACHE_LINE, size) : NULL;
    if (!worker)
        return NULL;
    memset(worker, 0, size);
    atomic_init(&worker->state, ASLEEP);
    init_lock(&worker->mutex);
    init_condition(&worker->called);
    if (!start_detached(&worker->handle, work, worker)) {
        free_aligned(worker);
        return NULL;
    }
    n_workers++;
    return worker;
}

/* As many workers as are wanted, or fewer where there are no more: a list, and its length. */
static struct worker *take_workers(int n_wanted, int *n_taken)
{
    struct worker *taken = NULL;
    take_lock(&pool_mutex);
    for (*n_taken = 0; *n_taken < n_wanted; ++*n_taken) {
        struct worker *worker = waiting_workers;
        if (worker)
            waiting_workers = worker->next;
        else if (!(worker = start_worker()))
            break;
        worker->next = taken;
        taken = worker;
    }
    release_lock(&pool_mutex);
    return taken;
}

static void give_workers_back(struct worker *workers)
{
    take_lock(&pool_mutex);
    while (workers) {
        struct worker *next = workers->next;
        workers->next = waiting_workers;
        waiting_workers = workers;
        workers = next;
    }
    release_lock(&pool_mutex);
}

static void run_region(region_fn function, void *argument, int n_threads, int together)
{
    int n_others = 0, thread = 1;
    struct worker *others = n_threads > 1 ? take_workers(n_threads - 1, &n_others) : NULL;
    if (!others) {
        function(argument, 0, 1);
        return;
    }
    struct region region = {.function = function, .argument = argument, .n_threads = 1 + n_others, .mode = get_float_mode(),
                            .n_others = n_others};
    for (struct worker *worker = others; worker; worker = worker->next)
        call_worker(worker, &region, thread++);
    function(argument, 0, region.n_threads);
    for (struct worker *worker = others; worker && !together; worker = worker->next)
        if (claim(worker, AWAKE)) {
            function(argument, worker->thread, region.n_threads);
            region.n_others--;
        }
    for (int turn = 0; atomic_load_explicit(&region.n_others, memory_order_acquire) > 0; turn++)
        wait_a_turn(turn);
    give_workers_back(others);
}

/* Run a region with n_threads threads, or fewer where the system has no more. */
static void run_together(region_fn function, void *argument, int n_threads) { run_region(function, argument, n_threads, 1); }
static void run_parts(region_fn function, void *argument, int n_threads) { run_region(function, argument, n_threads, 0); }

/* A forked child has none of its parent's threads, and starts its own. The memory of the parent's workers is not used again. */
static void lock_pool(void) { take_lock(&pool_mutex); }
static void unlock_pool(void) { release_lock(&pool_mutex); }
static void forget_workers(void)
{
    waiting_workers = NULL;
    n_workers = 0;
    unlock_pool();
}

/* To call once, when the module is imported. */
static void threads_init(void) { at_fork(lock_pool, unlock_pool, forget_workers); }
