"""Models in files: the arrays of the state, and in JSON the classes and arguments to which they belong. No pickle.

The JSON text has a checksum of itself and of all arrays, so that a damaged file, or one with arrays of another file, never loads as
a different model. The sizes in a description are compared with the arrays in the file before anything is allocated. `loading` knows
which classes there are; this module knows none.
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..files import replacing
from ..training_set import FLOAT_DTYPES
from .allocation import Room, allocating_in

if TYPE_CHECKING:
    from .module import Module

KEY = "model"  # of the JSON text
CHECKSUM = "sha256"  # files of earlier versions have none
DAMAGED = "{} is not a file that Module.save wrote, or it is damaged: {}"
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def save(model: Module, path: str | PathLike[str]) -> None:
    """Write a model; see `Module.save`."""
    description, state = _described(model), model.state_dict()
    strange = [f"{name} is {array.dtype.name}" for name, array in state.items() if array.dtype.kind not in "biufc"]
    if strange:
        raise TypeError(f"the arrays of a model must have numeric dtypes to be saved; {', '.join(strange)}")
    text = json.dumps(description | {CHECKSUM: _checksum(description, state)})
    if Path(path).suffix == ".safetensors":
        from safetensors.numpy import save as serialized

        whole = serialized(state, {KEY: text})
        with replacing(path) as file:
            file.write(whole)
        return
    if KEY in state:
        raise ValueError(f"a parameter or buffer in an npz file must not be named {KEY!r}, which is the name of its description")
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in {KEY: np.array(text), **state}.items():  # not np.savez, which takes some names for its options
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read(path: str | PathLike[str], known: Mapping[str, tuple[Callable[..., Module], bool]]) -> Module:
    """The model in a file. ``known``: name of a class -> (what makes it from its arguments, whether it is the package's own)."""
    with open(path, "rb") as file:  # an OSError names the file
        try:
            text, state = _read_safetensors(path) if Path(path).suffix == ".safetensors" else _read_npz(file)
            if text is not None:
                return _loaded(json.loads(text), state, known)
        except _UnknownClass as error:
            raise ValueError(f"the model in {path} needs {error}, which is unknown: pass it in load(path, custom=[...])") from None
        except Exception as error:  # damage can lead to any error, here and in the classes' __init__
            raise ValueError(DAMAGED.format(path, str(error) or type(error).__name__)) from error
    raise ValueError(f"{path} holds no model written by Module.save")


class _UnknownClass(Exception):
    """A description names a class or activation that is not known."""


def _loaded(description, state, known):
    expected = description.pop(CHECKSUM, None)
    if expected is not None and expected != _checksum(description, state):
        raise ValueError("the checksum is wrong")
    model = _made(description, known, Room(sum(array.size for array in state.values())))
    own = dict(model._state())
    for name, array in state.items():
        # A model's arrays can be float32 in the file and float64 after its __init__; nothing else was ever converted.
        dtypes = {array.dtype.newbyteorder("="), own[name].dtype} if name in own else set()
        if len(dtypes) > 1 and not dtypes <= set(FLOAT_DTYPES):
            raise ValueError(f"{name} must be {own[name].dtype.name}; got {array.dtype.name}")
    model.load_state_dict(state)
    return model


def _checksum(description, state):
    """The checksum of names, dtypes, shapes and values, independent of the machine's byte order."""
    digest = hashlib.sha256(json.dumps(description).encode())
    for name, array in sorted(state.items()):
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return digest.hexdigest()


def _read_npz(file):
    """(JSON text or None, {name: array}) of a file."""
    with zipfile.ZipFile(file) as archive:
        state = {name.removesuffix(".npy"): _array(archive.read(name)) for name in archive.namelist()}
    return str(state.pop(KEY)) if KEY in state else None, state


def _array(data):
    """The array of an npy file, without a copy; NumPy's own reader would allocate as much as the header claims."""
    stream = BytesIO(data)
    version = np.lib.format.read_magic(stream)
    shape, fortran_order, dtype = HEADERS[version](stream)
    if dtype.kind not in "biufcU" or math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
        raise ValueError(f"an array of shape {shape} and dtype {dtype} has {len(data) - stream.tell()} bytes")
    return np.frombuffer(data, dtype, offset=stream.tell()).reshape(shape, order="F" if fortran_order else "C")


def _read_safetensors(path):
    from safetensors import safe_open

    with safe_open(path, "numpy") as tensors:
        names = tensors.keys()
        return (tensors.metadata() or {}).get(KEY), {name: tensors.get_tensor(name) for name in names}


def _described(value):
    """A module, or an argument of one, in the form that JSON can hold."""
    if hasattr(value, "stored_name"):
        name = value.stored_name()
        arguments = {key: _described(argument) for key, argument in value.arguments().items()}
        return {"class": name, "arguments": arguments}
    if isinstance(value, (list, tuple)):
        return [_described(item) for item in value]
    if isinstance(value, dict):
        raise TypeError(f"an argument of a model to save must be a number, string, module or list of these; got {value!r}")
    return value.name if isinstance(value, np.dtype) else value


def _made(value, known, room):
    """The inverse of `_described`; ``room`` limits the arrays of the package's own classes, all of which `save` stores."""
    if isinstance(value, list):
        return [_made(item, known, room) for item in value]
    if not isinstance(value, dict):
        return value
    if value["class"] not in known:
        raise _UnknownClass(repr(value["class"]))
    make, is_own = known[value["class"]]
    arguments = {key: _made(argument, known, room) for key, argument in value["arguments"].items()}
    with allocating_in(room if is_own else None):
        return make(**arguments)
