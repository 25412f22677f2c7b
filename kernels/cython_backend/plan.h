/* Where the values of a layer program are kept, and what happens in place.
 *
 * Value i, which row i takes, is in a buffer: a matrix with a row for each sample. Most kinds write to a buffer of their own. Two
 * kinds change their input in place, if nothing needs it any more:
 *
 *   activation  in training only those whose derivative the matrix products compute from a: the input gradient of the linear row
 *               above does that, perhaps with dropout in between. The others overwrite z with their slope, and write a elsewhere.
 *   dropout     but not the output of another dropout, nor a value that a later row adds
 *
 * On the way back a linear row writes its input gradient over its input; the other kinds change the gradient where it is.
 */
#pragma once

#include "platform.h"
#include "spec.h"

enum { INPUT = -1 }; /* instead of a buffer's number: X itself, not copied */
enum { FEW_VALUES = 32 }; /* with at most this many values a prediction allocates nothing for the plan */

struct value {
    int buffer;
    int is_source; /* a later row adds it */
};

struct plan {
    struct value *values; /* [n_layers]: the last are the logits */
    int n_buffers, n_batch_norms;
};

ALWAYS_INLINE int is_in_place(const struct plan *plan, ptrdiff_t i)
{
    return plan->values[i].buffer == plan->values[i + 1].buffer;
}

/* Whether the matrix products know an activation; its derivative is then taken from a. */
static int is_fused(int64_t activation)
{
    return activation == IDENTITY || activation == RELU || activation == SIGMOID || activation == TANH;
}

/* Whether the output of a kind may be overwritten: its backward needs neither that nor an earlier value in the same buffer. */
static int forgets_output(const struct layer *layer) { return layer->kind != KIND_ACTIVATION && layer->kind != KIND_DROPOUT; }

/* Whether row i, an activation, may write a over z in training. */
static int activates_in_place(const struct layer *layers, ptrdiff_t n_layers, const struct plan *plan, ptrdiff_t i)
{
    ptrdiff_t above = i + 1;
    if (!is_fused(layers[i].code) || plan->values[i].is_source || plan->values[i + 1].is_source
        || (i > 0 && !forgets_output(&layers[i - 1])))
        return 0;
    if (above < n_layers && layers[above].kind == KIND_DROPOUT)
        above++;
    return above < n_layers && layers[above].kind == KIND_LINEAR && !plan->values[above].is_source;
}

static int works_in_place(const struct layer *layers, ptrdiff_t n_layers, int training, const struct plan *plan, ptrdiff_t i)
{
    const struct value *x = &plan->values[i];
    if (layers[i].kind == KIND_ACTIVATION)
        return training ? activates_in_place(layers, n_layers, plan, i) : x->buffer != INPUT && !x->is_source;
    if (layers[i].kind != KIND_DROPOUT)
        return 0;
    return !training || (x->buffer != INPUT && !x->is_source && (i == 0 || layers[i - 1].kind != KIND_DROPOUT));
}

/* The first column of encoded rows that is not valid for n_in values, or -1. */
static ptrdiff_t wrong_column(const struct column *columns, ptrdiff_t n_columns, ptrdiff_t n_in)
{
    ptrdiff_t n = 0;
    for (ptrdiff_t c = 0; c < n_columns; c++) {
        const struct column *column = &columns[c];
        const int is_plain = column->kind == ENCODING_PLAIN;
        if ((!is_plain && column->kind != ENCODING_PIECEWISE_LINEAR && column->kind != ENCODING_ONE_HOT) || column->offset != n
            || column->n < 1 || column->n > (is_plain ? 1 : n_in - n))
            return c;
        n += column->n;
    }
    return n == n_in ? -1 : n_columns;
}

/* Fill in a plan whose `values` are allocated. In training, X is gathered into a buffer, unless the first row reads it `direct`ly. */
static void make_plan(const struct layer *layers, ptrdiff_t n_layers, int training, int direct, struct plan *plan)
{
    struct value *values = plan->values;
    plan->n_batch_norms = 0;
    for (ptrdiff_t i = 0; i < n_layers; i++)
        values[i].is_source = 0;
    for (ptrdiff_t i = 0; i < n_layers - 1; i++)
        if (layers[i].kind == KIND_ADD)
            values[layers[i].source].is_source = 1;
    plan->n_buffers = training && !direct;
    values[0].buffer = plan->n_buffers - 1;
    for (ptrdiff_t i = 0; i < n_layers - 1; i++) {
        const int in_place = works_in_place(layers, n_layers, training, plan, i);
        values[i + 1].buffer = in_place ? values[i].buffer : plan->n_buffers++;
        if (in_place && !training) /* only dropout's values can be added later: it does nothing here, both are one buffer */
            values[i + 1].is_source |= values[i].is_source;
        plan->n_batch_norms += layers[i].kind == KIND_BATCH_NORM;
    }
}

/* How many parameters of a row are subject to weight decay, and how many are exempt. */
ALWAYS_INLINE ptrdiff_t n_weights(const struct layer *layer) { return layer->kind == KIND_LINEAR ? layer->n_in * layer->n_out : 0; }
ALWAYS_INLINE ptrdiff_t n_biases(const struct layer *layer)
{
    switch (layer->kind) {
    case KIND_LINEAR: return layer->n_out;
    case KIND_LAYER_NORM:
    case KIND_BATCH_NORM: return 2 * layer->n_in;
    default: return 0;
    }
}

/* Whether a row multiplies 8-bit integers in a quantized prediction. */
ALWAYS_INLINE int reads_int8(const struct layer *layer)
{
    return layer->kind == KIND_LINEAR && layer->n_in >= INT8_FEWEST_IN && layer->n_in <= INT8_MOST_IN
           && layer->n_out >= INT8_FEWEST_OUT;
}

/* The numbers of codes and of scales of all these rows: see ../int8.py. */
static ptrdiff_t n_codes(const struct layer *layers, ptrdiff_t n_layers)
{
    ptrdiff_t n = 0;
    for (ptrdiff_t i = 0; i < n_layers; i++)
        n += reads_int8(&layers[i]) ? layers[i].n_in * layers[i].n_out : 0;
    return n;
}
static ptrdiff_t n_scales(const struct layer *layers, ptrdiff_t n_layers)
{
    ptrdiff_t n = 0;
    for (ptrdiff_t i = 0; i < n_layers; i++)
        n += reads_int8(&layers[i]) ? 2 * (layers[i].n_in + layers[i].n_out) : 0;
    return n;
}

/* The length of the flat block of a program's parameters, and of its running statistics. */
static ptrdiff_t n_parameters(const struct layer *layers, ptrdiff_t n_layers)
{
    ptrdiff_t n = 0;
    for (ptrdiff_t i = 0; i < n_layers; i++)
        n += n_weights(&layers[i]) + n_biases(&layers[i]);
    return n;
}
static ptrdiff_t n_statistics(const struct layer *layers, ptrdiff_t n_layers)
{
    ptrdiff_t n = 0;
    for (ptrdiff_t i = 0; i < n_layers; i++)
        n += layers[i].kind == KIND_BATCH_NORM ? 2 * layers[i].n_in : 0;
    return n;
}

/* Whether ../spec.py has a number. */
#define KNOWS(table, LIST, CASE) \
    static int is_##table(int64_t code) \
    { \
        switch (code) { LIST(CASE) return 1; default: return 0; } \
    }
#define CASE(CODE, name) case CODE:
#define LINK_CASE(CODE, name) case LINK_##CODE:
#define ACTIVATIONS(X) ACTIVATIONS_FROM_A(X) ACTIVATIONS_FROM_Z(X)
KNOWS(activation, ACTIVATIONS, CASE)
KNOWS(link, LINKS, LINK_CASE)
KNOWS(loss, LOSSES, CASE)
KNOWS(optimizer, OPTIMIZERS, CASE)
#undef KNOWS
#undef CASE
#undef LINK_CASE

/* The length of a job's loss_hyper. */
static ptrdiff_t n_loss_hyper(int loss, ptrdiff_t n_out) { return LOSS_HYPER[loss] * (LOSS_PER_OUTPUT[loss] ? n_out : 1); }

/* The first row of a table that is not valid, or -1. Sizes must fit, and offsets must be those of blocks without gaps. `direct`: X
 * is sparse or encoded, which only a linear row can read. */
static ptrdiff_t wrong_row(const struct layer *layers, ptrdiff_t n_layers, int direct)
{
    ptrdiff_t n_params = 0, n_buffers = 0;
    for (ptrdiff_t i = 0; i < n_layers; i++) {
        const struct layer *l = &layers[i];
        const int has_params = n_biases(l) > 0, last = i == n_layers - 1;
        if (l->n_in < 1 || l->n_out < 1 || (i > 0 && l->n_in != layers[i - 1].n_out)
            || (l->kind != KIND_LINEAR && l->n_in != l->n_out) || last != (l->kind == KIND_LINK)
            || (i == 0 && direct && l->kind != KIND_LINEAR) || (has_params && l->offset != n_params))
            return i;
        switch (l->kind) {
        case KIND_LINEAR: break;
        case KIND_LAYER_NORM: break;
        case KIND_ACTIVATION: if (!is_activation(l->code)) return i; break;
        case KIND_DROPOUT: if (!(l->rate >= 0 && l->rate < 1)) return i; break;
        case KIND_BATCH_NORM: if (l->buffers != n_buffers) return i; break;
        case KIND_ADD: if (l->source < direct || l->source > i || layers[l->source].n_in != l->n_in) return i; break;
        case KIND_LINK: if (!is_link(l->code)) return i; break;
        default: return i;
        }
        n_params += n_weights(l) + n_biases(l);
        n_buffers += l->kind == KIND_BATCH_NORM ? 2 * l->n_in : 0;
    }
    return n_layers < 2 ? 0 : -1;
}
