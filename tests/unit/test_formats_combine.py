from dataclasses import replace
from pathlib import Path

import pytest

from pmapdiff.formats import SavedTable, parse_saved
from pmapdiff.formats import combine as combine_module
from pmapdiff.formats.combine import combine
from pmapdiff.model import NO_COUNTERS, Mapping, MappingTable
from pmapdiff.model.counters import DIRTY, RSS

ROOT = Path(__file__).parents[2]
FROZEN = ROOT / "tests" / "data" / "redis-frozen"


def saved(path: Path) -> SavedTable:
    (table,) = parse_saved(path.read_bytes(), path.name)
    return table


def frozen(name: str) -> SavedTable:
    return saved(FROZEN / f"{name}.txt")


def with_first(table: SavedTable, **changes: object) -> SavedTable:
    first, *rest = table.table.mappings
    return replace(table, table=MappingTable((first._replace(**changes), *rest)))  # type: ignore[arg-type]


def named(table: SavedTable, name: bytes) -> SavedTable:
    return with_first(table, name=name)


@pytest.fixture
def extended() -> SavedTable:
    return saved(ROOT / "sample_snapshots" / "redis-1100.pmap-x.txt")


@pytest.fixture
def device() -> SavedTable:
    return saved(ROOT / "sample_snapshots" / "redis-1100.pmap-d.txt")


def test_counters_from_one_and_offsets_from_the_other(extended: SavedTable, device: SavedTable) -> None:
    (table,) = combine([extended, device])
    assert table.form == "pmap-x+pmap-d"
    assert table.source == "redis-1100.pmap-x.txt + redis-1100.pmap-d.txt"
    assert (table.pid, table.command, table.warnings) == (extended.pid, extended.command, ())
    counters = list(NO_COUNTERS)
    counters[RSS], counters[DIRTY] = 8, 8
    assert table.table.mappings[1] == Mapping(0x64D000, 0x64F000, "rw-p", 0x4D000, "fb:01", None, b"redis-server", counters=tuple(counters))
    assert table.table.totals.get("rss_kib") == 8076
    assert [mapping.offset for mapping in table.table.mappings] == [mapping.offset for mapping in device.table.mappings]


def test_the_order_does_not_matter(extended: SavedTable, device: SavedTable) -> None:
    (one,), (other,) = combine([extended, device]), combine([device, extended])
    assert (one.table, one.form) == (other.table, other.form)


@pytest.mark.parametrize("names", [("pmap-x", "pmap-dp"), ("pmap-xp", "pmap-d"), ("pmap-dp", "pmap-xq"), ("pmap-d", "pmap-p", "pmap-x")])
def test_the_full_path_is_kept(names: tuple[str, ...]) -> None:
    (table,) = combine([frozen(name) for name in names])
    assert table.form == "pmap-x+pmap-d"
    assert [mapping.name for mapping in table.table.mappings] == [mapping.name for mapping in frozen("pmap-p").table.mappings]
    assert table.table.mappings[0].name == b"/usr/bin/redis-check-rdb"
    assert None not in [mapping.offset for mapping in table.table.mappings]
    assert None not in [mapping.counters[RSS] for mapping in table.table.mappings]


@pytest.mark.parametrize(("names", "form"), [(("pmap", "pmap-x"), "pmap-x"), (("pmap-d", "pmap"), "pmap-d")])
def test_a_plain_table_adds_nothing(names: tuple[str, ...], form: str) -> None:
    (table,) = combine([frozen(name) for name in names])
    assert table.form == form
    assert table.table == frozen(form).table


def test_two_of_one_form_are_two_moments() -> None:
    tables = [frozen("pmap-x"), frozen("pmap-x"), frozen("pmap-d"), frozen("pmap-d")]
    assert [table.form for table in combine(tables)] == ["pmap-x+pmap-d"] * 2
    assert combine(tables[:2]) == tables[:2]
    assert [table.form for table in combine(tables[:3])] == ["pmap-x+pmap-d", "pmap-x"]


def test_others_stay_as_they_are_in_order(extended: SavedTable) -> None:
    tables = [frozen("maps"), extended, frozen("smaps"), frozen("pmap-d"), frozen("maps")]
    assert combine(tables) == tables
    assert combine([]) == []


def test_what_differs_is_not_combined(extended: SavedTable, device: SavedTable) -> None:
    for other in (
        replace(device, pid=1101),
        replace(device, command=b"redis-server"),
        replace(device, table=MappingTable(device.table.mappings[:-1])),
        with_first(device, perms="r--p"),
        with_first(device, end=0x44D000),
        named(device, b"another"),
        named(device, b""),
    ):
        assert combine([extended, other]) == [extended, other]


@pytest.mark.parametrize(
    ("one", "other", "kept"),
    [
        (b"a", b"/usr/a", b"/usr/a"),
        (b"/usr/a (deleted)", b"a (deleted)", b"/usr/a (deleted)"),
        (b"", b"[heap]", b"[heap]"),
        (b"[stack]", b"[stack]", b"[stack]"),
        (b"a", b"/usr/ba", None),
        (b"/bin/a", b"/usr/bin/a", None),
    ],
)
def test_names(extended: SavedTable, device: SavedTable, one: bytes, other: bytes, kept: bytes | None) -> None:
    for first, second in ((one, other), (other, one)):
        tables = combine([named(extended, first), named(device, second)])
        assert [table.table.mappings[0].name for table in tables] == ([first, second] if kept is None else [kept])


def test_warnings_of_both_are_kept(extended: SavedTable, device: SavedTable) -> None:
    (table,) = combine([replace(extended, warnings=("a", "b")), replace(device, warnings=("b", "c"))])
    assert table.warnings == ("a", "b", "c")


def test_one_file_with_both_has_one_source(extended: SavedTable, device: SavedTable) -> None:
    (table,) = combine([replace(extended, source="f"), replace(device, source="f")])
    assert table.source == "f"


def test_the_work_grows_with_the_number_of_tables_alone(monkeypatch: pytest.MonkeyPatch, extended: SavedTable, device: SavedTable) -> None:
    compared = []

    def counting(one: MappingTable, other: MappingTable) -> bool:
        compared.append(one)
        return agree(one, other)

    agree = combine_module._agree
    monkeypatch.setattr(combine_module, "_agree", counting)
    small = [replace(table, table=MappingTable(table.table.mappings[:1])) for table in (extended, device)]
    # The same rows again and again, and names that contradict in all of them.
    assert len(combine([named(small[0], b"/a")] * 1000 + [named(small[1], b"/b")] * 1000)) == 2000
    assert len(compared) <= 2000 * 100
    # As many that agree, each with its own.
    compared.clear()
    assert len(combine([small[0]] * 1000 + [small[1]] * 1000)) == 1000
    assert len(compared) == 1000


def test_the_columns_of_all_forms_become_one_table() -> None:
    (table,) = combine([frozen(name) for name in ("pmap", "pmap-x", "pmap-dp", "pmap-XX")])
    assert (table.form, table.table.has_basenames) == ("pmap-X+pmap-x+pmap-d", False)
    smaps = frozen("smaps").table.mappings
    for mine, kernels in zip(table.table.mappings, smaps, strict=True):
        assert mine[:8] == kernels[:8]
        assert mine.counters[RSS] == kernels.counters[RSS]
        assert mine.counters[DIRTY] is None


def test_two_that_differ_in_a_counter_are_two_moments() -> None:
    one, other = frozen("pmap-x"), frozen("pmap-X")
    assert [table.form for table in combine([one, other])] == ["pmap-X+pmap-x"]
    counters = list(one.table.mappings[0].counters)
    counters[RSS] = 4
    assert len(combine([with_first(one, counters=tuple(counters)), other])) == 2
    counters[RSS], counters[DIRTY] = None, 4
    assert len(combine([with_first(one, counters=tuple(counters)), frozen("pmap-XX")])) == 2


def test_what_is_known_of_one_of_them_is_kept(extended: SavedTable, device: SavedTable) -> None:
    (table,) = combine([extended, replace(device, partial="cut", taken_at_us=7)])
    assert (table.partial, table.taken_at_us) == ("cut", 7)


@pytest.mark.parametrize(
    ("one", "other", "kept"),
    [
        (b"[shmid=0x98026]", b"/SYSV00000000 (deleted)", b"/SYSV00000000 (deleted)"),
        (b"[shmid=0x98026]", b"SYSV00000000 (deleted)", b"SYSV00000000 (deleted)"),
        (b"[shmid=0x98027]", b"/SYSV00000000 (deleted)", None),
        (b"[shmid=0xnone]", b"/SYSV00000000 (deleted)", None),
        # pmap -X keeps 127 bytes of a path.
        (b"b" * 20, b"/" + b"a" * 105 + b"/" + b"b" * 30, b"/" + b"a" * 105 + b"/" + b"b" * 30),
        (b"b" * 19, b"/" + b"a" * 105 + b"/" + b"b" * 30, None),
    ],
)
def test_names_that_say_the_same(extended: SavedTable, device: SavedTable, one: bytes, other: bytes, kept: bytes | None) -> None:
    for first, second in ((one, other), (other, one)):
        tables = combine([with_first(extended, name=first, inode=0x98026), with_first(device, name=second, inode=0x98026)])
        assert [table.table.mappings[0].name for table in tables] == ([first, second] if kept is None else [kept])
