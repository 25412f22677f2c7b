/* The numbers of ../codes.py and the columns of the layer table, once more for the compiled code; a test compares them. */
#pragma once

enum activation_code { IDENTITY = 0, RELU = 1, SIGMOID = 2, TANH = 3, LINK_SOFTMAX = 4, LINK_EXP = 5 };
enum loss_code { SOFTMAX_CROSS_ENTROPY = 0, BINARY_CROSS_ENTROPY = 1, SQUARED_ERROR = 2, POISSON = 3 };
/* The training loop knows the optimizers up to ADAM; the others are only single updates. */
enum optimizer_code { SGD = 0, ADAM = 1, MOMENTUM = 2, RMSPROP = 3, ADAMW = 4 };
enum layer_column { N_IN = 0, N_OUT = 1, ACTIVATION = 2, OFFSET = 3, DROPOUT = 4, SEED = 5, STREAM = 6, LAYER_COLUMNS = 7 };
