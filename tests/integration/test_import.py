"""`import`: saved tables into the store, all of them or nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest
from programs import Runner, Target

from pmapdiff.errors import PmapdiffError
from pmapdiff.formats import all_forms
from pmapdiff.formats.saved import read_saved

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "sample_snapshots"
EXTENDED, DEVICE = SAMPLES / "redis-1100.pmap-x.txt", SAMPLES / "redis-1100.pmap-d.txt"
FROZEN = ROOT / "tests" / "data" / "redis-frozen"


def only_process(run: Runner, when: object = "latest") -> dict[str, Any]:
    (process,) = run.here("show", when, "--format", "json").json["processes"]
    assert isinstance(process, dict)
    return process


@pytest.mark.parametrize("saved", [(EXTENDED, DEVICE), (DEVICE, EXTENDED)], ids=["x d", "d x"])
def test_the_post_that_started_this(run: Runner, saved: tuple[Path, Path]) -> None:
    result = run("import", *saved).ok()
    assert result.err == ""
    assert result.out.startswith("snapshot 1: 1 table")
    process = only_process(run)
    assert process["pid"] == 1100
    assert process["command"] == "redis-server"
    totals = process["totals"]
    assert (totals["size_kib"], totals["rss_kib"], totals["dirty_kib"]) == (35904, 8076, 6368)
    # What neither file has is missing, not 0.
    assert (totals["pss_kib"], totals["swap_kib"], totals["anonymous_kib"]) == (None, None, None)
    assert totals["mappings"] == len(process["mappings"]) > 30
    for mapping in process["mappings"]:
        assert None not in (mapping["offset"], mapping["device"], mapping["rss_kib"], mapping["dirty_kib"]), mapping
        assert mapping["inode"] is None
        assert mapping["private_dirty_kib"] is None
    assert {mapping["device"] for mapping in process["mappings"]} == {"fb:01", "00:00"}
    text = run.here("show", "latest").ok().out
    assert all(figure in text for figure in ("35.1 MiB", "7.9 MiB", "6.2 MiB"))


def test_each_of_the_two_by_itself(run: Runner) -> None:
    run.here("import", EXTENDED).ok()
    process = only_process(run, 1)
    assert process["totals"]["rss_kib"] == 8076
    assert {mapping["offset"] for mapping in process["mappings"]} == {None}
    run.here("import", DEVICE).ok()
    process = only_process(run, 2)
    assert (process["totals"]["size_kib"], process["totals"]["rss_kib"]) == (35904, None)
    (compared,) = run.here("compare", 1, 2, "--format", "json").json["processes"]
    assert compared["totals"]["delta"]["size_kib"] == 0
    assert compared["totals"]["delta"]["rss_kib"] is None
    assert "rss_kib" in compared["missing"]


def test_when_whose_and_what(run: Runner) -> None:
    result = run.here(
        "import", FROZEN / "smaps.txt", "--at", "2026-11-22T14:00:00+01:00", "--pid", 4242, "--label", "before deploy", "--host", "web1"
    ).ok()
    assert result.out.startswith("snapshot 1: 1 table")
    snapshot = run.here("show", "before deploy", "--format", "json").json["snapshot"]
    assert snapshot == {
        "id": 1,
        "taken_at": "2026-11-22T13:00:00.000000Z",
        "host": "web1",
        "label": "before deploy",
        "source": str(FROZEN / "smaps.txt"),
    }
    assert only_process(run)["pid"] == 4242
    run.here("show", "2026-11-22 13:00", "--pid", 4242).ok()
    run.here("show", "2026-11-22 12:59").refused("no snapshot at or before")
    # A file that says whose it is, is not overruled.
    run.here("import", EXTENDED, "--pid", 1).refused("pid 1")
    run.here("import", EXTENDED, "--pid", 1100).ok()


def test_the_time_of_the_file(run: Runner, tmp_path: Path) -> None:
    copy = tmp_path / "copy.smaps"
    copy.write_bytes((FROZEN / "smaps.txt").read_bytes())
    os.utime(copy, ns=(0, 1_700_000_000_123_456_000))
    run.here("import", copy).ok()
    assert run.here("show", "--format", "json").json["snapshot"]["taken_at"] == "2023-11-14T22:13:20.123456Z"


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--at", "soon"], "'soon'"), (["--at", "12"], "'12'"), (["--label", "first"], "--label"), (["--format", "elf"], "no form 'elf'")],
)
def test_options_that_make_no_sense(bare: Runner, options: list[str], said: str) -> None:
    bare.here("import", FROZEN / "smaps.txt", *options).refused(said)
    assert not bare.db.exists()


def test_several_files_are_several_snapshots(run: Runner, target: Target, tmp_path: Path) -> None:
    files = []
    for number in range(3):
        target.call("map", size=1 << 20, address=0x100000000000 + (number << 32))
        file = tmp_path / f"{number}.smaps"
        file.write_bytes(target.smaps())
        files.append(file)
    assert run.here("import", *files).ok().out.count("snapshot ") == 3
    (process,) = run.here("compare", "first", "latest", "--format", "json").json["processes"]
    assert (process["match"], process["totals"]["delta"]["size_kib"]) == ("same", 2048)


JUNK: dict[str, tuple[bytes, int]] = {
    "text": (b"This is no table.\nNor is this.\n", 1),
    "nothing": (b"", 1),
    "binary": (bytes(range(256)) * 100, 1),
    "cut off": ((FROZEN / "smaps.txt").read_bytes()[:20000], 0),
    "broken in the middle": ((FROZEN / "smaps.txt").read_bytes().replace(b"Rss:", b"Rss;", 3).replace(b"Rss;", b"Rss:", 2), 0),
    "backwards": (b"00002000-00003000 rw-p 00000000 00:00 0 \n00001000-00002000 rw-p 00000000 00:00 0 \n", 2),
    "short row": ((EXTENDED.read_bytes().replace(b"0000000000400000", b"0000000000400000 what", 1)), 0),
}


@pytest.mark.parametrize("name", JUNK)
def test_junk_is_refused_with_its_line(bare: Runner, tmp_path: Path, name: str) -> None:
    junk = tmp_path / "junk.txt"
    data, line = JUNK[name]
    junk.write_bytes(data)
    where = f"{junk}:{line}" if line else f"{junk}:"
    if data == EXTENDED.read_bytes():
        pytest.skip("the sample has no such row")
    result = bare.here("import", junk).refused(where)
    number = result.err.partition(f"{junk}:")[2].partition(":")[0]
    assert 1 <= int(number) <= data.count(b"\n") + 1
    assert not bare.db.exists()
    bare.here("import", FROZEN / "smaps.txt").ok()
    dump = contents(bare.db)
    bare.here("import", FROZEN / "maps.txt", junk).refused(where)
    bare.here("import", junk, FROZEN / "maps.txt").refused(where)
    bare.here("show", junk).refused(where)
    bare.here("compare", junk, "latest").refused(where)
    assert contents(bare.db) == dump


def contents(db: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(db)) as connection:
        return list(connection.iterdump())


def test_a_file_that_is_not_there(bare: Runner, tmp_path: Path) -> None:
    bare.here("import", tmp_path / "none.txt").refused("none.txt", "No such file")
    bare.here("import", tmp_path).refused(str(tmp_path))
    assert not bare.db.exists()


# One frozen process in the forms that pmap and the kernel have for it.
EXAMPLES = {
    "smaps": ["smaps.txt"],
    "maps": ["maps.txt"],
    "pmap": ["pmap.txt", "pmap-p.txt"],
    "pmap-x": ["pmap-x.txt", "pmap-xp.txt"],
    "pmap-d": ["pmap-d.txt", "pmap-dp.txt"],
    "pmap-X": ["pmap-X.txt", "pmap-XX.txt"],
}
SAVED = ROOT / "tests" / "data" / "saved"


def test_every_form_has_a_sample(run: Runner) -> None:
    """Of every form there is a file, which is told by its content, and can be shown, imported and compared with itself."""
    found: dict[str, Path] = {}
    for path in sorted(path for folder in (FROZEN, SAVED) for path in folder.rglob("*") if path.is_file()):
        with contextlib.suppress(PmapdiffError):
            tables = read_saved(str(path))
            # The tables of an archive are of another form.
            found.setdefault("tar" if path.suffix == ".tar" else tables[0].form, path)
    assert set(all_forms()) == set(found)
    for path in found.values():
        assert run.here("show", path, store=False).ok().out
        run.here("import", path).ok()
        assert run.here("compare", path, path, store=False).ok().code == 0


@pytest.mark.parametrize("form", EXAMPLES)
def test_every_form_is_told_by_its_content(run: Runner, form: str) -> None:
    (reference,) = run.here("show", FROZEN / "smaps.txt", "--format", "json", store=False).json["processes"]
    for name in EXAMPLES[form]:
        number = run.here("import", FROZEN / name).ok().out.split()[1].rstrip(":")
        process = only_process(run, number)
        assert process["totals"]["size_kib"] in (reference["totals"]["size_kib"], reference["totals"]["size_kib"] - 4), name
        ours = [(m["start"], m["end"]) for m in process["mappings"]]
        assert ours == [(m["start"], m["end"]) for m in reference["mappings"]][: len(ours)], name
        assert len(reference["mappings"]) - len(ours) in (0, 1), name
        run.here("import", FROZEN / name, "--format", form).ok()
    others = set(EXAMPLES) - {form}
    for other in others:
        result = run.here("import", FROZEN / EXAMPLES[form][0], "--format", other)
        assert result.code == 2, (form, other)
        assert "Traceback" not in result.err
    assert run.here("db", "check").ok().out == "the store is sound\n"


def test_a_live_process_in_every_form_of_pmap(run: Runner, target: Target, tmp_path: Path) -> None:
    """What pmap of this machine prints is understood, and says what smaps says."""
    pmap = shutil.which("pmap")
    if pmap is None:
        pytest.skip("pmap (procps) is not installed")
    with target.stopped():
        run.here("record", "--pid", target.pid).ok()
        for option in ([], ["-x"], ["-d"], ["-p"], ["-xp"], ["-dp"]):
            saved = tmp_path / f"pmap{''.join(option)}.txt"
            saved.write_bytes(subprocess.run([pmap, *option, str(target.pid)], capture_output=True, check=True).stdout)
            result = run.here("import", saved).ok()
            assert result.err == "", option
            process = only_process(run, result.out.split()[1].rstrip(":"))
            assert process["pid"] == target.pid
            (compared,) = run.here("compare", 1, saved, "--format", "json").json["processes"]
            assert compared["match"] == "same"
            assert abs(compared["totals"]["delta"]["size_kib"]) in (0, 4)
            assert [change for change in compared["changes"] if change["delta"]["size_kib"] and change["name"] != "[vsyscall]"] == [], option
