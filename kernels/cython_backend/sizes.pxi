# Whether the arrays of a call have the sizes that it goes by. The caller's checks are over, and another thread may have set the
# shape or dtype of an array since; from here until the GIL is released nobody can. Included by core.pxi.

# Each of the arrays must have n items of a size.
cdef int check_sizes(str names, ptrdiff_t n, ptrdiff_t item, cnp.ndarray a, cnp.ndarray b=None, cnp.ndarray c=None,
                     cnp.ndarray d=None) except -1:
    cdef ptrdiff_t size = n * item
    if (cnp.PyArray_NBYTES(a) != size or (b is not None and cnp.PyArray_NBYTES(b) != size)
            or (c is not None and cnp.PyArray_NBYTES(c) != size) or (d is not None and cnp.PyArray_NBYTES(d) != size)):
        raise ValueError(f"{names} must have {n} items of {item} bytes; an array was given another shape or dtype after its check")
    return 0


# The same where the array may be empty, which means "not given".
cdef int check_optional(str name, ptrdiff_t n, ptrdiff_t item, cnp.ndarray array) except -1:
    return check_sizes(name, n, item, array) if cnp.PyArray_SIZE(array) else 0


cdef int check_targets(cnp.ndarray labels, cnp.ndarray targets, cnp.ndarray sample_weight, ptrdiff_t rows, ptrdiff_t n_out,
                       ptrdiff_t item) except -1:
    check_optional("labels", rows, sizeof(ptrdiff_t), labels)
    check_optional("targets", rows * n_out, item, targets)
    check_optional("sample_weight", rows, item, sample_weight)
    return 0


# A network's rows and parameters; returns the number of its outputs. The layer table is the kernels' own: see ../checks.py.
cdef ptrdiff_t check_network(cnp.ndarray x, cnp.ndarray indptr, ptrdiff_t rows, cnp.ndarray layers, cnp.ndarray params) except -1:
    cdef const ptrdiff_t *first = <const ptrdiff_t *>cnp.PyArray_DATA(layers)
    cdef const ptrdiff_t *last = first + (layers.shape[0] - 1) * LAYER_COLUMNS
    if not cnp.PyArray_SIZE(indptr):
        check_sizes("x", rows * first[N_IN], cnp.PyArray_ITEMSIZE(x), x)
    check_sizes("params", last[OFFSET] + (last[N_IN] + 1) * last[N_OUT], cnp.PyArray_ITEMSIZE(x), params)
    return last[N_OUT]
