"""Packed files (gzip, xz, zstd) unpacked, and never more of them than they can be worth."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from pmapdiff.errors import FormatError
from pmapdiff.formats.elf import MAGIC, notes_begin

# Saved tables pack well: 20 to 60 times. What is larger unpacked than this, and than so many times its size, is no table.
_ALWAYS_BYTES = 64 << 20
_MOST_TIMES = 100
# Of a core dump only headers and notes are read: they stand at its beginning if the kernel wrote it, the notes at its end if gdb did. What lies
# between is dropped, so it may be more; memory of mostly zeros packs better than text.
_CORE_BYTES = 256 << 20
_MOST_TIMES_CORE = 1000
_MOST_LAYERS = 3
_CHUNK = 1 << 20
# A file says how much memory its unpacking takes.
_WINDOW_BYTES = 128 << 20


def _gunzip(packed: BinaryIO) -> Iterator[bytes]:
    waiting = packed.read(_CHUNK)
    while waiting:
        decompressor = zlib.decompressobj(16 + zlib.MAX_WBITS)
        while not decompressor.eof:
            if not waiting:
                yield decompressor.flush()
                if not decompressor.eof:
                    raise EOFError
                break
            yield decompressor.decompress(waiting, _CHUNK)
            waiting = b"" if decompressor.eof else decompressor.unconsumed_tail or packed.read(_CHUNK)
        # Members may follow each other, with zeros behind them.
        waiting = (decompressor.unused_data or packed.read(_CHUNK)).lstrip(b"\0")


def _unxz(packed: BinaryIO) -> Iterator[bytes]:
    waiting = b""
    while True:
        decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=2 * _WINDOW_BYTES)
        while not decompressor.eof:
            if decompressor.needs_input and not waiting:
                waiting = packed.read(_CHUNK)
                if not waiting:
                    raise EOFError
            yield decompressor.decompress(waiting, _CHUNK)
            waiting = b""
        # Streams may follow each other, with zeros between them.
        waiting = (decompressor.unused_data or packed.read(_CHUNK)).lstrip(b"\0")
        if not waiting:
            return


def _unzstd(packed: BinaryIO) -> Iterator[bytes]:
    import zstandard

    with zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES).stream_reader(
        packed, read_size=_CHUNK, read_across_frames=True, closefd=False
    ) as frames:
        while chunk := frames.read(_CHUNK):
            yield chunk


_PACKERS: tuple[tuple[bytes, str, Callable[[BinaryIO], Iterator[bytes]] | None], ...] = (
    (b"\x1f\x8b", "gzip", _gunzip),
    (b"\xfd7zXZ\0", "xz", _unxz),
    (b"\x28\xb5\x2f\xfd", "zstd", _unzstd),
    (b"BZh", "bzip2", None),
    (b"\x04\x22\x4d\x18", "lz4", None),
    (b"PK\x03\x04", "zip", None),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip", None),
)


def spooled() -> BinaryIO:
    """A file for what has to be read twice: in memory, and on disk if it is much. It is gone when nobody has it any more."""
    return cast("BinaryIO", SpooledTemporaryFile(max_size=_ALWAYS_BYTES))


def unpack(stream: BinaryIO, source: str, *, partial: bool = False) -> BinaryIO:
    """The file itself, or what it unpacks to, at its beginning; on disk if that is much.

    Raises FormatError if it is damaged, cut off (unless `partial`), or unpacks to more than a table can be: 100 times its size, and 64 MiB in any
    case; a core dump 1,000 times and 256 MiB. What is packed several times is measured by the file, not by the layer around it.
    """
    packed_bytes = stream.seek(0, 2)
    for _ in range(_MOST_LAYERS):
        stream.seek(0)
        head = stream.read(8)
        found = next(((name, unpacker) for magic, name, unpacker in _PACKERS if head.startswith(magic)), None)
        stream.seek(0)
        if found is None:
            return stream
        name, unpacker = found
        if unpacker is None:
            raise FormatError(f"packed with {name}, which is not unpacked here: unpack it first", source=source)
        stream = _unpacked(_limited(unpacker(stream), packed_bytes, source), name, source, partial)
    raise FormatError(f"packed more than {_MOST_LAYERS} times", source=source)


def _unpacked(chunks: Iterator[bytes], name: str, source: str, partial: bool) -> BinaryIO:
    import zstandard

    result = spooled()
    try:
        copy_some(chunks, result)
    except EOFError:
        if not partial or not result.tell():
            raise FormatError(f"the {name} file was cut off: --partial takes what is whole", source=source) from None
    except (OSError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
        raise FormatError(f"the {name} file is damaged: {error}", source=source) from None
    result.seek(0)
    return result


def _limited(chunks: Iterator[bytes], packed_bytes: int, source: str) -> Iterator[bytes]:
    limit = size = 0
    for chunk in chunks:
        if not size:
            is_core = chunk.startswith(MAGIC)
            limit = _CORE_BYTES + _MOST_TIMES_CORE * packed_bytes if is_core else max(_ALWAYS_BYTES, _MOST_TIMES * packed_bytes)
        size += len(chunk)
        if size > limit:
            raise FormatError(f"it unpacks to more than {limit >> 20} MiB: unpack it yourself if you trust it", source=source)
        yield chunk


def copy_some(chunks: Iterable[bytes], result: BinaryIO) -> None:
    """Write what comes in pieces of up to 1 MiB into a file: everything, or of a core dump what is read of one, and a hole for what is not."""
    position = 0
    is_core = False
    notes_at: int | None = None
    for chunk in chunks:
        is_core = is_core or (position == 0 and chunk.startswith(MAGIC))
        if is_core and position >= _CORE_BYTES:
            notes_at = notes_begin(result) if notes_at is None else notes_at
            if notes_at is None or notes_at < _CORE_BYTES or position > notes_at + _CORE_BYTES:
                return
            if position + len(chunk) > notes_at:
                result.seek(position)
                result.write(chunk)
        else:
            result.write(chunk)
        position += len(chunk)
