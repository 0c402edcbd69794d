"""A file is written whole or not at all: what a full disk, a kill and a second writer leave behind."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from costmodel import files
from costmodel.bench import judged
from costmodel.errors import CostModelError
from costmodel.files import append_line, write_bytes, write_text
from costmodel.hardware import load, write

OLD, NEW = "old\n" * 1000, "naïve, and new ⌈h/32⌉\n" * 200


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "figures.txt"
    path.write_text(OLD, encoding="utf-8")
    return path


def python(code: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, **options)


def only(path: Path) -> bool:
    """Nothing was left beside the file."""
    return list(path.parent.iterdir()) == [path]


def test_the_text_is_the_content(target):
    write_text(target, NEW)
    assert target.read_bytes() == NEW.encode() and only(target)
    write_bytes(str(target), b"\r\n\0")
    assert target.read_bytes() == b"\r\n\0" and only(target)


# -- half-way -----------------------------------------------------------------------------------------------------------------


def full_disk(*_: Any, **__: Any) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fills_up(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """Writes of any file take ``room`` bytes, a part of what is asked for at a time, and then fail."""
    real, left = os.write, [room]

    def write_a_part(file: int, data: Any) -> int:
        if not left[0]:
            full_disk()
        written = real(file, data[:min(left[0], 100)])
        left[0] -= written
        return written

    monkeypatch.setattr(os, "write", write_a_part)


FAILURES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "at once": lambda patch: patch.setattr(os, "write", full_disk),
    "half-way": lambda patch: fills_up(patch, 500),
    "when it is synced": lambda patch: patch.setattr(os, "fsync", full_disk),
    "when it is moved": lambda patch: patch.setattr(os, "replace", full_disk),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_full_disk_keeps_the_old_file(target, monkeypatch, failure):
    with monkeypatch.context() as patch, pytest.raises(CostModelError) as raised:
        FAILURES[failure](patch)
        write_text(target, NEW)
    assert str(raised.value) == f"cannot write {target}: No space left on device; give another file"
    assert target.read_text(encoding="utf-8") == OLD and only(target)


@pytest.mark.parametrize("new", [False, True])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_full_disk_leaves_no_part_of_a_first_file(tmp_path, monkeypatch, failure, new):
    with monkeypatch.context() as patch, pytest.raises(CostModelError):
        FAILURES[failure](patch)
        write_text(tmp_path / "first.txt", NEW, new=new)
    assert not list(tmp_path.iterdir())


def test_writes_that_take_a_part_go_on(target, monkeypatch):
    with monkeypatch.context() as patch:
        fills_up(patch, 10**6)
        write_text(target, NEW)
    assert target.read_text(encoding="utf-8") == NEW


def test_a_limit_of_the_system_keeps_the_old_file(target):
    """For real: the system takes 500 bytes of a file, and no more."""
    pytest.importorskip("resource", reason="not on Windows")
    done = python("import resource, sys; from costmodel.files import write_text\n"
                  "resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))\n"
                  "write_text(sys.argv[1], 'new' * 1401)", target)
    assert f"CostModelError: cannot write {target}: File too large; give another file" in done.stderr
    assert target.read_text(encoding="utf-8") == OLD and only(target)


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_kill_keeps_the_old_file(target, step):
    done = python(f"import os, signal, sys; from costmodel.files import write_text\n"
                  f"os.{step} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
                  f"write_text(sys.argv[1], 'new')", target)
    assert done.returncode == -9 and target.read_text(encoding="utf-8") == OLD
    write_text(target, NEW)  # what the dead process left is in nobody's way
    assert target.read_text(encoding="utf-8") == NEW


def test_what_cannot_be_encoded_keeps_the_old_file(target):
    with pytest.raises(UnicodeEncodeError):
        write_text(target, "\ud800")
    assert target.read_text(encoding="utf-8") == OLD and only(target)


# -- modes, links, and what is no file ----------------------------------------------------------------------------------------


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_mode_stays_and_a_new_file_has_that_of_the_umask(target):
    target.chmod(0o640)
    write_text(target, NEW)
    assert mode(target) == 0o640
    before = os.umask(0o027)
    try:
        write_text(target.parent / "first.txt", NEW)
        append_line(target.parent / "lines.txt", "{}")
    finally:
        os.umask(before)
    assert mode(target.parent / "first.txt") == mode(target.parent / "lines.txt") == 0o640


@pytest.mark.parametrize("exists", [True, False])
def test_links_go_on_pointing(tmp_path, exists):
    real, link = tmp_path / "real" / "figures.txt", tmp_path / "link.txt"
    real.parent.mkdir()
    if exists:
        real.write_text(OLD, encoding="utf-8")
    link.symlink_to(Path("real") / "figures.txt")
    write_text(link, NEW)
    assert link.is_symlink() and real.read_text(encoding="utf-8") == NEW and not real.is_symlink() and only(real)


@pytest.mark.parametrize("put", [write_text, append_line])
def test_a_pipe_is_written_into(tmp_path, put):
    """As is a device such as /dev/stdout; neither is replaced."""
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text(encoding="utf-8")), daemon=True)
    reader.start()
    put(pipe, "new")
    reader.join(10)
    assert [text.strip() for text in read] == ["new"] and stat.S_ISFIFO(pipe.stat().st_mode) and only(pipe)


@pytest.mark.parametrize("put", [write_text, append_line])
def test_what_may_not_be_written_is_said(target, put):
    for path in (target.parent, target.parent / "nowhere" / "x.txt", target / "below", ""):
        with pytest.raises(CostModelError, match=r"^cannot write .*; give another file$"):
            put(path, "new")
    assert target.read_text(encoding="utf-8") == OLD and only(target)


@pytest.mark.parametrize("put", [write_text, append_line])
def test_a_protected_file_in_a_folder_that_may_be_written(target, put, monkeypatch):
    real = os.open

    def protected(path: Any, flags: int, *mode: int) -> int:
        """Root, as whom tests may run, could open it."""
        if Path(path) == target and flags & (os.O_WRONLY | os.O_RDWR):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, flags, *mode)

    with monkeypatch.context() as patch, pytest.raises(CostModelError, match="Permission denied"):
        patch.setattr(os, "open", protected)
        put(target, "new")
    assert target.read_text(encoding="utf-8") == OLD and only(target)


def test_a_new_file_is_none_that_was_there(target):
    write_text(target.parent / "first.txt", NEW, new=True)
    assert (target.parent / "first.txt").read_text(encoding="utf-8") == NEW
    (target.parent / "dangling").symlink_to("nowhere")
    for path in (target, target.parent / "first.txt", target.parent / "dangling"):
        with pytest.raises(CostModelError, match="File exists"):
            write_text(path, "newer", new=True)
    assert target.read_text(encoding="utf-8") == OLD and not (target.parent / "nowhere").exists()


def test_of_two_that_make_a_new_file_one_is_refused(tmp_path, monkeypatch):
    """The other one comes first, after both have looked."""
    target, real = tmp_path / "first.txt", files._move

    def late(*arguments: Any) -> None:
        monkeypatch.setattr(files, "_move", real)
        write_text(target, "theirs", new=True)
        real(*arguments)

    monkeypatch.setattr(files, "_move", late)
    with pytest.raises(CostModelError, match="File exists"):
        write_text(target, "ours", new=True)
    assert target.read_text(encoding="utf-8") == "theirs" and only(target)


# -- several processes --------------------------------------------------------------------------------------------------------


def at_once(code: str, count: int, *arguments: object) -> list[subprocess.Popen]:
    """``count`` processes of ``code``, each told its number."""
    return [subprocess.Popen([sys.executable, "-c", code, str(i), *map(str, arguments)]) for i in range(count)]


def test_two_writers_never_mix(tmp_path):
    target, whole = tmp_path / "both.txt", {letter * 200_000 for letter in "ab"}
    write_text(target, "a" * 200_000)
    writers = at_once("import sys; from costmodel.files import write_text\n"
                      "for _ in range(50): write_text(sys.argv[2], 'ab'[int(sys.argv[1])] * 200_000)", 2, target)
    seen = []
    while any(writer.poll() is None for writer in writers):
        seen.append(target.read_text(encoding="utf-8"))
        assert seen.pop() in whole
    assert [writer.wait() for writer in writers] == [0, 0] and target.read_text(encoding="utf-8") in whole and only(target)


def test_lines_of_several_processes_all_parse(tmp_path):
    """Longer than a page, and than what a pipe takes whole."""
    target = tmp_path / "records.jsonl"
    target.write_text('{"cut": ', encoding="utf-8")
    writers = at_once("import json, sys; from costmodel.files import append_line\n"
                      "for i in range(50): append_line(sys.argv[2], json.dumps([int(sys.argv[1]), i, 'x' * 70_000]))", 4, target)
    assert [writer.wait() for writer in writers] == [0] * 4
    cut, *lines = target.read_text(encoding="utf-8").splitlines()
    assert cut == '{"cut": '
    assert sorted(json.loads(line)[:2] for line in lines) == [[i, j] for i in range(4) for j in range(50)]


# -- records ------------------------------------------------------------------------------------------------------------------


def test_records_are_lines(tmp_path):
    target = tmp_path / "records.jsonl"
    for record in ("{}", '["ü"]'):
        append_line(target, record)
    assert target.read_bytes() == '{}\n["ü"]\n'.encode()
    with pytest.raises(ValueError, match="one line"):
        append_line(target, "a\nb")


def test_a_line_that_was_cut_stays_alone(tmp_path):
    target = tmp_path / "records.jsonl"
    target.write_text('{}\n{"half', encoding="utf-8")
    append_line(target, "[1]")
    append_line(target, "[2]")
    assert target.read_text(encoding="utf-8") == '{}\n{"half\n[1]\n[2]\n'


@pytest.mark.parametrize("failure", ["at once", "half-way", "when it is synced"])
def test_a_full_disk_takes_no_part_of_a_record(target, monkeypatch, failure):
    with monkeypatch.context() as patch, pytest.raises(CostModelError, match=r"No space left on device; give another file"):
        FAILURES[failure](patch)
        append_line(target, "x" * 1000)
    assert target.read_text(encoding="utf-8") == OLD


def test_without_locks_records_still_come_after_each_other(tmp_path, monkeypatch):
    """Another process writes its own after ours has looked for the end."""
    target, real = tmp_path / "records.jsonl", files._byte
    append_line(target, "[0]")

    def look(file: int, place: int) -> bytes:
        found = real(file, place)
        with target.open("a", encoding="utf-8") as theirs:
            theirs.write("[1]\n")
        return found

    monkeypatch.setattr(files, "fcntl", None)
    monkeypatch.setattr(files, "_byte", look)
    append_line(target, "[2]")
    assert target.read_text(encoding="utf-8") == "[0]\n[1]\n[2]\n"


# -- what the package writes --------------------------------------------------------------------------------------------------


def draw(path: Path) -> None:
    pytest.importorskip("matplotlib")
    from costmodel.pictures import plot_memory_wall

    plot_memory_wall(str(path))


WRITERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "a device": ("local.toml", lambda path: write(load("lecture"), path)),
    "a compiler's records": ("xla-cpu.jsonl", lambda path: judged.store(path.parent, "xla-cpu", {"mlp": {"program": "x" * 1000}})),
    "a picture": ("wall.svg", draw),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_file_of_the_package_is_kept_by_a_full_disk(tmp_path, monkeypatch, name):
    path, put = tmp_path / WRITERS[name][0], WRITERS[name][1]
    path.write_text(OLD, encoding="utf-8")
    with monkeypatch.context() as patch, pytest.raises(CostModelError, match="No space left"):
        fills_up(patch, 500)
        put(path)
    assert path.read_text(encoding="utf-8") == OLD and only(path)
    put(path)
    assert path.read_text(encoding="utf-8") != OLD and only(path)


def test_type_checkers_are_told_that_types_are_stated():
    from importlib.resources import files

    assert all((files(package) / "py.typed").is_file() for package in ("costmodel", "zoo"))
