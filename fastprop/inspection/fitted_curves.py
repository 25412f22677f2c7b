"""The curves of a fitted estimator that a `LossCurveDisplay` draws.

scikit-learn is imported only if there is an estimator: other objects are refused without it.
"""

# An estimator's loss -> its unit
UNITS = {
    "log_loss": "nats",
    "squared_error": "half squared error",
    "absolute_error": "absolute error",
    "huber": "Huber",
    "quantile": "pinball",
    "poisson": "half Poisson deviance",
    "gamma": "half gamma deviance",
    "tweedie": "half Tweedie deviance",
}


def curves_of(estimator):
    """The parameters of a `LossCurveDisplay` for a fitted estimator."""
    _check(estimator)
    return (_curves_of_members if hasattr(estimator, "n_members") else _curves)(estimator)


def _check(estimator):
    """Fail unless there is a curve to draw."""
    kind, is_ensemble = type(estimator).__name__, hasattr(estimator, "n_members")
    if not (hasattr(estimator, "hidden_layer_sizes") and (is_ensemble or hasattr(estimator, "solver"))):
        raise TypeError(
            "estimator must be an MLPClassifier, an MLPRegressor, a TabularClassifier, a TabularRegressor, or a Pipeline that ends "
            f"with one; got {kind}"
        )
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(estimator)
    if not is_ensemble and not hasattr(estimator, "loss_curve_"):
        raise ValueError(f"this {kind} has no loss curve: solver 'lbfgs' does not record one. Fit it with another solver")
    if not (any(estimator.loss_curves_) if is_ensemble else estimator.loss_curve_):
        raise ValueError(f"the loss curve of this {kind} is empty: training ended in the first epoch")


def _curves(estimator):
    """Those of an MLP."""
    is_minus_loss = getattr(estimator, "scoring", None) == "loss"
    return {
        "loss_curve": estimator.loss_curve_,
        "validation_scores": None if is_minus_loss else getattr(estimator, "validation_scores_", None),
        "name": type(estimator).__name__,
        "unit": UNITS.get(estimator.loss),
        "score_name": _score_name(estimator),
        "validation_losses": getattr(estimator, "validation_loss_curve_", None),
        "learning_rates": getattr(estimator, "learning_rate_curve_", None),
    }


def _curves_of_members(estimator):
    """Those of an estimator for tables."""
    from sklearn.base import is_classifier

    unit, validation = UNITS[estimator.loss], getattr(estimator, "validation_loss_curves_", None)
    drawn = f"mean and range of {len(estimator.loss_curves_)}" + (",\nbest epochs starred" if validation else "")
    return {
        "loss_curve": estimator.loss_curves_,
        "name": f"{type(estimator).__name__}\n({drawn})",
        "unit": unit if is_classifier(estimator) else f"{unit} of the scaled target",
        "validation_losses": validation,
        "best_epochs": estimator.best_iters_,
    }


def _score_name(estimator):
    """The name of an estimator's validation scores."""
    from sklearn.base import is_classifier

    scoring = getattr(estimator, "scoring", None)
    if scoring is None:
        return "accuracy" if is_classifier(estimator) else "R²"
    if isinstance(scoring, str):
        return "R²" if scoring == "r2" else scoring.replace("_", " ")
    name = getattr(scoring, "__name__", "")
    return name.replace("_", " ") if name.isidentifier() else "score"
