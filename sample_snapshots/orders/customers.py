"""Customers of `orders`: so many requests a second to each worker, evenly, until SIGTERM or for as long as there is a service."""

from __future__ import annotations

import json
import random
import socket
import time
from typing import TextIO

LOGINS, SEARCHES = 340, 400
TICK_S = 0.02


class Line:
    """A connection to a worker that is made anew when the worker was restarted."""

    def __init__(self, role: str) -> None:
        self._role, self._lines = role, None

    def ask(self, do: str, what: str, token: str = "") -> None:
        """One request and its answer; lost if the worker is not there."""
        try:
            lines = self._lines or self._connect()
            lines.write(json.dumps({"do": do, "what": what, "token": token}) + "\n")
            lines.flush()
            self._lines = lines if lines.readline() else None
        except OSError:
            self._lines = None

    def _connect(self) -> TextIO:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(f"{self._role}.sock")
            return connection.makefile("rw")


def main() -> None:
    """Be all of them."""
    chance = random.Random(6)
    checkout, catalog = Line("checkout"), Line("catalog")
    begin, done = time.monotonic(), 0.0
    logins, searches, lull = 0.0, 0.0, 1.0
    while True:
        now = time.monotonic() - begin
        # What was missed is not made up for: a worker that was away has no rush behind it.
        step, done = min(now - done, 0.2), now
        lull = min(1.3, max(0.7, lull + chance.uniform(-0.02, 0.02)))
        logins, searches = logins + LOGINS * step * lull, searches + SEARCHES * step * lull
        while logins >= 1:
            user, token = f"user{chance.randrange(10**6):06}", f"{chance.getrandbits(128):032x}"
            for do in ("login", "order", "logout"):
                checkout.ask(do, user, token)
            logins -= 1
        while searches >= 1:
            catalog.ask("search", f"{chance.randrange(2000)}")
            searches -= 1
        time.sleep(TICK_S)


if __name__ == "__main__":
    main()
