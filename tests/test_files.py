"""Files that are replaced as a whole: after an error, a full disk or a kill the old content is there, or the new."""

import errno
import os
import stat
import threading

import pytest

from fastprop.files import replacing, write_text

posix = pytest.mark.skipif(os.name != "posix", reason="permissions, links and pipes as POSIX has them")


def test_an_error_in_the_block_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def interrupted():
        with replacing(path) as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_leaves_the_old_file(tmp_path):
    resource = pytest.importorskip("resource", reason="limits of the file size are POSIX's")
    path, limits = tmp_path / "a.txt", resource.getrlimit(resource.RLIMIT_FSIZE)
    write_text(path, "old")
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match=r"a\.txt") as caught:
            write_text(path, "new" * 4096)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_errors_of_the_system_name_the_path(tmp_path):
    (tmp_path / "folder").mkdir()
    for path, error in ((tmp_path / "no" / "a.txt", FileNotFoundError), (tmp_path / "folder", OSError)):
        with pytest.raises(error) as caught:
            write_text(path, "text")
        assert caught.value.filename == str(path)


@posix
def test_permissions_and_links_stay(tmp_path):
    path, link, dangling = tmp_path / "a.txt", tmp_path / "folder" / "link.txt", tmp_path / "dangling.txt"
    umask = os.umask(0o027)
    try:
        write_text(path, "old")
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    link.parent.mkdir()
    link.symlink_to("../a.txt")
    write_text(link, "new")
    assert link.is_symlink()
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o604)
    dangling.symlink_to("b.txt")
    write_text(dangling, "new")
    assert dangling.is_symlink()
    assert (tmp_path / "b.txt").read_text() == "new"


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="permissions do not bind root")
def test_a_read_only_file_is_refused_and_one_in_a_read_only_folder_written(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    path.chmod(0o400)
    with pytest.raises(PermissionError):
        write_text(path, "new")
    path.chmod(0o600)
    tmp_path.chmod(0o500)
    try:
        write_text(path, "new")
    finally:
        tmp_path.chmod(0o700)
    assert path.read_text() == "new"


@posix
def test_a_file_that_cannot_be_renamed_over_is_overwritten(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def busy(source, target):
        raise OSError(errno.EBUSY, "Device or resource busy", source, None, target)

    monkeypatch.setattr(os, "replace", busy)
    write_text(path, "new")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


@posix
def test_what_cannot_be_replaced_is_written_directly(tmp_path):
    pipe, received = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "text")
    reader.join()
    assert received == ["text"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    with open(tmp_path / "out.txt", "w") as out:  # as /dev/stdout is, where the shell sends it to a file
        write_text(f"/dev/fd/{out.fileno()}", "text")
        assert os.fstat(out.fileno()).st_ino == os.stat(tmp_path / "out.txt").st_ino
    assert (tmp_path / "out.txt").read_text() == "text"
