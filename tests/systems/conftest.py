"""The systems that fastprop replaces, one test each; ``pytest tests/systems -rP`` prints the figures that they found."""

import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def figure(record_property):
    """A function that notes a figure that a test found: printed, and in the report of ``--junit-xml``."""

    def note(name, value):
        record_property(name, str(value))
        print(f"{name}: {value}")

    return note
