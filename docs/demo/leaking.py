"""A program that leaks: a cache that nothing is ever removed from, about 8 MiB a second."""

import time

ENDS_AFTER_S = 60  # Whatever happens to whoever started it.


def main() -> None:
    """Answer requests, and remember every answer for ever."""
    cache: dict[int, bytes] = {}
    began = time.monotonic()
    while time.monotonic() < began + ENDS_AFTER_S:
        for _ in range(10):
            cache[len(cache)] = bytes([len(cache) % 255 + 1]) * 40_000
        time.sleep(0.05)


if __name__ == "__main__":
    main()
