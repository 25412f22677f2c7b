/* The compiled kernels for one instruction set, of its real types.
 *
 *   spec.h         enumerations and structures, made from ../spec.py
 *   platform.h     registers and tile of the instruction set
 *   cpu.h          which instruction sets the processor has
 *   plan.h         where the values of a layer program are kept
 *   memory.h       the working memory of a call
 *   system.h       the operating system's clock, memory, locks and threads
 *   threads.h      waiting: barriers
 *   pool.h         threads, and regions that they run
 *   crew.h         who works while the cores are crowded
 *   schedule.h     how the threads of a training call share its work
 *   jobs.h         several trainings at a time
 *   real_f32.h     float, and what it means for simd.h and vmath.h
 *   real_f64.h     double, likewise
 *   real_bf16.h    float, with values stored as bfloat16
 *   per_real.h     includes what follows, once for each of them:
 *     simd.h           one register
 *     storage.h        numbers in memory: REAL, or a narrower type
 *     factors.h        what products multiply: numbers, or pairs of them
 *     vmath.h          exp, sigmoid, tanh, log, the normal distribution
 *     tile.h           the micro-kernel
 *     packing.h        copies in tiles' order
 *     int8.h           products of 8-bit integers, int8_tile.h their tiles
 *     shallow.h        products of little depth
 *     gemm.h           the three products
 *     activations.h    activations
 *     losses.h         softmax, links, losses
 *     dropout.h        masks by position
 *     normalization.h  layer and batch norm
 *     optimizer.h      the optimizers' steps
 *     sparse.h         a first layer on CSR rows
 *     encoded.h        a first layer on encoded rows
 *     network.h        a layer program and a thread's buffers for it
 *     kind_*.h         the kinds of its rows, forward and backward
 *     passes.h         a chunk's way through the rows and back
 *     prediction.h     the outputs of many rows
 *     batch.h          the gradient of a batch
 *     validation.h     the loss of held-out rows
 *     updates.h        what becomes of the parameters
 *     training.h       the training loop
 *     exports.h        the table for Cython
 *     hardware.h       loops for bench/ to time
 *
 * setup.py defines which real types a module has. That for AVX512-BF16 has only bfloat16: the others' code would be AVX-512's.
 */
#pragma once

#ifndef HAS_FLOATS
#define HAS_FLOATS 1
#endif
#ifndef HAS_BFLOAT16
#define HAS_BFLOAT16 0
#endif

#include "spec.h"
#include "platform.h"
#include "cpu.h"
#include "plan.h"
#include "memory.h"
#include "threads.h"
#include "pool.h"
#include "crew.h"
#include "schedule.h"
#include "jobs.h"

#if HAS_FLOATS
#include "real_f32.h"
#include "per_real.h"

#include "real_f64.h"
#include "per_real.h"
#endif

/* bfloat16 without the instructions for it is slow in any case, and not worth half of the time that GCC takes for a module. */
#if defined(__GNUC__) && !defined(__clang__) && !defined(__AVX512BF16__)
#pragma GCC push_options
#pragma GCC optimize("O1")
#endif
#if HAS_BFLOAT16
#include "real_bf16.h"
#include "per_real.h"
#endif
#if defined(__GNUC__) && !defined(__clang__) && !defined(__AVX512BF16__)
#pragma GCC pop_options
#endif

/* What multiplies 8-bit integers in predictions, NULL without instructions for that. */
static const char *int8_instructions(void)
{
#if HAS_FLOATS
    return int8_way_f32()->name;
#else
    return NULL;
#endif
}

/* The kernels of each real type, NULL where the module does not have it: for Cython. */
#if HAS_FLOATS
static const struct kernels *const FLOAT_KERNELS = &KERNELS_f32, *const DOUBLE_KERNELS = &KERNELS_f64;
#else
static const struct kernels *const FLOAT_KERNELS = NULL, *const DOUBLE_KERNELS = NULL;
#endif
#if HAS_BFLOAT16
static const struct kernels *const BFLOAT16_KERNELS = &KERNELS_bf16;
#else
static const struct kernels *const BFLOAT16_KERNELS = NULL;
#endif
