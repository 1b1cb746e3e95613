"""Families of the user's own: the file, its faults, and what it decides."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from strategies import capture_of, file, make

from pmapdiff.align import FAMILIES, Classifier, parse_buckets
from pmapdiff.errors import UsageError
from pmapdiff.model import Mapping, ProcessIdentity, ProcessInfo

K, M = 1 << 10, 1 << 20
A = 0x7F4000000000
DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "families.md"


def families(text: str, *mappings: Mapping, process: ProcessInfo | None = None) -> list[str]:
    capture = capture_of(mappings)
    if process is not None:
        capture = capture._replace(process=process)
    return [verdict.family for verdict in parse_buckets(text.encode(), "b.toml").explain(capture)]


def test_the_example() -> None:
    text = """
        [buckets.shared-buffers]
        process = '^postgres'
        name = '^/dev/zero'
        perms = '^rw-s'
        size = '>= 128M'
    """
    shared = file(A, A + 128 * M, "rw-s", 0, b"/dev/zero (deleted)")
    identity = ProcessIdentity("boot", 1, 5, "exec")
    postgres = ProcessInfo(identity, b"postgres", b"postgres: checkpointer\0", b"/usr/lib/postgresql/15/bin/postgres")
    assert families(text, shared, process=postgres) == ["shared-buffers"]
    assert families(text, shared, process=postgres._replace(comm=b"pg_worker")) == ["shared-buffers"], "the program's basename"
    assert families(text, shared, process=ProcessInfo(identity, b"bash", exe=b"/opt/not-postgres/bash")) == ["shm"]
    assert families(text, shared._replace(end=A + 127 * M), process=postgres) == ["shm"]
    assert families(text, shared._replace(perms="r--s"), process=postgres) == ["shm"]
    assert families(text, shared._replace(name=b"/dev/shm/zero"), process=postgres) == ["shm"]


def test_names_are_those_that_are_shown() -> None:
    lib = file(A, A + M, "rw-p", 3 * 4096, b"/usr/lib/libx.so.1")
    code = file(A - M, A, "r-xp", 0, b"/usr/lib/libx.so.1")
    mappings = (code, lib, make(A + M, A + 2 * M), make(A + 4 * M, A + 5 * M), make(A + 6 * M, A + 7 * M, "rw-p", b"[heap]"))
    assert families("[buckets.zeroed]\nname = '^libx.so.1 bss$'", *mappings) == ["image", "image", "zeroed", "anon", "heap"]
    assert families("[buckets.nameless]\nname = '^.anon.$'", *mappings) == ["image", "image", "image", "nameless", "heap"]
    assert families("[buckets.libx]\npath = 'libx'", *mappings) == ["libx", "libx", "image", "anon", "heap"]


def test_a_path_needs_a_file() -> None:
    memory, data = make(A, A + M), file(A + 2 * M, A + 3 * M, "r--p", 0, b"/srv/data (deleted)")
    assert families("[buckets.x]\npath = '.'", memory, data) == ["anon", "x"]
    assert families("[buckets.x]\npath = 'data$'", memory, data) == ["anon", "x"], "without (deleted)"


def test_a_built_in_family_can_be_given_more() -> None:
    assert families("[buckets.heap]\nsize = '>= 1M'", make(A, A + M), make(A + 2 * M, A + 2 * M + 4 * K)) == ["heap", "anon"]


@pytest.mark.parametrize(
    ("size", "taken"),
    [
        (">= 64K", [64, 65, 1024]),
        ("> 64K", [65, 1024]),
        ("<= 64K", [4, 64]),
        ("<64K", [4]),
        ("64K..1M", [64, 65, 1024]),
        (" 4K .. 64K ", [4, 64]),
        ("64K..64K", [64]),
        (">=1M", [1024]),
        (">= 65", [65, 1024]),
        ("> 1G", []),
    ],
)
def test_sizes(size: str, taken: list[int]) -> None:
    kib = (4, 64, 65, 1024)
    mappings = [make(A + i * 16 * M, A + i * 16 * M + k * K) for i, k in enumerate(kib)]
    found = families(f"[buckets.x]\nsize = '{size}'", *mappings)
    assert [k for k, family in zip(kib, found, strict=True) if family == "x"] == taken


def test_the_first_that_fits_wins_and_the_order_is_that_of_the_file() -> None:
    text = "[buckets.z]\nsize = '< 64K'\n[buckets.a]\nperms = 'w'\n[buckets.heap]\nperms = '.'\n"
    mappings = (make(A, A + 4 * K), make(A + M, A + 2 * M), make(A + 4 * M, A + 5 * M, "r--p"))
    assert families(text, *mappings) == ["z", "a", "heap"]
    assert parse_buckets(text.encode(), "b.toml").families == (*FAMILIES, "z", "a")


def test_without_buckets() -> None:
    assert Classifier().families == FAMILIES
    assert Classifier().explain(capture_of([])._replace(table=None)) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[buckets.x]\nfoo = 'y'", "bucket 'x': unknown key 'foo': one of process, name, path, perms, size"),
        ("[buckets.x]\nname = '('", "bucket 'x': name: '(' is no regular expression"),
        ("[buckets.x]\nprocess = '*'", "bucket 'x': process: '*' is no regular expression"),
        ("[buckets.x]\nsize = '4K'", "bucket 'x': size: '4K': write '>= 128M'"),
        ("[buckets.x]\nsize = '>= many'", "bucket 'x': size: ' many' is no size"),
        ("[buckets.x]\nsize = '=> 4K'", "bucket 'x': size: '=> 4K': write"),
        ("[buckets.x]\nsize = '8K..4K'", "bucket 'x': size: '8K..4K': no mapping is of that size"),
        ("[buckets.x]\nsize = '< 0'", "bucket 'x': size: '< 0': no mapping is of that size"),
        ("[buckets.x]\nsize = '4K..'", "bucket 'x': size: '' is no size"),
        ("[buckets.x]\nsize = 4", "bucket 'x': size must be a text that is not empty"),
        ("[buckets.x]\nname = ''", "bucket 'x': name must be a text that is not empty"),
        ("[buckets.x]\n", "bucket 'x': no condition"),
        ("[buckets]\nx = 1", "bucket 'x': not a table"),
        ("[[buckets.x]]\nname = 'y'", "bucket 'x': not a table"),
        ("[buckets.'a b']\nname = 'y'", "bucket 'a b': a name is one word"),
        ("[buckets.\"a\\u001b[31m\"]\nname = 'y'", "a name is one word"),
        ("[buckets.\"a\\nb\"]\nname = 'y'", "a name is one word"),
        ("[buckets.-x]\nname = 'y'", "bucket '-x': a name is one word"),
        ("[buckets.é]\nname = 'y'", "not TOML"),
        ("[buckets.'é']\nname = 'y'", "a name is one word"),
        (f"[buckets.{'x' * 21}]\nname = 'y'", "a name is one word of at most 20"),
        ("[buckets.'']\nname = 'y'", "a name is one word"),
        ("[bucket.x]\nname = 'y'", "unknown table or key 'bucket': write [buckets.NAME]"),
        ("[buckets.x]\nname = 'y'\n[more]\n", "unknown table or key 'more'"),
        ("", "no buckets: write [buckets.NAME]"),
        ("[buckets]", "no buckets"),
        ("buckets = 3", "no buckets"),
        ("[buckets.x]\nname = 'y'\nname = 'z'", "not TOML"),
        ("[buckets.x\n", "not TOML"),
        ("x = " + "[" * 5000, "not TOML"),
        ("x = " + "9" * 5000, "not TOML"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line_that_names_it(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as found:
        parse_buckets(text.encode(), "my buckets.toml")
    assert str(found.value).startswith("my buckets.toml: ")


def test_a_file_of_other_bytes() -> None:
    with pytest.raises(UsageError, match=r"b\.toml: not TOML: 'utf-8' codec"):
        parse_buckets(b"[buckets.x]\nname = '\xff'\n", "b.toml")


def test_the_recipes_in_the_document_are_files() -> None:
    recipes = re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(recipes) >= 2
    for recipe in recipes:
        assert len(parse_buckets(recipe.encode(), "docs").families) > len(FAMILIES)
