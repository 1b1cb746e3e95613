"""Where a target's search begins: the saved samples of the other tests, cut down, and what earlier searches have kept."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import zstandard

from fuzz.oracle import FILE, PARTIAL, STORE, THOROUGH, check

HERE = Path(__file__).resolve().parent
CORPUS, FOUND = HERE / "corpus", HERE / "found"
_SAMPLES = HERE.parent / "data"
# What is longer is mutated too slowly to find anything. An archive has headers of half a KiB each.
_MOST_BYTES, _MOST_BYTES_BINARY = 4 << 10, 16 << 10
# To store a table takes fifty times as long as to read it.
_MOST_BYTES_STORED = 1 << 10
_MOST_LINES = 40


def kept(folder: Path) -> Iterator[tuple[str, Path]]:
    """The inputs that are kept, each with its target."""
    for target in sorted(folder.iterdir()) if folder.is_dir() else ():
        for file in sorted(target.iterdir()):
            yield target.name, file


def seeds(target: str) -> Iterator[bytes]:
    """The samples that this target reads, and some that it does not: as inputs, each with its byte of options."""
    for place in ("saved", "redis-frozen"):
        for path in sorted((_SAMPLES / place).rglob("*")):
            if path.is_file():
                data = path.read_bytes()
                for small in _cut(data):
                    yield from _inputs(target, small)
                if len(data) > _MOST_BYTES and target not in (FILE, STORE) and b"\0" not in data[:512]:
                    yield from _inputs(target, _shrunk(target, data))


def _shrunk(target: str, data: bytes) -> bytes:
    """What is left of a text without all the lines that a target can do without to read a table: what is cut at its end may be none."""

    def reads(lines: list[bytes]) -> bool:
        with suppress(Exception):
            return check(target, bytes([0]) + b"".join(lines))
        return False

    lines = data.splitlines(keepends=True)
    if not reads(lines):
        return b""
    for parts in (2, 4, 8, 16, 32):
        size, at = -(-len(lines) // parts), 0
        while at < len(lines):
            without = lines[:at] + lines[at + size :]
            if reads(without):
                lines = without
            else:
                at += size
    return b"".join(lines)[:_MOST_BYTES_BINARY]


def _cut(data: bytes) -> Iterator[bytes]:
    """A file small enough: as it is, or its first lines and some from its middle."""
    if tarfile.is_tarfile(BytesIO(data)):
        yield _small_archive(data)
    if b"\0" in data[:512]:
        yield data[:_MOST_BYTES_BINARY]
        return
    if len(data) <= _MOST_BYTES or (data.startswith((b"{", b"[")) and len(data) <= _MOST_BYTES_BINARY):
        yield data
    lines = data.splitlines(keepends=True)
    if len(lines) > _MOST_LINES:
        yield b"".join(lines[:_MOST_LINES])[:_MOST_BYTES]
        yield b"".join(lines[: _MOST_LINES // 2] + lines[-_MOST_LINES // 2 :])[:_MOST_BYTES]


def _small_archive(data: bytes) -> bytes:
    """The first files of an archive, of each the lines that fit into four of its blocks, and of smaps the mappings."""
    out = BytesIO()
    with tarfile.open(fileobj=BytesIO(data)) as archive, tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as small:
        for member in [member for member in archive if member.isreg()][:8]:
            stream = archive.extractfile(member)
            content = b"" if stream is None else stream.read(2048)
            content = content[: content.rfind(b"\n", 0, content.find(b"\n", content.rfind(b"VmFlags:")) + 1 or None) + 1] or content
            member.size = len(content)
            small.addfile(member, BytesIO(content))
    return out.getvalue().rstrip(b"\0") + bytes(1024)


def _inputs(target: str, data: bytes) -> Iterator[bytes]:
    if target == STORE and len(data) > _MOST_BYTES_STORED:
        return
    reader = FILE if target == STORE else target
    try:
        reads = check(reader, bytes([0]) + data) or check(reader, bytes([PARTIAL]) + data)
    except Exception:
        # It is for the search to find this, and to keep it.
        reads = True
    if reads or target == FILE:
        yield bytes([0]) + data
    if reads and target != STORE:
        yield bytes([PARTIAL]) + data
    if reads and len(data) < _MOST_BYTES_STORED:
        yield bytes([THOROUGH]) + data
    if reads and target == FILE and len(data) < _MOST_BYTES:
        for packed in (gzip.compress(data, mtime=0), lzma.compress(data), zstandard.compress(data)):
            yield bytes([0]) + packed


def write_inputs(folder: Path, inputs: Iterator[bytes]) -> int:
    """Write inputs under names as libFuzzer gives them, by the digest of their bytes; how many."""
    folder.mkdir(parents=True, exist_ok=True)
    names = set()
    for data in inputs:
        names.add(name := hashlib.sha1(data, usedforsecurity=False).hexdigest())
        (folder / name).write_bytes(data)
    return len(names)
