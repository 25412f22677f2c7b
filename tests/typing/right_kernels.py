"""Right uses of the kernels and of Network: they run, and type checkers have nothing to say against them."""

from typing import assert_type

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from fastprop import Network, kernels
from fastprop.annotations import Floats
from fastprop.kernels import Kernels, linear_forward
from fastprop.kernels.annotations import Hyper
from fastprop.optim import SGD, Adam

rng = np.random.default_rng(0)
x, weight, bias = rng.normal(size=(10, 4)), rng.normal(size=(4, 3)), np.zeros(3)
labels = np.arange(10) % 3

a = linear_forward(x, weight, bias, "relu", n_threads=1)
assert_type(a, Floats)
dx, dweight, dbias = kernels.linear_backward(np.ones_like(a), x, weight, a, activation="relu")
dx.sum()
bits = np.zeros((10, 4), np.uint16)
of_bits = linear_forward(bits, weight.astype(np.float32), bias.astype(np.float32))
assert_type(of_bits, NDArray[np.uint16])
assert_type(kernels.softmax_cross_entropy_forward(a, labels), tuple[float, Floats])
assert_type(kernels.squared_error_forward(a, a.copy()), float)
kernels.activation_forward(x.astype(np.float32), "tanh", out=np.empty((10, 4), np.float32))

layers = kernels.layer_table([4, 5, 3], "tanh", "softmax", dropout=[(0.1, 0, 0)])
params = rng.normal(size=kernels.n_parameters(layers))
velocity = np.zeros((1, params.size))
order = rng.permutation(10)
hyper: Hyper = {"lr": 0.1}
mean = kernels.train_epoch(x, labels, order, layers, params, velocity, "softmax_cross_entropy", "sgd", hyper, batch_size=5)
assert_type(mean, float)
loss, gradient = kernels.network_loss_gradient(csr_array(x), labels, layers, params, "softmax_cross_entropy")
kernels.sgd_update(params, gradient, velocity[0], lr=0.1)
assert_type(kernels.load("reference"), Kernels)
assert_type(kernels.active.linear_forward(x, weight, bias), Floats)

network = Network([4, 5, 3], activation=["tanh"], loss="softmax_cross_entropy", dtype=np.float32)
network.initialize(np.random.RandomState(0))
data = network.training_set(x, labels, sample_weight=[1.0] * 10)
for optimizer in (Adam(network), SGD(network, momentum=0.9)):
    assert_type(network.train_epoch(data, order, optimizer, batch_size=5), float)
assert_type(network.forward(csr_array(x)), Floats)
assert_type(network.coefs, tuple[Floats, ...])
assert_type(Network.from_arrays([weight], [bias]).astype("float32"), Network)
