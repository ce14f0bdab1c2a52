#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Asks a URL all the time, on a new connection each, until SIGTERM; then writes what it saw.

    demo_client.py URL RESULT.json     {"sent", "failed", "gap", "seconds"}; a request has 1 s
"""
import json
import signal
import sys
import time
import urllib.request


def main(url, result):
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    start = last = time.monotonic()
    sent = failed = 0
    gap = 0.0
    while not stop:
        sent += 1
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                answer.read()
            now = time.monotonic()
            gap, last = max(gap, now - last), now
        except OSError:
            failed += 1
        time.sleep(0.02)
    with open(result, "w", encoding="utf-8") as f:
        json.dump({"sent": sent, "failed": failed, "gap": gap, "seconds": time.monotonic() - start}, f)


if __name__ == "__main__":
    main(*sys.argv[1:])
