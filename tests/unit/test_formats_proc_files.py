"""Files of /proc in one: archives, folders, and what head, tail, more and grep print of them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from saved_samples import sample, smaps_of_worker, table, tables

from pmapdiff.errors import FormatError
from pmapdiff.formats import parse_saved
from pmapdiff.formats.proc_tree import status_of
from pmapdiff.formats.saved import read_saved
from pmapdiff.text import printable

SMEM, BUSYBOX = sample("smemcap/smem.tar"), sample("smemcap/busybox.tar")
MAPS, ODD = sample("proc/worker.maps"), sample("proc/odd.maps")


def rows_of(data: bytes) -> list[tuple[object, ...]]:
    (saved,) = parse_saved(data, "f")
    return [m[:7] for m in saved.table.mappings]


@pytest.mark.parametrize(
    ("path", "form", "pids"),
    [
        ("head.smaps", "smaps", [1, 4111]),
        ("head.smaps_rollup", "smaps_rollup", [4111, 5231]),
        ("tail.maps", "maps", [4111, 5231]),
        ("more.maps", "maps", [4111, 5231]),
        ("grep-H.smaps", "smaps", [4111]),
        ("grep-Hn.maps", "maps", [4111]),
        ("grep-a.maps", "maps", [4111, 5231]),
        ("grep-r.smaps_rollup", "smaps_rollup", [4111, 5231]),
    ],
)
def test_several_files_in_one_text(path: str, form: str, pids: list[int]) -> None:
    found = tables(f"proc/{path}")
    assert [(saved.form, saved.pid, saved.warnings, saved.partial) for saved in found] == [(form, pid, (), None) for pid in pids]
    expected = {"maps": {4111: rows_of(MAPS), 5231: rows_of(ODD)}, "smaps": {4111: rows_of(sample("proc/worker.smaps"))}}
    for saved in found:
        if (rows := expected.get(form, {}).get(saved.pid or 0)) is not None:
            assert [m[:7] for m in saved.table.mappings] == rows


def test_a_folder_laid_out_like_proc() -> None:
    worker, odd = tables("proc/folder")
    assert (worker.pid, worker.form, worker.comm, worker.threads) == (4111, "smaps", b"worker", 2)
    assert worker.table == smaps_of_worker()
    # Its smaps may not be read, and 5 is a kernel thread.
    assert (odd.pid, odd.form) == (5231, "maps")


@pytest.mark.parametrize("old", [b"", b"Binary file /proc/5231/maps matches\n"])
def test_what_grep_left_out_is_missing(old: bytes) -> None:
    data = sample("proc/grep-h-not-a.maps")
    if old:
        data = data[: data.rindex(b"grep:")] + old
    (saved,) = parse_saved(data, "f")
    assert (saved.pid, len(saved.table.mappings)) == (5231, 68)
    assert saved.partial is not None
    assert "grep has left out rows" in saved.partial
    assert any("grep has left out rows" in warning for warning in saved.warnings)


def test_what_grep_left_out_of_one_file_of_many() -> None:
    rows = sample("proc/grep-h-not-a.maps").rpartition(b"grep:")[0]
    said = b"grep: /proc/5231/maps: binary file matches\n"
    first, second = (b"".join(b"/proc/%d/maps:%b\n" % (pid, line) for line in text.split(b"\n")[:-1]) for pid, text in ((5231, rows), (4111, MAPS)))
    holed, whole = parse_saved(first + said + second, "f")
    assert (holed.pid, whole.pid) == (5231, 4111)
    assert holed.partial is not None
    assert (whole.partial, whole.warnings) == (None, ())
    # It is said of one file, and not of the one that stands before it.
    (other,) = parse_saved(second + said, "f")
    assert other.partial is None


def test_smems_own_archive_has_no_magic_bytes() -> None:
    saved = table("smemcap/smem.tar")
    assert (saved.form, saved.pid, saved.comm) == ("smaps", 4111, b"worker")
    assert saved.command == b"/srv/demo/bin/worker\0--threads\x002\0/etc/demo worker.conf\0"
    assert saved.taken_at_us == 1795429198 * 10**6
    assert saved.table == smaps_of_worker()
    busybox = {each.pid: each for each in tables("smemcap/busybox.tar")}
    assert set(busybox) == {1, 4111, 4139}
    assert busybox[4111].table == saved.table


def with_type(archive: bytes, name: bytes, kind: bytes) -> bytes:
    """The archive with another type in the header of a member, and the sum of that header made right."""
    at = archive.index(name + b"\0")
    header = bytearray(archive[at : at + 512])
    header[156:157] = kind
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return archive[:at] + bytes(header) + archive[at + 512 :]


@pytest.mark.parametrize("kind", [b"\0", b"3", b"4", b"7", b"8"])
def test_types_that_are_none(kind: bytes) -> None:
    archive = SMEM
    for name in (b"meminfo", b"4111/smaps", b"4111/cmdline", b"4111/stat"):
        archive = with_type(archive, name, kind)
    (saved,) = parse_saved(archive, "f")
    assert saved.table == table("smemcap/smem.tar").table
    assert saved.comm == b"worker"


def test_blocks_of_zeros_at_its_end() -> None:
    assert [saved.table for saved in parse_saved(SMEM + bytes(10240), "f")] == [smaps_of_worker()]


@pytest.mark.parametrize(("data", "length"), [(SMEM, 20_000), (SMEM, 36_000), (BUSYBOX, 60_000), (BUSYBOX, 74_800), (BUSYBOX, len(BUSYBOX) - 1)])
def test_an_archive_that_was_cut_off(data: bytes, length: int) -> None:
    with pytest.raises(FormatError, match="--partial"):
        parse_saved(data[:length], "f")
    if length > 36_000:
        found = parse_saved(data[:length], "f", partial=True)
        assert "cut off" in " ".join(found[-1].warnings)
        assert all(saved.table.mappings for saved in found)


def test_what_is_no_header_is_not_the_end() -> None:
    at = BUSYBOX.index(b"4139/smaps\0")
    broken = BUSYBOX[: at + 100] + b"zzz" + BUSYBOX[at + 103 :]
    with pytest.raises(FormatError, match="damaged"):
        parse_saved(broken, "f")
    found = parse_saved(broken, "f", partial=True)
    assert [saved.pid for saved in found] == [1, 4111]
    assert "damaged" in " ".join(found[-1].warnings)


def test_an_archive_of_another_program() -> None:
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=form) as archive:
            member = tarfile.TarInfo("x/" + "deep/" * 20 + "proc/4111/smaps")
            data = sample("proc/worker.smaps")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        (saved,) = parse_saved(packed.getvalue(), "f")
        assert (saved.pid, saved.table) == (4111, smaps_of_worker())


def _header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A header of tar that claims this size, negative or not."""
    header = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    header[124:136], header[156:157] = tarfile.itn(size, 12, tarfile.GNU_FORMAT), kind  # type: ignore[attr-defined]
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


_AHEAD = _header("a", 0)
LYING_ARCHIVES = {
    "a file whose end is its beginning": _AHEAD + _header("7/maps", -512),
    "another file like this": _AHEAD + _header("b", -512),
    "a name of 8 EiB": _AHEAD + _header("7/maps", 1 << 62, tarfile.GNUTYPE_LONGNAME),
    "a name of -1 bytes": _AHEAD + _header("7/maps", -1, tarfile.GNUTYPE_LONGNAME),
    "a file with holes": _AHEAD + _header("\n7/maps", 0, tarfile.GNUTYPE_SPARSE),
    "names of names": _AHEAD + b"".join(_header("a", 1, tarfile.GNUTYPE_LONGNAME) + b"x".ljust(512, b"\0") for _ in range(2000)),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("data", LYING_ARCHIVES.values(), ids=LYING_ARCHIVES)
def test_an_archive_that_lies(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "it"
    path.write_bytes(data + bytes(1024))
    with pytest.raises(FormatError) as caught:
        read_saved(str(path))
    assert str(caught.value) == printable(str(caught.value))


def test_the_user_is_the_effective_one() -> None:
    assert status_of(b"Name:\tsudo\nPid:\t7\nUid:\t1000\t0\t0\t0\n") == {"comm": b"sudo", "pid": 7, "uid": 0}
    assert status_of(b"Uid:\t1000\n") == {}
