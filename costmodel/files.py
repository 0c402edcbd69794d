"""How files are written: whole or not at all.

A file appears under its name only once all of it is on the disk, so that a full disk or a kill keeps what was there, and of two
writers the last one wins whole. Records are appended line by line, each by one write. What cannot be written is a CostModelError.
A process that is killed while it writes may leave a file ``.costmodel-….tmp`` beside the target.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from costmodel.errors import CostModelError

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

PICTURES = (".svg", ".png", ".pdf")  # how the name of a picture's file ends


def write_text(path: str | os.PathLike[str], text: str, *, new: bool = False) -> None:
    """Make ``text``, in UTF-8, the content of the file; its mode stays, and a link goes on pointing to it.

    Raises CostModelError where that cannot be; what was there is then there still. ``new``: also where there is a file already.
    """
    write_bytes(path, text.encode("utf-8"), new=new)


def write_bytes(path: str | os.PathLike[str], data: bytes, *, new: bool = False) -> None:
    """As :func:`write_text`, for bytes."""
    with refusals(path):
        before = _stat(path)
        if new and os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        if before is not None and not stat.S_ISREG(before.st_mode):
            _write_into(path, data)  # a pipe or a device: nothing to keep, and nothing to put in its place
            return
        _replace(Path(os.path.realpath(path)), data, before, new)


def append_line(path: str | os.PathLike[str], line: str) -> None:
    """Append a record of one line, in UTF-8, to the file, which is made if there is none.

    Lines of several processes do not mix, and a line that was cut off by a kill stays alone. Raises CostModelError where the file
    cannot be written; it is then as it was.
    """
    if "\n" in line:
        raise ValueError("a record is one line")
    with refusals(path), _opened(path, _append_flags(path)) as file:
        regular = stat.S_ISREG(os.fstat(file).st_mode)
        locked = _lock(file)
        size = os.lseek(file, 0, os.SEEK_END) if regular else 0
        cut = size > 0 and _byte(file, size - 1) != b"\n"
        data = f"{cut * chr(10)}{line}\n".encode()
        try:
            if os.write(file, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if regular:
                os.fsync(file)
        except OSError:
            if regular and locked:  # without the lock the end could be another's line by now
                os.ftruncate(file, size)
            raise


@contextlib.contextmanager
def refusals(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns what the system refuses while ``path`` is written into a line for the user."""
    try:
        yield
    except OSError as error:
        raise CostModelError(f"cannot write {os.fspath(path)}: {error.strerror or error}; give another file") from None


def _stat(path: str | os.PathLike[str]) -> os.stat_result | None:
    """Of the file that is there; None if there is none. Raises OSError where it may not be written."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode):
        os.close(os.open(path, os.O_WRONLY))  # a folder that may be written does not make its protected files writable
    return found


def _replace(target: Path, data: bytes, before: os.stat_result | None, new: bool) -> None:
    temporary = target.parent / f".costmodel-{secrets.token_hex(8)}.tmp"
    try:
        with _opened(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as file:
            _write_all(file, data)
            os.fsync(file)
        if before is not None:
            _take_over(temporary, before)
        _move(temporary, target, new)
    finally:
        temporary.unlink(missing_ok=True)
    with contextlib.suppress(OSError), _opened(target.parent, os.O_RDONLY) as folder:
        os.fsync(folder)  # the new name, where the system does that


def _move(temporary: Path, target: Path, new: bool) -> None:
    if new:  # the name is taken first, so that of two processes one is refused
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    try:
        os.replace(temporary, target)
    except OSError:
        if new:
            target.unlink()
        raise


def _take_over(path: Path, before: os.stat_result) -> None:
    """Give a file the owner, if that may be, and the mode of the one before it."""
    if hasattr(os, "chown"):
        with contextlib.suppress(OSError):
            os.chown(path, before.st_uid, before.st_gid)
    os.chmod(path, stat.S_IMODE(before.st_mode))


def _write_into(path: str | os.PathLike[str], data: bytes) -> None:
    with _opened(path, os.O_WRONLY) as file:
        _write_all(file, data)


def _write_all(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest):]


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str], flags: int) -> Iterator[int]:
    """A descriptor; a new file's mode is what the umask leaves."""
    file = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)
    try:
        yield file
    finally:
        os.close(file)


def _append_flags(path: str | os.PathLike[str]) -> int:
    before = _stat(path)
    readable = before is None or stat.S_ISREG(before.st_mode)  # a pipe cannot be asked for its last byte
    return os.O_APPEND | os.O_CREAT | (os.O_RDWR if readable else os.O_WRONLY)


def _byte(file: int, place: int) -> bytes:
    os.lseek(file, place, os.SEEK_SET)
    return os.read(file, 1)


def _lock(file: int) -> bool:
    """Wait for the file to be nobody else's until it is closed; False where the system has no such locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except (AttributeError, OSError):
        return False
    return True
