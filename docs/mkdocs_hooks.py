"""What MkDocs is told besides mkdocs.yml: how to find what stands outside docs/.

The documents link to each other, and to samples and schemas, by relative paths that hold in the repository: on a Git host, in
an editor. The site is laid out as if docs/ and the root of the repository were one folder: what a page links to outside docs/
is taken along under the path that it has there, a Markdown file as a page, anything else as it is.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
LINK = re.compile(r"(?<=\]\()(?P<path>[^)#:\s]+)(?=[)#])")


def _outside(source: Path, path: str) -> Path | None:
    """The file that a link of `source` means, if it is one of the repository outside docs/."""
    target = (source.parent / path).resolve()
    return target if target.is_file() and target.is_relative_to(ROOT) and not target.is_relative_to(DOCS) else None


def _place(file: Path) -> PurePosixPath:
    """Where a file of the repository stands in the site."""
    return PurePosixPath(file.relative_to(DOCS if file.is_relative_to(DOCS) else ROOT).as_posix())


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take along what the pages link to outside docs/, and what those pages link to."""
    pages = [Path(file.abs_src_path) for file in files.documentation_pages() if file.abs_src_path]
    for page in pages:
        for match in LINK.finditer(page.read_text(encoding="utf-8")):
            target = _outside(page, match["path"])
            if target is not None and files.get_file_from_path(str(_place(target))) is None:
                files.append(File.generated(config, str(_place(target)), abs_src_path=str(target)))
                if target.suffix == ".md":
                    pages.append(target)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - MkDocs gives them all
    """Turn links into and out of docs/ into those of the site."""
    assert page.file.abs_src_path is not None
    source = Path(page.file.abs_src_path)

    def moved(match: re.Match[str]) -> str:
        target = (source.parent / match["path"]).resolve()
        if not target.is_file() or (source.is_relative_to(DOCS) and target.is_relative_to(DOCS)):
            return match["path"]
        return posixpath.relpath(_place(target), _place(source).parent)

    return LINK.sub(moved, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - MkDocs gives them all
    """Take the backslash from a bar in the code of a table's cell, as GitHub does; Python-Markdown leaves it."""
    return re.sub(r"<td\b.*?</td>", lambda cell: cell[0].replace(r"\|", "|"), html, flags=re.DOTALL)
