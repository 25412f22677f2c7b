"""Warnings that scikit-learn's estimators issue too, in the name of the module that a user's filters expect.

A filter such as ``warnings.filterwarnings("ignore", module="sklearn")`` tests the name of the module that warns. While
`patch_sklearn` is in force that is scikit-learn's module of the estimators, because a script that does not know fastprop has
filters for that module. Otherwise it is fastprop: scripts that import fastprop have filters with ``module="fastprop"``.
"""

import sys
import types
import warnings

from .scikit_learns import MODULES, is_patched


def warn(message, category=UserWarning):
    """Warn in the name of the module described above."""
    call(warnings.warn, message, category)


def call(function, *arguments, **options):
    """Call a function so that a warning about its caller has the name of the module described above."""
    caller = _call
    if is_patched():
        # `warnings` reads the name in the globals of the calling frame. Catching and repeating a warning would not be thread-safe.
        caller = types.FunctionType(_call.__code__, vars(sys.modules[MODULES[1]]))
    return caller(function, *arguments, **options)


def _call(function, *arguments, **options):
    return function(*arguments, **options)
