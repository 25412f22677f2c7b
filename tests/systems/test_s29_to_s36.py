"""Systems 29 to 36: what the texts calculate and draw beside the networks: graphs, deltas, Jacobians, bounds, bugs, beginnings."""

import numpy as np
import pytest

from fastprop import nn
from fastprop.inspection import GradientFlowDisplay, gradient_flow


@pytest.mark.filterwarnings("ignore::fastprop.inspection.GradientWarning")  # this is about such gradients
def test_s34_bound_on_vanishing_and_exploding(figure, rng):
    """max |f'|^L times the product of the weights' norms, beside the measured norms: numbers, a table, and a picture."""
    X, y = rng.normal(size=(32, 20)), rng.integers(0, 4, 32)
    for activation, slope in (("sigmoid", 0.25), ("tanh", 1.0), ("relu", 1.0)):
        model = nn.mlp([20] * 9 + [4], activation, init="xavier_normal", random_state=0)
        flow = gradient_flow(model, nn.SoftmaxCrossEntropy(), X, y, at="outputs")
        bound = flow.bound()
        norms = [np.linalg.norm(layer.weight.data, 2) for layer in model]
        for i, row in enumerate(bound.rows):  # the input, then the layers
            assert row.slopes == pytest.approx(slope ** max(8 - i, 0), rel=1e-12)
            assert row.weight_norms == pytest.approx(np.prod(norms[i:]), rel=1e-12)
            assert row.bound == pytest.approx(flow.norms[0, -1] * row.slopes * row.weight_norms, rel=1e-12)
            assert 0 < row.norm <= row.bound * (1 + 1e-12)
        first = bound["input"]
        figure(f"{activation}: gradient by the input, bound", f"{first.norm:.2e}, {first.bound:.2e}; slopes {first.slopes:.2e}")
        assert len(str(bound).splitlines()) == 2 + 10

    matplotlib = pytest.importorskip("matplotlib", reason="the plot needs matplotlib")
    matplotlib.use("Agg")
    display = GradientFlowDisplay.from_flow(flow, "bars", bound=True)
    lines = [line.get_ydata() for line in display.bound_lines_]
    expected = [(row.bound, row.weight_norms * flow.norms[0, -1], row.slopes * flow.norms[0, -1]) for row in bound.rows]
    np.testing.assert_allclose(lines, np.transpose(expected))
