"""How the tables of ``pytest bench`` look, and how long a case is measured."""

import os

# pytest-benchmark reads these when it is configured, which is after this file. Given on the command line, they are not touched.
DISPLAY = {"benchmark_sort": "median", "benchmark_columns": ["median", "iqr", "min", "rounds"]}


def pytest_configure(config):
    given = " ".join([*config.invocation_params.args, os.environ.get("PYTEST_ADDOPTS", "")])
    for option, value in DISPLAY.items():
        if "--" + option.replace("_", "-") not in given:
            setattr(config.option, option, value)
