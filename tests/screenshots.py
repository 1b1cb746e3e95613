"""The pictures of the documents: `make screenshots` writes docs/images/ anew, and none of them is made by hand.

What a picture shows comes from pmapdiff itself: terminals are the output of its commands on the samples, in colour; the figures and regions
of drawings are counted and followed by its own modules. A picture is a function that returns the text of an SVG or the bytes of a
PNG, registered under the name of its file; to add one, decorate a function and refer to the file in a document.
"""

from __future__ import annotations

import importlib.util
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from fcntl import ioctl
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import TypeAlias
from unittest import mock

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"

Picture: TypeAlias = Callable[[], "str | bytes"]
PICTURES: dict[str, Picture] = {}


def picture(name: str) -> Callable[[Picture], Picture]:
    """Register what makes the picture of this file name."""

    def add(function: Picture) -> Picture:
        assert name not in PICTURES
        PICTURES[name] = function
        return function

    return add


@cache
def embedding() -> ModuleType:
    """docs/embed_help.py, which knows the surroundings in which the documents' commands run."""
    spec = importlib.util.spec_from_file_location("embed_help", ROOT / "docs" / "embed_help.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Of enough contrast on its own background, in a page that is light or dark.
THEME = TerminalTheme(
    (27, 31, 38),
    (218, 222, 228),
    [(70, 76, 86), (240, 113, 120), (152, 195, 121), (229, 192, 123), (97, 175, 239), (198, 140, 230), (86, 190, 200), (218, 222, 228)],
    [(130, 138, 150), (255, 140, 145), (175, 220, 145), (245, 210, 140), (130, 195, 255), (215, 165, 245), (115, 210, 220), (255, 255, 255)],
)
# rich's own has fonts from the network in it.
TERMINAL = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<style>
.{unique_id}-matrix {{
font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: {char_height}px; line-height: {line_height}px }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: system-ui, sans-serif }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def in_a_terminal(command: str, folder: Path, columns: int) -> str:
    """What a command prints on a terminal of so many columns, colours and all."""
    environment = {**embedding().environment(), "TERM": "xterm-256color", "COLUMNS": str(columns)}
    del environment["NO_COLOR"]
    ours, its = pty.openpty()
    ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    with subprocess.Popen(["bash", "-c", command], cwd=folder, env=environment, stdin=its, stdout=its, stderr=its, start_new_session=True) as process:
        os.close(its)
        data = b""
        try:
            while piece := os.read(ours, 65536):
                data += piece
        except OSError:
            # Linux answers EIO when the last one has closed the terminal.
            pass
        os.close(ours)
    assert process.returncode == 0, data
    return data.decode().replace("\r\n", "\n")


def terminal(name: str, command: str, *, columns: int = 80) -> str:
    """The screen after a command on the samples, as an SVG."""
    with embedding().session_folder() as folder:
        output = in_a_terminal(command, folder, columns)
    return drawn(name, columns, Text("$ ", "bright_black") + Text(command), Text.from_ansi(output))


def drawn(name: str, columns: int, *texts: Text) -> str:
    """Texts on a terminal of so many columns, as an SVG."""
    with open(os.devnull, "w") as nowhere:
        console = Console(file=nowhere, record=True, width=columns, force_terminal=True, color_system="truecolor", legacy_windows=False)
        for number, text in enumerate(texts, 1):
            console.print(text, soft_wrap=True, end="" if number == len(texts) else "\n")
    svg = console.export_svg(title="", theme=THEME, code_format=TERMINAL, unique_id=name)
    return "".join(f"{line.rstrip()}\n" for line in svg.splitlines() if line.strip())


REDIS = "pmapdiff --db sample_snapshots/redis.db"
ORDERS = "pmapdiff --db sample_snapshots/orders.db"


@picture("compare.svg")
def _compare() -> str:
    return terminal("compare", f"{REDIS} compare start loaded")


@picture("history.svg")
def _history() -> str:
    return terminal("history", f"{ORDERS} history --pid 18958 --top 5")


@picture("leaks.svg")
def _leaks() -> str:
    return terminal("leaks", f"{ORDERS} leaks --until '2026-11-23 02:48'")


def browse(name: str, *keys: str, columns: int = 100, lines: int = 30) -> str:
    """The screen of `browse` on the night of the orders service, after some keys (Textual's names)."""
    from at_screen import browse_screen

    from pmapdiff.cli.browse import judge
    from pmapdiff.store import EVERYTHING

    with embedding().session_folder() as folder, mock.patch.dict(os.environ, embedding().environment()):
        time.tzset()
        db = folder / "sample_snapshots" / "orders.db"
        return drawn(name, columns, browse_screen(db, keys, size=(columns, lines), judge=partial(judge, str(db), EVERYTHING, None, None, None)))


@picture("browse-processes.svg")
def _browse_processes() -> str:
    return browse("browse-processes", columns=130, lines=8)


@picture("browse.svg")
def _browse() -> str:
    return browse("browse", "enter", "left_square_bracket", "m", "left_square_bracket", "left_square_bracket", "m", "left_square_bracket", "b")


def report(*options: str) -> Callable[[Path], None]:
    """Runs `report` on the night of the orders service, with what the kernel said."""

    def run(path: Path) -> None:
        samples = ROOT / "sample_snapshots"
        words = ["--db", str(samples / "orders.db"), "report", "--oom-log", str(samples / "orders" / "oom.log"), *options, str(path)]
        subprocess.run([sys.executable, "-m", "pmapdiff", *words], env=embedding().environment(), check=True)

    return run


def written(run: Callable[[Path], None]) -> str:
    """What a command has written into a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "written"
        run(path)
        return path.read_text()


@picture("report-timeline.svg")
def _timeline() -> str:
    return written(report("--pid", "18958", "--svg"))


@picture("report-space.svg")
def _space() -> str:
    return written(report("--pid", "18958", "--picture", "space", "--svg"))


@picture("report.png")
def _report() -> bytes:
    from browsing import opened_browser

    with tempfile.TemporaryDirectory() as folder, opened_browser() as browser:
        path = Path(folder) / "report.html"
        report("-o")(path)
        page = browser.new_page(viewport={"width": 1200, "height": 2050})
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        taken: bytes = page.screenshot()
        return taken


def all_pictures() -> dict[str, Picture]:
    """Every picture, by the name of its file."""
    import drawings  # noqa: F401 - it registers its pictures

    return dict(sorted(PICTURES.items()))


def main() -> int:
    """Write every picture whose content is another now; arguments name some of them."""
    IMAGES.mkdir(exist_ok=True)
    for name, make in all_pictures().items():
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        made = make()
        data = made.encode() if isinstance(made, str) else made
        path = IMAGES / name
        changed = not path.exists() or path.read_bytes() != data
        if changed:
            path.write_bytes(data)
        print(f"{path.relative_to(ROOT)}: {'written' if changed else 'as it was'}")
    return 0


if __name__ == "__main__":
    # So that what `drawings` imports is this module, and not a second one.
    sys.modules["screenshots"] = sys.modules["__main__"]
    sys.exit(main())
