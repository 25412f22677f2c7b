"""Looking at what training does: gradients checked, watched and traced, and displays in the manner of scikit-learn's."""

from .activation_display import ActivationDisplay
from .bounds import GradientBound, LayerBound
from .first_layer import FirstLayerWeightsDisplay
from .flow import GradientFlow, GradientWarning, gradient_flow
from .flow_display import GradientFlowDisplay
from .gradients import GradientCheck, ParameterCheck, check_gradients, numerical_gradient
from .information import cross_entropy, entropy, kl_divergence
from .information_display import InformationDisplay
from .loss_curve import LossCurveDisplay
from .statistics import ActivationStatistics, LayerActivations, activation_statistics
from .tracer import StepTrace, TraceEntry, trace_step

__all__ = [
    "ActivationDisplay",
    "ActivationStatistics",
    "FirstLayerWeightsDisplay",
    "GradientBound",
    "GradientCheck",
    "GradientFlow",
    "GradientFlowDisplay",
    "GradientWarning",
    "InformationDisplay",
    "LayerActivations",
    "LayerBound",
    "LossCurveDisplay",
    "ParameterCheck",
    "StepTrace",
    "TraceEntry",
    "activation_statistics",
    "check_gradients",
    "cross_entropy",
    "entropy",
    "gradient_flow",
    "kl_divergence",
    "numerical_gradient",
    "trace_step",
]
