"""What the tests of a plain run find: small faults, one at a time, in a copy of the sources.

    python tests/mutants.py [word ...]

Every fault, or those whose file or text has one of the words, is put into a copy, and the tests that should find it run there until
one fails. First the same tests run without a fault, where they must pass. It prints a line for each fault, and fails if one is not
found. It needs what the tests need, Numba, and a C compiler.

All faults in C are compiled into one module, the baseline's, each as ``(MUTANT == number ? fault : original)``; the environment
says which of them is there. Those in Python change the text.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
C = "kernels/cython_backend/"
NUMBA = "kernels/numba_backend/"
K, E, N, ORACLE = "tests/kernels/test_", "tests/estimators/test_", "tests/nn/test_", "tests/estimators/oracles/test_"
HALVES = "tests/kernels/jobs/test_halves.py"
P, P_TESTS = "fastprop/preprocessing/", "tests/preprocessing/test_"

# (file, text of one place with {{original|fault}}, the tests that should find it)
TOGETHER = "tests/collective/test_synchronous.py"
MUTANTS = [
    # Compiled kernels
    (C + "activations.h", "return FN(keep)({{a > 0|a >= 0}}, da);", K + "special_values.py"),
    (C + "losses.h", "e = FN(keep)({{FN(first_lanes)(n - j)|FN(first_lanes)(LANES)}}, e);", K + "layers.py"),
    (C + "losses.h", "sum += ({{weight|0}} ? (double)weight[first + i] : 1) * FN(bounded)", K + "losses.py"),
    (C + "losses.h", "FN(relu)(z) - z * y + FN(vlog1p_unit)({{e|e * 0}});", K + "losses.py"),
    (C + "losses.h", "sum += {{y[i] == 0|0}} ? 0.0 :", K + "losses.py"),
    (C + "losses.h", "return FN(select)(d > 0, {{1 - h|h}}, FN(select)(d < 0", K + "losses.py"),
    (C + "losses.h", "(!weight && {{o->n_hyper <= 1|1}})", K + "losses.py"),
    (C + "losses.h", "const REAL at_label = {{row_scale|scale}} * (p[t.labels[i]] - 1);", K + "losses.py"),
    (C + "dropout.h", "FN(kept_lanes)(key, {{first + (uint64_t)j|first}}, threshold);", K + "dropout.py"),
    (C + "normalization.h", "FN(horizontal_sum)(squares) / {{(REAL)n|(REAL)(n - 1)}} + c->epsilon);", K + "normalization.py"),
    (C + "optimizer.h", "*p += s->nesterov ? {{s->momentum * *m - s->lr * g|*m - s->lr * g}} : *m;", K + "updates.py"),
    (C + "optimizer.h", "p *= {{s->shrink|1}};", K + "updates.py"),
    (C + "gemm.h", "p.b_stride = ready ? {{vectors * LANES * PAIR|width}} : n_out;", K + "layers.py"),
    (C + "gemm.h", "rows - half, n_in, n_out, {{1|accumulate}}, dweight,", K + "network.py"),
    (C + "kind_dropout.h", "FN(get_one)(a.at + i * a.stride + j) * {{keep_rate|1}});", K + "network_dropout.py"),
    (C + "updates.h", "(double)(*job->step + step + {{1|2}});", K + "network.py"),
    (C + "training.h", "+= scale * {{0.5|1.0}} * t->alpha * squares;", K + "network.py"),
    (C + "training.h", "slot < {{OPTIMIZER_SLOTS[t->job->optimizer]|1}}; slot++)\n        memcpy(to", K + "crew.py"),
    (C + "sparse.h", "} else if ({{feature + 1 < n|feature + 2 < n}}) {", K + "sparse.py"),
    (C + "activations.h", "*slope = s * (1 + z * {{(1 - s)|s}});", K + "activations.py"),
    (C + "vmath.h", "r = FN(exponent_rest)(exponent, shifted) + {{rest|0}};", K + "activations.py"),
    (C + "plan.h", "{{plan->values[i].is_source|0}} || plan->values[i + 1].is_source", "tests/kernels/programs"),
    (C + "kind_batch_norm.h", ".sums[i], layer)[j] + {{n * distance * distance|0}};", "tests/kernels/programs"),
    (C + "kind_batch_norm.h", "gain * {{unbiased|1}} * variance", "tests/kernels/programs"),
    (C + "kind_add.h", "if ({{is_first|1}})", "tests/kernels/programs"),
    (C + "kind_layer_norm.h", "FN(set_zero)({{dgamma|dbeta}}, columns);", "tests/kernels/programs"),
    (C + "updates.h", "if ({{t->job->exempt|0}} && !is_weight)", "tests/kernels/jobs"),
    (C + "updates.h", "INFINITY ? {{fmin(1, t->job->clip_norm / (norm + 1e-6))|1}} : 1;", "tests/kernels/jobs"),
    (C + "updates.h", "(1 - job->ema_decay) / (1 - {{pow(job->ema_decay, number)|0}})", "tests/kernels/jobs"),
    (C + "optimizer.h", "{{gain == 1|0}} ? p : average", "tests/kernels/jobs"),
    (C + "training.h", "replica->average = {{part % updating == thread|own}} ?", "tests/kernels/jobs"),
    (C + "updates.h", "(job->rates ? job->rates[{{step|0}}] : 1)", "tests/kernels/jobs"),
    (C + "validation.h", "if (loss {{<|>}} job->best[0]) {", "tests/kernels/jobs"),
    (C + "batch.h", "targets[i] = {{(1 - smoothing)|1}} * targets[i]", "tests/kernels/jobs"),
    (C + "batch.h", ".masks = {batch->update, {{batch->first_row + begin|begin}}}", HALVES),
    (C + "exports.h", "t.update = *job->step + {{1|2}}, t.first_row = first_row;", HALVES),
    (C + "training.h", "apply_thread)(void *argument, int thread, int n_threads)\n{\n    const struct FN(training) *t = argument;\n"
     "    const struct FN(change) change = FN(change_of)(t, 0, t->total_weight, {{FN(factor_of)(t, t->norms)|1}});", HALVES),
    # Numba's
    (NUMBA + "losses.py", "weighted += logits[i, labels[i]] - {{highest|0}}", K + "losses.py"),
    (NUMBA + "normalization.py", "{{mean_g - x_hat * mean_product|mean_product - x_hat * mean_g}})", K + "normalization.py"),
    (NUMBA + "optimizers.py", "lr * (g + momentum * velocity[i] if {{nesterov|not nesterov}} else velocity[i])", K + "updates.py"),
    (NUMBA + "training.py", "validated = readonly(job.average) if {{job.average.size|False}} else current", "tests/kernels/jobs"),
    (NUMBA + "training.py", "scale, decay = result.dtype.type(1 / total_weight), result.dtype.type({{alpha / total_weight|alpha}})",
     K + "gradients.py::test_network_loss_gradient"),
    (NUMBA + "training.py", "gradients, blocks = {{sums[:n].copy()|sums[:n]}}.reshape(1, n)", HALVES),
    # The public kernels' checks, shared by all back ends
    ("kernels/checks.py", "values.size and unsigned.max() {{>=|>}} limit:", K + "bad_input.py::test_labels_and_order"),
    ("kernels/checks.py", "and not ({{other == in_place_of|other}} and _same_memory", K + "bad_input.py::test_overlap"),
    ("kernels/checks.py", 'or ({{right == "]"|True}} and value == high)', K + "bad_input.py::test_dropout_options"),
    ("kernels/checks.py", "(flags.c_contiguous and {{flags.aligned|True}})", K + "memory.py"),
    ("kernels/checks.py", 'row["source"] {{<|<=}} len(widths)', K + "layer_tables.py"),
    ("kernels/checks.py", 'row["buffers"] {{== n_buffers|>= 0}}', K + "layer_tables.py"),
    ("kernels/checks.py", "or (kind in _N_PARAMETERS and {{offset != end|offset > end}})", K + "layer_tables.py"),
    # Training
    ("fastprop/estimators/stopping.py", "if loss > {{self.best_loss - tol|self.best_loss}} else 0", E + "parity.py"),
    ("fastprop/estimators/stopping.py", "if history.no_improvement_count {{<=|<}} self.n_iter_no_change:", E + "parity.py"),
    ("fastprop/estimators/schedules.py", "(n_samples_seen + {{1|0}}) ** self.power_t", E + "parity.py::test_schedule"),
    ("fastprop/estimators/schedules.py", "self._rate /= {{5.0|2.0}}", E + "parity.py::test_schedule"),
    ("fastprop/estimators/held_out.py", "network.buffers[:] = self.best_params, {{self.best_buffers|network.buffers}}", ORACLE),
    ("fastprop/loop.py", "{{sure if observer is None and end is None else 1|sure}}", "tests/test_loop.py"),
    ("fastprop/loop.py", "pieces.append(({{part.shape[1]|1}}, means))", E + "messages.py"),
    ("fastprop/network.py", "factor = {{2.0|6.0}} if name", E + "parity.py"),
    ("fastprop/lbfgs.py", "part, {{alpha / len(parts)|alpha}}, clip", E + "interrupt.py"),
    ("fastprop/training_calls.py", "if {{self._network._buffers.size|False}}:", "tests/test_training_calls.py"),
    ("fastprop/threads.py", "max(1, available_cores() + {{1|0}} + n_jobs)", "tests/test_threads.py"),
    # Estimators
    ("fastprop/estimators/stochastic.py", "return min({{200|100}}, n_samples)", E + "parity.py"),
    ("fastprop/estimators/held_out.py", "if len(split[1]) {{< 2|< 1}}:", E + "messages.py"),
    ("fastprop/estimators/learning_rates.py", "({{steps + 1|steps}}) / (n_warm + 1)", ORACLE + "by_hand.py"),
    ("fastprop/estimators/stochastic.py", "Masks(masks.seeds, {{masks.n_updates + old.t|old.t}})", ORACLE + "dropout.py"),
    ("fastprop/estimators/stochastic.py", "network.params[:] = {{kept.raw|kept.average}}", ORACLE + "by_hand.py"),
    ("fastprop/estimators/regressor.py", "np.argsort({{np.argsort(self.quantile)|self.quantile}})", ORACLE + "differences.py"),
    ("fastprop/estimators/classifier.py", "np.hstack([{{1 - outputs, outputs|outputs, 1 - outputs}}])", E + "parity.py"),
    ("fastprop/estimators/weights.py", "and {{all(map(is_, self.intercepts_, network.intercepts))|True}}", E + "weights.py"),
    ("fastprop/estimators/interop.py", "theirs.t = {{ours.t|0}}", E + "conversion.py"),
    ("fastprop/patch.py", "            if not {{_in_force|self._depth}}:", "tests/test_patch.py"),
    # Beyond memory and beyond one process
    ("fastprop/estimators/chunks.py", "np.split(order, [self._batch_size - {{n_kept|0}}])", E + "chunks.py"),
    ("fastprop/estimators/chunks.py", "order = self._order(len(rows.y)){{[:n_left]|}}", E + "chunks.py"),
    ("fastprop/estimators/parts.py", "class_weight={{class_weight|None}})", E + "chunks.py"),
    ("fastprop/estimators/shares.py", "group.broadcast_({{network.params|network.params.copy()}})", TOGETHER),
    ("fastprop/estimators/shares.py", "first_row, own = int((ends - begins)[: {{group.rank|0}}].sum()), slice", TOGETHER),
    # nn
    ("fastprop/optim/base.py", "({{0.0, self.weight_decay|self.weight_decay, 0.0}}) if self.decoupled", N + "optimizers.py"),
    ("fastprop/optim/adjacency.py", "{{_address(array) == _address(before) + before.nbytes|True}}", N + "optimizers.py"),
    ("fastprop/nn/normalization.py", "factor = 1 - self.momentum, self.momentum * n / {{(n - 1)|n}}", N + "layers.py"),
    ("fastprop/nn/losses.py", "return {{2|1}} / n_out", N + "losses.py"),
    ("fastprop/nn/clipping.py", "factor = max_norm / ({{norm + 1e-6|norm}})", N + "optimizers.py"),
    ("fastprop/many.py", "with interruptible(interrupted), limited({{1|2}})", "tests/test_many.py"),
    ("fastprop/cores.py", "return math.{{ceil|floor}}(int(quota) / int(period))", "tests/test_small_install.py"),
    ("fastprop/needs_scikit_learn.py", "if error.name {{!=|==}} \"sklearn\":", "tests/test_small_install.py"),
    ("fastprop/inspection/models.py", "    if {{isinstance(model, Module)|False}}:", "tests/test_small_install.py"),
    ("fastprop/nn/fitting.py", "sum({{len(y)|self._batch_size}} * self.step(x, y)", N + "fitting.py"),
    ("fastprop/nn/fitting.py", "with {{undisturbed(self.model, self._loss)|nullcontext()}}:", N + "fit_options.py"),
    ("fastprop/nn/lowering.py", "clip_norm={{self._problem.clip_norm|0.0}},", N + "fit_options.py"),
    ("fastprop/nn/lowering.py", "self._validation is not None and {{not self._n_left|True}} else", N + "fit_options.py"),
    ("fastprop/nn/evaluation.py", "model.train({{training|True}})", N + "fit_options.py"),
    ("fastprop/nn/watched.py", "self._optimizer.t = {{self._memory|0}}, self._t", N + "fit_options.py"),
    ("fastprop/nn/watched.py", "{{before.restore()|pass}}\n        for i in range(len(orders)):", N + "fit_options.py"),
    ("fastprop/inspection/animation.py", "if frame[0] % {{self.every|1}} == 0", "tests/inspection/test_animation.py"),
    ("fastprop/nn/graph.py", "accumulate or {{k in self._shared|False}})", N + "graph.py"),
    ("fastprop/nn/graph.py", "is None else {{gradients[source] + gradient|gradient}}", N + "graph.py"),
    ("fastprop/nn/graph.py", "module._saved = {{saved|module._saved}}", N + "graph.py"),
    ("fastprop/nn/operations.py", "gradient.sum(axis=(*range(n_new), *{{repeated|()}}), keepdims=True)", N + "graph.py"),
    ("fastprop/nn/dropout.py", "drop_threshold(self.p), {{1 / (1 - self.p)|1.0}}, y", N + "layers.py"),
    ("fastprop/nn/dropout.py", "program.dropout(self.p, self.seed, self.n_forwards - {{program.t|0}})", N + "compiled.py"),
    ("fastprop/nn/lowering.py", "dropout.n_forwards += {{n_updates|0}}", N + "compiled.py"),
    ("fastprop/nn/parameter.py", "if {{any(end > start for (_, end), (start, _) in pairwise(spans))|False}}:", N + "blocks.py"),
    ("fastprop/nn/storage.py", "expected is not None and {{expected != _checksum(description, state)|False}}:", N + "storage.py"),
    # Tables
    (P + "numbers.py", "float({{middle or whole / 2 or whole|middle or whole}}))", P_TESTS + "encoder.py"),
    (P + "numbers.py", "z = np.clip((x - median) / scale, {{-FARTHEST|-np.inf}}, FARTHEST)", P_TESTS + "magnitudes.py"),
    (P + "numbers.py", "(places - left) * {{np.minimum(b - a, MAX)|(b - a)}}, a, b)", P_TESTS + "magnitudes.py"),
    (P + "numbers.py", "ordered = np.concatenate([ends[:1], ordered, {{ends[1:]|ends[:0]}}])", P_TESTS + "encoder.py"),
    (P + "categories.py", "if {{count >= min_frequency|count > min_frequency}}}", P_TESTS + "encoder.py"),
    (P + "categories.py", "return {{len(self.categories)|0}} if self.has_infrequent else -1", P_TESTS + "encoder.py"),
    (P + "columns.py", "np.append(self._distinct.missing, {{True|False}})[self._codes]", P_TESTS + "frames.py"),
    (P + "columns.py", "value.astimezone(UTC){{.replace(tzinfo=None)|.replace(tzinfo=None, hour=0)}}", P_TESTS + "encoder.py"),
    (P + "frames.py", "self._order = [{{places[name]|places[self.labels[0]]}} for name in names]", P_TESTS + "frames.py"),
    (P + "encoder.py", "if column.is_empty or {{before == NOTHING|False}}:", P_TESTS + "frames.py"),
    # Exported files
    ("fastprop/export/c_functions.py", "while (bin < n - 1 && x {{>=|<}} edges[bin + 1])", "tests/export/test_c.py"),
    ("fastprop/export/quantization.py", "scale = np.abs(weight).max(axis={{0|None}})", "tests/export/test_c.py"),
    ("fastprop/export/python_runtime.py", "missing if {{_is_missing(value)|value is None}} else", "tests/export/test_numpy.py"),
    ("kernels/encoded.py", "np.clip(number - places, 0, 1) - {{x.dtype.type(0.5)|0}}", "tests/kernels/test_encoded_rows.py"),
]  # fmt: skip

# As in setup.py, but compiled in a third of the time.
C_FLAGS = ["-O1", "-fPIC", "-shared", "-pthread", "-fno-math-errno", "-fno-trapping-math", "-w"]
SWITCH = """#include <stdlib.h>
static int MUTANT;
__attribute__((constructor)) static void choose_mutant(void)
{
    const char *given = getenv("FASTPROP_MUTANT");
    MUTANT = given ? atoi(given) : 0;
}
"""


class Mutant(NamedTuple):
    number: int
    file: str
    text: str
    tests: str

    @property
    def in_c(self):
        return self.file.startswith(C)

    def with_(self, make):
        """The text with what `make` returns in the place of the marked part."""
        return re.sub(r"\{\{(.*)\|(.*?)\}\}", lambda match: make(*match.groups()), self.text)

    def replaced(self, source, make):
        original = self.with_(lambda original, fault: original)
        if source.count(original) != 1:
            raise SystemExit(f"{self.file} has {source.count(original)} times what a fault is to be put into: {original}")
        return source.replace(original, self.with_(make))

    def __str__(self):
        return f"{self.file}: {self.text}"


def make_copy(folder, mutants):
    """The packages as they are installed, and the tests; with the faults in C compiled in, all of them off."""
    ignored = shutil.ignore_patterns("*.so", "*.c", "__pycache__")
    shutil.copytree(ROOT / "fastprop", folder / "fastprop", ignore=ignored)
    shutil.copytree(ROOT / "kernels", folder / "fastprop" / "kernels", ignore=ignored)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for mutant in mutants:
        if mutant.in_c:
            path = in_copy(folder, mutant.file)
            schema = f"(MUTANT == {mutant.number} ? ({{}}) : ({{}}))"
            path.write_text(mutant.replaced(path.read_text(), lambda original, fault, s=schema: s.format(fault, original)))
    header = in_copy(folder, C + "platform.h")
    header.write_text(header.read_text().replace("#pragma once\n", "#pragma once\n" + SWITCH))
    compile_baseline(in_copy(folder, C))


def in_copy(folder, file):
    return folder / re.sub("^kernels/", "fastprop/kernels/", file)


def compile_baseline(sources):
    import numpy

    subprocess.run([sys.executable, "-m", "cython", "-3", "_baseline.pyx"], cwd=sources, check=True)
    includes = [f"-I{path}" for path in (sysconfig.get_path("include"), numpy.get_include(), sources)]
    target = "_baseline" + sysconfig.get_config_var("EXT_SUFFIX")
    compiler = os.environ.get("CC", "cc")
    defines = ["-DNPY_NO_DEPRECATED_API=NPY_1_7_API_VERSION"]
    subprocess.run([compiler, *C_FLAGS, *includes, *defines, "_baseline.c", "-o", target, "-lm"], cwd=sources, check=True)


def run_tests(folder, tests, chosen, number=0):
    """The exit code of pytest, and its last line."""
    with tempfile.TemporaryDirectory() as cache:
        own = {"PYTHONPATH": str(folder), "FASTPROP_MUTANT": str(number), "PYTHONDONTWRITEBYTECODE": "1", "NUMBA_CACHE_DIR": cache}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=no", *tests]
        command += ["-k", chosen] if chosen else []
        done = subprocess.run(command, cwd=folder, env=os.environ | own, capture_output=True, text=True)
    return done.returncode, done.stdout.strip().rpartition("\n")[2]


def chosen_back_end(mutant):
    """For `-k`: the tests of the back end that has the fault."""
    return "numba" if mutant.file.startswith(NUMBA) else "not numba and not reference" if mutant.in_c else ""


def is_found(folder, mutant):
    path, chosen = in_copy(folder, mutant.file), chosen_back_end(mutant)
    if mutant.in_c:
        code, _ = run_tests(folder, [mutant.tests], chosen, mutant.number)
    else:
        kept = path.read_text()
        path.write_text(mutant.replaced(kept, lambda original, fault: fault))
        try:
            code, _ = run_tests(folder, [mutant.tests], chosen)
        finally:
            path.write_text(kept)
    return code == 1 or code < 0  # a test failed, or the process was killed by a signal


def main(words):
    mutants = [Mutant(number, *fields) for number, fields in enumerate(MUTANTS, start=1)]
    mutants = [mutant for mutant in mutants if not words or any(word in str(mutant) for word in words)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_copy(folder, mutants)
        for chosen in sorted({chosen_back_end(mutant) for mutant in mutants}):
            tests = sorted({mutant.tests for mutant in mutants if chosen_back_end(mutant) == chosen})
            code, last = run_tests(folder, tests, chosen)
            print(f"without a fault, {chosen or 'all'}: {last}", flush=True)
            if code != 0:
                return "the tests fail without a fault"
        survivors = 0
        for mutant in mutants:
            found = is_found(folder, mutant)
            survivors += not found
            print("found    " if found else "NOT FOUND", mutant, flush=True)
    return f"{survivors} of {len(mutants)} were not found" if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
