"""scikit-learn's decorators, which have no annotations, as decorators that keep a method's type."""

from collections.abc import Callable
from typing import Any, TypeVar

from sklearn.base import _fit_context
from sklearn.utils import metaestimators

Method = TypeVar("Method", bound=Callable[..., Any])


def fits(method: Method) -> Method:
    """Validate the parameters before the method, and skip what scikit-learn would validate again inside it."""
    return _fit_context(prefer_skip_nested_validation=True)(method)


def available_if(check: Callable[[Any], bool]) -> Callable[[Method], Method]:
    """The method exists only if ``check(estimator)`` is true; the check may raise an AttributeError with the reason."""
    return metaestimators.available_if(check)
