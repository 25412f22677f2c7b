"""Models from files: `storage` with the classes of the package."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os import PathLike
from typing import TYPE_CHECKING

from . import storage
from .module import Module

if TYPE_CHECKING:
    from .functions import Activation


def load(path: str | PathLike[str], custom: Iterable[type[Module] | Activation] = ()) -> Module:
    """The model that `Module.save` wrote, in training mode.

    Parameters
    ----------
    path : str or path
        The file; the format is safetensors where its name ends so, else npz.
    custom : iterable
        Classes of your own derived from `Module`, and instances of `Activation`, that are in the model. Files hold only their
        names: reading a file never runs code from it.

    Returns
    -------
    Module
        A new model with the stored parameters.

    Raises
    ------
    ValueError
        If the file is of another kind or damaged, or names a class or activation that is not known here.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from fastprop import nn
    >>> model = nn.mlp([4, 8, 2], random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(Path(folder, "model.npz"))
    ...     again = nn.load(Path(folder, "model.npz"))
    >>> np.array_equal(again([[1.0, 2.0, 3.0, 4.0]]), model([[1.0, 2.0, 3.0, 4.0]]))
    True
    """
    known = {cls.__name__: (cls.from_arguments, True) for cls in _own_classes(Module)}
    for item in custom:
        if isinstance(item, type) and issubclass(item, Module):
            known[item.__name__] = item.from_arguments, False
        elif isinstance(item, Module):
            known[item.stored_name()] = item.copied, False
    return storage.read(path, known)


def _own_classes(cls: type[Module]) -> Iterator[type[Module]]:
    """The classes of this package that are derived from one."""
    for derived in cls.__subclasses__():
        if derived.__module__.startswith(f"{__package__}."):
            if not derived.__name__.startswith("_"):
                yield derived
            yield from _own_classes(derived)
