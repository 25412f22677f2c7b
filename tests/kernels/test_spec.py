"""The specification: every back end has what it lists and nothing else computes, and a name stands in few files."""

import ast
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import fastprop
from fastprop import kernels
from fastprop.kernels import spec
from fastprop.kernels.checks import NO_INDICES, NO_LABELS, loss_hyper, private
from fastprop.kernels.int8 import NO_CODES, NO_SCALES
from fastprop.kernels.job import new_job

KERNELS, FASTPROP = Path(kernels.__file__).parent, Path(fastprop.__file__).parent

# What one more of each costs, as CONTRIBUTING.md walks through it: the files whose code names it, beside tests and documentation.
GENERATED = {f"kernels/cython_backend/{name}" for name in ("spec.h", "spec.pxi", "api.pxi")}
LISTS = {"kernels/spec.py", "kernels/annotations.py"}
FILES = {
    "activations": LISTS
    | GENERATED
    | {
        "kernels/reference/activations.py",
        "kernels/numba_backend/activations.py",
        "kernels/cython_backend/activations.h",
        # as a layer, as a function in formulas, and among the public names
        "fastprop/nn/activations.py",
        "fastprop/nn/functional.py",
        # if its derivative is often written as a function of a; if other packages have another name for it
        "fastprop/inspection/affine_chain.py",
        "fastprop/nn/arguments.py",
        "fastprop/nn/__init__.py",
        # in the estimators, as nodes of ONNX, and in exported C and Python
        "fastprop/estimators/weights.py",
        "fastprop/onnx/activations.py",
        "fastprop/export/activations.py",
        "fastprop/export/python_runtime.py",
    },
    "optimizers": LISTS
    | GENERATED
    | {
        "kernels/reference/updates.py",
        "kernels/numba_backend/optimizers.py",
        "kernels/cython_backend/optimizer.h",
        # as a public kernel
        "kernels/public_updates.py",
        "kernels/__init__.py",
        # as an object
        "fastprop/optim/__init__.py",
        "fastprop/optim/rules.py",
        "fastprop/nn/__init__.py",
        # as a solver of the estimators
        "fastprop/estimators/schedules.py",
        "fastprop/estimators/parameters.py",
    },
    "losses": LISTS
    | GENERATED
    | {
        "kernels/reference/losses.py",
        "kernels/numba_backend/losses.py",
        "kernels/cython_backend/losses.h",
        # as a public kernel, and what its targets must be
        "kernels/public_losses.py",
        "kernels/public_regression.py",
        "kernels/__init__.py",
        "kernels/checks.py",
        "fastprop/network.py",
        # as an object
        "fastprop/nn/losses.py",
        "fastprop/nn/__init__.py",
        # as a parameter of the estimators
        "fastprop/estimators/regressor.py",
        "fastprop/estimators/weights.py",
        # what its curves are called, and its link in ONNX
        "fastprop/inspection/fitted_curves.py",
        "fastprop/onnx/graph.py",
    },
    "kinds": {
        "kernels/spec.py",
        "kernels/layer_table.py",
        "kernels/checks.py",
        "kernels/reference/network.py",
        "kernels/numba_backend/program.py",
        "kernels/numba_backend/network.py",
        "kernels/numba_backend/batch.py",
        "kernels/cython_backend/spec.h",
        # the kind itself, and where it is put among the others
        "kernels/cython_backend/kind_layer_norm.h",
        "kernels/cython_backend/per_real.h",
        "kernels/cython_backend/passes.h",
        "kernels/cython_backend/plan.h",
        "kernels/cython_backend/network.h",
        # as a layer
        "fastprop/nn/normalization.py",
        "fastprop/nn/__init__.py",
        # beside activations of the user's in the estimators
        "fastprop/nn/layered.py",
        # as a step of prediction, which becomes nodes of ONNX, C and Python
        "fastprop/export/steps.py",
        "fastprop/onnx/graph.py",
        "fastprop/export/c_functions.py",
        "fastprop/export/python_runtime.py",
    },
}
# The recipe of the estimators for tables: it names what it takes, and knows nothing of others.
RECIPE = {f"fastprop/tabular/{name}.py" for name in ("members", "recipe", "regressor")}
# The section of CONTRIBUTING.md about each
SECTIONS = {"activations": "An activation", "optimizers": "An optimizer", "losses": "A loss", "kinds": "A kind of layer"}
CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"
# Names that mean nothing else in a source.
NAMES = {
    "activations": ["leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus"],
    "optimizers": ["rmsprop", "adamw"],
    "losses": ["poisson", "absolute_error", "huber", "tweedie"],
}


def test_numbers_are_unique():
    for table in (spec.ACTIVATION_CODES, spec.LINKS, spec.LOSS_CODES, spec.OPTIMIZER_CODES, spec.KINDS):
        assert len(set(table.values())) == len(table)
    for table in (spec.ACTIVATION_CODES, spec.LOSS_CODES, spec.OPTIMIZER_CODES, spec.KINDS):
        assert sorted(table.values()) == list(range(len(table)))  # C knows the numbers of entries
    shared = set(spec.ACTIVATION_CODES.values()) & set(spec.LINKS.values())
    assert {name for name, code in spec.LINKS.items() if code in shared} == {"identity", "sigmoid"}
    assert all(spec.ACTIVATION_CODES[name] == spec.LINKS[name] for name in ("identity", "sigmoid"))


def test_a_row_of_a_layer_table_is_a_structure_without_gaps():
    assert spec.LAYER.itemsize == 8 * len(spec.LAYER_FIELDS)
    assert all(dtype in (np.int64, np.float64) for dtype in spec.LAYER_FIELDS.values())


def test_job_begins_with_its_rows_and_validation_has_the_same():
    assert spec.Job._fields[: len(spec.Rows._fields)] == spec.Rows._fields
    validation = [name for name in spec.Job._fields if name.startswith("validation_")]
    expected = [f"validation_{name}" for name in ("x", "indices", "indptr", "labels", "targets", "weight", "losses")]
    assert validation == expected


def test_raw_functions_are_those_of_the_specification(backend):
    for name, parameters in spec.RAW.items():
        function = getattr(backend.raw, name)
        function = getattr(function, "py_func", function)
        assert list(inspect.signature(function).parameters) == parameters.split(), name


def test_a_back_end_in_python_has_no_other_functions():
    for name in ("numba", "reference"):
        try:
            raw = kernels.load(name).raw
        except ImportError:
            continue
        assert set(raw.__all__) == set(spec.RAW), name


# Who names what


def code_of(path):
    """A source without comments and docstrings."""
    text = path.read_text()
    if path.suffix != ".py":
        return re.sub(
            r"/\*.*?\*/|(?<!:)//[^\n]*|(?m:^\s*#(?!\s*(define|include|if|el|end|undef|pragma))[^\n]*)", "", text, flags=re.S
        )
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            body[0].value.value = ""
    return ast.unparse(tree)


@pytest.fixture(scope="module")
def sources():
    """The code of every source, by its path from the root of a checkout; not what Cython makes."""
    found = {}
    for root, name in ((KERNELS, "kernels"), (FASTPROP, "fastprop")):
        for path in root.rglob("*"):
            inner = path.relative_to(root)
            if path.suffix in (".py", ".pyi", ".h", ".pyx", ".pxi", ".pxd") and not (
                name == "fastprop" and "kernels" in inner.parts
            ):
                found[f"{name}/{inner.as_posix()}"] = code_of(path)
    return found


@pytest.mark.parametrize("table", NAMES)
def test_a_name_stands_in_few_files(sources, table):
    """The number of files to touch for one more is that of this test's table."""
    for name in NAMES[table]:
        # In any spelling: leaky_relu, LEAKY_RELU, LeakyReLU; as a part of a name only between underscores.
        pattern = re.compile(rf"(?<![a-z]){name.replace('_', '_?')}(?![a-z])", re.IGNORECASE)
        naming = {path for path, code in sources.items() if pattern.search(code)} - RECIPE
        assert naming <= FILES[table], f"{name}: {sorted(naming - FILES[table])}"
        assert {"kernels/spec.py", "kernels/annotations.py"} <= naming
        for folder in ("reference", "numba_backend"):
            files = [path for path in naming if path.startswith(f"kernels/{folder}/")]
            assert len(files) == 1, f"{name}: {files}"
        by_hand = [path for path in naming - GENERATED if path.startswith("kernels/cython_backend/")]
        assert len(by_hand) == 1, f"{name}: {by_hand}"


def test_a_kind_of_layer_stands_in_few_files(sources):
    """Layer norm as a row of programs; `layer_norm_forward` and `layer_norm_backward` are kernels besides."""
    as_row = (
        r"""KIND_LAYER_NORM\b|\bLAYER_NORM\b|['"]layer_norm['"]|\b_layer_norm_|[. ]layer_norm\(|layer_norm_layer|kind_layer_norm"""
    )
    naming = {path for path, code in sources.items() if re.search(rf"{as_row}|\bLayerNorm\b", code)}
    assert naming == FILES["kinds"]


@pytest.fixture(scope="module")
def walks():
    """The sections of CONTRIBUTING.md, by their titles."""
    if not CONTRIBUTING.exists():
        pytest.skip("CONTRIBUTING.md is not beside the tests")
    parts = re.split(r"^###? (.+)$", CONTRIBUTING.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("table", FILES)
def test_the_walk_names_all_files(walks, table):
    named = re.findall(r"`([\w/]+/[\w.]+)`", walks[SECTIONS[table]])
    assert named, SECTIONS[table]
    assert set(named) >= FILES[table] - GENERATED
    for path in named:
        assert (CONTRIBUTING.parent / path).exists(), path


@pytest.mark.parametrize("section", SECTIONS.values())
def test_the_walk_shows_lines_of_the_tree(walks, section):
    """Each line of an example is in a file that its step names."""
    n_lines = 0
    for step in re.split(r"^\d\. ", walks[section], flags=re.MULTILINE):
        files = [CONTRIBUTING.parent / path for path in re.findall(r"`([\w/]+/[\w.]+)`", step)]
        known = {line.strip() for path in files for line in path.read_text(encoding="utf-8").splitlines()}
        shown = "\n".join(re.findall(r"^ *```(?:python|c)\n(.*?)^ *```$", step, re.MULTILINE | re.DOTALL))
        unknown = {line.strip() for line in shown.splitlines()} - known
        assert not unknown, step
        n_lines += len(shown.splitlines())
    assert n_lines


# Numbers, known and unknown


@pytest.fixture
def arrays(draw, dtype):
    """New arrays for a raw call of each function that takes a number of the specification: name -> dict of its arguments.

    Integers and layer tables are read-only, as the public kernels make them, which to Numba is a type.
    """
    n, n_in, n_out = 4, 3, 3
    layers = private(kernels.LayerProgram(n_in).linear(n_out).activation("tanh").linear(n_out).link("softmax"))
    params, outputs = draw(kernels.n_parameters(layers)), draw(n, n_out)
    nothing, no_targets = np.empty(0, dtype), np.empty((0, 0), dtype)
    rows = {"x": draw(n, n_in), "indices": NO_INDICES, "indptr": NO_INDICES}
    targets = {"labels": private(np.array([0, 2, 1, 1])), "targets": no_targets, "sample_weight": nothing}
    network = {"layers": layers, "params": params, "buffers": nothing}
    plain = {"bfloat16": False, "codes": NO_CODES, "scales": NO_SCALES}
    weight, bias = draw(n_in, n_out), draw(n_out)
    softmax = {"loss": spec.LOSS_CODES["softmax_cross_entropy"], "loss_hyper": np.empty(0)}
    backward = {"accumulate": False, "dx": draw(n, n_in), "dweight": draw(n_in, n_out), "dbias": draw(n_out)}
    problem = {"layers": layers, "params": params, **softmax, "alpha": 0.0, "clip": 0.0, "gradient": draw(len(params))}
    optimizer = {"optimizer": spec.OPTIMIZER_CODES["momentum"], "hyper": np.array([0.1, 0.0, 0.0, 0.9, 0.0])}
    update = {"params": draw(9), "grad": draw(9), "slot_1": np.abs(draw(9)), "slot_2": np.abs(draw(9))}
    return {
        "linear_forward": {"x": draw(n, n_in), "weight": weight, "bias": bias, "activation": 0, "a": outputs},
        "linear_backward": {"da": draw(n, n_out), "x": draw(n, n_in), "weight": weight, "a": outputs, "activation": 0} | backward,
        "activation_forward": {"z": draw(n, n_out), "activation": 0, "a": outputs},
        "activation_backward": {"da": draw(n, n_out), "a": outputs, "activation": 0, "dz": draw(n, n_out)},
        "loss_forward": softmax | {"logits": draw(n, n_out), **targets, "outputs": outputs},
        "loss_backward": softmax | {"outputs": outputs, **targets, "scale": 1.0, "dlogits": draw(n, n_out)},
        "update": optimizer | update | {"step": 1},
        "network_forward": rows | network | {"outputs": outputs},
        "bind_forward": {"x": rows["x"]} | network | plain | {"outputs": outputs},
        "network_loss_gradient": rows | targets | problem,
        "train_epochs": rows
        | targets
        | network
        | softmax
        | optimizer
        | {
            "orders": private(np.arange(n)[None]),
            "state": np.abs(draw(1, len(params))),
            "step": np.zeros(1, np.intp),
            "batch_size": 2,
        }
        | {"losses": np.zeros(1)},
    }


# What takes a job, or jobs, of the same arrays.
OF_JOBS = {
    "train_epochs": lambda job, sums: (job,),
    "train_jobs": lambda job, sums: ([job],),
    "batch_sums": lambda job, sums: (job, 0, sums),
    "apply_sums": lambda job, sums: (job, sums),
}


def cases(arrays):
    """[(name of a function, its arguments)], with all functions of jobs."""
    return [*arrays.items(), *((name, arrays["train_epochs"]) for name in OF_JOBS if name not in arrays)]


def called(backend, name, given, n_threads=1):
    """The raw function on these arguments; a job is made of those of the training loop, and what is bound is called."""
    if name in OF_JOBS:
        fields = dict(given)
        job = new_job(spec.Rows(*(fields.pop(field) for field in spec.Rows._fields)), fields.pop("params"), **fields)
        sums = np.ones(len(job.params) + 2, job.params.dtype)
        return getattr(backend.raw, name)(*OF_JOBS[name](job, sums), n_threads)
    result = getattr(backend.raw, name)(*(given[parameter] for parameter in spec.RAW[name].split()[:-1]), n_threads)
    return result() if name == "bind_forward" else result


TABLES = {"activation": spec.ACTIVATION_CODES, "loss": spec.LOSS_CODES, "optimizer": spec.OPTIMIZER_CODES}
# A number beyond the table is likely that of something new; others come from an uninitialised or a wrong array.
UNKNOWN = [-1, 50, 99, 2**31 - 1]
WITH_NUMBERS = sorted({*TABLES, "layers", "job", "jobs"})


def test_the_cases_are_all_functions_that_take_a_number(arrays):
    taking = {name for name, parameters in spec.RAW.items() if set(parameters.split()) & set(WITH_NUMBERS)}
    assert taking == {*arrays, *OF_JOBS}


def altered(given, changes):
    """The arguments with other numbers, the fields of rows of the layer table under (row, field)."""
    given = given | {name: value for name, value in changes.items() if isinstance(name, str)}
    if "layers" in given:
        given["layers"] = given["layers"].copy()
        for place, value in changes.items():
            if not isinstance(place, str):
                given["layers"][place[1]][place[0]] = value
        given["layers"] = private(given["layers"])
    return given


def refuses(backend, name, given, message=None):
    kept = {key: value.tobytes() for key, value in given.items() if isinstance(value, np.ndarray)}
    for n_threads in (1, 2):
        with pytest.raises((ValueError, TypeError), match=message):
            called(backend, name, given, n_threads)
        for key, value in kept.items():
            assert given[key].tobytes() == value, f"{name} changed {key}"


@pytest.mark.other_types
def test_unknown_numbers_are_refused_and_change_nothing(backend, arrays):
    for name, given in cases(arrays):
        for parameter in set(TABLES) & set(given):
            others = set(spec.LINKS.values()) - set(TABLES["activation"].values()) if parameter == "activation" else ()
            for number in (*UNKNOWN, len(TABLES[parameter]), *others):
                refuses(backend, name, altered(given, {parameter: number}))


@pytest.mark.other_types
def test_unknown_numbers_in_layer_tables_are_refused_and_change_nothing(backend, arrays):
    hidden, link = (1, "code"), (-1, "code")
    relu = spec.ACTIVATION_CODES["relu"]
    changes = [{(i, "kind"): number} for i in (0, 1) for number in (*UNKNOWN, len(spec.KINDS))]
    changes += [{hidden: number} for number in (*UNKNOWN, len(spec.ACTIVATIONS), spec.LINKS["softmax"], spec.LINKS["exp"])]
    changes += [{link: number} for number in (*UNKNOWN, relu, spec.ACTIVATION_CODES["gelu"])]
    for name, given in cases(arrays):
        if "layers" not in given:
            continue
        for change in changes:
            if link in change and name not in ("network_forward", "bind_forward"):
                continue  # in training the link is the loss's
            refuses(backend, name, altered(given, change))


@pytest.mark.other_types
def test_another_number_of_parameters_of_a_loss_is_refused_and_changes_nothing(backend, arrays):
    dense = {"labels": NO_LABELS, "targets": np.ones_like(arrays["loss_forward"]["outputs"])}
    for name, given in cases(arrays):
        for loss in spec.LOSSES.values() if "loss" in given else ():
            for n in set(range(4)) - {spec.n_loss_hyper(loss, 3)}:
                wrong = {"loss": loss.code, "loss_hyper": np.full(n, 0.5)}
                refuses(backend, name, altered(given | dense, wrong), "loss_hyper must have")


def test_every_number_is_known(backend, arrays, dtype):
    """What they compute is for the other tests; here it is finite and not what another number gives."""
    for parameter, name, output in (("activation", "activation_forward", "a"), ("optimizer", "update", "params")):
        results = set()
        for code in TABLES[parameter].values():
            given = {key: value.copy() if isinstance(value, np.ndarray) else value for key, value in arrays[name].items()}
            if parameter == "optimizer":
                own = next(entry.hyper for entry in spec.OPTIMIZERS.values() if entry.code == code)
                own = own | ({"epsilon": 0.1} if "epsilon" in own else {})
                given["hyper"] = np.array([0.1, 0.01, 0.0, *map(float, own.values())])
            called(backend, name, given | {parameter: code})
            assert np.isfinite(given[output]).all()
            results.add(given[output].tobytes())
        assert len(results) == len(TABLES[parameter])
    dense = {"labels": NO_LABELS, "targets": np.full((4, 3), 0.25, dtype)}
    sums = set()
    for loss in spec.LOSSES.values():
        given = {"loss": loss.code, "loss_hyper": loss_hyper(loss, None, 3)}
        sums.add(called(backend, "loss_forward", arrays["loss_forward"] | dense | given))
    assert np.isfinite(list(sums)).all()
    assert len(sums) == len(spec.LOSSES)
    links = {}
    for link in spec.LINKS:
        layers = kernels.LayerProgram(3).linear(3).activation("tanh").linear(3).link(link)
        called(backend, "network_forward", arrays["network_forward"] | {"layers": private(layers)})
        links[link] = arrays["network_forward"]["outputs"].tobytes()
    assert len(set(links.values())) == len(spec.LINKS)


@pytest.mark.other_types
def test_every_kind_is_known(backend, rng, dtype):
    layers = kernels.LayerProgram(3).linear(4).batch_norm().activation("mish").dropout(0.5, 1, 2)
    layers = layers.linear(4).layer_norm().add(2).linear(2).link("identity")
    assert set(layers["kind"]) == set(spec.KINDS.values())
    params = rng.standard_normal(kernels.n_parameters(layers)).astype(dtype)
    x, buffers = rng.standard_normal((5, 3)).astype(dtype), np.ones(kernels.n_buffers(layers), dtype)
    outputs = backend.network_forward(x, layers, params, buffers=buffers)
    loss, gradient = backend.network_loss_gradient(x, outputs + 1, layers, params, "squared_error")
    assert np.isfinite([loss, *outputs.ravel(), *gradient]).all()
    # All parameters but those below the norms, whose gradient is zero, count.
    assert all(view.any() for views in kernels.layer_views(layers, gradient)[1:] for view in views[:1])
