"""What workers of Dask are given to do in tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StuckOnce:
    """A task that on one host says which process does it, and waits for its end, the first time; after that it is as any other."""

    task: Callable[[str], Any]
    host: str
    folder: str

    def __call__(self, host: str) -> Any:
        marker = os.path.join(self.folder, "begun")
        if host == self.host and not os.path.exists(marker):
            with open(marker, "x"):
                pass
            with open(os.path.join(self.folder, "who"), "w") as who:
                who.write(f"{os.getpid()}\n")
            # Nobody ever writes there.
            with open(os.path.join(self.folder, "never")) as never:
                never.read()
        return self.task(host)
