"""Entries of the systemd journal, in the forms in which `journalctl` writes them for other programs.

The export form has a line `FIELD=value` for each field; a value that holds other bytes than those of a line follows `FIELD` as its length (64 bits,
little-endian) and itself; a blank line ends an entry (systemd.io/JOURNAL_EXPORT_FORMATS). In JSON an entry is an object of strings; what is not
UTF-8 is a list of bytes, a field that occurs more than once a list of its values, and one that is too long is null (systemd.journal-fields).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from pmapdiff.errors import FormatError
from pmapdiff.formats.base import Parse
from pmapdiff.formats.lines import quote

_EXPORT = re.compile(rb"\n*__[A-Z_]{1,60}=")
# The first key is a field's: capital letters. `json-seq` begins with a record separator, `json-sse` with `data:`.
_JSON = re.compile(rb"(?:\xef\xbb\xbf)?[\s\x1e\[]*(?:data:[\s\[]*)?\{\s*\"[A-Z_][A-Z0-9_]{0,63}\"\s*:")
_FIELD = re.compile(rb"[A-Z_][A-Z0-9_]{0,63}")
_BETWEEN = re.compile(r"(?:[\s\x1e,\[\]\ufeff]|data:)*")
_LENGTH_BYTES = 8


class Entry(NamedTuple):
    """One entry: its wanted fields, None for one that JSON left out; the place where it begins in words; and why it is not whole (None if it is)."""

    fields: dict[str, bytes | None]
    place: str
    cut: str | None = None


def is_export(head: bytes) -> bool:
    """Whether a file that begins so is in the export form."""
    return _EXPORT.match(head) is not None


def is_json(head: bytes) -> bool:
    """Whether a file that begins so is in one of the forms of JSON."""
    return _JSON.match(head) is not None


def is_wanted(name: str) -> bool:
    """Whether anything is made of a field: most of the entries of a journal have none of them. `COREDUMP` is the core itself."""
    return name.startswith("COREDUMP_") or name in ("_HOSTNAME", "__REALTIME_TIMESTAMP", "_SOURCE_REALTIME_TIMESTAMP")


def entries(given: Parse, head: bytes, wanted: Callable[[str], bool] = is_wanted) -> Iterator[Entry]:
    """The entries of a journal, with the fields that are `wanted`. Raises FormatError for anything else; the last one may be cut."""
    return _json_entries(given, wanted) if is_json(head) else _export_entries(given, wanted)


def _export_entries(given: Parse, wanted: Callable[[str], bool]) -> Iterator[Entry]:
    stream = given.stream
    size = stream.seek(0, 2)
    stream.seek(0)
    number, fields, begun = 1, 0, 0
    entry: dict[str, bytes | None] = {}

    def at(position: int) -> str:
        return f"entry {number}, byte {position:,}"

    while line := stream.readline():
        position = stream.tell() - len(line)
        if line == b"\n":
            if fields:
                yield Entry(entry, at(begun))
                number, fields, entry = number + 1, 0, {}
            given.progress(position / size)
            continue
        begun = begun if fields else position
        fields += 1
        name, is_text, value = line.removesuffix(b"\n").partition(b"=")
        if _FIELD.fullmatch(name) is None and (is_text or line.endswith(b"\n")):
            raise FormatError(f"{at(position)}: not a field of a journal's entry: {quote(line)}", source=given.source)
        is_whole, key = line.endswith(b"\n"), name.decode("ascii", "replace")
        if not is_text and is_whole:
            length = int.from_bytes(stream.read(_LENGTH_BYTES).ljust(_LENGTH_BYTES, b"\xff"), "little")
            there = min(length, size - stream.tell())
            if wanted(key):
                value = stream.read(there)
            else:
                stream.seek(there, 1)
            end = stream.read(1)
            is_whole = there == length and end == b"\n"
            if there == length and end not in (b"\n", b""):
                raise FormatError(f"{at(position)}: {key} is not as long as it says", source=given.source)
        if wanted(key) and (is_text or line.endswith(b"\n")):
            entry.setdefault(key, value)
        if not is_whole:
            yield Entry(entry, at(begun), f"{at(position)}: the file was cut off in {quote(name)}")
            return
    if fields:
        yield Entry(entry, at(begun), f"{at(size)}: the file was cut off in the middle of an entry")


def _json_entries(given: Parse, wanted: Callable[[str], bool]) -> Iterator[Entry]:
    try:
        text = given.data.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"byte {error.start:,}: not UTF-8, and so no JSON", source=given.source) from None
    decoder = json.JSONDecoder()
    number = 1
    position = _BETWEEN.match(text).end()  # type: ignore[union-attr]
    # `jq -s` makes an array of them.
    is_array = text[:position].count("[") > 0
    while position < len(text):
        place = f"entry {number}"
        try:
            found, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            yield Entry({}, place, f"{place}, line {error.lineno}: the file is damaged, or was cut off ({error.msg})")
            return
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{place}: no entry of a journal ({type(error).__name__})", source=given.source) from None
        if not isinstance(found, dict):
            raise FormatError(f"{place}: no entry of a journal", source=given.source)
        yield Entry(dict(_fields(found, wanted)), place)
        number += 1
        position = _BETWEEN.match(text, position).end()  # type: ignore[union-attr]
        given.progress(position / len(text))
    if is_array and not text.rstrip().endswith("]"):
        yield Entry({}, f"entry {number}", f"behind entry {number - 1}: the file was cut off")


def _fields(entry: dict[str, Any], wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes | None]]:
    for key, found in entry.items():
        if not wanted(key):
            continue
        value = _value(found)
        if value is not None or found is None:
            yield key, value


def _value(found: Any) -> bytes | None:
    """A field's value, the first one of several; None for null, and for what journald does not write."""
    if isinstance(found, list) and found and isinstance(found[0], list | str):
        found = found[0]
    if isinstance(found, str):
        return found.encode("utf-8", "surrogatepass")
    if isinstance(found, list) and all(type(byte) is int and 0 <= byte < 256 for byte in found):
        return bytes(found)
    return None
