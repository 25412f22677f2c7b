/* The loss of held-out rows after an epoch. Included once for each real type. */

/* What the threads of one validation share. */
struct FN(validation) {
    struct FN(network) net;
    struct FN(features) x;
    struct FN(target_rows) targets;
    ptrdiff_t rows;
    struct FN(objective) objective;
    double total_weight;
    /* how it is done: */
    int n_parts;
    struct FN(extent) extent;
    char *memory;
    size_t bytes_a_thread;
    double *sums; /* [part] */
};

static void FN(validation_thread)(void *argument, int thread, int n_threads)
{
    struct FN(validation) *v = argument;
    const ptrdiff_t n_out = FN(n_outputs)(&v->net);
    for (int part = thread; part < v->n_parts; part += n_threads) {
        const struct range mine = share(v->rows, 1, part, v->n_parts);
        struct FN(workspace) w;
        double sum = 0;
        FN(begin_prediction)(&v->net, &v->extent, &v->x, v->memory + v->bytes_a_thread * (size_t)part, &w);
        for (ptrdiff_t first = mine.begin; first < mine.end; first += CHUNK_ROWS) {
            const ptrdiff_t rows = min_size(CHUNK_ROWS, mine.end - first);
            REAL *logits = FN(predict_rows)(&v->net, &v->x, first, rows, &w);
            sum += FN(loss_rows)(&v->objective, logits, rows, n_out, FN(skip_rows)(v->targets, first, n_out), logits);
        }
        v->sums[part] = sum;
    }
}

/* Allocate the memory of a validation, which end_validation() frees. Returns 0, or -1 if there is none. */
static int FN(prepare_validation)(struct FN(validation) *v, const struct job *job, int n_threads)
{
    const struct rows *rows = &job->validation;
    struct FN(workspace) unused;
    *v = (struct FN(validation)){.net = {.layers = job->layers, .n_layers = job->n_layers, .statistics = job->buffers},
                                 .x = FN(features)(rows, job->layers->n_in),
                                 .targets = {rows->labels, rows->targets, rows->sample_weight},
                                 .rows = rows->n, .n_parts = n_threads};
    v->objective = FN(objective)(job->loss, job->loss_hyper, FN(n_outputs)(&v->net), job->clip);
    v->extent = (struct FN(extent)){.rows = min_size(CHUNK_ROWS, rows->n), .sparse = FN(is_sparse)(&v->x),
                                    .encoded = FN(is_encoded)(&v->x)};
    v->net.plan.values = malloc((size_t)job->n_layers * sizeof(struct value));
    v->sums = calloc((size_t)n_threads, sizeof(double));
    if (!v->net.plan.values || !v->sums)
        return -1;
    make_plan(job->layers, job->n_layers, 0, FN(is_direct)(&v->extent), &v->net.plan);
    v->bytes_a_thread = FN(lay_out)(&v->net, &v->extent, NULL, &unused);
    v->memory = take_block(v->bytes_a_thread * (size_t)n_threads);
    v->total_weight = rows->sample_weight ? 0 : (double)rows->n;
    for (ptrdiff_t i = 0; rows->sample_weight && i < rows->n; i++)
        v->total_weight += (double)((const REAL *)rows->sample_weight)[i];
    return v->memory ? 0 : -1;
}

static void FN(end_validation)(struct FN(validation) *v)
{
    free(v->net.plan.values);
    free(v->sums);
    give_back(v->memory);
}

/* After an epoch, with `step` steps done in all: write the validation loss and, if it is the best so far, keep the parameters. Both
 * are of the average where there is one. */
static void FN(validate)(struct FN(training) *t, ptrdiff_t epoch, ptrdiff_t step)
{
    struct FN(validation) *v = t->validation;
    const struct job *job = t->job;
    double sum = 0;
    v->net.params = job->average ? job->average : t->aligned;
    run_parts(FN(validation_thread), v, v->n_parts);
    for (int part = 0; part < v->n_parts; part++)
        sum += v->sums[part];
    const double loss = v->total_weight != 0 ? FN(reported)(t, sum) / v->total_weight : 0;
    job->validation_losses[epoch] = loss;
    if (loss < job->best[0]) {
        job->best[0] = loss, job->best[1] = (double)step;
        memcpy(job->best_params, v->net.params, (size_t)FN(n_params)(&t->net) * sizeof(REAL));
        if (job->best_buffers)
            memcpy(job->best_buffers, job->buffers, (size_t)n_statistics(job->layers, job->n_layers) * sizeof(REAL));
    }
}
