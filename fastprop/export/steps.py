"""The steps of an estimator's prediction as plain data, which can be written in C, NumPy or ONNX.

`network_steps` is the forward pass of a network, `model_of` an estimator or a pipeline from its inputs to its outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from ..estimators import MLPClassifier, MLPRegressor
from ..estimators.scikit_learns_form import folded_weights
from ..estimators.weights import NoKernelError
from ..kernels.spec import KINDS, LOSSES
from ..network import Network
from ..preprocessing import TabularEncoder
from ..preprocessing.encodings import Encoding
from ..tabular import TabularClassifier, TabularRegressor
from ..tabular.targets import Scale

ESTIMATORS = (MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor)


class Step(NamedTuple):
    """One step on the values x of a row, and its numbers, float64.

    * 'affine': x @ weight + bias, of shapes (n_in, n_out) and (n_out,);
    * 'layer_norm': (x - mean(x)) / sqrt(variance(x) + epsilon) * gamma + beta;
    * the name of an activation, or of the link after the last layer: 'identity', 'sigmoid', 'exp', 'softmax'.
    """

    kind: str
    numbers: Mapping[str, Any] = MappingProxyType({})


class Standardization(NamedTuple):
    """(x - mean) / scale of each feature."""

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]


class Input(NamedTuple):
    """A column of X: its name, what it holds in words, and its categories if it is encoded as one of them."""

    name: str
    holds: str
    categories: list[Any] | None = None


class Member(NamedTuple):
    """A network: the index of the encoder whose features it takes, its weight in the mean of outputs, and its steps."""

    encoder: int
    weight: float
    steps: list[Step]

    @property
    def sizes(self) -> list[int]:
        """The numbers of units, from the inputs to the outputs."""
        shapes = [step.numbers["weight"].shape for step in self.steps if step.kind == "affine"]
        return [shapes[0][0], *(n_out for _, n_out in shapes)]


class Model(NamedTuple):
    """An estimator or a pipeline.

    For each member, rows go through one of the ``encoders`` (X itself if there are none), the ``standardizations``, and the
    member's network. ``classes`` are None for a regressor; with several labels there is a probability for each label. ``targets``
    says how y follows from the outputs of a regressor for tables. Sorted outputs are put in their places by ``ranks``. ``dtype`` is
    that of the weights, ``feature_dtype`` that of encoded rows.
    """

    title: str
    inputs: list[Input]
    encoders: list[list[Encoding]]
    standardizations: list[Standardization]
    members: list[Member]
    task: Literal["classes", "labels", "values"]
    classes: NDArray[Any] | None
    targets: Scale | None
    ranks: NDArray[np.intp] | None
    dtype: np.dtype[Any]
    feature_dtype: np.dtype[Any]

    @property
    def is_tabular(self) -> bool:
        """Whether it is one of the estimators for tables: a weighted mean of networks, in float64."""
        return self.title.startswith("Tabular")

    @property
    def n_outputs(self) -> int:
        """The number of outputs of a network."""
        return self.members[0].sizes[-1]

    def n_features(self, encoder: int) -> int:
        """The number of features of an encoder; it is 1, a zero, if the encoder has no features."""
        return sum(encoding.n for encoding in self.encoders[encoder]) or 1 if self.encoders else len(self.inputs)


def network_steps(network: Network) -> list[Step]:
    """The steps of the forward pass of a plain stack of layers, with its link, at prediction, in float64.

    Batch norms are folded into the weights before them, and dropout does nothing.
    """
    for activation in network.activations:
        if not isinstance(activation, str):
            raise NotImplementedError(f"activation must have a name to be exported; got {activation!r}, an activation of your own")
    network = network.astype(np.float64)  # until norms are folded in
    folded = folded_weights(network) if network.normalization == "batch" else (network.coefs, network.intercepts)
    epsilons = network.layers["epsilon"][network.layers["kind"] == KINDS["layer_norm"]].tolist()
    affines = [Step("affine", {"weight": weight, "bias": bias}) for weight, bias in zip(*folded, strict=True)]
    steps: list[Step] = []
    for i, activation in enumerate(network.activations):
        steps.append(affines[i])
        if network.normalization == "layer":
            gamma, beta = network.norms[i]
            steps.append(Step("layer_norm", {"gamma": gamma, "beta": beta, "epsilon": epsilons[i]}))
        steps.append(Step(activation))
    steps += [affines[-1], Step(LOSSES[network.loss].link)]
    if not all(np.isfinite(numbers).all() for step in steps for numbers in step.numbers.values()):
        raise ValueError("the estimator cannot be exported: its weights or norms hold NaN or infinity")
    return steps


def model_of(estimator: Any) -> Model:
    """The description of a fitted estimator, or of a pipeline that ends with one."""
    front, last = parts_of(estimator)
    first = front[0] if front else last
    is_encoded = isinstance(first, TabularEncoder)
    standardizations = [_standardization(step) for step in front[is_encoded:]]
    if isinstance(last, TabularClassifier | TabularRegressor):
        encoders: Sequence[TabularEncoder] = last.encoders_
        members = [
            Member(last._view(range(len(encoders)), i), weight, network_steps(network))
            for i, (network, weight) in enumerate(zip(last.members_, last.member_weights_.tolist(), strict=True))
        ]
        dtype = last.members_[0].dtype
    else:
        encoders = [first] if is_encoded else []
        network = network_of(last)
        members, dtype = [Member(0, 1.0, network_steps(network))], network.dtype
    return Model(
        title=type(last).__name__,
        inputs=_inputs(first, encoders, members),
        encoders=[encoder.columns_ for encoder in encoders],
        standardizations=standardizations,
        members=members,
        task=_task(last),
        classes=getattr(last, "classes_", None),
        targets=last._scale if isinstance(last, TabularRegressor) else None,
        ranks=_ranks(last),
        dtype=dtype,
        feature_dtype=np.dtype(encoders[0].dtype) if encoders else dtype,
    )


def parts_of(estimator: Any) -> tuple[list[Any], Any]:
    """(the steps before the estimator, the estimator); an error names the part that cannot be exported."""
    *front, last = _flat(estimator, "the estimator")
    if type(last[1]) not in ESTIMATORS:
        names = ", ".join(each.__name__ for each in ESTIMATORS)
        raise TypeError(f"{last[0]} must be one of {names}, or a Pipeline that ends with one; got {type(last[1]).__name__}")
    for i, (name, step) in enumerate(front):
        if type(step) is not StandardScaler and not (type(step) is TabularEncoder and i == 0):
            where = ", which can only be the first step," if type(step) is TabularEncoder else ""
            raise NotImplementedError(
                f"{name}, {type(step).__name__}{where} cannot be exported: before the network there can be TabularEncoder and then "
                "StandardScaler"
            )
        if type(last[1]) in (TabularClassifier, TabularRegressor):
            raise NotImplementedError(f"{name}, {type(step).__name__}, cannot be exported before {type(last[1]).__name__}")
    for _, step in (*front, last):
        check_is_fitted(step)
    return [step for _, step in front], last[1]


def network_of(estimator: MLPClassifier | MLPRegressor) -> Network:
    """The network with the estimator's present weights, as a user may have replaced those that were learnt."""
    try:
        return estimator._current_network()
    except NoKernelError as error:
        raise NotImplementedError(f"{type(estimator).__name__} cannot be exported: {error}") from error


def _flat(estimator, name):
    """(name, step) of each step that does something, including those of nested pipelines."""
    if type(estimator) is not Pipeline:
        return [(name, estimator)]
    steps = [(f"step {name!r} of the pipeline", step) for name, step in estimator.steps if step not in (None, "passthrough")]
    return [each for name, step in steps for each in _flat(step, name)] or [(name, estimator)]


def _standardization(scaler):
    n = scaler.n_features_in_
    mean = scaler.mean_ if scaler.with_mean else np.zeros(n)
    scale = scaler.scale_ if scaler.with_std else np.ones(n)
    if not (np.isfinite(mean).all() and np.isfinite(scale).all()):
        raise ValueError("StandardScaler cannot be exported: its mean_ or scale_ holds NaN or infinity")
    return Standardization(mean, scale)


def _inputs(first, encoders, members):
    n = encoders[0].n_features_in_ if encoders else getattr(first, "n_features_in_", members[0].sizes[0])
    names = [str(name) for name in getattr(first, "feature_names_in_", [f"x{i}" for i in range(n)])]
    if not encoders:
        return [Input(name, "numbers") for name in names]
    categories = {each.feature: each.coding.categories for each in encoders[0].columns_ if hasattr(each, "coding")}
    used = {each.feature for each in encoders[0].columns_}
    holds = [kind if i in used else "nothing that counts" for i, kind in enumerate(encoders[0]._kinds)]
    return [Input(name, kind, categories.get(i)) for i, (name, kind) in enumerate(zip(names, holds, strict=True))]


def _task(last):
    if not isinstance(last, MLPClassifier | TabularClassifier):
        return "values"
    if isinstance(last, TabularClassifier) or last._label_binarizer.y_type_ != "multilabel-indicator":
        if isinstance(last, MLPClassifier) and last.out_activation_ != "softmax" and last.n_outputs_ > 1:
            raise NotImplementedError("MLPClassifier cannot be exported: it has an output for each of two classes, set by hand")
        return "classes"
    return "labels"


def _ranks(last):
    """The rank of each output in `predict`, which sorts them: its result for 0, 1, ... as outputs. None if it does not sort."""
    if not isinstance(last, MLPRegressor) or not last._has_quantiles:
        return None
    return last._in_order(np.arange(last.n_outputs_)[None])[0]
