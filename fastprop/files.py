"""Writing files so that an interrupted write never destroys the existing file."""

import errno
import os
import secrets
import shutil
import stat
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path):
    """A binary file to write, which takes the place of ``path`` when the block ends without an error.

    The bytes go to a hidden file in the same folder, ``.fastprop-*.tmp``, which is then renamed: a program that opens ``path``
    finds the old or the new content, never a part. After an error the hidden file is removed; only a killed process leaves it
    behind. An existing file keeps its permissions and, if allowed, its owner; a symbolic link stays a link. Paths that cannot be
    replaced, such as a device, a pipe, or a file in a folder without write permission, are written directly.

    Parameters
    ----------
    path : str or path

    Yields
    ------
    file object

    Raises
    ------
    OSError
        With the name of ``path``.
    """
    path = os.fspath(path)
    target = _replaceable(path)
    temporary = None if target is None else os.path.join(os.path.dirname(target), f".fastprop-{secrets.token_hex(8)}.tmp")
    try:
        file, temporary = _opened(path, temporary)
        try:
            with file:
                yield file
                if temporary is not None:
                    file.flush()
                    os.fsync(file.fileno())
            if temporary is not None:
                _put(temporary, target)
        finally:
            if temporary is not None:
                with suppress(FileNotFoundError):
                    os.unlink(temporary)
    except OSError as error:
        if error.errno is None or error.filename not in (None, temporary):
            raise
        raise OSError(error.errno, error.strerror, path) from error


def write_text(path, text):
    """Write a text in UTF-8 with `replacing`."""
    with replacing(path) as file:
        file.write(text.encode())


def save_figure(figure, path, **options):
    """Write a Matplotlib figure with `replacing`, in the format that the name ends with; options are those of ``savefig``."""
    with replacing(path) as file:
        figure.savefig(file, format=Path(path).suffix[1:].lower() or None, **options)


def _replaceable(path):
    """The file behind all symbolic links, or None if it is not a regular file or cannot be exchanged for another."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        if not os.access(path, os.W_OK):
            return None  # opening it raises the right error for a read-only file
    while os.path.islink(path):
        # /dev/stdout and similar links lead to a file that another program has open: it would not see a new file in its place.
        if os.path.realpath(os.path.dirname(path)).startswith("/proc/"):
            return None
        path = os.path.join(os.path.dirname(path), os.readlink(path))
    return path


def _opened(path, temporary):
    """(temporary file, its name), or (the file at ``path``, None) if no other file may be created next to it."""
    if temporary is not None:
        try:
            return open(temporary, "xb"), temporary  # with the mode of any new file, from the umask
        except PermissionError:
            if not os.path.exists(path):
                raise
    return open(path, "wb"), None


def _put(temporary, target):
    with suppress(FileNotFoundError):
        before = os.stat(target)
        if hasattr(os, "chown"):
            with suppress(PermissionError):
                os.chown(temporary, before.st_uid, before.st_gid)
        os.chmod(temporary, stat.S_IMODE(before.st_mode))
    try:
        os.replace(temporary, target)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.EPERM, errno.EACCES):
            raise
        # Another user's file in /tmp, or a mount point of its own: it can only be overwritten.
        shutil.copyfile(temporary, target)
