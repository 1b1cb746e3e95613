"""A program that works as hard as its neighbour, and keeps only the last hundred answers."""

import time
from collections import deque

ENDS_AFTER_S = 60  # Whatever happens to whoever started it.


def main() -> None:
    """Answer requests, and forget the answers that are old."""
    cache: deque[bytes] = deque([b"\1" * 40_000 for _ in range(100)], maxlen=100)
    began, answered = time.monotonic(), 0
    while time.monotonic() < began + ENDS_AFTER_S:
        for _ in range(10):
            answered += 1
            cache.append(bytes([answered % 255 + 1]) * 40_000)
        time.sleep(0.05)


if __name__ == "__main__":
    main()
