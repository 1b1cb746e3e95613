"""A text file: of one file or of many, tidied, with the tables that are in it."""

from __future__ import annotations

from dataclasses import replace

from pmapdiff.errors import FormatError
from pmapdiff.formats.base import LineForm, Parse, SavedTable, Text, all_forms
from pmapdiff.formats.paste import tables_in
from pmapdiff.formats.proc_tree import TreeFile, tables_of_tree
from pmapdiff.formats.sections import split_sections
from pmapdiff.formats.tidy import further_tidied, tidy
from pmapdiff.formats.useless import raise_for_what_it_is


def parse_text(given: Parse) -> list[SavedTable]:
    """The tables in a text. Raises FormatError if there is none, or one is damaged, or (unless `partial`) cut off."""
    data = tidy(given.data)
    tables = _parse(data, given)
    for change in further_tidied(data) if not tables else ():
        tables = _parse(change(data), given)
        if tables:
            break
    if not tables:
        raise_for_what_it_is(data, given)
        reason = f"no mapping table of a known form begins here (known: {', '.join(all_forms())})"
        raise FormatError(f"there is no table of {given.only} in this file" if given.only else reason, source=given.source, line=1)
    return tables


def _parse(data: bytes, given: Parse) -> list[SavedTable]:
    files = split_sections(data)
    if files is None:
        return read_part(TreeFile("", data), None, given)
    return tables_of_tree(files, lambda file, names: read_part(file, names, given))


def read_file(file: TreeFile, names: tuple[str, ...] | None, given: Parse, source: str) -> list[SavedTable]:
    """The tables in a file of an archive or a folder, of the forms of these names; errors say that they are of this source."""
    try:
        return read_part(file, names, given)
    except FormatError as error:
        raise FormatError(error.reason, source=source, line=error.line) from None


def read_part(file: TreeFile, names: tuple[str, ...] | None, given: Parse) -> list[SavedTable]:
    """The tables in one file of many (or the only one), of the forms of these names."""
    lines = {name: form for name, form in all_forms().items() if isinstance(form, LineForm)}
    # The name of an archive says nothing of the files in it.
    only = given.only if given.only in lines else None
    forms = [form for name, form in lines.items() if only in (None, name) and (not names or name in names)]
    whole = file.data.endswith(b"\n")
    data = file.data if whole else file.data + b"\n"
    unfinished = None if whole else file.data.rfind(b"\n") + 1
    tables = tables_in(Text(data, given.source, file.first_line, unfinished, given.memory), forms, given)
    return [replace(table, warnings=tuple(f"{file.path}: {warning}" for warning in table.warnings)) for table in tables] if file.path else tables
