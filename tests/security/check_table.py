#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the table of docs/security.md against the tests: every row has one that exists, and a control.

    tests/security/check_table.py [TABLE]      prints what is wrong, exits 1 if there is anything

A row is "| number | cause | defence | tests | control |"; a test is `file::name`, a control is one too
or "in the test", where the test itself shows that it would notice.
"""
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
ROWS = (*range(1, 41), *range(51, 64))
TEST = re.compile(r"`([\w/.-]+)::([\w.-]+)`")
IN_THE_TEST = "in the test"


def rows(text):
    """[(numbers, cells)] of the table's rows."""
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and re.fullmatch(r"[\d, ]+", cells[0]):
            found.append(([int(n) for n in re.findall(r"\d+", cells[0])], cells))
    return found


def exists(path, name):
    """The file has a test of this name, in Python or in C."""
    file = TOP / path
    if not file.is_file():
        return False
    return re.search(rf"^(def {re.escape(name)}\(|static void {re.escape(name)}\(void)", file.read_text(), re.M) is not None


def problems(text):
    found, seen = [], set()
    for numbers, cells in rows(text):
        where = f"row {cells[0]}"
        seen.update(numbers)
        if len(cells) != 5 or not all(cells):
            found.append(f"{where}: needs cause, defence, tests and control")
            continue
        if not TEST.search(cells[3]):
            found.append(f"{where}: no test")
        if IN_THE_TEST not in cells[4] and not TEST.search(cells[4]):
            found.append(f"{where}: no control")
        for path, name in TEST.findall(cells[3] + cells[4]):
            if not exists(path, name):
                found.append(f"{where}: {path} has no test {name}")
    found += [f"row {n} is missing" for n in ROWS if n not in seen]
    return found


def main(words):
    table = pathlib.Path(words[0]) if words else TOP / "docs/security.md"
    wrong = problems(table.read_text())
    for line in wrong:
        print(f"{table}: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
