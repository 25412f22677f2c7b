/* The compiled engine without Python, for tools that Python's process would disturb: sanitizers, and emulators of other processors.
 *
 *   engine              runs every kernel, checks what it can by itself, and prints its numbers
 *   engine FILE         the same, and compares the numbers with those in FILE, which another build has printed
 *
 * Built with WITHOUT_BFLOAT16 or WITHOUT_DOUBLE it leaves out a real type. With WITHOUT_FORK in the environment it does not fork,
 * which not every emulator can do beside threads. Every array is allocated with its exact size, so that a sanitizer sees the first
 * byte beyond. The exit status is 0 when all checks passed. .ci/sanitizers and .ci/aarch64 build and run it. */
#define _GNU_SOURCE /* as Python.h does */
#define HAS_BFLOAT16 1
#include "engine.h"
#include <stdio.h>
#if !defined(_WIN32)
#include <sys/wait.h>
#endif
#include <pthread.h> /* on Windows MinGW's, for the callers' own threads */
#include <unistd.h>

static FILE *expected; /* NULL: print */
static int n_faults, n_numbers;

/* With values stored as bfloat16 every number is also compared with that of float: within some roundings to 8 bits, which may
 * lead across a kink. */
enum { MOST_NUMBERS = 1 << 16 };
static const double BF16_TOLERANCE = 0.08;
static double numbers_of_float[MOST_NUMBERS];
static int at_number;

static void fault(const char *what, const char *where)
{
    fprintf(stderr, "%s: %s\n", where, what);
    n_faults++;
}

/* A number with a name: printed, or compared with the next line of the file. */
static void number(const char *name, double value, double tolerance)
{
    char line[200], their_name[100];
    double theirs;
    n_numbers++;
    double *of_float = &numbers_of_float[at_number++ % MOST_NUMBERS];
    if (strstr(name, "_f32"))
        *of_float = value;
    else if (strstr(name, "_bf16") && !(fabs(value - *of_float) <= BF16_TOLERANCE * (1 + fabs(*of_float))))
        fprintf(stderr, "%.5g instead of float's %.5g\n", value, *of_float), fault("too far from float", name);
    if (!expected) {
        printf("%s %.17g\n", name, value);
    } else if (!fgets(line, sizeof line, expected) || sscanf(line, "%99s %lf", their_name, &theirs) != 2
               || strcmp(name, their_name)) {
        fault("the file has no such line", name);
    } else if (!(fabs(value - theirs) <= tolerance * (1 + fabs(theirs)))) {
        snprintf(line, sizeof line, "%.17g instead of %.17g", value, theirs);
        fault(line, name);
    }
}

/* The same numbers in every run and on every processor: in [-1, 1). */
static uint32_t seed;
static double random_number(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (double)(int32_t)(seed & 0xffffff00u) / 2147483648.0;
}

static void *checked(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

static void *copied(const void *from, size_t bytes) { return memcpy(checked(malloc(bytes + !bytes)), from, bytes); }

enum { FEATURES = 21, HIDDEN = 37, CLASSES = 5, ROWS = 73, HELD_OUT = 19, BATCH = 16, EPOCHS = 3, MOST_THREADS = 4 };
enum form { DENSE, SPARSE, ENCODED, N_FORMS, DENSE_REAL }; /* of X; the last, for predictions alone, is not STORED */
enum { N_COLUMNS = 7 };
static const struct column COLUMNS[N_COLUMNS] = {{ENCODING_PLAIN, 0, 1}, {ENCODING_PIECEWISE_LINEAR, 1, 7}, {ENCODING_ONE_HOT, 8, 5},
                                                 {ENCODING_PIECEWISE_LINEAR, 13, 1}, {ENCODING_ONE_HOT, 14, 1},
                                                 {ENCODING_PLAIN, 15, 1}, {ENCODING_PIECEWISE_LINEAR, 16, 5}};
enum { STEPS = EPOCHS * ((ROWS + BATCH - 1) / BATCH), STEPS_BEFORE = 2 };
enum { N_TASKS = 2 * N_OPTIMIZERS }; /* of a call of train_jobs */

/* lr, l2, weight_decay, and the optimizer's own. With a large epsilon steps do not depend on the rounding of small gradients. */
static const double HYPER[N_OPTIMIZERS][6] = {
    [SGD] = {0.05, 0.001, 0.01, 0.9, 1},
    [ADAM] = {0.01, 0.001, 0.01, 0.9, 0.999, 0.1},
    [MOMENTUM] = {0.05, 0.001, 0.01, 0.7, 0},
    [RMSPROP] = {0.01, 0.001, 0.01, 0.9, 0.1},
    [ADAMW] = {0.01, 0.001, 0.01, 0.9, 0.999, 0.1},
};

static int derivative_from_a(int activation)
{
    switch (activation) {
#define CASE(CODE, name) case CODE:
        ACTIVATIONS_FROM_A(CASE) return 1;
#undef CASE
    default: return 0;
    }
}

/* A layer program in the making. */
enum { MOST_LAYERS = 16 };
struct program {
    struct layer rows[MOST_LAYERS];
    ptrdiff_t n, width;
};

static struct layer *add_row(struct program *p, enum layer_kind kind, int64_t code)
{
    struct layer *row = &p->rows[p->n];
    *row = (struct layer){.kind = kind, .n_in = p->width, .n_out = p->width, .code = code, .epsilon = 1e-5, .momentum = 0.1,
                          .rate = 0.25, .seed = 7 + p->n, .stream = 100 * p->n, .offset = n_parameters(p->rows, p->n),
                          .buffers = n_statistics(p->rows, p->n)};
    p->n++;
    return row;
}

static void add_linear(struct program *p, ptrdiff_t n_out)
{
    add_row(p, KIND_LINEAR, 0)->n_out = n_out;
    p->width = n_out;
}

/* Plain layers with an activation from a; batch norms; a residual block with layer norm. The last two drop out as well. */
enum { STACK, NORMALIZED, RESIDUAL, N_PROGRAMS };
static struct program make_program(int which)
{
    struct program p = {.width = FEATURES};
    add_linear(&p, HIDDEN);
    if (which == NORMALIZED)
        add_row(&p, KIND_BATCH_NORM, 0);
    if (which == RESIDUAL)
        add_row(&p, KIND_LAYER_NORM, 0);
    add_row(&p, KIND_ACTIVATION, which == RESIDUAL ? GELU : which == NORMALIZED ? SIGMOID : TANH);
    if (which != STACK)
        add_row(&p, KIND_DROPOUT, 0);
    const ptrdiff_t source = p.n; /* the number of the last value */
    add_linear(&p, HIDDEN);
    if (which != STACK)
        add_row(&p, KIND_BATCH_NORM, 0);
    add_row(&p, KIND_ACTIVATION, which == RESIDUAL ? MISH : which == NORMALIZED ? SOFTPLUS : TANH);
    if (which == RESIDUAL) {
        add_linear(&p, HIDDEN);
        add_row(&p, KIND_ADD, 0)->source = source;
        add_row(&p, KIND_ACTIVATION, TANH);
        add_row(&p, KIND_DROPOUT, 0);
    }
    add_linear(&p, CLASSES);
    add_row(&p, KIND_LINK, LINK_SOFTMAX);
    return p;
}

#define REAL float
#define STORED float
#define SUFFIX f32
#define NAME "f32"
#define TOLERANCE 2e-4
#include "drive.h"
#include "drive_networks.h"
#undef STORED
#undef SUFFIX
#undef NAME
#undef TOLERANCE

#ifndef WITHOUT_BFLOAT16
#define STORED struct bf16
#define SUFFIX bf16
#define NAME "bf16"
#define TOLERANCE BF16_TOLERANCE
#include "drive.h"
#include "drive_networks.h"
#undef STORED
#undef SUFFIX
#undef NAME
#undef TOLERANCE
#endif
#undef REAL

#ifndef WITHOUT_DOUBLE
#define REAL double
#define STORED double
#define SUFFIX f64
#define NAME "f64"
#define TOLERANCE 1e-11
#include "drive.h"
#include "drive_networks.h"
#endif

#include "drive_int8.h"

int main(int argc, char **argv)
{
    if (argc > 1 && !(expected = fopen(argv[1], "r"))) {
        perror(argv[1]);
        return 2;
    }
    threads_init();
    const struct { void (*kernels)(void), (*networks)(void); } types[] = {
        {drive_kernels_f32, drive_networks_f32},
#ifndef WITHOUT_BFLOAT16
        {drive_kernels_bf16, drive_networks_bf16},
#endif
#ifndef WITHOUT_DOUBLE
        {drive_kernels_f64, drive_networks_f64},
#endif
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        seed = 1, at_number = 0;
        types[i].kernels();
        types[i].networks();
    }
    for (ptrdiff_t n_in = INT8_FEWEST_IN; n_in < 70; n_in += 3)
        for (ptrdiff_t n_out = INT8_FEWEST_OUT; n_out < 110; n_out += 13)
            drive_int8(n_in, n_out, 1 + n_in % 23, 1 + (int)(n_out % MOST_THREADS));
    drive_int8(INT8_MOST_IN, INT8_FEWEST_OUT, 2, 2);
    fprintf(stderr, "%d numbers, %d faults\n", n_numbers, n_faults);
    return n_faults > 0;
}
