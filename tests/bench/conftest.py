"""The tests of the benchmark suite, which exists in a checkout and in the sdist alone."""

import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]

if (CHECKOUT / "bench").exists():
    sys.path.append(str(CHECKOUT))  # at the end: the installed fastprop goes first
else:
    collect_ignore_glob = ["test_*.py"]
