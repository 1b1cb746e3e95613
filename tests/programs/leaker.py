"""A service as there are many: some modules, a heap, and a leak. Usage: leaker.py KIB-AT-START KIB-A-SECOND."""

import asyncio
import email.message
import json
import sys
import time

EACH_S = 0.25


def main() -> None:
    start, a_second = int(sys.argv[1]), int(sys.argv[2])
    kept = [bytes(1024) for _ in range(start)]
    if not a_second:
        # Waits for a request that never comes.
        asyncio.run(asyncio.Event().wait())
    while True:
        message = email.message.EmailMessage()
        message["subject"] = json.dumps({"size": len(kept)})
        kept += [bytes(1024) for _ in range(round(a_second * EACH_S))]
        time.sleep(EACH_S)


if __name__ == "__main__":
    main()
