"""A folder, on this machine or in an object store: what is in it, and files that are there whole or not at all.

What to do differently on a disk is here alone: elsewhere a lake is names and bytes.
"""

from __future__ import annotations

import errno
import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import fsspec

from pmapdiff.errors import NotFoundError, PmapdiffError, StoreError, UsageError

# Where one request writes a file whole or not at all, and folders are nothing but names.
_OBJECT_STORES = frozenset(("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "obs", "memory"))
_HERE = frozenset(("file", "local"))
# What has to be installed for the ones that people ask for; fsspec knows the others.
_DRIVERS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs", "sftp": "paramiko"}
# Folders that are listed at the same time: each is a request, and most of its time is spent on the way.
_AT_ONCE = 16
_CREDENTIALS = re.compile(r"(?<=://)[^/@]*@")

_T = TypeVar("_T")
_R = TypeVar("_R")


class Place:
    """The folder at a path or URL."""

    def __init__(self, location: str) -> None:
        self.location = location
        self.shown = _CREDENTIALS.sub("...@", location)
        scheme = location.partition("://")[0].rpartition("::")[2] if "://" in location else "file"
        with self._trouble("open"):
            try:
                if scheme == "file" and "://" not in location:
                    # A path may look like anything, a chain of file systems included.
                    self._files, self.root = fsspec.filesystem("file"), os.path.abspath(os.path.expanduser(location))
                else:
                    # What others write meanwhile is to be seen.
                    self._files, self.root = fsspec.core.url_to_fs(location, use_listings_cache=False)
            except ImportError as error:
                driver = _DRIVERS.get(scheme)
                raise UsageError(f"{scheme}:// needs its driver: {f'pip install {driver}' if driver else error}") from None
            except ValueError as error:
                raise UsageError(f"{self.shown} is no place for a lake: {error}") from None
        protocols = {self._files.protocol} if isinstance(self._files.protocol, str) else set(self._files.protocol)
        self._here = bool(protocols & _HERE)
        self._objects = bool(protocols & _OBJECT_STORES)

    def _full(self, path: str) -> str:
        return f"{self.root.rstrip('/')}/{path}" if path else self.root

    def show(self, path: str) -> str:
        """A path in it, as people find it."""
        return f"{self.shown.rstrip('/')}/{path}"

    def entries(self, folder: str) -> dict[str, int | None]:
        """What is in a folder: the sizes of files in bytes, None for folders; nothing of a folder that is not there."""
        with self._trouble("list"):
            try:
                found = self._files.ls(self._full(folder), detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return {}
            full = self._full(folder).strip("/")
            entries = {}
            for entry in found:
                path = str(entry["name"]).rstrip("/")
                # Some stores keep a file of no length for a folder, and list it in itself.
                if path.strip("/") != full:
                    entries[path.rpartition("/")[2]] = None if entry["type"] == "directory" else int(entry["size"] or 0)
            return entries

    def each(self, do: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
        """Do something for each of these, some at a time: for listings, of which there may be hundreds."""
        known = list(items)
        if self._here or len(known) < 2:
            return [do(item) for item in known]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(do, known))

    def read(self, path: str, limit: int) -> bytes:
        """A file. Raises NotFoundError if it is not there, StoreError if it has more bytes than this."""
        with self._trouble("read"):
            try:
                # One more than that: to ask for the size would be another request.
                content = bytes(self._files.cat_file(self._full(path), end=limit + 1))
                if len(content) > limit:
                    raise StoreError(f"{self.show(path)} is damaged: it is larger than any file of a lake")
                return content
            except FileNotFoundError:
                raise NotFoundError(f"{self.show(path)} is not there") from None

    def has(self, path: str) -> bool:
        """Whether a file is there."""
        with self._trouble("read"):
            return bool(self._files.isfile(self._full(path)))

    def write(self, path: str, content: bytes) -> None:
        """Write a file, whole or not at all, and durably; the same as it was if it is there."""
        full = self._full(path)
        with self._trouble("write to"):
            if self._here:
                _write_here(full, content, self.root)
            elif self._objects:
                self._files.pipe_file(full, content)
            else:
                beside = _beside(full)
                self._files.makedirs(full.rpartition("/")[0], exist_ok=True)
                self._files.pipe_file(beside, content)
                self._files.mv(beside, full)

    @contextmanager
    def _trouble(self, what: str) -> Iterator[None]:
        """Turn what a driver says into one line: each raises errors of its own kind."""
        try:
            yield
        except PmapdiffError:
            raise
        except FileNotFoundError as error:
            raise StoreError(f"cannot {what} {self.shown}: there is no such bucket or folder ({_first_line(error)})") from error
        except PermissionError as error:
            raise StoreError(f"cannot {what} {self.shown}: this user may not ({_first_line(error)})") from error
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise StoreError(f"cannot {what} {self.shown}: the disk is full; what was written before is whole") from error
            raise StoreError(f"cannot {what} {self.shown}: {_first_line(error)}") from error
        except Exception as error:
            raise StoreError(f"cannot {what} {self.shown}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    said = (getattr(error, "strerror", None) or str(error)).strip().splitlines()
    return said[0] if said else type(error).__name__


def _beside(path: str) -> str:
    """A name that no reader looks at."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/.{name}.{uuid.uuid4().hex}.tmp"


def _write_here(path: str, content: bytes, root: str) -> None:
    folder = Path(path).parent
    _make_folder(folder, Path(root))
    beside = _beside(path)
    fd = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    try:
        with open(fd, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
    _sync_folder(folder)


def _make_folder(folder: Path, root: Path) -> None:
    """A folder, and those above it. Command lines of other people are in a lake: its own folder is for its owner, as long as he says nothing else."""
    if folder.is_dir():
        return
    _make_folder(folder.parent, root)
    folder.mkdir(mode=0o700 if folder == root else 0o777, exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
