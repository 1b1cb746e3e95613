"""Where a target's search begins: the saved samples of the other tests, cut down, and what earlier searches have kept."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import zstandard

from fuzz.oracle import FILE, PARTIAL, STORE, THOROUGH, check

HERE = Path(__file__).resolve().parent
CORPUS, FOUND = HERE / "corpus", HERE / "found"
_SAMPLES = HERE.parent / "data"
# What is longer is mutated too slowly to find anything. An archive has headers of half a KiB each.
_MOST_BYTES, _MOST_BYTES_BINARY = 4 << 10, 16 << 10
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
                for data in _cut(path.read_bytes()):
                    yield from _inputs(target, data)


def _cut(data: bytes) -> Iterator[bytes]:
    """A file small enough: as it is, or its first lines and some from its middle."""
    if tarfile.is_tarfile(BytesIO(data)):
        yield _small_archive(data)
    if b"\0" in data[:512]:
        yield data[:_MOST_BYTES_BINARY]
        return
    if len(data) <= _MOST_BYTES:
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
    try:
        reads = check(target, bytes([0]) + data) or check(target, bytes([PARTIAL]) + data)
    except Exception:
        # It is for the search to find this, and to keep it.
        reads = True
    if reads or target == FILE:
        yield bytes([0]) + data
    if reads:
        yield bytes([PARTIAL]) + data
        if len(data) < _MOST_BYTES // 2:
            yield bytes([THOROUGH]) + data
        if target in (FILE, STORE) and len(data) < 4096:
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
