"""Saved tables as people have them: packed, in archives and folders, many in a file, cut off, through a pipe, in series."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from programs import Runner, Target

FROZEN = Path(__file__).parents[1] / "data" / "redis-frozen"
SMAPS, MAPS, ROLLUP, STATUS = ((FROZEN / f"{name}.txt").read_bytes() for name in ("smaps", "maps", "smaps_rollup", "status"))
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "xz": lzma.compress,
    "zst": zstandard.ZstdCompressor().compress,
    "zst in gz": lambda data: gzip.compress(zstandard.ZstdCompressor().compress(data)),
}


def only_process(run: Runner, when: object = "latest", *options: str) -> dict[str, Any]:
    (process,) = run.here("show", when, "--format", "json", *options).json["processes"]
    assert isinstance(process, dict)
    return process


def figures(process: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(m["start"], m["end"], m["perms"], m["name"], m["rss_kib"], m["pss_kib"]) for m in process["mappings"]]


def grown(step: int) -> bytes:
    return SMAPS.replace(b"Rss:                1116 kB", b"Rss:            %8d kB" % (1116 + step))


def without_pss(text: bytes) -> bytes:
    """What others share of the vdso changes as they come and go."""
    return b"".join(line for line in text.splitlines(keepends=True) if not line.startswith((b"Pss", b"Shared_", b"Private_")))


def written(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("packer", PACKERS)
def test_a_packed_file(run: Runner, tmp_path: Path, packer: str) -> None:
    # The name says nothing: what is in it does.
    packed = written(tmp_path / "table", PACKERS[packer](SMAPS))
    assert figures(only_process(run, packed)) == figures(only_process(run, FROZEN / "smaps.txt"))
    run.here("import", packed).ok()
    assert run.here("show", "latest", "--format", "smaps").ok().stdout == SMAPS


@pytest.mark.parametrize("packer", ["gz", "xz", "zst"])
def test_a_packed_file_that_was_cut_off(bare: Runner, tmp_path: Path, packer: str) -> None:
    text = b"".join(grown(number) for number in range(60))
    packed = PACKERS[packer](text)
    cut = written(tmp_path / "cut", packed[: len(packed) * 9 // 10])
    bare.here("import", cut).refused(str(cut), "cut off", "--partial")
    assert not bare.db.exists()
    bare.here("import", cut, "--partial").ok()
    flipped = bytearray(packed)
    flipped[len(packed) // 2] ^= 0xFF
    damaged = bare.here("import", written(tmp_path / "damaged", bytes(flipped)))
    assert damaged.code == 2
    assert damaged.err.count("\n") == 1


@pytest.mark.parametrize("packer", ["gz", "xz", "zst"])
def test_a_bomb_is_refused(run: Runner, tmp_path: Path, packer: str) -> None:
    bomb = written(tmp_path / "bomb", PACKERS[packer](bytes(200 << 20)))
    assert bomb.stat().st_size < 1 << 20
    run.here("import", bomb).refused(str(bomb), "unpacks to more than 64 MiB")
    nested = written(tmp_path / "nested", gzip.compress(gzip.compress(gzip.compress(gzip.compress(SMAPS)))))
    run.here("show", nested).refused("packed more than 3 times")
    # Each layer is worth no more than the whole: this one would be 256 MiB.
    layers = written(tmp_path / "layers", gzip.compress(gzip.compress(bytes(1 << 20)) * (1 << 8) + bytes(40 << 20)))
    assert layers.stat().st_size < 1 << 17
    run.here("show", layers).refused("unpacks to more than 64 MiB")


@pytest.mark.parametrize(("magic", "name"), [(b"PK\x03\x04", "zip"), (b"BZh9", "bzip2"), (b"\x04\x22\x4d\x18", "lz4")])
def test_other_packers_are_named(run: Runner, tmp_path: Path, magic: bytes, name: str) -> None:
    run.here("show", written(tmp_path / "x", magic + bytes(100))).refused(name, "unpack it first")


def test_standard_input(run: Runner) -> None:
    assert "11.8 MiB" in run.fresh("show", "-", stdin=SMAPS).ok().out
    assert "no change" in run.fresh("compare", FROZEN / "smaps.txt", "-", stdin=gzip.compress(SMAPS)).ok().out
    run.fresh("import", "-", "--at", "2026-11-22 14:00Z", "--host", "web1", stdin=SMAPS).ok()
    (snapshot,) = run.snapshots()
    assert (snapshot["taken_at"], snapshot["host"], snapshot["source"]) == ("2026-11-22T14:00:00.000000Z", "web1", "-")
    run.fresh("import", "-", stdin=b"").refused("empty")


def archive(files: dict[str, bytes], mtime: int = 0) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), mtime
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


TREE = {
    "meminfo": b"MemTotal: 1 kB\n",
    "1/smaps": b"",
    "1/cmdline": b"",
    "30412/cmdline": b"/usr/bin/redis-server\0*:7801\0",
    "30412/status": STATUS,
    "30412/smaps": SMAPS,
    "30413/comm": b"other\n",
    "30413/maps": MAPS,
    "30413/smaps_rollup": ROLLUP,
}


def check_tree(run: Runner) -> None:
    shown = run.shown()
    assert sorted(shown) == [30412, 30413]
    first, second = shown[30412], shown[30413]
    assert (first["command"], first["command_line"], first["status"]) == ("redis-server", "/usr/bin/redis-server *:7801", "complete")
    assert figures(first) == figures(only_process(run, FROZEN / "smaps.txt"))
    # Its sums are those of another file than its rows.
    assert (second["command"], second["status"], second["totals"]["rss_kib"], second["mappings"][0]["rss_kib"]) == ("other", "maps-only", 12056, None)


def test_an_archive_of_proc(run: Runner, tmp_path: Path) -> None:
    run.here("import", written(tmp_path / "capture", gzip.compress(archive(TREE, mtime=1_700_000_000)))).ok()
    check_tree(run)
    assert run.snapshots()[0]["taken_at"] == "2023-11-14T22:13:20.000000Z"
    whole = archive(TREE)
    cut = written(tmp_path / "cut", whole[: whole.index(b"[vsyscall]")])
    run.here("import", cut).refused("cut off", "--partial")
    run.here("show", written(tmp_path / "empty", archive({"meminfo": b"x"}))).refused("no PID/smaps")


def test_an_archive_that_claims_more_than_it_has(run: Runner, tmp_path: Path) -> None:
    out = io.BytesIO()
    member = tarfile.TarInfo("7/smaps")
    member.size = 1 << 40
    out.write(member.tobuf(tarfile.GNU_FORMAT) + SMAPS)
    run.here("show", written(tmp_path / "large", out.getvalue())).refused(str(tmp_path / "large"))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_an_archive_of_headers_of_headers(run: Runner, tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("name")
    member.type, content = kind, b"12 path=abc\n"
    member.size = len(content)
    chain = (member.tobuf(tarfile.GNU_FORMAT) + content.ljust(512, b"\0")) * 1500
    run.here("show", written(tmp_path / "chain", chain + archive(TREE))).refused("too many headers")


@pytest.mark.parametrize("pid", ["7", "9999999999"])
def test_a_folder_of_what_no_process_is(run: Runner, tmp_path: Path, pid: str) -> None:
    number = b"1" if pid != "7" else b"9" * 18
    written(tmp_path / "tree" / pid / "smaps", re.sub(rb"Rss: +\d+", b"Rss: " + number, SMAPS))
    run.here("import", tmp_path / "tree").refused("that no process has" if pid != "7" else "more than any address space holds")


def test_an_error_in_one_of_many_files_says_in_which(run: Runner, tmp_path: Path) -> None:
    broken = SMAPS.replace(b"Pss:", b"Pss;", 1)
    line = broken[: broken.index(b"Pss;")].count(b"\n") + 1
    written(tmp_path / "tree" / "12" / "smaps", broken)
    run.here("show", tmp_path / "tree").refused(f"{tmp_path}/tree/12/smaps:{line}: ")
    saved = written(tmp_path / "tar", archive({"11/smaps": SMAPS, "12/smaps": broken}))
    run.here("show", saved).refused(f"{saved}: 12/smaps:{line}: ")


def test_a_folder_laid_out_like_proc(run: Runner, tmp_path: Path) -> None:
    for name, data in TREE.items():
        written(tmp_path / "copy" / "proc" / name, data)
    run.here("import", tmp_path / "copy").ok()
    check_tree(run)
    assert only_process(run, tmp_path / "copy" / "proc" / "30412")["pid"] == 30412
    os.mkfifo(tmp_path / "copy" / "proc" / "30412" / "stat")
    assert len(run.here("show", tmp_path / "copy", "--format", "json").json["processes"]) == 2
    run.here("import", "/proc").refused("pmapdiff record")


HEADS: dict[str, Callable[[str, bytes], bytes]] = {
    "head": lambda path, data: b"==> %s <==\n%s\n" % (path.encode(), data),
    "more": lambda path, data: b"::::::::::::::\n%s\n::::::::::::::\n%s" % (path.encode(), data),
    "grep -H": lambda path, data: b"".join(b"%s:%s\n" % (path.encode(), line) for line in data.splitlines()),
    "grep -Hn": lambda path, data: b"".join(b"%s:%d:%s\n" % (path.encode(), n, line) for n, line in enumerate(data.splitlines(), 1)),
}


@pytest.mark.parametrize("how", HEADS)
def test_many_processes_in_one_file(run: Runner, tmp_path: Path, how: str) -> None:
    parts = [("/proc/1/smaps", b""), *((f"/proc/{pid}/smaps", SMAPS) for pid in (30412, 77)), ("/proc/78/maps", MAPS)]
    text = b"".join(HEADS[how](path, data) for path, data in parts)
    saved = written(tmp_path / "many", text)
    run.here("import", saved).ok()
    shown = run.shown()
    assert sorted(shown) == [77, 78, 30412]
    assert figures(shown[77]) == figures(only_process(run, FROZEN / "smaps.txt"))
    lines = text.split(b"\n")
    number = next(i for i, line in enumerate(lines) if b"Pss:" in line)
    lines[number] = lines[number].replace(b"Pss:", b"Pss;")
    run.here("show", written(saved, b"\n".join(lines))).refused(f"{saved}:{number + 1}: ")


def test_the_real_proc_through_head(run: Runner, target: Target, tmp_path: Path) -> None:
    with target.stopped():
        copy = tmp_path / "copy"
        for program in (f"head -n -0 /proc/{target.pid}/smaps /proc/{target.pid}/status", f"grep -aH '' /proc/{target.pid}/smaps"):
            assert os.system(f"{program} > {copy}") == 0
            run.here("import", copy).ok()
            shown = run.here("show", "latest", "--pid", target.pid, "--format", "smaps").ok().stdout
            assert without_pss(shown) == without_pss(target.smaps())


def test_a_series_of_files(run: Runner, tmp_path: Path) -> None:
    files = [written(tmp_path / f"{number}", grown(number)) for number in range(3)]
    run.here("import", *files, "--at", "2026-11-22T14:00:00Z", "--every", "5m").ok()
    assert [row["taken_at"][11:19] for row in run.snapshots()] == ["14:00:00", "14:05:00", "14:10:00"]
    run.here("import", *files, "--every", "soon").refused("soon")


def test_a_log_of_a_loop(run: Runner, tmp_path: Path) -> None:
    log = b"".join(b"Mon Nov 23 09:5%d:00 UTC 2026\n%s" % (minute, grown(minute)) for minute in range(4))
    saved = written(tmp_path / "log", log)
    assert run.here("import", saved, "--pid", 1100).ok().out.count("snapshot ") == 4
    assert [row["taken_at"] for row in run.snapshots()] == [f"2026-11-23T09:5{minute}:00.000000Z" for minute in range(4)]
    result = run.here("show", saved, "--format", "json").ok()
    assert "4 moments" in result.err
    assert result.json["snapshot"]["taken_at"] == "2026-11-23T09:53:00.000000Z"


def test_what_was_cut_off(bare: Runner, tmp_path: Path) -> None:
    cut = written(tmp_path / "cut", SMAPS[:50_000])
    number = SMAPS[:50_000].count(b"\n") + 1
    for command in (["import", cut], ["show", cut], ["compare", cut, FROZEN / "smaps.txt"]):
        bare.here(*command).refused(f"{cut}:{number}: ", "--partial")
    assert not bare.db.exists()
    result = bare.here("import", cut, "--partial").ok()
    assert f"line {number}" in result.err
    process = only_process(bare)
    assert (process["status"], len(process["mappings"])) == ("partial", SMAPS[:50_000].count(b"VmFlags:"))
    assert str(number) in process["note"]
    compared = bare.here("compare", cut, FROZEN / "smaps.txt", "--partial").ok().out
    assert "partial" in compared


def test_sums_have_no_addresses(run: Runner, tmp_path: Path) -> None:
    run.here("import", FROZEN / "smaps_rollup.txt", "--pid", 7).ok()
    process = only_process(run)
    (row,) = process["mappings"]
    assert (row["start"], row["end"], row["perms"], row["size_kib"], row["rss_kib"]) == (None, None, None, None, 12056)
    assert process["totals"]["footprint_kib"] is None
    text = run.here("show").ok().out
    assert "no addresses" in text
    grown = written(tmp_path / "grown", ROLLUP.replace(b"12056 kB", b"22056 kB"))
    result = run.here("compare", FROZEN / "smaps_rollup.txt", grown).ok().out
    assert "+9.8 MiB" in result
    assert "compared by name" in result
    (against,) = run.here("compare", FROZEN / "smaps.txt", grown, "--format", "json").json["processes"]
    assert against["totals"]["delta"]["rss_kib"] == 10_000
    assert sum(change["delta"]["rss_kib"] for change in against["changes"]) == 10_000
    run.here("show", FROZEN / "smaps_rollup.txt", "--format", "maps").refused("addresses")
    compared = run.here("compare", FROZEN / "pmap.txt", FROZEN / "smaps_rollup.txt").ok().out
    assert "neither Rss nor Size is in both tables" in compared
    assert "no figure is in both tables" in compared
    run.here("import", grown, "--pid", 7).ok()
    assert "22056" in run.here("history", "--pid", "7", "--format", "csv").ok().out


def test_a_named_form(run: Runner, tmp_path: Path) -> None:
    both = written(tmp_path / "both", MAPS + b"\n" + SMAPS)
    assert [len(p["mappings"]) for p in run.here("show", both, "--format", "json", "--input-format", "maps").json["processes"]] == [118]
    run.here("import", both, "--format", "pmap").refused("no table of pmap")


def test_what_a_stranger_wrote_is_not_printed(run: Runner, tmp_path: Path) -> None:
    evil = written(tmp_path / "evil", b"\x1b]0;owned\x07\n" + MAPS + b"\x1b[2J\n")
    result = run.here("import", evil).ok()
    assert "\x1b" not in result.err
    shutil.copy(evil, tmp_path / "a\x1b[31mb")
    assert "\x1b" not in run.here("import", tmp_path / "a\x1b[31mb").ok().err
