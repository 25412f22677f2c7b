# Whether the arrays of a call have the sizes that the call assumes. Another thread may have set the shape or dtype of an array
# since the caller's checks; from here until the GIL is released, none can. Included by core.pxi.

# Each of the arrays must have n items of a size.
cdef int check_sizes(str names, ptrdiff_t n, ptrdiff_t item, cnp.ndarray a, cnp.ndarray b=None, cnp.ndarray c=None,
                     cnp.ndarray d=None) except -1:
    cdef ptrdiff_t size = n * item
    if (cnp.PyArray_NBYTES(a) != size or (b is not None and cnp.PyArray_NBYTES(b) != size)
            or (c is not None and cnp.PyArray_NBYTES(c) != size) or (d is not None and cnp.PyArray_NBYTES(d) != size)):
        raise ValueError(f"{names} must have {n} items of {item} bytes; an array was given another shape or dtype after its check")
    return 0


# check_sizes() for an array that may be empty, which means "not given".
cdef int check_optional(str name, ptrdiff_t n, ptrdiff_t item, cnp.ndarray array) except -1:
    return check_sizes(name, n, item, array) if cnp.PyArray_SIZE(array) else 0


cdef int check_targets(cnp.ndarray labels, cnp.ndarray targets, cnp.ndarray sample_weight, ptrdiff_t rows, ptrdiff_t n_out,
                       ptrdiff_t item) except -1:
    check_optional("labels", rows, sizeof(ptrdiff_t), labels)
    check_optional("targets", rows * n_out, item, targets)
    check_optional("sample_weight", rows, item, sample_weight)
    return 0


# Check the rows of a network's table, the size of its parameters and, unless they are None, of its running statistics. Returns the
# number of outputs. No other code has the table: see ../checks.py.
cdef ptrdiff_t check_network(cnp.ndarray layers, cnp.ndarray params, cnp.ndarray buffers, bint direct) except -1:
    cdef const layer *table = <const layer *>cnp.PyArray_DATA(layers)
    cdef ptrdiff_t n = layers.shape[0], item = cnp.PyArray_ITEMSIZE(params), wrong
    check_sizes("layers", n, sizeof(layer), layers)
    wrong = wrong_row(table, n, direct)
    if wrong >= 0:
        raise ValueError(f"layers must be a table as layer_table() makes it; row {wrong} is not one of its kind")
    check_sizes("params", n_parameters(table, n), item, params)
    if buffers is not None:
        check_sizes("buffers", n_statistics(table, n), item, buffers)
    return table[n - 1].n_out


# Whether X is sparse or encoded: the first row then reads it itself.
cdef inline bint is_direct(cnp.ndarray indices, cnp.ndarray indptr) noexcept:
    return cnp.PyArray_SIZE(indptr) > 0 or cnp.PyArray_SIZE(indices) > 0


# The table of the columns of encoded rows, for n_in values. No other code has the table: see ../checks.py.
cdef int check_columns(cnp.ndarray columns, ptrdiff_t n_in) except -1:
    cdef ptrdiff_t wrong
    check_sizes("columns", columns.shape[0], sizeof(column), columns)
    wrong = wrong_column(<const column *>cnp.PyArray_DATA(columns), columns.shape[0], n_in)
    if wrong >= 0:
        raise ValueError(f"columns must be the encodings of {n_in} values without gaps; column {wrong} is not")
    return 0


# The number of a loss and its parameters.
cdef int check_loss(int loss, cnp.ndarray loss_hyper, ptrdiff_t n_out) except -1:
    check_code("loss", is_loss(loss), loss)
    return check_sizes("loss_hyper", n_loss_hyper(loss, n_out), sizeof(double), loss_hyper)


# Labels are for softmax cross-entropy alone.
cdef int check_given(int loss, ptrdiff_t rows, cnp.ndarray labels, cnp.ndarray targets) except -1:
    if rows and not cnp.PyArray_SIZE(targets) and not (loss == SOFTMAX_CROSS_ENTROPY and cnp.PyArray_SIZE(labels)):
        raise ValueError(f"targets must be given for loss number {loss}; they are empty")
    return 0


cdef int check_hyper(int optimizer, cnp.ndarray hyper) except -1:
    return check_sizes("hyper", N_COMMON_HYPER + OPTIMIZER_HYPER[optimizer], sizeof(double), hyper)
