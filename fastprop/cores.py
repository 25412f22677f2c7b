"""Counts the processor cores that this process may use: by joblib, if it is installed; it comes with scikit-learn."""

import functools
import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def counter():
    """The function that counts the cores, limited by affinity, the container (cgroup) and LOKY_MAX_CPU_COUNT."""
    joblib = _joblib()
    return count_without_joblib if joblib is None else joblib.cpu_count


@functools.cache  # without it, Python would search again for a missing module
def _joblib():
    try:
        import joblib  # here, because importing it takes longer than all of fastprop.nn
    except ImportError:
        return None
    return joblib


def count_without_joblib():
    """The cores as joblib counts them on Linux. Elsewhere joblib reads the affinity with psutil, which is not used here."""
    cores = os.cpu_count() or 1
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    return max(1, min(cores, affinity, _cgroup_limit(), int(os.environ.get("LOKY_MAX_CPU_COUNT", cores))))


def _cgroup_limit():
    """The container's limit of processor time in cores, rounded up; inf without a limit."""
    for files in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):  # version 2, version 1
        try:
            quota, period = " ".join((CGROUPS / name).read_text() for name in files).split()
        except (OSError, ValueError):
            continue
        return math.ceil(int(quota) / int(period)) if quota.isdecimal() and int(quota) and int(period) else math.inf
    return math.inf
