"""A tar of files of /proc, as smemcap writes it: PID/smaps, PID/cmdline, PID/stat and the like, under any folder."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator

from pmapdiff.errors import FormatError
from pmapdiff.formats.base import Form, Parse, SavedTable, register
from pmapdiff.formats.proc_tree import TreeFile, place_of, tables_of_tree
from pmapdiff.formats.texts import read_part

_MAGIC, _MAGIC_AT = b"ustar", 257


def _detect(head: bytes) -> bool:
    return head[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] == _MAGIC


def _files(given: Parse) -> Iterator[TreeFile]:
    """The files of processes, in order; nothing is unpacked to disk, and what claims to be longer than the archive is refused."""
    room = given.stream.seek(0, 2)
    given.stream.seek(0)
    try:
        with tarfile.open(fileobj=given.stream, mode="r:") as archive:
            for member in archive:
                path = member.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
                if not member.isreg() or place_of(path) is None:
                    continue
                room -= member.size
                if member.issparse() or room < 0:
                    raise FormatError(f"{path} is longer than the archive that it is in", source=given.source)
                stream = archive.extractfile(member)
                data = b"" if stream is None else stream.read()
                if len(data) < member.size:
                    raise tarfile.ReadError("unexpected end of data")
                # smemcap does not set it: no file of /proc is as old as that.
                modified_us = int(member.mtime * 1_000_000) if member.mtime > 0 else None
                yield TreeFile(path, data, modified_us=modified_us)
                given.progress(given.stream.tell() / (room + given.stream.tell() + 1))
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        if not given.partial:
            raise FormatError(f"the archive is damaged or was cut off ({error}): --partial takes what is whole", source=given.source) from None


def _parse(given: Parse) -> list[SavedTable]:
    tables = tables_of_tree(_files(given), lambda file, names: read_part(file, names, given))
    if not tables:
        raise FormatError("there is no PID/smaps or PID/maps with a mapping in this archive", source=given.source)
    return tables


register(Form("tar", "an archive of files of /proc, as smemcap writes it", _detect, _parse))
