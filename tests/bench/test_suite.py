"""What the benchmarks are made of: work, data, turns, checks, and the loops that measure the processor's limits."""

import multiprocessing
import re
import threading
from pathlib import Path

import numpy as np
import pytest

from bench import agreement, calls, contenders, contest, rounds, searches, training, verify, workloads
from bench.limits import READ_SIZES, Limits
from fastprop import kernels

COMPILED = [pair for pair in kernels.available() if pair[0] == "cython"]
compiled = pytest.mark.skipif(not COMPILED, reason="no compiled module here")
SMALL = workloads.Configuration("small", 90, 5, 3, (8,), 40)


# Work and data


def test_work_of_a_configuration():
    assert SMALL.sizes == [5, 8, 3]
    assert SMALL.n_batches == 3
    assert SMALL.flops == 2 * 90 * (2 * 5 * 8 + 3 * 8 * 3)
    assert SMALL._replace(n_classes=2).sizes == [5, 8, 1]


@pytest.mark.parametrize("name", [*workloads.CONFIGURATIONS, "digits data", "word counts", "MNIST data"])
def test_problems(name, monkeypatch, tmp_path):
    file = tmp_path / "images.npz"
    np.savez(file, X=np.full((30, 28, 28), 255, np.uint8), y=np.arange(30) % 10)
    monkeypatch.setenv("FASTPROP_BENCH_MNIST", str(file))
    configuration, X, y = workloads.problem_named(name, "float32")
    assert X.shape == (configuration.n_samples, configuration.n_features)
    assert X.dtype == np.float32
    assert set(y) == set(range(configuration.n_classes))
    if name == "MNIST data":
        assert workloads.mnist_source() == "MNIST from images.npz"
        assert X.max() == 1


def test_the_plain_script_times_the_same_problems():
    for name, (*shape, hidden, batch, _) in verify.CELLS.items():
        assert workloads.CONFIGURATIONS[name] == (name, *shape, hidden, batch)


def test_the_plain_script_finds_its_cells_in_a_run():
    cell = {"family": "fit", "configuration": "digits", "dtype": "float32", "n_threads": 2, "contender": "fastprop"}
    table = [{"extra_info": {"family": "kernel"}}, {"extra_info": cell | {"gflops": 1.0}, "stats": {"median": 1.1e-3}}]
    assert verify.difference(table, "digits", 2, "fastprop", 1e-3) == "; the table has +10%"
    assert verify.difference(table, "digits", 1, "fastprop", 1e-3) == ""


def test_loss_of_a_network():
    layers = [(np.array([[1.0, -1.0]]), np.zeros(2)), (np.array([[2.0], [0.0]]), np.array([-1.0]))]
    X = np.array([[1.0], [-3.0]])
    np.testing.assert_allclose(workloads.logits_of(layers, X), [[1.0], [-1.0]])
    np.testing.assert_allclose(workloads.loss_of(layers, X, np.array([1, 0])), np.log1p(np.exp(-1)))


# Contenders


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", list(contenders.CONTENDERS))
def test_every_contender_takes_the_same_steps(name, n_classes):
    if (why := contenders.CONTENDERS[name].obstacle()) or name == "PyTorch compiled":
        pytest.skip(why or "takes a minute to warm up")
    if "torch" in contenders.CONTENDERS[name].modules or "jax" in contenders.CONTENDERS[name].modules:
        pytest.skip("their warnings and thread pools belong to the processes of the benchmarks")
    configuration = SMALL._replace(n_classes=n_classes)
    X, y = workloads.random_data(configuration, "float64")
    contender, reference = (contenders.CONTENDERS[each](configuration, X, y, 1) for each in (name, "scikit-learn"))
    for each in (contender, reference):
        assert each.run(20) > 0
    assert training._disagreement(contender, reference) is None
    weight = contender.layers()[0][0]
    weight += 1
    assert "scikit-learn's" in training._disagreement(contender, reference)


def test_too_little_training_says_nothing():
    X, y = workloads.random_data(SMALL, "float64")
    reference = contenders.ScikitLearn(SMALL, X, y, 1)
    reference.run(1)
    for layer, start in zip(reference.layers(), reference.start()[1], strict=True):
        for array, initial in zip(layer, start, strict=True):
            array[...] = initial
    assert "too near the first" in training._disagreement(reference, reference)


def test_initial_layers_are_scikit_learns():
    X, y = workloads.random_data(SMALL, "float64")
    reference = contenders.ScikitLearn(SMALL, X, y, 1)
    reference.train(reference.make(max_iter=1, learning_rate_init=1e-300), 1)
    for (weight, bias), (expected, expected_bias) in zip(reference.start()[1], reference.layers(), strict=True):
        np.testing.assert_array_equal(weight, expected)
        np.testing.assert_array_equal(bias, expected_bias)


# Turns


def test_contenders_take_turns():
    order = []
    turns = {name: (lambda name=name: order.append(name) or 1.0) for name in "abc"}
    samples = rounds.take_turns(turns, budget=0, min_rounds=3, max_rounds=9, before_round=lambda: order.append("|"))
    assert "".join(order) == "|abc|bca|cab"
    assert samples == {name: [1.0] * 3 for name in "abc"}
    assert len(rounds.take_turns(turns, budget=60, min_rounds=3, max_rounds=5)["a"]) == 5


def test_a_slow_first_call_does_not_decide_how_often_a_function_is_called(monkeypatch):
    now, costs = [0.0], iter([0.016])  # the first call; all others take 2 ** -13 s, so that sums are exact

    def function():
        now[0] += next(costs, 2**-13)

    monkeypatch.setattr(rounds.time, "perf_counter", lambda: now[0])
    sample = rounds.repeated(function, 2**-6)
    before = now[0]
    assert sample() == pytest.approx(2**-13)
    assert now[0] - before == pytest.approx(2**-6)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads' states are read from Linux's /proc")
@pytest.mark.parametrize("turn", [rounds.settle, lambda: rounds.take_turns({"a": lambda: 1.0}, 0, 1, 1)], ids=["settle", "a turn"])
def test_a_turn_begins_when_no_other_thread_is_busy(turn):
    begin, stop, seen = threading.Event(), threading.Event(), []

    def spin():
        begin.set()
        while not stop.is_set():
            pass
        seen.append("spun")

    threading.Timer(0.1, stop.set).start()
    threading.Thread(target=spin).start()
    begin.wait()
    turn()
    assert seen == ["spun"]


def test_a_thread_that_never_rests_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr(rounds, "PATIENCE", 0.05)
    monkeypatch.setattr(rounds, "_states_of_other_threads", lambda: ["S", "R"])
    rounds.settle()


def test_a_replay_shows_the_samples():
    replay = rounds.Replay()

    class Benchmark:
        seen = ()

        def pedantic(self, target, setup, rounds):
            for _ in range(rounds):
                args, kwargs = setup()
                start = replay.clock()
                target(*args, **kwargs)
                self.seen += (replay.clock() - start,)

    benchmark = Benchmark()
    replay.hand_over(benchmark, [0.25, 1.0, 0.5])
    assert benchmark.seen == (0.25, 1.0, 0.5)


# Kernels


@pytest.mark.parametrize("case", calls.CASES, ids=lambda case: case.__name__)
def test_a_wrong_kernel_is_not_timed(case):
    backend = kernels.active

    class Wrong:
        def __getattr__(self, name):
            def call(**arguments):
                returned = getattr(backend, name)(**arguments)
                for array in (*(returned if isinstance(returned, tuple) else (returned,)), arguments.get("params")):
                    if isinstance(array, np.ndarray):
                        array.reshape(-1)[0] += 0.01 * np.abs(array).max()
                return returned * 1.01 if isinstance(returned, float) else returned

            return call

    for dtype in calls.TOLERANCE:
        calls.check(case, (7, 20, 13), dtype, backend, 1)
        with pytest.raises(AssertionError):
            calls.check(case, (7, 20, 13), dtype, Wrong(), 1)


def test_every_public_kernel_is_measured():
    methods = {name for name in vars(kernels) if callable(getattr(kernels.Kernels, name, None))}
    assert methods - {"train_epoch"} == {case.__name__ for case in calls.CASES}  # bench_epoch.py measures that


def test_a_few_numbers_may_be_beyond_a_kink():
    expected = np.linspace(-1, 1, 100_001)
    few, many, far = expected.copy(), expected.copy(), expected.copy()
    few[:500] += 0.5e-3
    many[:501] += 0.5e-3
    far[0] += 2e-3
    agreement.assert_agrees(expected + 0.9e-5, expected, 1e-5)
    agreement.assert_agrees(few, expected, 1e-5, kinks=True)
    with pytest.raises(AssertionError):  # too small to have a share
        agreement.assert_agrees(few[499:1500], expected[499:1500], 1e-5, kinks=True)
    for wrong, kinks in [(few, False), (many, True), (far, True), (np.where(expected > 0.9, np.nan, expected), True)]:
        with pytest.raises(AssertionError):
            agreement.assert_agrees(wrong, expected, 1e-5, kinks=kinks)


# Fits


@pytest.mark.parametrize("held_up", [0, 0.5], ids=["quiet", "the short fit was held up"])
def test_how_many_epochs_a_sample_has(held_up):
    """Epochs of 1 ms after 2 ms of setting up, of which a sample is to last 100 ms; a first guess from a slow start."""

    class Fit:
        fit_has_fixed_cost = True

        def run(self, n_epochs):
            return 0.002 + 0.001 * n_epochs + (held_up if n_epochs == 1 else 0)

    effort = contest.Effort(sample=0.1, budget=1, min_rounds=1, max_rounds=1)
    n_epochs = training._epochs_of_a_sample(Fit(), seconds=0.01, effort=effort)
    assert 90 <= n_epochs <= (100 if not held_up else 1000)
    assert training._epochs_of_a_sample(Fit(), seconds=3.0, effort=effort) == training.MIN_EPOCHS


@pytest.mark.full
def test_a_search_leaves_no_workers_behind():
    """For which the end of the process would wait."""
    outcome = searches.time_searches("loky", 2, ["fastprop"], contest.Effort(0, 0, 1, 1))
    assert len(outcome.samples["fastprop"]) == 1
    assert not [process for process in multiprocessing.active_children() if "Loky" in process.name]


# Limits


@compiled
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("isa", [isa for _, isa in COMPILED])
def test_loops_do_the_work_that_they_report(isa, dtype):
    raw, itemsize = kernels.load("cython", isa).raw, np.dtype(dtype).itemsize
    done, result = raw.measure_peak(np.array([0.5, 0.5], dtype), 1000, 1)
    assert done % (2 * 12 * 1000) == 0
    assert done // (2 * 12 * 1000) * itemsize in (16, 32, 64)  # the width of a register
    assert result == done / (2 * 1000)  # all chains have gone to 1
    values = np.ones(12 * 64 * 5, dtype)
    assert raw.measure_bandwidth(values, 3, 1) == (3 * values.nbytes, 3 * values.size)
    with pytest.raises(TypeError, match="no kernels for int64"):
        raw.measure_peak(np.zeros(2, int), 1, 1)


@compiled
def test_a_cache_line_goes_back_and_forth():
    raw = kernels.load("cython").raw
    assert raw.measure_ping_pong(50) == 50


@compiled
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("isa", [isa for _, isa in COMPILED])
def test_the_peak_is_measured_on_registers_alone(machine_code, isa, dtype):
    """The loop of the compiled module has nothing in it but multiply-adds on registers and its counter."""
    functions = machine_code.functions(kernels.load("cython", isa).raw.__file__)
    if f"multiply_add_chains_{dtype}" not in functions:
        pytest.skip("the module was stripped of its symbols")
    (loop,) = machine_code.loops(functions[f"multiply_add_chains_{dtype}"])
    arithmetic = [name for _, name, _ in loop if re.match(r"v?f?n?m?(add|mul|fmadd|fmla)", name) and "p" in name]
    fused = [name for name in arithmetic if "fmadd" in name]
    assert len(fused) == 12 if isa != "baseline" else len(arithmetic) == 24
    assert not machine_code.memory(loop), loop


@compiled
def test_limits():
    limits = Limits()
    peak, bandwidth = limits.peak("float32", 1), limits.bandwidth(READ_SIZES[0], 1)
    assert peak > 1e8
    assert bandwidth > 1e8
    assert limits.bandwidth(100, 1) == bandwidth
    assert limits.seconds("float32", 1, 10 * peak, 0) == pytest.approx(10, rel=1e-12)
    assert limits.seconds("float32", 1, peak, 2**60) > 1e3


def test_nothing_is_left_of_the_environment(monkeypatch):
    import os

    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    before = dict(os.environ)
    with contest._environment(1):
        assert os.environ["OMP_NUM_THREADS"] == os.environ["OPENBLAS_NUM_THREADS"] == "1"
        assert "XLA_FLAGS" in os.environ
    assert dict(os.environ) == before


def test_the_suite_is_in_the_readme():
    text = Path(contest.__file__).with_name("README.md").read_text(encoding="utf-8")
    for path in Path(contest.__file__).parent.glob("*.py"):
        assert path.name in text or path.name in ("__init__.py", "conftest.py"), path.name
