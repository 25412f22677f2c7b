"""Rules about the source: who imports whom, who may name an instruction set, equal signatures, help that helps."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import fastprop
from fastprop import kernels
from fastprop.kernels import dispatch

KERNELS = Path(kernels.__file__).parent
FASTPROP = Path(fastprop.__file__).parent
CHECKOUT = Path(__file__).parents[2]

SIGNATURES = {
    "linear_forward": "(x, weight, bias, activation='identity', out=None, n_threads=1)",
    "linear_backward": "(da, x, weight, a, activation='identity', need_dx=True, accumulate=False, dx=None, dweight=None, "
    "dbias=None, n_threads=1)",
    "activation_forward": "(z, activation, out=None, n_threads=1)",
    "activation_backward": "(da, a, activation, out=None, n_threads=1)",
    "dropout_forward": "(x, rate, seed, stream=0, out=None, n_threads=1)",
    "dropout_backward": "(dy, rate, seed, stream=0, out=None, n_threads=1)",
    "layer_norm_forward": "(x, gamma, beta, epsilon=1e-05, y=None, mean=None, rstd=None, n_threads=1)",
    "layer_norm_backward": "(dy, x, gamma, mean, rstd, accumulate=False, dx=None, dgamma=None, dbeta=None, n_threads=1)",
    "batch_norm_forward": "(x, gamma, beta, epsilon=1e-05, y=None, mean=None, rstd=None, n_threads=1)",
    "batch_norm_backward": "(dy, x, gamma, mean, rstd, accumulate=False, dx=None, dgamma=None, dbeta=None, n_threads=1)",
    "batch_norm_inference": "(x, gamma, beta, running_mean, running_var, epsilon=1e-05, out=None, n_threads=1)",
    "softmax_forward": "(logits, out=None, n_threads=1)",
    "softmax_backward": "(dprobs, probs, out=None, n_threads=1)",
    "softmax_cross_entropy_forward": "(logits, targets, sample_weight=None, out=None, n_threads=1)",
    "softmax_cross_entropy_backward": "(probs, targets, sample_weight=None, scale=1.0, out=None, n_threads=1)",
    "binary_cross_entropy_forward": "(logits, targets, sample_weight=None, out=None, n_threads=1)",
    "binary_cross_entropy_backward": "(probs, targets, sample_weight=None, scale=1.0, out=None, n_threads=1)",
    "squared_error_forward": "(predictions, targets, sample_weight=None, n_threads=1)",
    "squared_error_backward": "(predictions, targets, sample_weight=None, scale=1.0, out=None, n_threads=1)",
    "poisson_forward": "(log_rates, targets, sample_weight=None, out=None, n_threads=1)",
    "poisson_backward": "(rates, targets, sample_weight=None, scale=1.0, out=None, n_threads=1)",
    "absolute_error_forward": "(predictions, targets, sample_weight=None, n_threads=1)",
    "absolute_error_backward": "(predictions, targets, sample_weight=None, scale=1.0, out=None, n_threads=1)",
    "huber_forward": "(predictions, targets, sample_weight=None, delta=1.0, n_threads=1)",
    "huber_backward": "(predictions, targets, sample_weight=None, delta=1.0, scale=1.0, out=None, n_threads=1)",
    "quantile_forward": "(predictions, targets, sample_weight=None, quantile=0.5, n_threads=1)",
    "quantile_backward": "(predictions, targets, sample_weight=None, quantile=0.5, scale=1.0, out=None, n_threads=1)",
    "gamma_forward": "(log_means, targets, sample_weight=None, out=None, n_threads=1)",
    "gamma_backward": "(means, targets, sample_weight=None, scale=1.0, out=None, n_threads=1)",
    "tweedie_forward": "(log_means, targets, sample_weight=None, power=1.5, out=None, n_threads=1)",
    "tweedie_backward": "(means, targets, sample_weight=None, power=1.5, scale=1.0, out=None, n_threads=1)",
    "sgd_update": "(params, grad, velocity, lr, momentum=0.9, nesterov=True, l2=0.0, n_threads=1)",
    "momentum_update": "(params, grad, velocity, lr, momentum=0.9, nesterov=False, l2=0.0, n_threads=1)",
    "rmsprop_update": "(params, grad, square_avg, lr, alpha=0.99, epsilon=1e-08, l2=0.0, n_threads=1)",
    "adamw_update": "(params, grad, m, v, lr, beta_1=0.9, beta_2=0.999, epsilon=1e-08, step=1, weight_decay=0.01, l2=0.0, "
    "n_threads=1)",
    "adam_update": "(params, grad, m, v, lr, beta_1=0.9, beta_2=0.999, epsilon=1e-08, step=1, l2=0.0, n_threads=1)",
    "network_forward": "(x, layers, params, out=None, n_threads=1, buffers=None)",
    "network_loss_gradient": "(x, targets, layers, params, loss, alpha=0.0, sample_weight=None, clip=0.0, out=None, n_threads=1, "
    "loss_hyper=None)",
    "train_epoch": "(x, targets, order, layers, params, state, loss, optimizer='adam', hyper=None, alpha=0.0, batch_size=200, "
    "step=0, sample_weight=None, clip=0.0, n_threads=1, buffers=None, loss_hyper=None)",
}


@pytest.mark.parametrize("path", sorted(KERNELS.rglob("*.py")), ids=lambda path: str(path.relative_to(KERNELS)))
def test_kernels_import_nothing_of_fastprop_above_them(path):
    depth = len(path.relative_to(KERNELS).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= depth, f"line {node.lineno} imports from above the package"
            names = [] if node.level else [node.module]
        else:
            continue
        tops = {name.partition(".")[0] for name in names}
        assert not tops & {"fastprop", "kernels", "sklearn"}, f"line {node.lineno} imports {tops}"


def test_only_dispatch_names_an_instruction_set():
    names = re.compile("|".join(isa for isa in dispatch.ISAS if isa != "baseline"))
    sources = [*KERNELS.glob("*.py"), *(path for path in FASTPROP.rglob("*.py") if KERNELS not in path.parents)]
    sources = [
        path for path in sources if "kernels" not in path.relative_to(FASTPROP if FASTPROP in path.parents else KERNELS).parts
    ]
    naming = {path.name for path in [*sources, *KERNELS.glob("*.py")] if names.search(path.read_text())}
    assert naming == {"dispatch.py"}


@pytest.mark.parametrize("name", SIGNATURES)
def test_public_signatures_and_help(name):
    function = getattr(kernels, name)
    signature = inspect.signature(function)
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    assert str(inspect.Signature(bare)) == SIGNATURES[name]
    text = inspect.getdoc(function)
    assert "{" not in text.replace("{'", "")
    for section in ("Parameters\n------", "Raises\n------"):
        assert section in text
    headers = [line.partition(" : ")[0] for line in text.splitlines() if not line.startswith(" ")]
    documented = {name for line in headers for name in line.split(", ")}
    assert set(inspect.signature(function).parameters) <= documented


def test_the_contents_page_is_complete():
    assert set(SIGNATURES) <= set(kernels.__all__)
    assert sorted(kernels.__all__) == kernels.__all__
    assert all(hasattr(kernels, name) for name in kernels.__all__)
    methods = {name for name, _ in inspect.getmembers(kernels.Kernels, inspect.isfunction) if not name.startswith("_")}
    assert methods == set(SIGNATURES)
    assert all(getattr(kernels, name).__self__ is kernels.active for name in SIGNATURES)
