/* What this processor can do at most, as loops for bench/ to time: multiply-adds on registers alone, reading memory, and passing a
 * cache line between two cores. No kernel uses them. The first two are included once for each real type. This file is not named
 * limits.h, because the C library has a header of that name. */

/* Independent chains of multiply-adds: more than latency times throughput on any processor, and few
 * enough to stay in 16 registers beside two constants and, where there is no fused multiply-add, a product. */
#ifndef LIMIT_CHAINS
#define LIMIT_CHAINS 12

/* Two threads take turns to count up, so that the cache line with the number travels twice in a round trip. */
struct ping_pong_call {
    _Alignas(CACHE_LINE) atomic_llong turn;
    long long n_trips;
};

static void ping_pong_thread(void *argument, int thread, int n_threads)
{
    struct ping_pong_call *c = argument;
    for (long long i = 0; n_threads == 2 && i < c->n_trips; i++) {
        const long long mine = 2 * i + thread;
        for (int spins = 0; atomic_load_explicit(&c->turn, memory_order_acquire) != mine; spins++)
            if (spins >= SPINS_BEFORE_YIELD)
                give_way();
        atomic_store_explicit(&c->turn, mine + 1, memory_order_release);
    }
}

/* Returns the number of round trips: 0 without a second thread. */
static long long ping_pong(long long n_trips)
{
    struct ping_pong_call c = {.n_trips = n_trips};
    run_together(ping_pong_thread, &c, 2);
    return atomic_load(&c.turn) / 2;
}
#endif

struct FN(limit_call) {
    const REAL *values;
    ptrdiff_t n, repeats;
    int n_threads;
    REAL result; /* so that no loop can be left out */
};

/* Apart from its caller, so that a test finds the loop by its name in the compiled module. */
__attribute__((noinline)) static REAL FN(multiply_add_chains)(const REAL *factor_and_term, ptrdiff_t repeats)
{
    const VEC factor = FN(broadcast)(factor_and_term[0]), term = FN(broadcast)(factor_and_term[1]);
    VEC chain[LIMIT_CHAINS], sum = {};
    UNROLL for (int i = 0; i < LIMIT_CHAINS; i++)
        chain[i] = term * (REAL)i;
    for (ptrdiff_t k = 0; k < repeats; k++)
        UNROLL for (int i = 0; i < LIMIT_CHAINS; i++)
            chain[i] = chain[i] * factor + term;
    UNROLL for (int i = 0; i < LIMIT_CHAINS; i++)
        sum += chain[i];
    return FN(horizontal_sum)(sum);
}

static void FN(multiply_add_thread)(void *argument, int thread, int n_threads)
{
    struct FN(limit_call) *c = argument;
    const REAL result = FN(multiply_add_chains)(c->values, c->repeats);
    if (thread == n_threads - 1) {
        c->result = result;
        c->n_threads = n_threads;
    }
}

/* The floating-point operations done: a multiply-add is two. */
static double FN(multiply_add)(const void *factor_and_term, ptrdiff_t repeats, int n_threads, double *result)
{
    struct FN(limit_call) c = {.values = factor_and_term, .repeats = repeats};
    run_together(FN(multiply_add_thread), &c, n_threads);
    *result = (double)c.result;
    return 2.0 * LIMIT_CHAINS * (double)LANES * (double)repeats * c.n_threads;
}

__attribute__((noinline)) static REAL FN(sum_chains)(const REAL *values, ptrdiff_t n)
{
    VEC chain[LIMIT_CHAINS] = {}, sum = {};
    for (ptrdiff_t i = 0; i + LIMIT_CHAINS * LANES <= n; i += LIMIT_CHAINS * LANES)
        UNROLL for (int j = 0; j < LIMIT_CHAINS; j++)
            chain[j] += FN(load)(values + i + j * LANES);
    UNROLL for (int j = 0; j < LIMIT_CHAINS; j++)
        sum += chain[j];
    return FN(horizontal_sum)(sum);
}

static void FN(read_thread)(void *argument, int thread, int n_threads)
{
    struct FN(limit_call) *c = argument;
    const struct range mine = share(c->n, LIMIT_CHAINS * LANES, thread, n_threads);
    REAL result = 0;
    for (ptrdiff_t k = 0; k < c->repeats; k++) {
        __asm__ volatile("" ::: "memory"); /* otherwise the compiler reads once and multiplies */
        result += FN(sum_chains)(c->values + mine.begin, mine.end - mine.begin);
    }
    if (thread == n_threads - 1)
        c->result = result;
}

/* Sum up an array `repeats` times, each thread its own part of it; returns the number of bytes read. */
static double FN(read_memory)(const void *values, ptrdiff_t n, ptrdiff_t repeats, int n_threads, double *result)
{
    struct FN(limit_call) c = {.values = values, .n = n, .repeats = repeats};
    run_together(FN(read_thread), &c, n_threads);
    *result = (double)c.result;
    return (double)n * (double)repeats * sizeof(REAL);
}
