"""Where the units go, and the systemd that is told of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pmapdiff.errors import NotFoundError, PmapdiffError
from pmapdiff.schedule.units import MADE_BY, SERVICE, SYNC_SERVICE, SYNC_TIMER, TIMER
from pmapdiff.text import printable

SYSTEM_FOLDER = Path("/etc/systemd/system")
_RECORD, _SYNC = (SERVICE, TIMER), (SYNC_TIMER, SYNC_SERVICE)


def unit_folder(*, system: bool) -> Path:
    """Where the units of an administrator, or of a user, are."""
    if system:
        return SYSTEM_FOLDER
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"


@dataclass(frozen=True, slots=True)
class Manager:
    """The systemd that is to run the units, and the folder that it reads them from.

    It is told of a change if it is at work: not in a container, nor while an image is being made.
    """

    folder: Path
    system: bool
    runs: bool

    @classmethod
    def of(cls, folder: Path | None, *, system: bool) -> Manager:
        """The host's or the user's own; one that is given another folder is not told."""
        runs = folder is None and Path("/run/systemd/system").is_dir() and shutil.which("systemctl") is not None
        return cls(folder or unit_folder(system=system), system, runs)

    def command(self, *words: str) -> list[str]:
        """A command line of systemctl."""
        return ["systemctl", *([] if self.system else ["--user"]), *words]

    def installed(self) -> str:
        """All units as they are. Raises NotFoundError."""
        text = [(name, self._read(name)) for name in (*_RECORD, *reversed(_SYNC))]
        if all(content is None for _, content in text):
            raise NotFoundError(f"there are no units of `pmapdiff schedule` in {self.folder}")
        return "\n".join(f"# {self.folder / name}\n{content}" for name, content in text if content is not None)

    def install(self, units: Mapping[str, str]) -> bool:
        """Write them, enable and start the timer; whether anything has changed. Those that are not wanted any more go. Raises PmapdiffError."""
        changed = [name for name, text in units.items() if self._ours(name) != text]
        gone = [] if SYNC_SERVICE in units else self._there(_SYNC)
        for name in changed:
            self._write(name, units[name])
        self._take_out(gone)
        if self.runs:
            self._tell("daemon-reload")
            self._tell("enable", TIMER)
            # A timer that runs already would keep to its old interval.
            self._tell("restart" if changed else "start", TIMER)
        return bool(changed or gone)

    def remove(self) -> bool:
        """Stop the timer and remove all; whether there was anything. A snapshot that is being taken is finished."""
        there = [*(name for name in _RECORD if self._ours(name) is not None), *self._there(_SYNC)]
        self._take_out(there)
        if there and self.runs:
            self._tell("daemon-reload")
        return bool(there)

    def _there(self, names: Iterable[str]) -> list[str]:
        """Those of these units that are ours; somebody may have made a unit of such a name, which is none of our business."""
        return [name for name in names if (self._read(name) or "").startswith(MADE_BY)]

    def _take_out(self, names: list[str]) -> None:
        if self.runs:
            if TIMER in names:
                self._tell("disable", "--now", TIMER)
            if syncs := [name for name in names if name in _SYNC]:
                # Whoever wants no more of it does not wait for the days that it may have to catch up with.
                self._tell("stop", *syncs)
        try:
            for name in names:
                (self.folder / name).unlink(missing_ok=True)
            if not set(_RECORD).isdisjoint(names):
                (self.folder / "timers.target.wants" / TIMER).unlink(missing_ok=True)
        except OSError as error:
            raise self._refused(error) from None

    def _read(self, name: str) -> str | None:
        try:
            return (self.folder / name).read_text(errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PmapdiffError(f"cannot read {self.folder / name}: {error.strerror}") from None

    def _ours(self, name: str) -> str | None:
        """The text of a unit of ours, None if there is none. Raises PmapdiffError if it is somebody else's."""
        text = self._read(name)
        if text is not None and not text.startswith(MADE_BY):
            raise PmapdiffError(f"{self.folder / name} was not made by `pmapdiff schedule`; it was left as it is: rename it")
        return text

    def _write(self, name: str, text: str) -> None:
        new = self.folder / f".{name}.{os.getpid()}.new"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                with new.open("x") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                new.chmod(0o644)
                new.replace(self.folder / name)
            finally:
                with suppress(OSError):
                    new.unlink(missing_ok=True)
        except OSError as error:
            raise self._refused(error) from None

    def _refused(self, error: OSError) -> PmapdiffError:
        hint = ": become root, or use --own" if isinstance(error, PermissionError) and self.system else ""
        return PmapdiffError(f"cannot write to {self.folder}: {error.strerror}{hint}")

    def _tell(self, *words: str) -> None:
        argv = self.command(*words)
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=120)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PmapdiffError(f"{' '.join(argv)}: {error}") from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise PmapdiffError(f"{' '.join(argv)} failed: {printable(said[-1]) if said else f'exit code {done.returncode}'}")
