"""The application: global options, and how a command joins it.

A command is one module of this package that decorates a function with `command`; heavy imports stand inside
the functions, so that `--help` is quick.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from pmapdiff import __version__
from pmapdiff.errors import UsageError
from pmapdiff.text import argument_text

if TYPE_CHECKING:
    from pmapdiff.report import View
    from pmapdiff.store import ProcessFilter, Store
    from pmapdiff.store.prune import Retention

app = typer.Typer(
    name="pmapdiff",
    # Plain help: it is quick, the same in a pipe, and can be embedded in the documents.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

PidOption = Annotated[list[int] | None, typer.Option("--pid", "-p", metavar="PID", help="Only this process; may be repeated.")]
NameOption = Annotated[
    str | None, typer.Option("--name", "-n", metavar="REGEX", help="Only processes whose name or program this regular expression is found in.")
]
HostOption = Annotated[list[str] | None, typer.Option("--host", metavar="HOST", help="Only of this host, or of hosts like web*; may be repeated.")]
SortOption = Annotated[str | None, typer.Option("--sort", metavar="KEY", help="size, rss, pss, dirty, anonymous, swap, footprint, name or address.")]
TopOption = Annotated[int | None, typer.Option("--top", metavar="N", min=0, help="At most N rows; 0 for all.")]

BucketsOption = Annotated[
    str | None, typer.Option("--buckets", metavar="FILE", envvar="PMAPDIFF_BUCKETS", help="Families of your own: a TOML file of rules, tried first.")
]
ExplainOption = Annotated[bool, typer.Option("--explain", help="Say why each mapping is of its family.")]

# What `record` and `schedule` record.
EverythingOption = Annotated[bool, typer.Option("--all", "-a", help="All processes of this host but kernel threads and this one.")]
SelectNameOption = Annotated[
    str | None, typer.Option("--name", "-n", metavar="REGEX", help="Processes whose comm or program this regular expression is found in.")
]
UserOption = Annotated[str | None, typer.Option("--user", "-u", metavar="USER", help="Processes of this user (name or uid).")]
CgroupOption = Annotated[
    str | None, typer.Option("--cgroup", metavar="PATH", help="Processes in this cgroup or below: a path, or a part such as nginx.service.")
]
TreeOption = Annotated[bool, typer.Option("--tree", help="And the descendants of all these.")]
MaxReadOption = Annotated[
    str | None, typer.Option("--max-read", metavar="DURATION", help="Take maps and totals of a process whose smaps would take longer to read: 50ms.")
]
MaxStallOption = Annotated[
    str | None, typer.Option("--max-stall", metavar="DURATION", help="Likewise where one read() of smaps could hold up the process for longer: 10ms.")
]
TimeoutOption = Annotated[str, typer.Option("--timeout", metavar="DURATION", help="Give up a process whose reads take longer.")]

KeepAllOption = Annotated[str | None, typer.Option("--keep-all", metavar="DURATION", help="Keep every snapshot that is younger.")]
KeepHourlyOption = Annotated[str | None, typer.Option("--keep-hourly", metavar="DURATION", help="Keep the last one of each hour for this long.")]
KeepDailyOption = Annotated[str | None, typer.Option("--keep-daily", metavar="DURATION", help="Keep the last one of each day for this long.")]
KeepLastOption = Annotated[int | None, typer.Option("--keep-last", metavar="N", min=1, help="Keep the last N, whatever their age.")]
MaxSizeOption = Annotated[
    str | None, typer.Option("--max-size", metavar="SIZE", help="Then remove the oldest until the database is this small: 500M, 2G.")
]


# The stores of this run: if it fails in a way that should not be, they are looked at first.
OPENED: list[Store] = []


@dataclass(slots=True)
class Global:
    """The options before the command."""

    location: str | None

    def open_store(self, *, write: bool = False) -> Store:
        """The store that the user means."""
        from pmapdiff.store import Store, default_location

        store = Store.open(self.location or default_location(), write=write)
        OPENED.append(store)
        return store


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pmapdiff {__version__}")
        raise typer.Exit


@app.callback(
    epilog="\b\nExamples:\n  pmapdiff record --name redis-server\n  pmapdiff compare first latest\n  pmapdiff compare before.smaps after.smaps\n\n"
    "WHEN names a snapshot: 12 or #12, latest, latest~3, first, a label, an ISO time (local unless it says otherwise), '2h ago', "
    "'yesterday 14:00', or the path of a saved file. In a store of several hosts web3@latest is the latest of web3."
)
def _main(
    context: typer.Context,
    db: Annotated[
        str | None,
        typer.Option(
            "--db",
            metavar="PATH_OR_URL",
            envvar="PMAPDIFF_DB",
            help="The store. Default: /var/lib/pmapdiff/pmapdiff.db for root, else pmapdiff.db in the XDG state folder.",
        ),
    ] = None,
    _version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")] = False,
) -> None:
    """Record the memory mappings of processes, and say what changed between any two moments."""
    context.obj = Global(db)


RAW_ARGUMENTS = "pmapdiff.raw_arguments"
_ORDER: dict[tuple[int, str], int] = {}


class PlainUsage(typer.core.TyperCommand):
    """A command whose usage line reads as in any manual page: `FILE...`, `[WHEN]`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep the words as they were: `--` is gone from what a command gets."""
        ctx.meta[RAW_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the base class has it
        """The words after the command's name."""
        pieces = [self.options_metavar or ""]
        for parameter in self.params:
            if parameter.param_type_name == "argument":
                word = f"{parameter.metavar}{'' if parameter.nargs == 1 else '...'}"
                pieces.append(word if parameter.required else f"[{word}]")
        return pieces


def command(
    name: str, example: str, group: typer.Typer = app, *, order: int = 0, **settings: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as the command `name`, with an example below its help; `order` is its place in the list."""

    def add(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
            try:
                function(*args, **kwargs)
                sys.stdout.flush()
            except BrokenPipeError:
                # Whoever read our output has seen enough; what is still buffered must not fail again at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

        lines = "\n".join(f"  {line}" for line in example.strip().splitlines())
        title = "Examples" if "\n" in lines else "Example"
        group.command(name, cls=PlainUsage, epilog=f"\b\n{title}:\n{lines}", **settings)(run)
        # `check` and `db check` each have a place of their own.
        _ORDER[id(group), name] = order
        group.registered_commands.sort(key=lambda info: _ORDER[id(group), str(info.name)])
        return run

    return add


def chosen(host: list[str] | None, pid: list[int] | None = None, name: str | None = None) -> ProcessFilter:
    """What --host, --pid and --name say. Raises UsageError."""
    from pmapdiff.store import ProcessFilter

    return ProcessFilter(frozenset(pid or ()), name, frozenset(map(argument_text, host or ())))


def retention_of(keep_all: str | None, keep_hourly: str | None, keep_daily: str | None, keep_last: int | None, max_size: str | None) -> Retention:
    """What the options say about what to keep. Raises UsageError."""
    from pmapdiff.store.prune import Retention
    from pmapdiff.units import parse_duration, parse_size_kib

    whole, hourly, daily = (None if text is None else parse_duration(text) for text in (keep_all, keep_hourly, keep_daily))
    return Retention(whole, hourly, daily, keep_last, None if max_size is None else parse_size_kib(max_size) * 1024)


def screen_view(**options: Any) -> View:
    """A view for standard output: as wide as the terminal, in colour on a terminal unless NO_COLOR is set.

    In a pipe nothing is cut, unless COLUMNS says how wide it is.
    """
    from pmapdiff.report import View

    terminal = sys.stdout.isatty()
    columns = os.environ.get("COLUMNS", "")
    width = shutil.get_terminal_size().columns if terminal else int(columns) if columns.isdigit() and int(columns) else None
    return View(**options, width=width, colour=terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb")


def check_label(argument: str) -> str:
    """The text of a label. Raises UsageError for one that a WHEN would take for something else."""
    label = argument_text(argument)
    from pmapdiff.store.when import parse_when

    try:
        taken = parse_when(label) is not None
    except UsageError:
        taken = True
    if taken or not label.strip() or label != label.strip() or "/" in label:
        raise UsageError(f"--label {label!r} could not be told from a number, a time, a path or nothing at all: choose another")
    return label


def parse_threshold(text: str | None) -> int:
    """The KiB of --threshold; 0 without one."""
    from pmapdiff.units import parse_size_kib

    return 0 if text is None else parse_size_kib(text)
