"""Models in files: the arrays of the state, and as JSON which classes with which arguments they belong to. No pickle."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .functions import Activation
    from .module import Module

KEY = "model"  # of the JSON text; parameters of a model cannot have this name, as Module has no such attribute
DAMAGED = "{} is not a file that Module.save wrote, or it is damaged"


def save(model: Module, path: str | PathLike[str]) -> None:
    """Write a model; see `Module.save`."""
    text = json.dumps(_described(model))
    if Path(path).suffix == ".safetensors":
        from safetensors.numpy import save_file

        save_file(model.state_dict(), path, metadata={KEY: text})
        return
    with open(path, "wb") as file:  # np.savez would add .npz to the name
        np.savez(file, **{KEY: np.array(text)}, **model.state_dict())


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
    """
    text, state = (_read_safetensors if Path(path).suffix == ".safetensors" else _read_npz)(path)
    if text is None:
        raise ValueError(f"{path} holds no model written by Module.save")
    model = _made(json.loads(text), _known(custom))
    model.load_state_dict(state)
    return model


def _read_npz(path):
    """(JSON text or None, {name: array}) of a file."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            state = dict(arrays)
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:  # a lone array is no context manager
        raise ValueError(DAMAGED.format(path)) from error
    return str(state.pop(KEY)) if KEY in state else None, state


def _read_safetensors(path):
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            return (file.metadata() or {}).get(KEY), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(DAMAGED.format(path)) from error


def _described(value):
    """A module, or an argument of one, as JSON has it."""
    from .module import Module

    if isinstance(value, Module):
        name = value.stored_name()
        arguments = {key: _described(argument) for key, argument in value.arguments().items()}
        return {"class": name, "arguments": arguments}
    if isinstance(value, (list, tuple)):
        return [_described(item) for item in value]
    return value.name if isinstance(value, np.dtype) else value


def _made(value, known):
    if isinstance(value, list):
        return [_made(item, known) for item in value]
    if not isinstance(value, dict):
        return value
    if value["class"] not in known:
        raise ValueError(f"the model needs {value['class']!r}, which is not known here: load(path, custom=[...])")
    return known[value["class"]](**{key: _made(argument, known) for key, argument in value["arguments"].items()})


def _known(custom):
    """A dict from the names in files to what makes the module from its arguments."""
    from fastprop import nn

    known = {}
    for item in [*(getattr(nn, name) for name in nn.__all__), *custom]:
        if isinstance(item, type) and issubclass(item, nn.Module):
            known[item.__name__] = item.from_arguments
        elif isinstance(item, nn.Module):
            known[item.stored_name()] = item.copied
    return known
