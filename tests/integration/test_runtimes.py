"""Real runtimes under load: what only grew is never called gone and new, and every mapping of a file finds itself again."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from laws import Table, check_conserved, check_kinds, compared
from programs import PROGRAMS, Lines, Target

from pmapdiff.align import Match
from pmapdiff.formats import parse_saved
from pmapdiff.model import Mapping

Say = Callable[[str], object]
"""Have a program do what a word says, and wait until it has."""

LIBRARIES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib")
MALLOC = (
    "grow",
    "grow",
    "enlarge",
    "start",
    "grow",
    "join some",
    "release",
    "grow",
    "enlarge",
    "join",
    "start",
    "release",
    "join",
    "grow",
    "release",
)
REDIS = ("grow", "grow", "enlarge", "release", "purge", "grow", "enlarge", "release", "grow", "flush", "purge", "grow")


def found(*names: str) -> str:
    """The first of these programs that is installed; else the test is skipped."""
    for name in names:
        if path := shutil.which(name):
            return path
    pytest.skip(f"{' or '.join(names)} is not installed")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Compiles one of the programs, once: the folder with what comes out."""

    @cache
    def build(compiler: str, *arguments: str) -> Path:
        folder = tmp_path_factory.mktemp("built")
        subprocess.run([compiler, *(word.format(folder=folder) for word in arguments)], check=True)
        return folder

    return build


def preloaded(library: str) -> dict[str, str]:
    for folder in LIBRARIES:
        for path in sorted(Path(folder).glob(f"{library}.so.*")):
            return {"LD_PRELOAD": str(path)}
    pytest.skip(f"{library} is not installed")


def tables_of(target: Target, say: Say, words: Sequence[str]) -> list[Table]:
    """The tables of a program before and after each word; it stands still while one is read."""
    tables = []
    for word in ("", *words):
        if word:
            say(word)
        with target.stopped():
            (saved,) = parse_saved(target.smaps(), "smaps")
        tables.append(saved.table.mappings)
    return tables


def followed(argv: Sequence[str | Path], words: Sequence[str], env: dict[str, str] | None = None) -> list[Table]:
    with Target(argv=[str(word) for word in argv], env=env) as target:
        return tables_of(target, lambda word: target.line(word.encode()), words)


def check(tables: Sequence[Table]) -> None:
    """Judge each table against the next one, and the first against the last."""
    changes = guesses = 0
    for before, after in (*pairwise(tables), (tables[0], tables[-1])):
        result = compared(before, after, Match.SAME)
        check_conserved(result, before, after)
        check_kinds(result)
        gone = [mapping for change in result.changes if change.kinds == ("gone",) for mapping in change.before]
        new = [mapping for change in result.changes if change.kinds == ("new",) for mapping in change.after]
        assert not [(old, now) for old in gone for now in new if may_have_grown(old, now)]
        assert not [(old, now) for old in gone for now in after if is_same_file(old, now) and is_in_place(old, now)]
        assert not [(old, now) for old in before for now in new if is_same_file(old, now) and is_in_place(old, now)]
        # What is mapped a second time, as V8 does with its code, is new although the first is still there.
        assert not [(old, now) for old in gone for now in new if is_same_file(old, now) and is_same_part(old, now)]
        assert not [change for change in result.changes if change.possibly and any(m.is_file for m in change.before)]
        changes += len(result.changes)
        guesses += sum(change.possibly and "moved" not in change.kinds for change in result.changes)
    print(f"{changes:,} changes, {guesses} of them possibly of other memory")
    # Nothing here is made to look like other memory; a guess must stay the exception.
    assert guesses <= 0.1 * changes
    assert sum(mapping.is_file for mapping in tables[-1]) >= 3
    assert changes > len(tables)


def may_have_grown(old: Mapping, now: Mapping) -> bool:
    """Whether one may be what became of the other: memory of a kind, with a boundary or an address in common."""
    if old.is_file or now.is_file or (old.perms, old.name) != (now.perms, now.name) or is_reserve(old) != is_reserve(now):
        return False
    return (old.start < now.end and now.start < old.end) or old.start == now.start or old.end == now.end


def is_reserve(mapping: Mapping) -> bool:
    return b"nr" in (mapping.flags or b"").split()


def is_same_file(old: Mapping, now: Mapping) -> bool:
    return old.is_file and (old.device, old.inode) == (now.device, now.inode)


def is_in_place(old: Mapping, now: Mapping) -> bool:
    """Whether the file begins at one address in both."""
    assert old.offset is not None
    assert now.offset is not None
    return old.start < now.end and now.start < old.end and old.start - old.offset == now.start - now.offset


def is_same_part(old: Mapping, now: Mapping) -> bool:
    return (old.offset, old.perms) == (now.offset, now.perms)


def test_glibc_with_threads(built: Callable[..., Path]) -> None:
    program = built(found("cc", "gcc"), "-O1", "-pthread", "-o", "{folder}/load", str(PROGRAMS / "load.c")) / "load"
    check(followed([program], MALLOC))


@pytest.mark.parametrize("library", ["libjemalloc", "libmimalloc", "libtcmalloc_minimal"])
def test_another_malloc(built: Callable[..., Path], library: str) -> None:
    env = preloaded(library)
    program = built(found("cc", "gcc"), "-O1", "-pthread", "-o", "{folder}/load", str(PROGRAMS / "load.c")) / "load"
    tables = followed([program], MALLOC, env)
    assert any(library.encode() in mapping.name for mapping in tables[0])
    check(tables)


def test_python() -> None:
    words = ("grow", "grow", "enlarge", "start", "grow", "load", "release", "join", "grow", "enlarge", "release", "grow", "start", "join", "release")
    check(followed([sys.executable, "-I", PROGRAMS / "load.py"], words))


def test_node() -> None:
    words = ("grow", "grow", "enlarge", "jit", "start", "grow", "release", "join", "grow", "jit", "enlarge", "release")
    check(followed([found("node", "nodejs"), "--expose-gc", PROGRAMS / "load.js"], words))


@pytest.mark.parametrize("collector", ["-XX:+UseSerialGC", "-XX:+UseG1GC"])
def test_java(built: Callable[..., Path], collector: str) -> None:
    words = ("grow", "grow", "classes", "start", "grow", "release", "join", "grow", "start", "classes", "release", "grow", "join", "release")
    classes = built(found("javac"), "-d", "{folder}", str(PROGRAMS / "Load.java"))
    check(followed([found("java"), collector, "-Xmx256m", "-cp", classes, "Load"], words))


def test_go(built: Callable[..., Path]) -> None:
    words = ("grow", "grow", "enlarge", "start", "grow", "release", "join", "grow", "enlarge", "start", "grow", "join", "release")
    program = built(found("go"), "build", "-o", "{folder}/load", str(PROGRAMS / "load.go")) / "load"
    check(followed([program], words))


def test_redis(tmp_path: Path) -> None:
    path = Path(os.path.relpath(tmp_path / "s"))
    server = [found("redis-server"), "--port", "0", "--unixsocket", str(path), "--save", ""]
    # The shell says what its pid is, which the server keeps.
    with Target(argv=["sh", "-c", 'echo ready $$; exec "$@"', "sh", *server]) as target, socket.socket(socket.AF_UNIX) as client:
        target.until(b"[Rr]eady to accept connections")
        client.connect(str(path))
        check(tables_of(target, Redis(client).say, REDIS))


class Redis:
    """Has a redis-server do what a word says."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._replies = Lines(client.fileno())
        self._keys = 0

    def say(self, word: str) -> None:
        if word == "grow":
            self._run([("SET", f"key:{self._keys + i}", "x" * (20 + i % 400)) for i in range(20000)])
            self._run([("RPUSH", f"list:{i % 50}", "y" * 1000) for i in range(2000)])
            self._keys += 20000
        elif word == "enlarge":
            self._run([("APPEND", f"key:{i}", "z" * 3000) for i in range(0, self._keys, 7)])
        elif word == "release":
            self._run([("DEL", f"key:{i}") for i in range(0, self._keys, 2)])
        elif word == "flush":
            self._run([("FLUSHALL", "SYNC")])
        else:
            self._run([("MEMORY", "PURGE")])

    def _run(self, commands: Sequence[Sequence[str]]) -> None:
        """Some at a time, so that neither side waits for the other to read. Each of these is answered by one line."""
        for first in range(0, len(commands), 500):
            some = commands[first : first + 500]
            self._client.sendall(b"".join(b"*%d\r\n" % len(c) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w.encode()) for w in c) for c in some))
            for _ in some:
                reply = self._replies.next()
                assert not reply.startswith(b"-"), reply
