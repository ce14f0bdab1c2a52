# SPDX-License-Identifier: Apache-2.0
"""The table of docs/security.md is complete, and its checker would say if it were not."""
import check_table

TEXT = (check_table.TOP / "docs/security.md").read_text()


def test_every_row_has_a_test_that_exists_and_a_control():
    assert check_table.problems(TEXT) == []


def test_the_checker_notices_what_is_missing():
    lines = TEXT.splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if line.startswith("| 1"))
    without = "".join(lines[:first] + lines[first + 1:])
    assert any("missing" in problem for problem in check_table.problems(without))
    assert any("has no test" in problem for problem in check_table.problems(TEXT.replace("::test_", "::tset_", 1)))
    cells = lines[first].split("|")
    assert any("no test" in p for p in check_table.problems("|".join([*cells[:4], " none ", *cells[5:]])))
    assert any("no control" in p for p in check_table.problems("|".join([*cells[:5], " none ", *cells[6:]])))
