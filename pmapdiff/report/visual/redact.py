"""Names taken out of a page that leaves the company: each becomes a word such as `path-3`, the same one throughout.

What families, sizes and addresses say stays, and so does what an investigator goes by: the names of processes, and the files that an operating
system brings. What else is secret a rule must say.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from itertools import count
from typing import Any

from pmapdiff.align import FAMILIES
from pmapdiff.errors import UsageError
from pmapdiff.report.visual.content import Content, Row
from pmapdiff.text import printable

# An absolute path up to what ends it in a sentence, in a command line, or in an option (`--file=/etc/x`).
_PATH = re.compile(r"/memfd:\S+|(?<![\w.])/[^\s/:;,'\"`()\[\]{}<>|=][^\s:;,'\"`()\[\]{}<>|=]*")
# The files of the system itself, which are the same everywhere.
_PUBLIC = re.compile(
    r"/(?:usr/(?!local/)|lib(?:32|64|x32)?/|s?bin/|proc/(?!\d+/(?:root|cwd)/)|sys/(?!fs/cgroup)|dev/(?!shm/|mapper/|disk/)|SYSV|anon_hugepage)"
)
# What looks like a name, but is everywhere the same.
_EVERYWHERE = ("vm.max_map_count",)
_HOME = re.compile(r"/(?:home|Users)/([^/\s:;,'\"]+)")
# What kind of file it is stays: it says what the mapping is for.
_KIND = re.compile(r"\.(?:so(?:\.\d+)*|jar|jsa|py|pyc|js|node|db|mmap|log|dat|bin|ttf|mo|txt)\Z")
# What has a meaning of its own is never a secret.
_PLAIN_FIELDS = frozenset(("family", "families", "verdict", "kind", "figure", "unit", "key", "perms", "offset"))
_SHORTEST_NAME = 3


class Redactor:
    """Replaces what its rules find.

    `names` are known names by what they are: `host`, `user`, `path` (whole paths, and names of files without one); `kept` are names that stay, also
    where one of the others is a part of them. `rules` are regular expressions of the reader, and come first. Raises UsageError for one that is none.
    """

    def __init__(self, names: Mapping[str, Collection[str]], rules: Sequence[str] = (), kept: Collection[str] = ()) -> None:
        self._words: dict[tuple[str, str], str] = {}
        self._numbers = {what: count(1) for what in ("redacted", "host", "user", "path")}
        self._rules = [_compiled(rule) for rule in rules]
        known = [(name, what) for what, several in names.items() for name in several if name]
        self._known = {name.lower(): what for name, what in reversed(known)}
        # The longer name before the one that it begins with. A path is one whether we know it or not, and what is in one that stays, stays.
        stay = sorted((re.escape(name) for name in (*_EVERYWHERE, *kept) if name), key=lambda name: (-len(name), name))
        go = sorted((re.escape(name) for name in self._known), key=lambda name: (-len(name), name))
        parts = [
            ("paths", [name for name in go if name.startswith("/")]),
            ("stays", stay),
            ("goes", [name for name in go if not name.startswith("/")]),
        ]
        alternatives = {what: rf"(?<![\w])(?:{'|'.join(several)})(?![\w])" for what, several in parts if several}
        alternatives["path"] = f"(?:{_PATH.pattern})"
        order = ("paths", "path", "stays", "goes")
        self._all = re.compile("|".join(f"(?P<{what}>{alternatives[what]})" for what in order if what in alternatives), re.IGNORECASE)

    def text(self, text: str) -> str:
        """A text with a word for each thing that a rule finds."""
        for rule in self._rules:
            text = rule.sub(lambda match: self._word("redacted", match[0]) if match[0] else "", text)
        return self._all.sub(self._replacement, text)

    def _replacement(self, match: re.Match[str]) -> str:
        found = match[0]
        if match.lastgroup == "stays" or (match.lastgroup == "path" and _PUBLIC.match(found)):
            return found
        return self._word(self._known.get(found.lower(), "path"), found)

    def _word(self, what: str, secret: str) -> str:
        known = (what, secret.lower())
        if known not in self._words:
            kind = _KIND.search(secret) if what == "path" else None
            self._words[known] = f"{what}-{next(self._numbers[what])}{kind[0] if kind else ''}"
        return self._words[known]


def _compiled(rule: str) -> re.Pattern[str]:
    try:
        return re.compile(rule)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"--redact-rule {printable(rule)}: {error}") from None


def redacted(
    content: Content, hosts: Iterable[str], users: Iterable[str], scripts: Iterable[str], processes: Iterable[str], rules: Sequence[str] = ()
) -> Content:
    """The same content without names. `hosts`, `users`, and `scripts`, which programs were told to run, are names that go; those of `processes` stay.

    Raises UsageError for a rule that is none.
    """
    called = {printable(name) for name in processes}
    rows = [row for scope in content.scopes for row in scope.rows]
    paths = {row.path.removesuffix(" (deleted)") for row in rows} | {moment.label for moment in content.moments if moment.id is None}
    secret = {path for path in paths if not _PUBLIC.match(path) and not path.startswith("[")}
    # A sentence may call a file by its last part alone; what a process is called is its name, and stays.
    last = {path.rsplit("/", 1)[-1] for path in secret}
    people = {match[1] for row in rows for match in _HOME.finditer(row.path)} | {m[1] for s in content.scopes for m in _HOME.finditer(s.what)}
    names: Mapping[str, Collection[str]] = {
        "path": secret
        | {name for name in last if len(name) >= _SHORTEST_NAME and name not in called}
        | {printable(script) for script in scripts} - called,
        "host": {form for host in hosts for form in (printable(host), printable(host).partition(".")[0])},
        "user": {printable(user) for user in users} | people,
    }
    # A command line may hold anything, a password too.
    scopes = tuple(replace(scope, what="") for scope in content.scopes)
    families = tuple(_family_words(name, rules) for name in content.families)
    mapped: Content = _mapped(replace(content, scopes=scopes), Redactor(names, rules, called))
    return _with_families(mapped, dict(zip(content.families, families, strict=True)))


def _family_words(name: str, rules: Sequence[str]) -> str:
    """A family as its reader called it may be a secret by a rule, too; what is built in is none."""
    return name if name in FAMILIES or not any(_compiled(rule).search(name) for rule in rules) else "redacted family"


def _with_families(content: Content, words: dict[str, str]) -> Content:
    """The content with other words for its families."""
    if all(name == word for name, word in words.items()):
        return content

    def changed(rows: tuple[Row, ...]) -> tuple[Row, ...]:
        return tuple(replace(row, family=words.get(row.family, row.family)) for row in rows)

    scopes = tuple(replace(scope, families=changed(scope.families), rows=changed(scope.rows)) for scope in content.scopes)
    return replace(content, families=tuple(words.values()), scopes=scopes)


def _mapped(value: Any, redactor: Redactor) -> Any:
    """The same with every text in it replaced."""
    found = value
    if isinstance(value, str):
        found = redactor.text(value)
    elif isinstance(value, tuple):
        found = tuple([_mapped(item, redactor) for item in value]) if any(not isinstance(item, int | float | None) for item in value) else value
    elif is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: getattr(value, field.name) for field in fields(value) if field.name not in _PLAIN_FIELDS}
        changed = {name: _mapped(part, redactor) for name, part in parts.items() if isinstance(part, str | tuple) and name not in ("spans", "slopes")}
        found = replace(value, **changed)
    return found
