"""`show` in pmap's forms and in those of the kernel: byte for byte what the originals print of the same process."""

from __future__ import annotations

import contextlib
import itertools
import locale
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import PROGRAMS, Runner, Target, isolated

pytestmark = pytest.mark.skipif(shutil.which("pmap") is None, reason="pmap (procps) is not installed")
# 4.0.4 prints the same, but for some command lines and for the totals of the second process that -X shows, which are right there.
_VERSION = subprocess.run(["pmap", "-V"], capture_output=True, text=True, check=False).stdout.split()[-1] if shutil.which("pmap") else ""
of_this_version = pytest.mark.skipif(_VERSION not in ("4.0.2", "4.0.4"), reason=f"pmap is of procps {_VERSION}, which prints otherwise")

FORMS = {"pmap": [], "pmap-x": ["-x"], "pmap-d": ["-d"], "pmap-X": ["-X"], "pmap-XX": ["-XX"]}
LOOKS = [[], ["-p"], ["-q"], ["-p", "-q"]]
# Names that somebody may give a file. The kernel escapes a newline, and nothing else.
NAMES = (
    b"plain",
    b"two  words ",
    b"tab\there",
    b"new\nline",
    b"lit\\012eral",
    b"caf\xc3\xa9",
    b"latin \xe9\xff",
    b"esc \x1b[31mred\x1b]0;title\x07",
    b"c1 \xc2\x9b31m",
    b"not really (deleted)",
    b"SYSV00000000",
    b"[ anon ]",
    b"[stack]",
    b"=cmd",
    b"l" * 250,
)
_SHARED, _PRIVATE, _READ = 1, 2, 1
_NOREPLACE_BASE = 0x200000000000
# Even of a process that stands still the kernel ages pages, and who comes and goes shares the vdso.
_TRIES = 20


def _pmap(*arguments: object, characters: str = "C.UTF-8") -> bytes:
    environment = {**os.environ, "LC_ALL": characters}
    return subprocess.run(["pmap", *map(str, arguments)], env=environment, stdout=subprocess.PIPE, check=True).stdout


def _furnish(target: Target, folder: Path) -> None:
    """Map everything whose name pmap treats in a way of its own."""
    deep = folder / "deep" / ("d" * 100)
    deep.mkdir(parents=True)
    files = [*(folder / os.fsdecode(name) for name in NAMES), deep / "a name that -X cuts off", deep / ("x" * 60) / "y"]
    files[-1].parent.mkdir()
    for number, path in enumerate(files):
        fd = target.call("open", path=str(path), create=3 * 4096)
        address = _NOREPLACE_BASE + (number << 32)
        target.call("map", size=2 * 4096, address=address, fd=fd, flags=(_SHARED, _PRIVATE)[number % 2], offset=4096)
        target.call("write", address=address, pages=1 + number % 2)
    gone = folder / "gone"
    fd = target.call("open", path=str(gone), create=4096)
    target.call("map", size=4096, fd=fd, flags=_SHARED, prot=_READ)
    gone.unlink()
    for name in ("plain", "a/SYSV00000000", "esc\x1b[31m"):
        target.call("map", size=8192, fd=target.call("memfd", name=name, size=8192), flags=_SHARED)
    zero = target.call("open", path="/dev/zero")
    target.call("map", size=4096, fd=zero, flags=_SHARED)
    target.call("map", size=4096, fd=zero, flags=_PRIVATE)
    target.call("map", size=4096, flags=0x21)
    segment = target.call("shm", size=12 * 4096)
    target.call("write", address=segment, pages=5)
    for _ in range(3):
        target.call("thread")
    target.call("brk", size=1 << 20)
    wide = target.call("map", size=16 << 20)
    target.call("write", address=wide, pages=2500)
    target.call("protect", address=wide + (8 << 20), size=4096, prot=0)


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A process that shares no file with others, with odd mappings; it stands still."""
    folder = tmp_path_factory.mktemp("furnished")
    argv, environment = isolated(folder / "python")
    with Target(argv=[*argv, str(PROGRAMS / "target.py")], env=environment) as target:
        (folder / "files").mkdir()
        _furnish(target, folder / "files")
        with target.stopped():
            yield target


@contextlib.contextmanager
def _somebody_else() -> Iterator[None]:
    """Another process that runs meanwhile, as pmap does while it reads: that many share the vdso."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write(b"!\n")
        other.stdin.flush()
        other.stdout.readline()
        yield
        other.stdin.close()


def _record(run: Runner, *pids: int) -> None:
    with _somebody_else():
        run.here("record", *itertools.chain.from_iterable(("--pid", pid) for pid in pids)).ok()


def _shown(run: Runner, form: str, *options: str) -> bytes:
    result = run.here("show", "latest", "--format", form, *options).ok()
    assert result.stderr == b""
    return result.stdout


@of_this_version
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_as_pmap_prints_it(run: Runner, furnished: Target, form: str) -> None:
    for _ in range(_TRIES):
        _record(run, furnished.pid)
        pairs = [(look, _shown(run, form, *look), _pmap(*FORMS[form], *look, furnished.pid)) for look in LOOKS]
        if all(ours == theirs for _, ours, theirs in pairs):
            break
    for look, ours, theirs in pairs:
        assert ours == theirs, look
    assert theirs.count(b"\n") > 60, "there is something to compare"


def test_the_odd_names_are_there(run: Runner, furnished: Target) -> None:
    """What the comparison with pmap is worth: each way to print a name is in the table."""
    _record(run, furnished.pid)
    plain, paths, columns = (_shown(run, *options) for options in (("pmap",), ("pmap", "-p"), ("pmap-X", "-p")))
    for name in (
        b" tab?here\n",
        b" lit\\012eral\n",
        b" caf??\n",
        b" esc ?[31mred",
        b"  [ stack ]\n",
        b"  [ anon ]\n",
        b" SYSV00000000\n",
        b" gone (deleted)\n",
    ):
        assert name in plain, name
    assert len(re.findall(rb"  \[ shmid=0x[0-9a-f]+ \]\n", plain)) == 2, "one is a memfd whose name has /SYSV in it"
    assert re.search(rb" /\S*/two  words \n", paths)
    assert b"\x1b[31m" in columns
    assert re.search(rb"^.{20,} \S{127}\n", columns, re.MULTILINE)


def _ranges(pmap: bytes) -> list[str]:
    """Ranges of every kind that -A takes, made of the addresses of a table."""
    starts = [int(line.split()[0], 16) for line in pmap.splitlines()[1:-1]]
    low, middle, high = starts[3], starts[len(starts) // 2], starts[-6]
    last_byte = middle + 4095
    return [
        f"{low:x},{high:x}",
        f"{low + 1:x},{high - 1:x}",
        f"{middle:x}",
        f"0x{last_byte:X}",
        f"{middle:x},",
        f",{middle:x}",
        f"{low - 1:x}",
        f"{high:x},{low:x}",
        "0,ffffffffffffffff",
        "ffffffffff600fff",
        "1,2",
    ]


@of_this_version
@pytest.mark.parametrize("form", ["pmap", "pmap-x", "pmap-d"])
def test_a_range_is_as_pmap_cuts_it(run: Runner, furnished: Target, form: str) -> None:
    _record(run, furnished.pid)
    for text in _ranges(_pmap(furnished.pid)):
        for look in LOOKS:
            ours, theirs = _shown(run, form, *look, "-A", text), _pmap(*FORMS[form], *look, "-A", text, furnished.pid)
            if form == "pmap-x" and "-q" not in look:
                # pmap adds Rss and dirty of what lies below the range to its totals.
                *rows, total = ours.splitlines()
                assert rows == theirs.splitlines()[:-1], text
                figures = [row.split()[1:4] for row in rows if re.match(rb"[0-9a-f]{16} ", row)]
                assert [int(cell) for cell in total.split()[2:]] == [sum(int(row[column]) for row in figures) for column in range(3)]
            else:
                assert ours == theirs, (text, look)


@of_this_version
@pytest.mark.parametrize("form", ["pmap-X", "pmap-XX"])
def test_a_range_of_columns_is_limited_although_pmap_shows_all(run: Runner, furnished: Target, form: str) -> None:
    _record(run, furnished.pid)
    every = [line.split(None, 1) for line in _shown(run, form, "-q").splitlines()[1:]]
    for text in _ranges(_pmap(furnished.pid)):
        shown = [int(line.split()[0], 16) for line in _shown(run, "pmap", "-q", "-A", text).splitlines()[1:]]
        rows = _shown(run, form, "-q", "-A", text).splitlines()[1:]
        assert [int(row.split()[0], 16) for row in rows] == shown, text
        cells = {start: rest.split() for start, rest in every}
        assert all(row.split()[1:] == cells[row.split()[0]] for row in rows)
        _, headings, *body, _, totals = _shown(run, form, "-A", text).splitlines()
        names = headings.split()
        sums = [sum(int(row.split()[names.index(b"Inode") + 1 + column]) for row in body) for column in range(len(totals.split()) - 1)]
        assert [int(cell) for cell in totals.split()[:-1]] == sums
    assert _pmap(*FORMS[form], "-q", "-A", "1,2", furnished.pid).count(b"\n") == len(every) + 1, "pmap limits them now: compare the two"


@of_this_version
def test_several_processes_follow_each_other(run: Runner, furnished: Target, tmp_path: Path) -> None:
    argv, environment = isolated(tmp_path / "python")
    with Target(argv=[*argv, str(PROGRAMS / "many.py"), "20"], env=environment) as other, other.stopped():
        pids = sorted((furnished.pid, other.pid))
        for form, options in FORMS.items():
            for _ in range(_TRIES):
                _record(run, *pids)
                ours, theirs = _shown(run, form), b"".join(_pmap(*options, pid) for pid in pids)
                if ours == theirs:
                    break
            assert ours == theirs, form
        # Given both, pmap 4.0.2 adds the first one's totals of -X to those of the second.
        assert _pmap("-x", *pids) == _shown(run, "pmap-x")


# The name of the program and its arguments; of those with arguments all that a shell takes that reads its commands from standard input.
COMMAND_LINES = (
    (b"prog", b"-s", b"two words", b"", b"tab\there", b"new\nline", b""),
    (b"prog", b"-s", "café €𝄞 ok".encode(), b"\x7f"),
    (b"prog", b"-s", b"latin \xe9t\xe9 and \x01 more", "café".encode()),
    (b"prog", b"-s", b"swallows \xc3\x1b[31m and \xe2\x07\x07 and \xc2\x9b1m"),
    (b"prog", b"-s", b"ends in half a character \xe2\x82"),
    (b"",),
    (b"", b"-s", b"", b""),
    (b" ",),
    (b"prog\n",),
    # pmap has room for 131,071 bytes.
    *((b"p" * 70_000, b"-s", b"x" * (length - 70_005)) for length in (131_070, 131_071, 131_072, 131_073)),
    (b"p" * 70_000, b"-s", "é".encode() * 35_000),
    (b"p" * 70_001, b"-s", "é".encode() * 35_000),
)


@contextlib.contextmanager
def using(name: str) -> Iterator[None]:
    """With the characters of another locale."""
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, name)
    try:
        yield
    finally:
        locale.setlocale(locale.LC_CTYPE, before)


@pytest.mark.skipif(_VERSION != "4.0.2", reason=f"pmap is of procps {_VERSION}; 4.0.4 makes ? of broken UTF-8 where 4.0.2 does not")
@pytest.mark.parametrize("characters", ["C.UTF-8", "C"])
def test_the_first_line_is_as_pmap_prints_it(run: Runner, characters: str) -> None:
    for number, argv in enumerate(COMMAND_LINES):
        with subprocess.Popen(argv, executable="/bin/sh", stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as shell:
            assert shell.stdin is not None
            assert shell.stdout is not None
            shell.stdin.write(b"echo\n")
            shell.stdout.readline()
            run.here("record", "--pid", shell.pid).ok()
            theirs = _pmap("-q", shell.pid, characters=characters)
            shell.stdin.close()
        with using(characters):
            ours = _shown(run, "pmap", "-q")
        assert ours == theirs, (number, argv[:3])
    # Python does at its start what `using` does here.
    assert run.fresh("show", "latest", "--format", "pmap", "-q", env={"LC_ALL": characters}).ok().stdout == ours


def test_maps_is_the_text_of_the_kernel(run: Runner, furnished: Target) -> None:
    text = Path(f"/proc/{furnished.pid}/maps").read_bytes()
    run.here("record", "--pid", furnished.pid).ok()
    assert _shown(run, "maps") == text


_LINE = re.compile(rb"^(\w+): +(\d+) kB$", re.MULTILINE)
_ROUNDED = {b"Pss", b"Pss_Dirty", b"Pss_Anon", b"Pss_File", b"Pss_Shmem", b"SwapPss", b"Locked"}


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "forked"])
def test_the_rollup_is_that_of_the_kernel_but_for_rounding(run: Runner, tmp_path: Path, shared: bool) -> None:
    argv, environment = isolated(tmp_path / "python")
    (tmp_path / "files").mkdir()
    with Target(argv=[*argv, str(PROGRAMS / "target.py")], env=environment) as target:
        _furnish(target, tmp_path / "files")
        if shared:
            # Half of each page is each one's: of an odd number of pages half a KiB is lost.
            target.call("fork")
        with target.stopped():
            for _ in range(_TRIES):
                run.here("record", "--pid", target.pid).ok()
                theirs = Path(f"/proc/{target.pid}/smaps_rollup").read_bytes()
                if target.smaps() == _shown(run, "smaps"):
                    break
            ours = _shown(run, "smaps_rollup")
            smaps = target.smaps()
        if shared:
            target.call("reap")
    exact, estimated = dict(_LINE.findall(theirs)), dict(_LINE.findall(ours))
    assert list(exact) == list(estimated)
    assert {key for key in exact if exact[key] != estimated[key]} <= _ROUNDED
    assert _LINE.sub(b"", ours) == _LINE.sub(b"", theirs), "the first line"
    assert [len(line) for line in ours.splitlines()] == [len(line) for line in theirs.splitlines()], "the columns"
    # Every mapping of which something is shared may have lost up to 1 KiB; private pages are whole.
    may_lack = len(re.findall(rb"^Shared_(?:Clean|Dirty): +[1-9]", smaps, re.MULTILINE))
    assert (may_lack > 50) == shared
    for label in (b"Pss", b"Pss_Dirty"):
        assert 0 <= int(exact[label]) - int(estimated[label]) <= may_lack, label
    for label in (b"Pss_Anon", b"Pss_File", b"Pss_Shmem"):
        assert abs(int(exact[label]) - int(estimated[label])) <= may_lack, label
    assert sum(int(estimated[label]) for label in (b"Pss_Anon", b"Pss_File", b"Pss_Shmem")) == int(estimated[b"Pss"])


def test_nothing_drives_a_terminal(run: Runner, furnished: Target) -> None:
    """A pipe gets the bytes that pmap and the kernel print; somebody who looks at them gets what is harmless."""
    run.here("record", "--pid", furnished.pid).ok()
    for form in (*FORMS, "maps", "smaps", "smaps_rollup"):
        shown, piped = run.on_terminal("show", "latest", "--format", form).ok().stdout, _shown(run, form)
        assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f-\xbf]", shown.replace(b"\r\n", b"\n").replace(b"\xc3\xa9", b"e")), form
        assert shown.count(b"\r\n") == piped.count(b"\n")
        if b"\x1b" in piped:
            assert rb"esc \x1b[31mred\x1b]0;title\x07" in shown
            assert rb"c1 \x9b31m" in shown
    assert b"\x1b[31m" in _shown(run, "pmap-X")
