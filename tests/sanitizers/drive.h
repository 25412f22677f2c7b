/* What engine.c does with one real type: included once for each of them, with REAL, SUFFIX and TOLERANCE defined. */

static REAL *FN(array)(ptrdiff_t n) { return checked(calloc((size_t)n, sizeof(REAL))); }

static REAL *FN(random_array)(ptrdiff_t n)
{
    REAL *a = FN(array)(n);
    for (ptrdiff_t i = 0; i < n; i++)
        a[i] = (REAL)random_number();
    return a;
}

/* Two sums that change with every number and with its place. */
static void FN(numbers)(const char *name, const REAL *a, ptrdiff_t n)
{
    char full_name[100];
    double sum = 0, weighted = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        sum += (double)a[i];
        weighted += (double)a[i] * (double)(i % 17 - 8);
    }
    snprintf(full_name, sizeof full_name, "%s_%d", name, (int)sizeof(REAL) * 8);
    number(full_name, sum / (double)n, TOLERANCE);
    number(full_name, weighted / (double)n, TOLERANCE);
}

static void FN(same)(const REAL *a, const REAL *b, ptrdiff_t n, const char *what)
{
    if (memcmp(a, b, (size_t)n * sizeof(REAL)))
        fault("not the same bits", what);
}

/* Linear layers of all sizes up to some registers, for every way in which products are made. */
static void FN(drive_linear)(ptrdiff_t rows, ptrdiff_t n_in, ptrdiff_t n_out, enum activation_code activation)
{
    const struct kernels *k = &FN(KERNELS);
    REAL *x = FN(random_array)(rows * n_in), *weight = FN(random_array)(n_in * n_out), *bias = FN(random_array)(n_out);
    REAL *da = FN(random_array)(rows * n_out), *a = FN(array)(rows * n_out), *b = FN(array)(rows * n_out);
    REAL *dx = FN(array)(rows * n_in), *dweight = FN(array)(n_in * n_out), *dbias = FN(array)(n_out);
    k->linear_forward(x, weight, bias, rows, n_in, n_out, activation, a, 1);
    k->linear_forward(x, weight, bias, rows, n_in, n_out, activation, b, 3);
    for (int accumulate = 0; accumulate < 2; accumulate++)
        k->linear_backward(da, x, weight, a, rows, n_in, n_out, activation, accumulate, dx, dweight, dbias, 1 + accumulate);
    FN(numbers)("forward", a, rows * n_out);
    FN(numbers)("forward_3", b, rows * n_out);
    FN(numbers)("dx", dx, rows * n_in);
    FN(numbers)("dweight", dweight, n_in * n_out);
    FN(numbers)("dbias", dbias, n_out);
    free(x), free(weight), free(bias), free(da), free(a), free(b), free(dx), free(dweight), free(dbias);
}

static void FN(drive_rows)(int n_threads)
{
    const struct kernels *k = &FN(KERNELS);
    const ptrdiff_t n = ROWS * CLASSES;
    ptrdiff_t labels[ROWS];
    REAL *x = FN(random_array)(n), *y = FN(array)(n), *targets = FN(array)(n), *dy = FN(random_array)(n), *dx = FN(array)(n);
    REAL *gamma = FN(random_array)(CLASSES), *beta = FN(random_array)(CLASSES), *dgamma = FN(array)(CLASSES);
    REAL *dbeta = FN(array)(CLASSES), *mean = FN(array)(ROWS), *rstd = FN(array)(ROWS);
    double loss = 0;
    for (ptrdiff_t i = 0; i < ROWS; i++)
        labels[i] = i % CLASSES;
    for (ptrdiff_t i = 0; i < n; i++)
        targets[i] = (REAL)(i % 2);
    k->softmax_forward(x, ROWS, CLASSES, y, n_threads);
    FN(numbers)("softmax", y, n);
    k->softmax_backward(dy, y, ROWS, CLASSES, dx, n_threads);
    FN(numbers)("softmax_backward", dx, n);
    for (int code = SOFTMAX_CROSS_ENTROPY; code <= POISSON; code++) {
        const ptrdiff_t *classes = code == SOFTMAX_CROSS_ENTROPY ? labels : NULL;
        k->loss_forward(code, x, classes, classes ? NULL : targets, NULL, ROWS, CLASSES, y, &loss, n_threads);
        k->loss_backward(code, y, classes, classes ? NULL : targets, NULL, 0.1, ROWS, CLASSES, dx, n_threads);
        number("loss", loss, 10 * TOLERANCE);
        FN(numbers)("loss_backward", dx, n);
    }
    for (int activation = RELU; activation <= TANH; activation++) {
        k->activation_forward(x, n, activation, y, n_threads);
        k->activation_backward(dy, y, n, activation, dx, n_threads);
        FN(numbers)("activation", y, n);
        FN(numbers)("activation_backward", dx, n);
    }
    k->dropout(x, n, 12345, 1u << 30, 1.25, y, n_threads);
    FN(numbers)("dropout", y, n);
    k->layer_norm_forward(x, gamma, beta, ROWS, CLASSES, 1e-5, y, mean, rstd, n_threads);
    k->layer_norm_backward(dy, x, gamma, mean, rstd, ROWS, CLASSES, 0, dx, dgamma, dbeta, n_threads);
    FN(numbers)("layer_norm", y, n);
    FN(numbers)("layer_norm_backward", dx, n);
    k->batch_norm_forward(x, gamma, beta, ROWS, CLASSES, 1e-5, y, mean, rstd, n_threads);
    k->batch_norm_backward(dy, x, gamma, mean, rstd, ROWS, CLASSES, 0, dx, dgamma, dbeta, n_threads);
    FN(numbers)("batch_norm", y, n);
    FN(numbers)("batch_norm_backward", dx, n);
    k->rmsprop_update(x, dy, targets, 0.01, 0.99, 1e-8, 0.1, n, n_threads);
    k->momentum_update(x, dy, dx, 0.01, 0.9, 1, 0.1, n, n_threads);
    FN(numbers)("updates", x, n);
    if (!k->all_finite(x, n, n_threads))
        fault("a number is infinite or NaN", "updates");
    free(x), free(y), free(targets), free(dy), free(dx), free(gamma), free(beta), free(dgamma), free(dbeta), free(mean), free(rstd);
}

/* A network with two hidden layers, dense and sparse rows, and what training leaves behind. */
struct FN(problem) {
    ptrdiff_t layers[3 * LAYER_COLUMNS], n_params, orders[EPOCHS * ROWS], labels[ROWS];
    int32_t indptr[ROWS + 1], *indices;
    REAL *x, *values, *params;
};

static struct FN(problem) FN(make_problem)(void)
{
    static const ptrdiff_t sizes[] = {FEATURES, HIDDEN, HIDDEN, CLASSES};
    struct FN(problem) p = {.n_params = 0};
    for (ptrdiff_t l = 0; l < 3; l++) {
        ptrdiff_t *layer = p.layers + l * LAYER_COLUMNS;
        layer[N_IN] = sizes[l], layer[N_OUT] = sizes[l + 1], layer[OFFSET] = p.n_params;
        layer[ACTIVATION] = l < 2 ? TANH : LINK_SOFTMAX;
        p.n_params += (layer[N_IN] + 1) * layer[N_OUT];
    }
    p.x = FN(random_array)(ROWS * FEATURES);
    p.params = FN(random_array)(p.n_params);
    p.values = FN(array)(ROWS * FEATURES);
    p.indices = checked(calloc(ROWS * FEATURES, sizeof(int32_t)));
    int32_t n = 0;
    for (int i = 0; i < ROWS; i++) {
        for (int j = 0; j < FEATURES; j++)
            if ((i + j) % 3 == 0)
                p.values[n] = p.x[i * FEATURES + j], p.indices[n++] = j;
        p.indptr[i + 1] = n;
        p.labels[i] = i % CLASSES;
    }
    for (int i = 0; i < EPOCHS * ROWS; i++)
        p.orders[i] = (i / ROWS + i * 29) % ROWS; /* 29 and ROWS have no common divisor */
    return p;
}

static void FN(forget_problem)(struct FN(problem) *p) { free(p->x), free(p->params), free(p->values), free(p->indices); }

/* New parameters, after some epochs. */
static REAL *FN(trained)(const struct FN(problem) *p, int sparse, int optimizer, int n_threads)
{
    static const double hyper[2][4] = {[SGD] = {0.05, 0.9, 1, 0}, [ADAM] = {0.005, 0.9, 0.999, 1e-8}};
    REAL *params = FN(array)(p->n_params), *state = FN(array)(p->n_params * (optimizer == ADAM ? 2 : 1));
    ptrdiff_t step = 0;
    double losses[EPOCHS];
    memcpy(params, p->params, (size_t)p->n_params * sizeof(REAL));
    if (FN(KERNELS).train_epochs(sparse ? p->values : p->x, sparse ? p->indices : NULL, sparse ? p->indptr : NULL, 0, p->labels, NULL,
                                 NULL, p->orders, EPOCHS, ROWS, p->layers, 3, SOFTMAX_CROSS_ENTROPY, optimizer, hyper[optimizer],
                                 0.01, 0, BATCH, &step, params, state, losses, n_threads))
        fault("no memory", "train_epochs");
    if (!(losses[EPOCHS - 1] < losses[0]))
        fault("the loss does not fall", "train_epochs");
    free(state);
    return params;
}

/* Every schedule, with threads that leave and join in: the number of threads decides the bits, and nothing else does. */
static void FN(drive_training)(const struct FN(problem) *p)
{
    static const int schedules[][2] = {{SHARED, 0}, {REPLICATED, 0}, {SHARED, 3}, {REPLICATED, 2}, {AS_MEASURED, 0}};
    for (int sparse = 0; sparse < 2; sparse++)
        for (int optimizer = SGD; optimizer <= ADAM; optimizer++)
            for (int n_threads = 1; n_threads <= MOST_THREADS; n_threads++) {
                REAL *first = FN(trained)(p, sparse, optimizer, n_threads);
                FN(numbers)("trained", first, p->n_params);
                for (size_t i = 0; i < sizeof schedules / sizeof *schedules; i++) {
                    force_schedule(schedules[i][0]);
                    drill_crew(schedules[i][1]);
                    REAL *again = FN(trained)(p, sparse, optimizer, n_threads);
                    FN(same)(again, first, p->n_params, "trained by another schedule");
                    free(again);
                }
                force_schedule(AS_MEASURED);
                drill_crew(0);
                free(first);
            }
}

static REAL *FN(predicted)(const struct FN(problem) *p, int sparse, int n_threads)
{
    REAL *outputs = FN(array)(ROWS * CLASSES);
    FN(KERNELS).network_forward(sparse ? p->values : p->x, sparse ? p->indices : NULL, sparse ? p->indptr : NULL, 0, ROWS, p->layers, 3,
                                p->params, NULL, outputs, n_threads);
    return outputs;
}

static void FN(drive_network)(const struct FN(problem) *p)
{
    REAL *gradient = FN(array)(p->n_params);
    double loss;
    for (int sparse = 0; sparse < 2; sparse++)
        for (int n_threads = 1; n_threads <= MOST_THREADS; n_threads++) {
            REAL *outputs = FN(predicted)(p, sparse, n_threads);
            FN(numbers)("predicted", outputs, ROWS * CLASSES);
            free(outputs);
            FN(KERNELS).network_loss_gradient(sparse ? p->values : p->x, sparse ? p->indices : NULL, sparse ? p->indptr : NULL, 0,
                                              p->labels, NULL, NULL, ROWS, p->layers, 3, p->params, SOFTMAX_CROSS_ENTROPY, 0.1, 0,
                                              gradient, &loss, n_threads);
            number("loss_mean", loss, 10 * TOLERANCE);
            FN(numbers)("gradient", gradient, p->n_params);
        }
    free(gradient);
}

/* A caller of its own, at the same time as others: predicts and trains. */
struct FN(caller) { const struct FN(problem) *p; const REAL *trained, *predicted; int wrong; };

static void *FN(call)(void *argument)
{
    struct FN(caller) *c = argument;
    for (int i = 0; i < 5; i++) {
        REAL *params = FN(trained)(c->p, 0, ADAM, 2), *outputs = FN(predicted)(c->p, 0, 3);
        c->wrong |= memcmp(params, c->trained, (size_t)c->p->n_params * sizeof(REAL)) != 0;
        c->wrong |= memcmp(outputs, c->predicted, ROWS * CLASSES * sizeof(REAL)) != 0;
        free(params), free(outputs);
    }
    return NULL;
}

static void FN(drive_callers)(const struct FN(problem) *p)
{
    REAL *params = FN(trained)(p, 0, ADAM, 2), *outputs = FN(predicted)(p, 0, 3);
    struct FN(caller) callers[3];
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        callers[i] = (struct FN(caller)){p, params, outputs, 0};
        if (pthread_create(&threads[i], NULL, FN(call), &callers[i]))
            abort();
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        if (callers[i].wrong)
            fault("not the same bits", "callers at the same time");
    }
    if (!getenv("WITHOUT_FORK")) {
        fflush(NULL);
        const pid_t child = fork();
        if (child == 0) {
            struct FN(caller) c = {p, params, outputs, 0};
            FN(call)(&c);
            _exit(c.wrong);
        }
        int status = -1;
        if (child < 0 || waitpid(child, &status, 0) < 0 || status)
            fault("wrong, or did not end well", "a forked child");
    }
    free(params), free(outputs);
}

static void FN(drive)(void)
{
    static const ptrdiff_t sizes[] = {1, 2, 5, 8, 13, 33};
    const int n_sizes = sizeof sizes / sizeof *sizes;
    seed = 1;
    for (int i = 0; i < n_sizes; i++)
        for (int j = 0; j < n_sizes; j++)
            for (int l = 0; l < n_sizes; l++)
                FN(drive_linear)(sizes[i], sizes[j], sizes[l], (enum activation_code)((i + j + l) % 4));
    FN(drive_linear)(70, 300, 130, RELU); /* packed */
    for (int n_threads = 1; n_threads <= MOST_THREADS; n_threads++)
        FN(drive_rows)(n_threads);
    struct FN(problem) p = FN(make_problem)();
    FN(drive_network)(&p);
    FN(drive_training)(&p);
    FN(drive_callers)(&p);
    FN(forget_problem)(&p);
}

#undef REAL
#undef SUFFIX
#undef TOLERANCE
