"""What pmap of every generation and language prints of one frozen process is what the kernel says of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pmapdiff.formats import SavedTable, parse_saved
from pmapdiff.model import COUNTER_INDEX, COUNTERS, Mapping
from pmapdiff.model.counters import dirty_kib

DATA = Path(__file__).parents[1] / "data"
SAVED, FROZEN = DATA / "saved" / "pmap", DATA / "redis-frozen"
OF_PROC = ("smaps.txt", "maps.txt", "smaps_rollup.txt", "status.txt")
SAMPLES = sorted(path for path in (*SAVED.rglob("*.txt"), *FROZEN.glob("pmap*.txt")) if path.name not in OF_PROC)
# They show no mapping of a process, or of one that nobody has asked the kernel about.
ALONE = ("unreadable", "kernel-thread", "growing")
COMPARED = [path for path in SAMPLES if not any(word in path.name for word in ALONE)]
# What is said of these; of all others nothing.
WARNINGS = {
    "4.0.2/Xp.txt": ["2 names of 127 bytes may be cut off: pmap -X keeps no more of a path"],
    "4.0.2/C.txt": ["2 names of 127 bytes may be cut off: pmap -X keeps no more of a path"],
    "4.0.2/Xq.txt": ["without headings (-q), only Size, Rss, Pss are known by their place; 13 columns without a name left out"],
}
WITHOUT_SIZE = ("C-small.txt", "C-Rss-VmFlags.txt")
# pmap itself maps libraries while it reads: what it shares with the frozen process differs, and how much of that is clean.
SHIFTING = ("Pss", "Pss_Dirty", "Shared_Clean", "Private_Clean")


def sample_id(path: Path) -> str:
    return str(path.relative_to(SAVED if path.is_relative_to(SAVED) else DATA))


def references(path: Path) -> list[Path]:
    """The folders whose smaps shows what a sample shows."""
    if path.parent == FROZEN:
        return [FROZEN]
    small, thirty_two = SAVED / "small", SAVED / "process-32bit"
    if "two-pids" in path.name:
        return [small, thirty_two]
    if path.is_relative_to(thirty_two):
        return [thirty_two]
    is_small = path.is_relative_to(SAVED / "languages") or path.stem.endswith("-small")
    is_small = is_small or (path.parent.name == "written" and not path.name.startswith("suse"))
    return [small if is_small else SAVED / "process"]


def smaps_of(folder: Path) -> dict[int, Mapping]:
    (table,) = parse_saved((folder / "smaps.txt").read_bytes(), "smaps")
    return {mapping.start: mapping for mapping in table.table.mappings}


def shown_name(path: Path, form: str, mapping: Mapping, kernels: Mapping) -> bytes:
    """What the pmap that made a sample shows of the kernel's name, in our words."""
    name, made_by = kernels.name, path.relative_to(DATA).parts
    if form == "pmap-X":
        kept = name[:127]
        return kept if path.stem in ("Xp", "C") else kept.rpartition(b"/")[2]
    if not name.startswith(b"/"):
        keeps_names = any(part.startswith(("busybox", "toybox")) for part in made_by) or path.name.startswith("sles")
        return name if keeps_names or name == b"[stack]" else b""
    if "busybox-1.35.0" in made_by:
        return re.split(rb"[ \t]", name)[0]
    if "toybox-0.8.9" in made_by:
        name = name if path.stem == "xp" else name.rpartition(b"/")[2]
        return b"" if name.strip() == b"[ anon ]" else name
    has_paths = path.stem in ("p", "xp", "dp", "pmap-p", "pmap-xp", "pmap-dp") or path.name.startswith(("suse", "sles"))
    has_paths = has_paths or (path.stem == "default" and path.parent.name in ("3.2.8", "3.3.0"))
    if name.startswith(b"/SYSV") and not path.name.startswith(("sles", "3.2.0")):
        return b"[shmid=0x%x]" % (kernels.inode or 0)
    shown = re.sub(rb"[^ -~]", b"?", name if has_paths else name.rpartition(b"/")[2])
    # Of a file that is called like pmap's word for memory nobody can tell.
    return b"" if shown.strip() == b"[ anon ]" and mapping.device in (None, "00:00") else shown


def assert_agrees(path: Path, form: str, mapping: Mapping, kernels: Mapping) -> None:
    assert (mapping.end, mapping.perms) == (kernels.end, kernels.perms) or (mapping.perms == "????" and mapping.end == kernels.end)
    for one, other in (
        (mapping.offset, kernels.offset),
        (mapping.device, kernels.device),
        (mapping.inode, kernels.inode),
        (mapping.flags, kernels.flags),
    ):
        assert one in (None, other)
    for counter, mine, theirs in zip(COUNTERS, mapping.counters, kernels.counters, strict=True):
        if mine is not None and counter.kernel not in (*SHIFTING, "Dirty"):
            assert (counter.kernel, mine) == (counter.kernel, theirs)
    assert dirty_kib(mapping.counters) in (None, dirty_kib(kernels.counters))
    rss, pss = mapping.counters[COUNTER_INDEX["Rss"]], mapping.counters[COUNTER_INDEX["Pss"]]
    assert rss is None or pss is None or 0 <= pss <= rss
    clean = [[each.counters[COUNTER_INDEX[name]] for name in ("Shared_Clean", "Private_Clean")] for each in (mapping, kernels)]
    assert clean[0] == [None, None] or sum(value or 0 for value in clean[0]) == sum(value or 0 for value in clean[1])
    assert mapping.name == shown_name(path, form, mapping, kernels)


@pytest.mark.parametrize("path", [path for path in COMPARED if path.name not in WITHOUT_SIZE], ids=sample_id)
def test_every_sample_agrees_with_smaps(path: Path) -> None:
    tables = parse_saved(path.read_bytes(), "f")
    folders = references(path)
    assert len(tables) == len(folders)
    for table, folder in zip(tables, folders, strict=True):
        kernels = smaps_of(folder)
        mappings = table.table.mappings
        if path.name == "rhel5-d.txt":
            # Its kernel shows the vsyscall page in another size and has no [vvar].
            mappings = mappings[:-1]
            kernels = {start: each for start, each in kernels.items() if any(mapping.start == start for mapping in mappings)}
        elif "-A" in path.stem:
            assert 0 < len(mappings) < len(kernels)
            kernels = {start: each for start, each in kernels.items() if mappings[0].start <= start <= mappings[-1].start}
        assert [mapping.start for mapping in mappings] == list(kernels)
        for mapping in mappings:
            if path.name == "rhel5-d.txt" and mapping.name == b"[stack]":
                assert mapping.offset == 0
            assert_agrees(path, table.form, mapping, kernels[mapping.start])
        assert list(table.warnings) == WARNINGS.get(sample_id(path), [])
        assert table.partial is None
        files = [mapping.name for mapping in mappings if mapping.is_file and not mapping.name.startswith(b"[")]
        assert table.table.has_basenames == (not any(b"/" in name for name in files))


@pytest.mark.parametrize("path", COMPARED, ids=sample_id)
def test_every_sample_says_whose_it_is(path: Path) -> None:
    for table, folder in zip(parse_saved(path.read_bytes(), "f"), references(path), strict=True):
        status = dict(line.split(":\t", 1) for line in (folder / "status.txt").read_text().splitlines() if ":\t" in line)
        assert table.pid == int(status["Pid"])
        # SUSE's up to SLES 12 shows comm, toybox only the program.
        assert status["Name"].encode() in (table.command or b"")


def test_every_sample_has_the_form_of_its_options() -> None:
    forms: dict[str, set[str]] = {}
    for path in COMPARED:
        options = re.split(r"[-.]", path.stem.removeprefix("pmap-"))[0].rstrip("pq") if path.parent.name != "written" else ""
        for table in parse_saved(path.read_bytes(), "f"):
            forms.setdefault(options, set()).add(table.form)
    del forms["default"], forms[""]
    assert forms.pop("pmap".rstrip("pq")) == {"pmap"}
    assert forms == {"x": {"pmap-x"}, "d": {"pmap-d"}, "X": {"pmap-X"}, "XX": {"pmap-X"}, "C": {"pmap-X"}}
    assert {path.name: parse_saved(path.read_bytes(), "f")[0].form for path in (SAVED / "written").glob("*.txt")} == {
        "3.2.0-d.txt": "pmap-d",
        "3.2.0-x.txt": "pmap-x",
        "rhel5-d.txt": "pmap-d",
        "sles11-d.txt": "pmap-d",
        "sles11-default.txt": "pmap-x",
        "sles12sp3-d-footer.txt": "pmap-d",
        "suse-d.txt": "pmap-d",
        "suse-default.txt": "pmap-x",
        "suse-q.txt": "pmap-x",
        "suse-x.txt": "pmap",
    }


@pytest.mark.parametrize("name", ["3.3.10/C-small.txt", "4.0.2/C-Rss-VmFlags.txt"])
def test_rows_without_a_size_are_read_as_sums(name: str) -> None:
    (table,) = parse_saved((SAVED / name).read_bytes(), "f")
    kernels = smaps_of(SAVED / ("small" if "small" in name else "process"))
    (everything,) = table.table.mappings
    assert everything.is_sum
    assert table.table.totals.get("rss_kib") == sum(mapping.counters[COUNTER_INDEX["Rss"]] or 0 for mapping in kernels.values())
    assert table.table.totals.get("size_kib") is None
    assert any("no column Size" in warning for warning in table.warnings)
    assert any("no column Mapping" in warning for warning in table.warnings)


def test_what_changed_between_the_two_reads_of_one_pmap_is_told() -> None:
    (table,) = parse_saved((SAVED / "4.0.2/X-growing.txt").read_bytes(), "f")
    (warning,) = table.warnings
    assert warning.startswith("the footer says 2668 KiB of Size, the rows add up to 2372 KiB (and 5 more columns)")
    assert "pmap -X reads twice" in warning


@pytest.mark.parametrize("option", ["default", "x", "d"])
def test_a_kernel_thread_has_no_mappings(option: str) -> None:
    (table,) = parse_saved((SAVED / f"4.0.2/{option}-kernel-thread.txt").read_bytes(), "f")
    assert (table.pid, table.command, table.table.mappings, table.warnings) == (2, b"[kthreadd]", (), ())
    assert table.form == {"default": "pmap", "x": "pmap-x", "d": "pmap-d"}[option]


@pytest.mark.parametrize("option", ["default", "x", "d", "X"])
@pytest.mark.parametrize("order", ["before", "behind"])
def test_a_process_that_pmap_could_not_read_is_told_beside_another(option: str, order: str) -> None:
    unreadable = (SAVED / f"4.0.2/{option}-unreadable.txt").read_bytes()
    readable = (SAVED / "4.0.2" / f"{option}.txt").read_bytes()
    tables = parse_saved(unreadable * 2 + readable if order == "before" else readable + unreadable * 2, "f")
    denied = tables[:2] if order == "before" else tables[1:]
    assert [(table.pid, table.form, len(table.table.mappings)) for table in denied] == [(15027, tables[0].form, 0)] * 2
    for table in denied:
        assert "could not read" in table.warnings[0]
        assert table.partial is not None


# A language that nobody speaks: what is not known by heart must be known by its place.
INVENTED = {
    "address": "Wohntort",
    "kbytes": "Kisten voll",
    "rss": "DA",
    "dirty": "Schmutzig",
    "mode": "Wie",
    "offset": "Ab wo",
    "device": "Ding",
    "mapping": "Was",
    "perm": "Darf",
    "inode": "Nummer",
    "anon": "  [ niemand ]",
    "stack": "  [ der stapel  ]",
    "footer_64": " alles zusammen %16ld \u041a\n",
    "footer_d": "insgesamt: %ldK  schreibbar eigen: %ldK  geteilt: %ldK\n",
    "total_x": "alles KiB",
}
STRINGS = json.loads((SAVED / "po-strings.json").read_text())
LANGUAGES = [(f"{language} {version}", strings) for language, versions in STRINGS.items() for version, strings in versions.items()]
LANGUAGES.append(("invented", INVENTED))


def printed(strings: dict[str, str], option: str, mappings: list[Mapping]) -> bytes:
    """What a pmap with these strings prints, after src/pmap.c: columns are as wide as the bytes of their headings."""

    def heading(name: str, width: int, *, left: bool = False) -> bytes:
        text = strings[name].encode()
        return text.ljust(width) if left else text.rjust(width)

    def width(name: str, least: int) -> int:
        return max(least, len(strings[name].encode()))

    address, size, mode = width("address", 16), width("kbytes", 7), width("mode", 5)
    lines = [b"15027:   bin/stockd --small"]
    if option == "x":
        columns = [heading("address", 16, left=True), heading("kbytes", 7), heading("rss", 7), heading("dirty", 7), heading("mode", 5, left=True)]
        lines.append(b" ".join([*columns, strings["mapping"].encode()]))
    elif option == "d":
        columns = [heading("address", 16, left=True), heading("kbytes", 7), heading("mode", 5, left=True), heading("offset", 16, left=True)]
        lines.append(b" ".join([*columns, heading("device", 9, left=True), strings["mapping"].encode()]))
    for mapping in mappings:
        name = mapping.name.rpartition(b"/")[2]
        if not mapping.name.startswith(b"/"):
            name = strings["stack" if mapping.name == b"[stack]" else "anon"].encode()
        perms = f"{mapping.perms[:3]}{'s' if mapping.perms[3] == 's' else '-'}-"
        start = f"{mapping.start:0{address}x} {mapping.size_kib:{size}}" if option != "default" else f"{mapping.start:016x} {mapping.size_kib:6}K"
        if option == "x":
            start += f" {mapping.counters[0]:{width('rss', 7)}} {dirty_kib(mapping.counters):{width('dirty', 7)}}"
        row = f"{start} {perms:>{mode if option != 'default' else 5}} ".encode()
        if option == "d":
            assert mapping.device is not None
            major, minor = mapping.device.split(":")
            row += f"{mapping.offset:0{width('offset', 16)}x} {f'{int(major, 16):03x}:{int(minor, 16):05x}':>{width('device', 9)}} ".encode()
        lines.append(row + name)
    writeable = sum(mapping.size_kib for mapping in mappings if mapping.perms[1] == "w" and mapping.perms[3] == "p")
    shared = sum(mapping.size_kib for mapping in mappings if mapping.perms[3] == "s")
    total = sum(mapping.size_kib for mapping in mappings)
    if option == "x":
        lines.append(b"---------------- ------- ------- ------- ")
        counters = f" {sum(m.counters[0] or 0 for m in mappings):7} {sum(dirty_kib(m.counters) or 0 for m in mappings):7}"
        lines.append(strings["total_x"].encode().ljust(16) + f" {total:7}{counters}".encode())
    elif option == "d":
        lines.append((strings["footer_d"].replace("%ld", "{}").format(total, writeable, shared)).encode().removesuffix(b"\n"))
    else:
        footer = re.sub(r"%(\d+)ld", lambda match: f"{total:{match[1]}}", strings["footer_64"])
        lines.append(footer.encode().removesuffix(b"\n"))
    return b"\n".join([*lines, b""])


def one(data: bytes) -> SavedTable:
    (table,) = parse_saved(data, "f")
    return table


@pytest.mark.parametrize("option", ["default", "x", "d"])
@pytest.mark.parametrize("strings", [strings for _, strings in LANGUAGES], ids=[name for name, _ in LANGUAGES])
def test_every_language_says_the_same(strings: dict[str, str], option: str) -> None:
    english = {
        **{name: name for name in ("address", "kbytes", "rss", "dirty", "mode", "offset", "device", "mapping")},
        "anon": "  [ anon ]", "stack": "  [ stack ]", "total_x": "total kB", "footer_64": " total %16ldK\n",
        "footer_d": "mapped: %ldK    writeable/private: %ldK    shared: %ldK\n",
    }  # fmt: skip
    mappings = list(smaps_of(SAVED / "small").values())
    expected, found = one(printed(english, option, mappings)), one(printed(strings, option, mappings))
    assert found == expected
    assert found.warnings == ()
    assert (found.pid, len(found.table.mappings)) == (15027, len(mappings))
    assert [mapping.start for mapping in found.table.mappings if mapping.name == b"[stack]"] == [0x7FFF8C2EE000]
    # Without its first line, the heading is known by its looks; and without both, and the footer, the rows.
    lines = printed(strings, option, mappings).splitlines(keepends=True)
    without_process = one(b"".join(lines[1:]))
    assert (without_process.pid, without_process.table) == (None, found.table)
    if option == "default":
        assert one(b"".join(lines[1:-1])).table == found.table


@pytest.mark.parametrize("strings", [strings for _, strings in LANGUAGES], ids=[name for name, _ in LANGUAGES])
def test_the_columns_of_X_are_known_in_every_language(strings: dict[str, str]) -> None:
    data = (SAVED / "4.0.2/X-two-pids.txt").read_bytes()
    translated = data
    for english in ("address", "perm", "offset", "device", "inode", "mapping"):
        translated = re.sub(rb"(?<= )%b(?=[ \n])" % english.capitalize().encode(), strings[english].encode(), translated)
    assert translated != data
    expected = parse_saved(data, "f")
    found = parse_saved(translated, "f")
    assert found == expected
    assert [len(table.table.mappings) for table in found] == [27, 25]
