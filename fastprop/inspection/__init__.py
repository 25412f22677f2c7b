"""Tools to look inside training: gradients checked, watched and traced, and displays in the style of scikit-learn."""

from .activation_display import ActivationDisplay
from .animation import TrainingAnimation
from .attribution import input_gradients, integrated_gradients
from .bounds import GradientBound, LayerBound
from .derivatives import hessian, jacobian, jvp, softmax_jacobian
from .differences import ParameterCheck, numerical_gradient
from .first_layer import FirstLayerWeightsDisplay
from .flow import GradientFlow, GradientWarning, gradient_flow
from .flow_display import GradientFlowDisplay
from .gradients import GradientCheck, check_gradients
from .graph_display import GraphDisplay
from .information import cross_entropy, entropy, kl_divergence
from .information_display import InformationDisplay
from .kinks import Kink
from .loss_curve import LossCurveDisplay
from .mistakes import Mistake
from .precisions import PrecisionComparison, PrecisionScore, compare_precisions
from .statistics import ActivationStatistics, LayerActivations, activation_statistics
from .tracer import LayerTrace, StepTrace, TraceEntry, trace_forward, trace_step

__all__ = [
    "ActivationDisplay",
    "ActivationStatistics",
    "FirstLayerWeightsDisplay",
    "GradientBound",
    "GradientCheck",
    "GradientFlow",
    "GradientFlowDisplay",
    "GradientWarning",
    "GraphDisplay",
    "InformationDisplay",
    "Kink",
    "LayerActivations",
    "LayerBound",
    "LayerTrace",
    "LossCurveDisplay",
    "Mistake",
    "ParameterCheck",
    "PrecisionComparison",
    "PrecisionScore",
    "StepTrace",
    "TraceEntry",
    "TrainingAnimation",
    "activation_statistics",
    "check_gradients",
    "compare_precisions",
    "cross_entropy",
    "entropy",
    "gradient_flow",
    "hessian",
    "input_gradients",
    "integrated_gradients",
    "jacobian",
    "jvp",
    "kl_divergence",
    "numerical_gradient",
    "softmax_jacobian",
    "trace_forward",
    "trace_step",
]
