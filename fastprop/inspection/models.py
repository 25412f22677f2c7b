"""The models that the inspection accepts, as layers of `fastprop.nn`."""

from ..nn.errors import described
from ..nn.module import Module

MODELS = "a Module, an MLPClassifier or an MLPRegressor"


def module_of(model):
    """A `Module` itself; a fitted estimator as a `Sequential` in evaluation mode, with a layer for its output activation.

    An activation is part of its Linear layer if nothing is between the two and it has a name. There are no layers for dropout, and
    several quantiles are the network's own outputs, not sorted.
    """
    if isinstance(model, Module):
        return model
    if not hasattr(model, "get_params"):
        raise TypeError(f"model must be {MODELS}; got {described(model)}")
    from .. import needs_scikit_learn  # noqa: F401 - first, as it says what is missing
    from .fitted import layers_of

    return layers_of(model)
