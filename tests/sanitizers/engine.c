/* The compiled engine without Python, for tools that Python's process would disturb: sanitizers, and emulators of other processors.
 *
 *   engine              runs every kernel, checks what it can by itself, and prints its numbers
 *   engine FILE         the same, and compares the numbers with those in FILE, which another build has printed
 *
 * With WITHOUT_FORK in the environment it does not fork, which not every emulator can do beside threads. Every array is allocated
 * with its exact size, so that a sanitizer sees the first byte beyond. The exit status is 0 when all checks passed. .ci/sanitizers
 * and .ci/aarch64 build and run it. */
#define _GNU_SOURCE /* as Python.h does */
#include "engine.h"
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static FILE *expected; /* NULL: print */
static int n_faults, n_numbers;

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

enum { FEATURES = 21, HIDDEN = 37, CLASSES = 5, ROWS = 73, BATCH = 16, EPOCHS = 3, MOST_THREADS = 4 };

#define REAL float
#define SUFFIX f32
#define TOLERANCE 2e-4
#include "drive.h"

#define REAL double
#define SUFFIX f64
#define TOLERANCE 1e-11
#include "drive.h"

int main(int argc, char **argv)
{
    if (argc > 1 && !(expected = fopen(argv[1], "r"))) {
        perror(argv[1]);
        return 2;
    }
    threads_init();
    drive_f32();
    drive_f64();
    fprintf(stderr, "%d numbers, %d faults\n", n_numbers, n_faults);
    return n_faults > 0;
}
