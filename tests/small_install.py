"""A script: what fastprop can do with NumPy alone, and what it says about the rest.

    python small_install.py [module ...]

Imports of the modules fail as if they were not installed; without arguments, those of all that a small install may lack. The last
line is the size of what a small install consists of.
"""

import sys
import tempfile
from pathlib import Path

MISSING = ("sklearn", "scipy", "joblib", "threadpoolctl", "matplotlib")


def hide(names):
    """Let imports of these modules fail as if they were not installed."""

    class Hidden:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name.partition(".")[0] in names:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Hidden)


def every_public_name_is_there():
    import fastprop
    from fastprop import collective, inspection, kernels, nn, optim

    for module in (collective, inspection, kernels, nn, optim):
        assert all(getattr(module, name) is not None for name in module.__all__)
    for name in ("LossCurveDisplay", "Network", "fit_many", "patch_sklearn", "show_config", "unpatch_sklearn"):
        assert getattr(fastprop, name) is not None
    fastprop.show_config()


def data():
    import numpy as np

    x = np.random.default_rng(0).normal(size=(400, 8))
    return x, (x[:, 0] * x[:, 1] > 0).astype(np.intp)


def a_network_learns():
    import numpy as np

    from fastprop import Network, optim

    x, y = data()
    rng = np.random.default_rng(0)
    network = Network([8, 32, 2], activation="tanh")
    network.initialize(rng)
    optimizer, rows = optim.Adam(network, lr=0.01), network.training_set(x, y)
    for _ in range(100):
        loss = network.train_epoch(rows, rng.permutation(len(x)), optimizer, batch_size=50)
    assert loss < 0.2
    assert (network.forward(x).argmax(axis=1) == y).mean() > 0.95


def layers_learn_and_are_stored():
    import numpy as np

    from fastprop import nn

    x, y = data()
    model = nn.Sequential(nn.Linear(8, 32, activation="relu", random_state=0), nn.LayerNorm(32), nn.Linear(32, 2, random_state=1))
    optimizer = nn.Adam(model.parameters(), lr=0.01)
    history = model.fit(x, y, nn.SoftmaxCrossEntropy(), optimizer, epochs=60, batch_size=50, random_state=0)
    assert history["loss"][-1] < 0.2
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.npz")
        again = nn.load(Path(folder) / "model.npz")
    np.testing.assert_array_equal(again.eval()(x), model.eval()(x))


def a_large_step_gets_threads():
    """From here on cores are counted."""
    from fastprop.threads import available_cores, effective_n_threads

    assert 1 <= available_cores() == effective_n_threads(-1)


def gradients_are_checked():
    import numpy as np

    from fastprop import inspection, nn

    x, y = data()
    model, loss = nn.mlp([8, 5, 2], activation="tanh", random_state=0), nn.SoftmaxCrossEntropy()
    assert inspection.check_gradients(model, loss, x[:6], y[:6]).verdict == "correct"
    assert inspection.trace_forward(model, x[:6])
    assert inspection.activation_statistics(model, x[:6])
    p = np.array([[0.5, 0.5, 0.0]])
    np.testing.assert_allclose(inspection.entropy(p), np.log(2))
    np.testing.assert_allclose(inspection.kl_divergence(p, p[:, ::-1]), np.inf)


def the_rest_says_what_to_install():
    from fastprop import inspection, patch_sklearn

    def error_of(code):
        try:
            exec(code, {"patch_sklearn": patch_sklearn, "inspection": inspection})
        except ImportError as error:
            return error
        raise AssertionError(f"{code!r} needs no scikit-learn")

    for code in (
        "from fastprop import MLPClassifier",
        "from fastprop import TabularRegressor",
        "from fastprop import to_sklearn",
        "from fastprop.estimators import MLPRegressor",
        "from fastprop.preprocessing import TabularEncoder",
        "from fastprop import export",
        "import fastprop.dask",
        "patch_sklearn()",
        "inspection.input_gradients(None, [[0.0]])",
    ):
        error = error_of(code)
        assert error.name == "sklearn", code
        assert "need scikit-learn, which is not installed: pip install scikit-learn" in str(error), code


def sizes():
    """Megabytes of fastprop, of NumPy and of the libraries in NumPy's wheel."""
    import numpy

    import fastprop

    def size(*folders):
        files = {path for folder in folders for path in folder.rglob("*") if path.is_file() and path.parent.name != "__pycache__"}
        return sum(path.stat().st_size for path in files) / 1e6

    ours, kernels, theirs = (Path(module.__file__).parent for module in (fastprop, fastprop.kernels, numpy))
    return {"fastprop": size(ours, kernels), "NumPy": size(theirs), "NumPy's libraries": size(theirs.with_name("numpy.libs"))}


def main(missing):
    hide(missing)
    every_public_name_is_there()
    a_network_learns()
    layers_learn_and_are_stored()
    a_large_step_gets_threads()
    gradients_are_checked()
    the_rest_says_what_to_install()
    assert not {name.partition(".")[0] for name in sys.modules} & set(missing)
    print(*(f"{name} {size:.1f} MB" for name, size in sizes().items()), sep=", ")


if __name__ == "__main__":
    main(sys.argv[1:] or MISSING)
