# Made by ../generate.py from ../spec.py.

cdef extern from "engine.h":
    cdef struct layer:
        ptrdiff_t n_in, n_out, offset
    cdef struct column:
        ptrdiff_t n
    cdef struct rows:
        const void *x
        int real
        const void *indices
        const void *indptr
        int wide
        const column *columns
        ptrdiff_t n_columns
        ptrdiff_t n
        const ptrdiff_t *labels
        const void *targets
        const void *sample_weight
    cdef struct job:
        rows data
        const ptrdiff_t *orders
        ptrdiff_t n_epochs
        ptrdiff_t n_visits
        const layer *layers
        ptrdiff_t n_layers
        void *params
        void *buffers
        int loss
        const double *loss_hyper
        double gradient_scale
        double value_scale
        double smoothing
        double clip
        double alpha
        int optimizer
        const double *hyper
        const double *rates
        int exempt
        double clip_norm
        void *state
        ptrdiff_t *step
        double ema_decay
        void *average
        ptrdiff_t batch_size
        double *losses
        rows validation
        double *validation_losses
        double *best
        void *best_params
        void *best_buffers
    cdef struct kernels:
        int (*linear_forward)(const void *x, const void *weight, const void *bias, ptrdiff_t rows, ptrdiff_t n_in, ptrdiff_t n_out,
                              int activation, void *a, int n_threads) noexcept nogil
        int (*linear_backward)(const void *da, const void *x, const void *weight, const void *a, ptrdiff_t rows, ptrdiff_t n_in,
                               ptrdiff_t n_out, int activation, int accumulate, void *dx, void *dweight, void *dbias,
                               int n_threads) noexcept nogil
        void (*softmax_forward)(const void *logits, ptrdiff_t rows, ptrdiff_t n_out, void *probs, int n_threads) noexcept nogil
        void (*softmax_backward)(const void *dprobs, const void *probs, ptrdiff_t rows, ptrdiff_t n_out, void *dlogits,
                                 int n_threads) noexcept nogil
        int (*loss_forward)(int loss, const double *loss_hyper, const void *logits, const ptrdiff_t *labels, const void *targets,
                            const void *sample_weight, ptrdiff_t rows, ptrdiff_t n_out, void *outputs, double *loss_sum,
                            int n_threads) noexcept nogil
        void (*loss_backward)(int loss, const double *loss_hyper, const void *outputs, const ptrdiff_t *labels, const void *targets,
                              const void *sample_weight, double scale, ptrdiff_t rows, ptrdiff_t n_out, void *dlogits,
                              int n_threads) noexcept nogil
        void (*activation_forward)(const void *z, ptrdiff_t n, int activation, void *a, int n_threads) noexcept nogil
        void (*activation_backward)(const void *da, const void *a, ptrdiff_t n, int activation, void *dz,
                                    int n_threads) noexcept nogil
        void (*dropout)(const void *x, ptrdiff_t n, uint64_t key, uint32_t threshold, double scale, void *y,
                        int n_threads) noexcept nogil
        int (*all_finite)(const void *x, ptrdiff_t n, int n_threads) noexcept nogil
        void (*layer_norm_forward)(const void *x, const void *gamma, const void *beta, ptrdiff_t rows, ptrdiff_t n_units,
                                   double epsilon, void *y, void *mean, void *rstd, int n_threads) noexcept nogil
        void (*layer_norm_backward)(const void *dy, const void *x, const void *gamma, const void *mean, const void *rstd,
                                    ptrdiff_t rows, ptrdiff_t n_units, int accumulate, void *dx, void *dgamma, void *dbeta,
                                    int n_threads) noexcept nogil
        void (*batch_norm_forward)(const void *x, const void *gamma, const void *beta, ptrdiff_t rows, ptrdiff_t n_units,
                                   double epsilon, void *y, void *mean, void *rstd, int n_threads) noexcept nogil
        int (*batch_norm_backward)(const void *dy, const void *x, const void *gamma, const void *mean, const void *rstd,
                                   ptrdiff_t rows, ptrdiff_t n_units, int accumulate, void *dx, void *dgamma, void *dbeta,
                                   int n_threads) noexcept nogil
        void (*batch_norm_inference)(const void *x, const void *gamma, const void *beta, const void *running_mean,
                                     const void *running_var, ptrdiff_t rows, ptrdiff_t n_units, double epsilon, void *y,
                                     int n_threads) noexcept nogil
        void (*update)(int optimizer, void *params, const void *grad, void *slot_1, void *slot_2, const double *hyper,
                       ptrdiff_t step, ptrdiff_t n, int n_threads) noexcept nogil
        ptrdiff_t (*packed_bytes)(const layer *layers, ptrdiff_t n_layers, int int8) noexcept nogil
        void (*pack)(const layer *layers, ptrdiff_t n_layers, const void *params, const int8_t *codes, const float *scales,
                     void *panels) noexcept nogil
        int (*network_forward)(const rows *x, const layer *layers, ptrdiff_t n_layers, const void *params, const void *buffers,
                               const void *panels, int int8, void *outputs, int n_threads) noexcept nogil
        int (*network_loss_gradient)(const rows *data, const layer *layers, ptrdiff_t n_layers, const void *params, int loss,
                                     const double *loss_hyper, double alpha, double clip, void *gradient, double *loss_mean,
                                     int n_threads) noexcept nogil
        int (*train_epochs)(const job *job, int n_threads) noexcept nogil
        int (*batch_sums)(const job *job, ptrdiff_t first_row, void *sums, int n_threads) noexcept nogil
        int (*apply_sums)(const job *job, const void *sums, int n_threads) noexcept nogil
