/* What engine.c does with networks of one real type: see drive.h, which comes before. */

/* A network; dense, sparse and encoded rows for it; and rows to validate with. */
struct FN(problem) {
    struct layer *layers;
    ptrdiff_t n_layers, n_params, n_buffers, *orders, *labels;
    int32_t *indptr, *indices;
    STORED *x;
    REAL *values, *encoded, *weight, *params, *buffers;
    double *rates;
};

static struct FN(problem) FN(make_problem)(int which)
{
    const struct program program = make_program(which);
    struct FN(problem) p = {.n_layers = program.n, .n_params = n_parameters(program.rows, program.n),
                            .n_buffers = n_statistics(program.rows, program.n)};
    if (wrong_row(program.rows, program.n, 1) >= 0)
        abort();
    p.layers = copied(program.rows, (size_t)program.n * sizeof(struct layer));
    p.x = FN(random_values)(ROWS * FEATURES);
    p.params = FN(random_array)(p.n_params);
    p.buffers = FN(array)(p.n_buffers);
    p.weight = FN(array)(ROWS);
    p.labels = checked(calloc(ROWS, sizeof *p.labels));
    p.orders = checked(calloc(EPOCHS * ROWS, sizeof *p.orders));
    p.rates = checked(calloc(STEPS, sizeof *p.rates));
    p.indptr = checked(calloc(ROWS + 1, sizeof *p.indptr));
    p.values = FN(array)(ROWS * FEATURES / 3);
    p.indices = checked(calloc(ROWS * FEATURES / 3, sizeof *p.indices));
    p.encoded = FN(array)(ROWS * N_COLUMNS);
    if (wrong_column(COLUMNS, N_COLUMNS, FEATURES) >= 0)
        abort();
    int32_t n = 0;
    for (int i = 0; i < ROWS; i++) {
        for (int j = 0; j < FEATURES; j++)
            if ((i + j) % 3 == 0)
                p.values[n] = FN(get_one)(&p.x[i * FEATURES + j]), p.indices[n++] = j;
        p.indptr[i + 1] = n;
        for (int c = 0; c < N_COLUMNS; c++) /* some beyond the bins, and categories that are none */
            p.encoded[i * N_COLUMNS + c] = COLUMNS[c].kind == ENCODING_PLAIN ? FN(get_one)(&p.x[i * FEATURES + c])
                                           : COLUMNS[c].kind == ENCODING_ONE_HOT ? (REAL)(i % (COLUMNS[c].n + 2) - 1)
                                           : (REAL)(i * 13 % (8 * COLUMNS[c].n + 16) - 8) / 8;
        p.labels[i] = i % CLASSES;
        p.weight[i] = (REAL)(i % 4) / 2; /* of some rows 0 */
    }
    for (int i = 0; i < p.n_params; i++)
        p.params[i] *= (REAL)0.5;
    for (int i = 0; i < p.n_buffers; i++)
        p.buffers[i] = 1;
    for (int i = 0; i < EPOCHS * ROWS; i++)
        p.orders[i] = (i / ROWS + i * 29) % ROWS; /* 29 and ROWS have no common divisor */
    for (int i = 0; i < STEPS; i++)
        p.rates[i] = 1 - (double)i / (2 * STEPS);
    return p;
}

static void FN(forget_problem)(struct FN(problem) *p)
{
    free(p->layers), free(p->x), free(p->params), free(p->buffers), free(p->weight), free(p->labels), free(p->orders);
    free(p->rates), free(p->indptr), free(p->values), free(p->indices), free(p->encoded);
}

/* The first n rows. */
static struct rows FN(first_rows)(const struct FN(problem) *p, enum form form, ptrdiff_t n, int weighted)
{
    struct rows rows = {.x = p->x, .n = n, .labels = p->labels, .sample_weight = weighted ? p->weight : NULL};
    rows.real = form == DENSE_REAL;
    if (form == SPARSE)
        rows.x = p->values, rows.indices = p->indices, rows.indptr = p->indptr;
    if (form == ENCODED)
        rows.x = p->encoded, rows.columns = COLUMNS, rows.n_columns = N_COLUMNS;
    return rows;
}

/* A training call: what it reads and, with memory of its own, what it writes. */
struct FN(task) {
    struct job job;
    const struct FN(problem) *p;
    ptrdiff_t step;
    size_t state_bytes;
};

static void FN(set_task)(struct FN(task) *t, const struct FN(problem) *p, enum form form, int optimizer, int with_options)
{
    *t = (struct FN(task)){.p = p, .step = with_options ? STEPS_BEFORE : 0,
                           .state_bytes = (size_t)(p->n_params * OPTIMIZER_SLOTS[optimizer]) * sizeof(REAL)};
    struct job *job = &t->job;
    *job = (struct job){.data = FN(first_rows)(p, form, ROWS, with_options), .orders = p->orders, .n_epochs = EPOCHS,
                        .n_visits = ROWS, .layers = p->layers, .n_layers = p->n_layers, .loss = SOFTMAX_CROSS_ENTROPY,
                        .gradient_scale = 1, .value_scale = 1, .alpha = 0.01, .optimizer = optimizer, .hyper = HYPER[optimizer],
                        .step = &t->step, .batch_size = BATCH};
    job->params = copied(p->params, (size_t)p->n_params * sizeof(REAL));
    job->buffers = copied(p->buffers, (size_t)p->n_buffers * sizeof(REAL));
    job->state = checked(calloc(1, t->state_bytes));
    job->losses = checked(calloc(EPOCHS, sizeof(double)));
    if (optimizer % 2) /* some have an average, with validation and without */
        job->ema_decay = 0.9, job->average = copied(p->params, (size_t)p->n_params * sizeof(REAL));
    if (!with_options)
        return;
    job->gradient_scale = 0.5, job->value_scale = 2, job->smoothing = 0.1, job->clip = 1e-3;
    job->rates = p->rates, job->exempt = 1, job->clip_norm = 0.3;
    job->validation = FN(first_rows)(p, form, HELD_OUT, 1);
    job->validation_losses = checked(calloc(EPOCHS, sizeof(double)));
    job->best = checked(calloc(2, sizeof(double)));
    job->best[0] = (double)INFINITY;
    job->best_params = FN(array)(p->n_params);
    job->best_buffers = FN(array)(p->n_buffers);
}

static void FN(forget_task)(struct FN(task) *t)
{
    free(t->job.params), free(t->job.buffers), free(t->job.state), free(t->job.losses), free(t->job.validation_losses);
    free(t->job.average), free(t->job.best), free(t->job.best_params), free(t->job.best_buffers);
}

/* Whether two calls have written the same. */
static int FN(is_same)(const struct FN(task) *a, const struct FN(task) *b)
{
    const struct job *one = &a->job, *other = &b->job;
    const size_t params = (size_t)a->p->n_params * sizeof(REAL), buffers = (size_t)a->p->n_buffers * sizeof(REAL);
    const size_t losses = EPOCHS * sizeof(double);
    return a->step == b->step && !memcmp(one->params, other->params, params) && !memcmp(one->buffers, other->buffers, buffers)
           && !memcmp(one->state, other->state, a->state_bytes) && !memcmp(one->losses, other->losses, losses)
           && (!one->average || !memcmp(one->average, other->average, params))
           && (!one->best
               || (!memcmp(one->validation_losses, other->validation_losses, losses)
                   && !memcmp(one->best, other->best, 2 * sizeof(double)) && !memcmp(one->best_params, other->best_params, params)
                   && !memcmp(one->best_buffers, other->best_buffers, buffers)));
}

static void FN(train)(struct FN(task) *t, int n_threads)
{
    if (FN(KERNELS).train_epochs(&t->job, n_threads))
        fault("no memory", "train_epochs");
}

/* Every schedule, with threads that leave and join in: the number of threads decides the bits, and nothing else does. */
static void FN(drive_training)(const struct FN(problem) *p, enum form form, int optimizer, int with_options, int n_threads)
{
    static const int schedules[][2] = {{SHARED, 0}, {REPLICATED, 0}, {SHARED, 3}, {REPLICATED, 2}, {AS_MEASURED, 0}};
    struct FN(task) first, again;
    FN(set_task)(&first, p, form, optimizer, with_options);
    FN(train)(&first, n_threads);
    const double *losses = first.job.losses;
    if (!(losses[EPOCHS - 1] < losses[0]) || first.step != STEPS + (with_options ? STEPS_BEFORE : 0))
        fault("the loss does not fall, or steps are missing", "train_epochs");
    FN(numbers)("trained", first.job.params, p->n_params);
    if (first.job.average)
        FN(numbers)("average", first.job.average, p->n_params);
    if (p->n_buffers)
        FN(numbers)("statistics", first.job.buffers, p->n_buffers);
    FN(number)("last_loss", losses[EPOCHS - 1], 10 * TOLERANCE);
    if (with_options)
        FN(number)("best_loss", first.job.best[0], 10 * TOLERANCE);
    for (size_t i = 0; i < sizeof schedules / sizeof *schedules; i++) {
        force_schedule(schedules[i][0]);
        drill_crew(schedules[i][1]);
        FN(set_task)(&again, p, form, optimizer, with_options);
        FN(train)(&again, n_threads);
        if (!FN(is_same)(&again, &first))
            fault("not the same bits", "trained by another schedule");
        FN(forget_task)(&again);
    }
    force_schedule(AS_MEASURED);
    drill_crew(0);
    FN(forget_task)(&first);
}

/* One epoch, each step in halves, with n_shares of its batch; where there are several, the first is empty. */
static void FN(train_in_halves)(struct FN(task) *t, ptrdiff_t n_shares, int n_threads)
{
    const ptrdiff_t n = t->p->n_params + 2;
    REAL *sums = FN(array)(n), *total = FN(array)(n);
    for (ptrdiff_t start = 0; start < ROWS; start += BATCH) {
        const ptrdiff_t rows = min_size(BATCH, ROWS - start), first_step = t->step;
        struct job job = t->job;
        job.n_epochs = 1, job.rates = job.rates ? job.rates + start / BATCH : NULL;
        memset(total, 0, (size_t)n * sizeof(REAL));
        for (ptrdiff_t i = 0; i < n_shares; i++) {
            const ptrdiff_t begin = i == 0 ? 0 : rows * (i - 1) / (n_shares - 1), end = n_shares == 1 ? rows : rows * i / (n_shares - 1);
            job.orders = t->job.orders + start + begin, job.n_visits = i == 0 && n_shares > 1 ? 0 : end - begin;
            if (FN(KERNELS).batch_sums(&job, begin, sums, n_threads) || t->step != first_step)
                fault("no memory, or steps are counted", "batch_sums");
            for (ptrdiff_t k = 0; k < n; k++)
                total[k] += sums[k];
        }
        if (FN(KERNELS).apply_sums(&job, total, n_threads))
            fault("no memory", "apply_sums");
    }
    free(sums), free(total);
}

/* Whether shares and whole batches end in the same place. */
static void FN(drive_halves)(const struct FN(problem) *p, enum form form, int optimizer, int with_options, int n_threads)
{
    struct FN(task) whole, shared;
    if (p->n_buffers) /* batch norms need the whole batch */
        return;
    FN(set_task)(&whole, p, form, optimizer, with_options);
    whole.job.n_epochs = 1;
    FN(train)(&whole, n_threads);
    for (ptrdiff_t n_shares = 1; n_shares <= 3; n_shares++) {
        FN(set_task)(&shared, p, form, optimizer, with_options);
        FN(train_in_halves)(&shared, n_shares, n_threads);
        const REAL *ours = shared.job.params, *theirs = whole.job.params;
        for (ptrdiff_t i = 0; i < p->n_params; i++)
            if (!(fabs((double)ours[i] - (double)theirs[i]) <= TOLERANCE * (1 + fabs((double)theirs[i]))))
                fault("not the same parameters", "a step in halves");
        if (shared.step != whole.step)
            fault("not as many steps", "a step in halves");
        FN(forget_task)(&shared);
    }
    FN(forget_task)(&whole);
}

static REAL *FN(predicted)(const struct FN(problem) *p, enum form form, const STORED *panels, int n_threads)
{
    const struct rows rows = FN(first_rows)(p, form, ROWS, 0);
    REAL *outputs = FN(array)(ROWS * CLASSES);
    if (FN(KERNELS).network_forward(&rows, p->layers, p->n_layers, p->params, p->buffers, panels, 0, outputs, n_threads))
        fault("no memory", "network_forward");
    return outputs;
}

static void FN(drive_predictions)(const struct FN(problem) *p, enum form form, int n_threads)
{
    const struct rows rows = FN(first_rows)(p, form, ROWS, 1);
    const ptrdiff_t packed_bytes = round_up(FN(KERNELS).packed_bytes(p->layers, p->n_layers, 0), CACHE_LINE);
    REAL *outputs = FN(predicted)(p, form, NULL, n_threads), *gradient = FN(array)(p->n_params);
    double loss;
    FN(numbers)("predicted", outputs, ROWS * CLASSES);
    if (form == DENSE) {
        STORED *panels = checked(aligned_memory(CACHE_LINE, (size_t)packed_bytes));
        FN(KERNELS).pack(p->layers, p->n_layers, p->params, NULL, NULL, panels);
        REAL *again = FN(predicted)(p, 0, panels, n_threads);
        FN(same)(again, outputs, ROWS * CLASSES, "predicted with packed weights");
        free(again);
        REAL *real = FN(array)(ROWS * FEATURES); /* the same rows, not stored yet */
        FN(widen_row)(p->x, ROWS * FEATURES, real);
        struct FN(problem) unstored = *p;
        unstored.x = (STORED *)real;
        again = FN(predicted)(&unstored, DENSE_REAL, panels, n_threads);
        FN(same)(again, outputs, ROWS * CLASSES, "predicted from numbers that are not stored");
        free_aligned(panels), free(again), free(real);
    }
    if (FN(KERNELS).network_loss_gradient(&rows, p->layers, p->n_layers, p->params, SOFTMAX_CROSS_ENTROPY, NULL, 0.1, 0, gradient, &loss,
                                          n_threads))
        fault("no memory", "network_loss_gradient");
    FN(number)("loss_mean", loss, 10 * TOLERANCE);
    FN(numbers)("gradient", gradient, p->n_params);
    free(outputs), free(gradient);
}

/* Tasks of all programs and optimizers. */
static void FN(set_tasks)(struct FN(task) *tasks, const struct FN(problem) *problems)
{
    for (int i = 0; i < N_TASKS; i++)
        FN(set_task)(&tasks[i], &problems[i % N_PROGRAMS], (enum form)(i / N_PROGRAMS % N_FORMS), i % N_OPTIMIZERS, i / N_OPTIMIZERS);
}

/* train_jobs, against one after another; returns whether anything is wrong. */
static int FN(jobs_are_wrong)(const struct FN(problem) *problems, const struct FN(task) *alone, int n_threads)
{
    const struct kernels *tables[N_TASKS];
    struct FN(task) tasks[N_TASKS];
    struct job jobs[N_TASKS];
    int statuses[N_TASKS], wrong = 0;
    FN(set_tasks)(tasks, problems);
    for (int i = 0; i < N_TASKS; i++)
        tables[i] = &FN(KERNELS), jobs[i] = tasks[i].job;
    train_jobs(tables, jobs, N_TASKS, statuses, n_threads);
    for (int i = 0; i < N_TASKS; i++) {
        wrong |= statuses[i] || !FN(is_same)(&tasks[i], &alone[i]);
        FN(forget_task)(&tasks[i]);
    }
    return wrong;
}

/* A caller of its own, at the same time as others: predicts and trains, one network and several. */
struct FN(caller) {
    const struct FN(problem) *problems;
    const struct FN(task) *alone, *trained;
    const REAL *predicted;
    int wrong;
};

static void *FN(call)(void *argument)
{
    struct FN(caller) *c = argument;
    for (int i = 0; i < 3; i++) {
        struct FN(task) task;
        FN(set_task)(&task, &c->problems[NORMALIZED], 0, ADAM, 1);
        FN(train)(&task, 2);
        REAL *outputs = FN(predicted)(&c->problems[RESIDUAL], 0, NULL, 3);
        c->wrong |= !FN(is_same)(&task, c->trained) || memcmp(outputs, c->predicted, ROWS * CLASSES * sizeof(REAL)) != 0;
        c->wrong |= FN(jobs_are_wrong)(c->problems, c->alone, 2);
        FN(forget_task)(&task);
        free(outputs);
    }
    return NULL;
}

static void FN(drive_callers)(const struct FN(problem) *problems)
{
    struct FN(task) alone[N_TASKS], trained;
    REAL *outputs = FN(predicted)(&problems[RESIDUAL], 0, NULL, 3);
    FN(set_task)(&trained, &problems[NORMALIZED], 0, ADAM, 1);
    FN(train)(&trained, 2);
    FN(set_tasks)(alone, problems);
    for (int i = 0; i < N_TASKS; i++)
        FN(train)(&alone[i], 1);
    for (int n_threads = 1; n_threads <= MOST_THREADS; n_threads++)
        if (FN(jobs_are_wrong)(problems, alone, n_threads))
            fault("not the same bits", "train_jobs");
    const struct FN(caller) caller = {problems, alone, &trained, outputs, 0};
    struct FN(caller) callers[3];
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        callers[i] = caller;
        if (pthread_create(&threads[i], NULL, FN(call), &callers[i]))
            abort();
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        if (callers[i].wrong)
            fault("not the same bits", "callers at the same time");
    }
#if !defined(_WIN32)
    if (!getenv("WITHOUT_FORK")) {
        fflush(NULL);
        const pid_t child = fork();
        if (child == 0) {
            struct FN(caller) c = caller;
            FN(call)(&c);
            _exit(c.wrong);
        }
        int status = -1;
        if (child < 0 || waitpid(child, &status, 0) < 0 || status)
            fault("wrong, or did not end well", "a forked child");
    }
#endif
    for (int i = 0; i < N_TASKS; i++)
        FN(forget_task)(&alone[i]);
    FN(forget_task)(&trained);
    free(outputs);
}

/* Gives all entries one column after the other, some out of range, until `done`. */
struct FN(meddler) {
    const struct FN(problem) *p;
    int done;
};

static void *FN(meddle)(void *argument)
{
    static const int32_t columns[] = {0, FEATURES - 1, -1, FEATURES / 2, INT32_MIN, 1, INT32_MAX, FEATURES};
    struct FN(meddler) *m = argument;
    for (int i = 0; !__atomic_load_n(&m->done, __ATOMIC_ACQUIRE); i++)
        for (int32_t at = 0; at < m->p->indptr[ROWS]; at++)
            __atomic_store_n(&m->p->indices[at], columns[i % 8], __ATOMIC_RELAXED);
    return NULL;
}

/* Columns that another thread changes: the results may be anything, but nothing beyond the arrays is read or written. */
static void FN(drive_changing_columns)(const struct FN(problem) *p)
{
    struct FN(meddler) meddler = {p, 0};
    pthread_t thread;
    if (pthread_create(&thread, NULL, FN(meddle), &meddler))
        abort();
    for (int i = 0; i < 20; i++) {
        struct FN(task) task;
        FN(set_task)(&task, p, SPARSE, i % N_OPTIMIZERS, i % 3 == 0);
        FN(train)(&task, 1 + i % MOST_THREADS);
        FN(forget_task)(&task);
        free(FN(predicted)(p, SPARSE, NULL, 1 + i % MOST_THREADS));
    }
    __atomic_store_n(&meddler.done, 1, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
}

static void FN(drive_networks)(void)
{
    struct FN(problem) problems[N_PROGRAMS];
    for (int which = 0; which < N_PROGRAMS; which++)
        problems[which] = FN(make_problem)(which);
    for (enum form form = 0; form < N_FORMS; form++)
        for (int n_threads = 1; n_threads <= MOST_THREADS; n_threads++) {
            for (int which = 0; which < N_PROGRAMS; which++)
                FN(drive_predictions)(&problems[which], form, n_threads);
            for (int i = 0; i < 2 * N_OPTIMIZERS; i++) {
                FN(drive_training)(&problems[i % N_PROGRAMS], form, i % N_OPTIMIZERS, i / N_OPTIMIZERS, n_threads);
                FN(drive_halves)(&problems[i % N_PROGRAMS], form, i % N_OPTIMIZERS, i / N_OPTIMIZERS, n_threads);
            }
        }
    FN(drive_callers)(problems);
    for (int which = 0; which < N_PROGRAMS; which++)
        FN(drive_changing_columns)(&problems[which]);
    for (int which = 0; which < N_PROGRAMS; which++)
        FN(forget_problem)(&problems[which]);
}
