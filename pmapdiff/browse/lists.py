"""The lists: hosts, and the services of one."""

from __future__ import annotations

from pmapdiff.browse.entries import HOST_SORTS, PROCESS_SORTS, Entry, chosen_entries, cut_command, host_sheet, process_sheet
from pmapdiff.browse.keys import ROWS
from pmapdiff.browse.page import Page
from pmapdiff.browse.rows import Rows
from pmapdiff.report.base import View
from pmapdiff.report.table import cut_end
from pmapdiff.text import printable

_OPEN = tuple(key for key in ROWS if key.hint)


class HostsPage(Page):
    """The hosts of a store."""

    keys = _OPEN
    sorts = HOST_SORTS

    def redraw(self, *, keep: bool = True) -> None:
        """A row a host."""
        sheet = host_sheet(self.browser.entries, self.browser.verdicts, self.query_text, self.sort, reverse=self.backwards)
        self.rows.show(sheet, same=(lambda a, b: a == b) if keep else None, note=self.browser.nothing, cut=cut_end)

    def on_rows_opened(self, event: Rows.Opened) -> None:
        """Its services."""
        self.app.push_screen(ProcessesPage(str(event.line.of)))


class ProcessesPage(Page):
    """The services of a host, or of a store that has but one."""

    keys = _OPEN
    sorts = PROCESS_SORTS

    def __init__(self, host: str | None = None) -> None:
        super().__init__()
        self.host = host

    def crumbs(self) -> list[str]:
        """The store, and the host."""
        hosts = {entry.host for entry in self.browser.entries}
        host = self.host if self.host is not None else next(iter(hosts), "") if len(hosts) == 1 else ""
        return [self.browser.place, *([printable(host)] if host else [])]

    def redraw(self, *, keep: bool = True) -> None:
        """A row a service."""
        entries = chosen_entries(self.browser.entries, self.host, self.query_text)
        sheet = process_sheet(entries, self.browser.verdicts, View(width=self.size.width), self.sort, reverse=self.backwards)
        note = f"no process is called {printable(self.query_text)!r}" if self.query_text else self.browser.nothing
        self.rows.show(sheet, same=_same if keep else None, note=note, cut=cut_command)

    def on_rows_opened(self, event: Rows.Opened) -> None:
        """Through time."""
        from pmapdiff.browse.process import ProcessPage

        if isinstance(event.line.of, Entry):
            self.app.push_screen(ProcessPage(event.line.of))


def _same(old: object, new: object) -> bool:
    return isinstance(old, Entry) and isinstance(new, Entry) and (new.was(old.key) or old.was(new.key))
