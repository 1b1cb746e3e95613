"""The lineage of a process: what another incarnation of the same service has in common with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from pmapdiff.align.labels import basename, object_name
from pmapdiff.align.versions import fold_version, versions_in
from pmapdiff.model import ProcessInfo

# Ids of containers, pods and sessions in the path of a cgroup or in a title.
_NUMBERS = re.compile(rb"[0-9a-f]{12,64}|[0-9a-f]{8}([-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9]+")
# What setproctitle leaves: `postgres: alice shop 10.0.0.7(51122) idle`, of which the first two words say which kind of worker it is.
_TITLE = re.compile(rb"[^ :/]+: *[^ ]+( +[^ ]+)?")


def _program(process: ProcessInfo) -> bytes:
    """What it runs: the path of the program without ` (deleted)`."""
    return object_name(process.exe) if process.exe else process.comm or process.command


def service_of(process: ProcessInfo) -> bytes | None:
    """What manages it: the systemd unit, or the cgroup, as far as another incarnation has the same.

    Scopes and transient units have a number or a hash of their own (`session-3.scope`, `run-r0123abcd.service`), containers an id;
    an instance of a template (`redis@6380.service`) is a service of its own.
    """
    if process.unit is not None:
        transient = process.unit.endswith(".scope") or process.unit.startswith("run-")
        unit = process.unit.encode("utf-8", "surrogateescape")
        return _NUMBERS.sub(b"#", unit) if transient else unit
    return None if process.cgroup is None else _NUMBERS.sub(b"#", process.cgroup)


def role_of(process: ProcessInfo) -> bytes:
    """What tells the processes of one program apart: the script of an interpreter, java's class or jar, a title that the process gave itself
    (`nginx: worker process`), a browser's `--type=`.
    """
    words = process.command.rstrip(b"\0").split(b"\0")
    title = _TITLE.match(words[0]) if len(words) == 1 or not any(words[1:]) else None
    if title is not None:
        return _NUMBERS.sub(b"#", title[0])
    interpreted = runs_what(process)
    if interpreted is not None and not (_is_main_of_unit(process) and process.name != "java"):
        return interpreted
    return next((word for word in words[1:] if word.startswith(b"--type=")), b"")


def runs_what(process: ProcessInfo) -> bytes | None:
    """What an interpreter or java runs: a script, jar, module or class; code as `-c` and the code; empty if nothing.

    None for what is no interpreter: it runs itself.
    """
    arguments = process.command.rstrip(b"\0").split(b"\0")[1:]
    # A script that starts with #! gives its own name to the process, so it is the program that tells.
    interpreter = _INTERPRETER.fullmatch(basename(_program(process)))
    if interpreter is not None:
        return _script(arguments, interpreter[1])
    return _java_program(arguments) if process.name == "java" else None


def _is_main_of_unit(process: ProcessInfo) -> bool:
    """Whether systemd itself started it, so that its unit says what it is. A job of cron.service or of a session is something else each time."""
    return process.ppid == 1 and process.unit is not None and process.unit.endswith(".service")


_INTERPRETER = re.compile(rb"(python|node|ruby|perl|php|lua|bash|sh|dash)[0-9.]*")
# Options that have a value of their own, and those whose value is the program.
_WITH_VALUE: dict[bytes, tuple[bytes, ...]] = {
    b"python": (b"-W", b"-X"),
    b"node": (b"-r", b"--require", b"--import", b"--loader", b"-C", b"--conditions", b"--env-file"),
    b"ruby": (b"-I", b"-r", b"-C"),
    b"perl": (b"-I",),
    b"php": (b"-c", b"-d", b"-z"),
    b"lua": (b"-l",),
    b"bash": (b"-o", b"-O", b"--rcfile", b"--init-file"),
}
_WITH_PROGRAM = (b"-c", b"-m", b"-e")


def _script(arguments: Sequence[bytes], interpreter: bytes) -> bytes:
    """What an interpreter runs: the first argument that is neither an option nor the value of one, or the code or module after -c, -m, -e."""
    with_value = _WITH_VALUE.get(interpreter, ())
    words = iter(arguments)
    for word in words:
        if word in with_value:
            next(words, None)
        elif word in _WITH_PROGRAM:
            return word + b"\0" + next(words, b"")
        elif not word.startswith(b"-"):
            return word
    return b""


# Options of java that have a value of their own (`java --help`, JDK 21); each can also be written with = and its value.
_JAVA_WITH_VALUE = frozenset(
    (
        *(b"-cp", b"-classpath", b"-p", b"--class-path", b"--module-path", b"--upgrade-module-path", b"--add-modules", b"--limit-modules"),
        *(b"--enable-native-access", b"--add-reads", b"--add-exports", b"--add-opens", b"--patch-module", b"--source"),
    )
)


def _java_program(arguments: Sequence[bytes]) -> bytes:
    """The jar, module or main class: the first argument that is neither an option nor the value of one."""
    words = iter(arguments)
    for word in words:
        if word in _JAVA_WITH_VALUE:
            next(words, None)
        elif word in (b"-jar", b"-m", b"--module"):
            return next(words, b"")
        elif not word.startswith((b"-", b"@")):
            return word
    return b""


Rule = Callable[[ProcessInfo], Hashable]


def _key(process: ProcessInfo, fold: Callable[[bytes], bytes], what: bytes) -> Hashable:
    program = _program(process)
    return (fold(program), service_of(process), fold(what)) if program else None


def _as_it_is(text: bytes) -> bytes:
    return text


# What two incarnations of one service have in common, the strictest first; None pairs with nothing. Program, unit or cgroup, and:
RULES: tuple[Rule, ...] = (
    lambda p: _key(p, _as_it_is, p.command),
    lambda p: _key(p, _as_it_is, role_of(p)),
    # The same of another version: python3.11 became python3.12, /opt/app-1.9 became /opt/app-1.10.
    lambda p: _key(p, fold_version, p.command),
    lambda p: _key(p, fold_version, role_of(p)),
)


def in_any_service(process: ProcessInfo) -> Hashable:
    """The program and its role, of whatever version and in whatever service; None pairs with nothing."""
    program = _program(process)
    # Where the service does not count, it does not say either what an interpreter runs.
    return (fold_version(program), fold_version(role_of(process._replace(unit=None)))) if program else None


class Lineage(NamedTuple):
    """A service wherever it runs: program, unit or cgroup (None if nothing manages it) and role, without versions, ids and the name of the host."""

    program: bytes
    unit: bytes | None
    role: bytes


def in_order(lineage: Lineage) -> tuple[bytes, bytes, bytes]:
    """What lineages are sorted by."""
    return lineage.program, lineage.unit or b"", lineage.role


def lineage_of(process: ProcessInfo, host: str) -> Lineage:
    """The service that a process is of, the same on all hosts: what the loosest of `RULES` goes by.

    Units and scripts may be called after their host (`ceph-mon@web7.service`): there it is `HOST`.
    """
    unit = service_of(process)
    program = fold_version(_program(process)) or process.name.encode("utf-8", "surrogateescape")
    return Lineage(program, None if unit is None else _without_host(unit, host), _without_host(fold_version(role_of(process)), host))


def release_of(process: ProcessInfo) -> tuple[bytes, ...]:
    """The versions in the names of its program and of what that runs: what `lineage_of` leaves out of them, in the same places for one service."""
    return (*versions_in(_program(process)), *versions_in(role_of(process)))


def _without_host(name: bytes, host: str) -> bytes:
    """The name of a unit or a script without that of the host, long or short, where that is a word of its own.

    One that is all digits, or shorter than three characters, could stand for anything.
    """
    for known in dict.fromkeys((host, host.partition(".")[0])):
        if len(known) >= 3 and not known.isdigit():
            word = re.escape(known.encode("utf-8", "surrogateescape"))
            name = re.sub(rb"(?<![A-Za-z0-9])" + word + rb"(?![A-Za-z0-9])", b"HOST", name)
    return name
