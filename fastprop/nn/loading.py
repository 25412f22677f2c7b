"""Load models from files: `storage` with the classes of the package."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os import PathLike
from typing import TYPE_CHECKING

from . import storage
from .module import Module

if TYPE_CHECKING:
    from .functions import Activation


def load(path: str | PathLike[str], custom: Iterable[type[Module] | Activation] = ()) -> Module:
    """Load a model that `Module.save` wrote; it is in training mode.

    Parameters
    ----------
    path : str or path
        The file. Its format is safetensors if the name ends with ".safetensors", else npz.
    custom : iterable
        The classes of your own derived from `Module`, and the instances of `Activation`, that the model contains. A file holds only
        their names: loading never runs code from a file.

    Returns
    -------
    Module
        A new model with the stored parameters.

    Raises
    ------
    ValueError
        If the file is damaged or of another kind, or names a class or activation that is not in the package or in ``custom``.

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
    """The public classes of this package that are derived from a class."""
    for derived in cls.__subclasses__():
        if derived.__module__.startswith(f"{__package__}."):
            if not derived.__name__.startswith("_"):
                yield derived
            yield from _own_classes(derived)
