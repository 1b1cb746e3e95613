"""A tar of files of /proc, as smemcap writes it: PID/smaps, PID/cmdline, PID/stat and the like, under any folder."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Self

from pmapdiff.errors import FormatError
from pmapdiff.formats.base import Form, Parse, SavedTable, register
from pmapdiff.formats.lines import quote
from pmapdiff.formats.proc_tree import TreeFile, place_of, tables_of_tree
from pmapdiff.formats.texts import read_file

_BLOCK = 512
# Old tars, smem's among them, have no magic bytes, but every header has the sum of its bytes, taken with blanks in place of the sum.
_SUM_AT, _SUM_BYTES = 148, 8
_SUM = re.compile(rb"[ \0]*([0-7]{1,7})[ \0]*")


def _detect(head: bytes) -> bool:
    header = head[:_BLOCK]
    said = _SUM.fullmatch(header[_SUM_AT : _SUM_AT + _SUM_BYTES])
    if len(header) < _BLOCK or said is None or header[:1] == b"\0":
        return False
    return int(said[1], 8) == sum(header) - sum(header[_SUM_AT : _SUM_AT + _SUM_BYTES]) + ord(" ") * _SUM_BYTES


# Headers that say more about the file behind them, a long name above all.
_EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_TYPES = (*tarfile.SUPPORTED_TYPES, *_EXTENDED)
# tarfile reads as much of one as it claims to be long, and in Pythons before 3.11.10 and 3.12.6 searches it in quadratic time (CVE-2024-6232).
_MOST_EXTENDED = 8192


class _Member(tarfile.TarInfo):
    """A member of an archive. One of a type that tar has not, or that has a size where its type has nothing in it, is a file.

    smemcap once wrote such types.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """The member that a header describes."""
        member = super().frombuf(buf, encoding, errors)
        if (member.isdev() and member.size) or member.type not in _TYPES:
            member.type = tarfile.REGTYPE
        if member.type in _EXTENDED and not 0 <= member.size <= _MOST_EXTENDED:
            raise tarfile.HeaderError(f"a header that claims to be {member.size:,} bytes long")
        return member


def _files(given: Parse, troubles: list[str]) -> Iterator[TreeFile]:
    """The files of processes, in order; nothing is unpacked to disk, and what claims to be longer than the archive is refused.

    `troubles` is told what is wrong with the archive if the part that is whole is wanted all the same.
    """
    end = 0
    room = given.stream.seek(0, 2)
    given.stream.seek(0)
    try:
        with tarfile.open(fileobj=given.stream, mode="r:", tarinfo=_Member) as archive:
            for member in archive:
                if member.size < 0:
                    # What follows it would be what stands before it, again and again.
                    raise tarfile.ReadError(f"a file that claims to be {member.size:,} bytes long")
                end = member.offset_data + -(-member.size // _BLOCK) * _BLOCK
                path = member.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
                if not member.isreg() or place_of(path) is None:
                    continue
                if member.issparse():
                    raise FormatError(f"{quote(path.encode())} has holes, which may be longer than any archive", source=given.source)
                if end > -(-room // _BLOCK) * _BLOCK:
                    raise tarfile.ReadError("unexpected end of data")
                stream = archive.extractfile(member)
                data = b"" if stream is None else stream.read()
                if len(data) < member.size:
                    raise tarfile.ReadError("unexpected end of data")
                # smemcap does not set it: no file of /proc is as old as that.
                modified_us = int(member.mtime * 1_000_000) if member.mtime > 0 else None
                yield TreeFile(path, data, modified_us=modified_us)
                given.progress(min(1.0, end / room))
        # tarfile takes what is no header for the end. Blocks of zeros are one, and smemcap writes none.
        given.stream.seek(end)
        if given.stream.read(_BLOCK).strip(b"\0"):
            raise tarfile.ReadError("what follows the last file is not the header of another")
    except RecursionError:
        # tarfile follows the headers that tell of the next one by calling itself.
        raise FormatError("a file of this archive has too many headers", source=given.source) from None
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        if not given.partial:
            raise FormatError(f"the archive is damaged or was cut off ({error}): --partial takes what is whole", source=given.source) from None
        troubles.append(f"the archive is damaged or was cut off ({error}): what follows is missing")


def _parse(given: Parse) -> list[SavedTable]:
    troubles: list[str] = []
    tables = tables_of_tree(_files(given, troubles), lambda file, names: read_file(file, names, given, f"{given.source}: {file.path}"))
    if not tables:
        raise FormatError("there is no PID/smaps or PID/maps with a mapping in this archive", source=given.source)
    if troubles:
        tables[-1] = replace(tables[-1], warnings=(*tables[-1].warnings, *troubles))
    return tables


register(Form("tar", "an archive of files of /proc, as smemcap writes it", _detect, _parse))
