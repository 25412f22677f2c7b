/* The first layer on encoded rows: columns of numbers, each of which stands for many values (see ENCODINGS in ../spec.py). Included
 * once for each real type.
 *
 * Most of a piecewise linear encoding is constant: with n bins, a number x = k + t gives +1/2 for the bins below bin k, -1/2 for those
 * above, and t - 1/2 there. With "nodes", the products at the beginning of each bin,
 *     node[k] = (sum of the weights of the bins before k - sum of the others) / 2,
 * the product with all weights is node[k] + t weight[k]: two rows instead of n. The gradient goes the same way back: rows are added to
 * the gradients of node[k] and weight[k], and at the end of a batch those of the nodes to those of the weights. A number is made a
 * place in range wherever it is used, so that a wrong one cannot be an address.
 */

/* The bin of x among n, at most the last one; and how far x is through it, in [0, 1]. */
ALWAYS_INLINE ptrdiff_t FN(bin_of)(REAL x, ptrdiff_t n) { return x > 0 ? (x < (REAL)n ? (ptrdiff_t)x : n - 1) : 0; }
ALWAYS_INLINE REAL FN(share_of_bin)(REAL x, ptrdiff_t bin)
{
    const REAL share = x - (REAL)bin;
    return share < 0 ? 0 : share > 1 ? 1 : share;
}

/* The number of the category, or -1 where x is none of the n. */
ALWAYS_INLINE ptrdiff_t FN(category_of)(REAL x, ptrdiff_t n)
{
    const ptrdiff_t category = x >= 0 && x < (REAL)n ? (ptrdiff_t)x : -1;
    return (REAL)category == x ? category : -1;
}

/* What a row has in a column: the row of weights, by which it is multiplied, and whether the node of the same number is added.
 * Returns 0 where it has nothing. */
struct FN(entry) {
    ptrdiff_t at;
    REAL value;
    int node;
};

ALWAYS_INLINE int FN(entry_of)(const struct column *column, REAL x, struct FN(entry) *entry)
{
    ptrdiff_t place = 0;
    switch (column->kind) {
    case ENCODING_PIECEWISE_LINEAR:
        place = FN(bin_of)(x, column->n);
        *entry = (struct FN(entry)){column->offset + place, FN(share_of_bin)(x, place), 1};
        return 1;
    case ENCODING_ONE_HOT:
        place = FN(category_of)(x, column->n);
        *entry = (struct FN(entry)){column->offset + place, 1, 0};
        return place >= 0;
    default:
        *entry = (struct FN(entry)){column->offset, x, 0};
        return 1;
    }
}

/* The nodes of all piecewise linear columns, (n_in, n_out) like the weights; the other rows are not written. */
static void FN(make_nodes)(const struct FN(features) *x, const REAL *weight, ptrdiff_t n_out, REAL *nodes)
{
    for (ptrdiff_t c = 0; c < x->n_columns; c++) {
        const struct column *column = &x->columns[c];
        if (column->kind != ENCODING_PIECEWISE_LINEAR)
            continue;
        const REAL *w = weight + column->offset * n_out;
        REAL *node = nodes + column->offset * n_out;
        for (ptrdiff_t j = 0; j < n_out; j++)
            node[j] = 0;
        for (ptrdiff_t k = 0; k < column->n; k++)
            for (ptrdiff_t j = 0; j < n_out; j++)
                node[j] -= w[k * n_out + j] / 2;
        for (ptrdiff_t k = 1; k < column->n; k++)
            for (ptrdiff_t j = 0; j < n_out; j++)
                node[k * n_out + j] = node[(k - 1) * n_out + j] + w[(k - 1) * n_out + j];
    }
}

/* Add the gradient of the nodes to that of the weights, and clear it. `sums`: room for n_out numbers. */
static void FN(add_node_gradient)(const struct FN(features) *x, ptrdiff_t n_out, REAL *nodes, REAL *sums, REAL *gradient)
{
    for (ptrdiff_t c = 0; c < x->n_columns; c++) {
        const struct column *column = &x->columns[c];
        if (column->kind != ENCODING_PIECEWISE_LINEAR)
            continue;
        REAL *g = gradient + column->offset * n_out, *node = nodes + column->offset * n_out;
        for (ptrdiff_t j = 0; j < n_out; j++)
            sums[j] = 0;
        for (ptrdiff_t k = 0; k < column->n; k++)
            for (ptrdiff_t j = 0; j < n_out; j++)
                sums[j] += node[k * n_out + j] / 2;
        for (ptrdiff_t k = 0; k < column->n; k++) {
            for (ptrdiff_t j = 0; j < n_out; j++) {
                sums[j] -= node[k * n_out + j];
                g[k * n_out + j] += sums[j];
                node[k * n_out + j] = 0;
            }
        }
    }
}

/* out[0..n) = start[0..n) + the product of a row, `x`, with the weights. vectors is a constant wherever this is inlined,
 * (vectors - 1) * LANES < n <= vectors * LANES. */
ALWAYS_INLINE void FN(encoded_product)(const int vectors, const struct FN(features) *columns, const REAL *x, const REAL *weight,
                                       const REAL *nodes, ptrdiff_t stride, const REAL *start, ptrdiff_t n, void *out, int real)
{
    const ptrdiff_t last = n - (vectors - 1) * LANES;
    VEC acc[ENCODED_VECTORS];
    UNROLL for (int j = 0; j < vectors; j++)
        acc[j] = FN(load_upto)(start + j * LANES, j == vectors - 1 ? last : LANES);
    for (ptrdiff_t c = 0; c < columns->n_columns; c++) {
        struct FN(entry) entry;
        if (!FN(entry_of)(&columns->columns[c], x[c], &entry))
            continue;
        const REAL *w = weight + entry.at * stride, *node = nodes + entry.at * stride;
        UNROLL for (int j = 0; j < vectors; j++) {
            const ptrdiff_t left = j == vectors - 1 ? last : LANES;
            acc[j] += entry.value * FN(load_upto)(w + j * LANES, left);
            if (entry.node)
                acc[j] += FN(load_upto)(node + j * LANES, left);
        }
    }
    UNROLL for (int j = 0; j < vectors; j++)
        FN(write_upto)(FN(skip)(out, real, j * LANES), real, acc[j], j == vectors - 1 ? last : LANES);
}

/* Add a row's share to the gradients of weights and nodes. */
ALWAYS_INLINE void FN(add_encoded_gradient)(const int vectors, const struct FN(features) *columns, const REAL *x,
                                            const STORED *delta, ptrdiff_t n, ptrdiff_t stride, REAL *gradient, REAL *nodes)
{
    const ptrdiff_t last = n - (vectors - 1) * LANES;
    VEC d[ENCODED_VECTORS];
    UNROLL for (int j = 0; j < vectors; j++)
        d[j] = FN(get_upto)(delta + j * LANES, j == vectors - 1 ? last : LANES);
    for (ptrdiff_t c = 0; c < columns->n_columns; c++) {
        struct FN(entry) entry;
        if (!FN(entry_of)(&columns->columns[c], x[c], &entry))
            continue;
        REAL *g = gradient + entry.at * stride, *node = nodes + entry.at * stride;
        UNROLL for (int j = 0; j < vectors; j++) {
            const ptrdiff_t left = j == vectors - 1 ? last : LANES;
            FN(store_upto)(g + j * LANES, FN(load_upto)(g + j * LANES, left) + entry.value * d[j], left);
            if (entry.node)
                FN(store_upto)(node + j * LANES, FN(load_upto)(node + j * LANES, left) + d[j], left);
        }
    }
}

/* Call body(vectors, first number, count) for n numbers in panels of nearly equal width. */
#define ENCODED_PANELS(n, BODY) \
    do { \
        const ptrdiff_t registers = ((n) + LANES - 1) / LANES, panels = (registers + ENCODED_VECTORS - 1) / ENCODED_VECTORS; \
        for (ptrdiff_t p = 0; p < panels; p++) { \
            const ptrdiff_t begin = registers * p / panels, vectors = registers * (p + 1) / panels - begin, j = begin * LANES; \
            const ptrdiff_t width = min_size(vectors * LANES, (n) - j); \
            switch (vectors) { \
                case 1: BODY(1); break; case 2: BODY(2); break; case 3: BODY(3); break; case 4: BODY(4); break; \
                case 5: BODY(5); break; case 6: BODY(6); break; case 7: BODY(7); break; case 8: BODY(8); break; \
            } \
        } \
    } while (0)

/* out (rows, n_out) = x[order[first + i]] @ weight + bias. */
static void FN(encoded_forward)(const struct FN(features) *x, const ptrdiff_t *order, ptrdiff_t first, ptrdiff_t rows,
                                const REAL *weight, const REAL *nodes, const REAL *bias, ptrdiff_t n_out, void *out,
                                ptrdiff_t out_stride, int real)
{
#define PRODUCT(v) FN(encoded_product)(v, x, row, weight + j, nodes + j, n_out, bias + j, width, FN(skip)(to, real, j), real)
    for (ptrdiff_t i = 0; i < rows; i++) {
        const REAL *row = x->values + (order ? order[first + i] : first + i) * x->n_columns;
        void *to = FN(skip)(out, real, i * out_stride);
        ENCODED_PANELS(n_out, PRODUCT);
    }
#undef PRODUCT
}

/* gradient (n_in, n_out) += x[order[first + i]].T @ delta (rows, n_out), the nodes' part apart. */
static void FN(encoded_gradient)(const struct FN(features) *x, const ptrdiff_t *order, ptrdiff_t first, ptrdiff_t rows,
                                 const STORED *delta, ptrdiff_t delta_stride, ptrdiff_t n_out, REAL *gradient, REAL *nodes)
{
#define ADD(v) FN(add_encoded_gradient)(v, x, row, from + j, width, n_out, gradient + j, nodes + j)
    for (ptrdiff_t i = 0; i < rows; i++) {
        const REAL *row = x->values + (order ? order[first + i] : first + i) * x->n_columns;
        const STORED *from = delta + i * delta_stride;
        ENCODED_PANELS(n_out, ADD);
    }
#undef ADD
}
