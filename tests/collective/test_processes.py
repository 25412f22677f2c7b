"""Ranks that are processes: mpiexec and torchrun."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("training.py")
# An end "soon", after start and imports, for ranks of which one failed
SECONDS = 60


def command(engine, n):
    if engine == "mpi":
        pytest.importorskip("mpi4py", reason="MPI needs mpi4py")
        mpiexec = shutil.which("mpiexec", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]))
        if mpiexec is None:
            pytest.skip("no mpiexec")
        return [mpiexec, "--oversubscribe", "-n", str(n), sys.executable, "-m", "mpi4py", str(SCRIPT), "mpi"]
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}", str(SCRIPT), "torch"]


def run(engine, n, mode, checkpoint=""):
    environment = os.environ | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMP_NUM_THREADS": "1"}
    arguments = [*command(engine, n), mode, str(checkpoint)]
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)


def digests(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return re.findall(r"rank \d+: (\w{64})", done.stdout)


FULL = pytest.mark.full
ENGINES = ["mpi", pytest.param("torch", marks=FULL)]


@pytest.mark.parametrize(("engine", "n"), [("mpi", 3), pytest.param("mpi", 2, marks=FULL), pytest.param("torch", 2, marks=FULL)])
def test_all_ranks_get_the_same_model_and_rank_0_speaks(engine, n):
    done = run(engine, n, "plain")
    assert len(digests(done)) == n
    assert len(set(digests(done))) == 1
    assert done.stdout.count("Iteration 1,") == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_an_error_on_one_rank_ends_all(engine):
    done = run(engine, 2, "error")
    assert done.returncode != 0
    assert "rank 1 of 2 ends all" in done.stderr
    assert "OSError: the disk is gone" in done.stderr


@FULL
@pytest.mark.parametrize("engine", ENGINES)
def test_a_killed_rank_ends_all_and_the_checkpoint_goes_on(engine, tmp_path):
    checkpoint = tmp_path / "fit.npz"
    done = run(engine, 2, "kill", checkpoint)
    assert done.returncode != 0
    assert re.search("signal 9|SIGKILL", done.stdout + done.stderr)
    assert checkpoint.exists()
    went_on = digests(run(engine, 2, "goes on", checkpoint))
    assert len(went_on) == 2
    assert sorted(went_on) == sorted(digests(run(engine, 2, "whole")))
    assert not checkpoint.exists()
