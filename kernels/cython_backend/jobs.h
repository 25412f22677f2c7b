/* Several independent trainings at a time, each on one thread: small networks cannot use more. */
#pragma once

#include "spec.h"
#include "pool.h"

struct queue {
    const struct kernels *const *kernels; /* [n]: of each job's real type */
    const struct job *jobs;               /* [n]; no two write to the same memory */
    int *statuses;                        /* [n]: what train_epochs returned */
    ptrdiff_t n;
    _Atomic ptrdiff_t next;
};

static void train_jobs_thread(void *argument, int thread, int n_threads)
{
    struct queue *queue = argument;
    (void)thread, (void)n_threads;
    for (ptrdiff_t i; (i = atomic_fetch_add(&queue->next, 1)) < queue->n;)
        queue->statuses[i] = queue->kernels[i]->train_epochs(&queue->jobs[i], 1);
}

static void train_jobs(const struct kernels *const *kernels, const struct job *jobs, ptrdiff_t n, int *statuses, int n_threads)
{
    struct queue queue = {kernels, jobs, statuses, n, 0};
    run_parts(train_jobs_thread, &queue, (int)min_size(n_threads, n));
}
