#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every check and counts: the last line is "N passed, N failed".

    tools/check.py [stage...]     stages: gcc lint tidy asan e2e security (all by default)
"""
import os
import pathlib
import re
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
SANITIZED = ["-Doptimization=0", "-Db_sanitize=address,undefined", "-Db_lundef=false"]
PYTEST = ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=10", "-rfEs"]


class Tally:
    def __init__(self):
        self.passed = self.failed = 0
        self.names = []  # of what failed, to be said once more at the end

    def one(self, name, good):
        self.add(int(good), int(not good), [] if good else [name])

    def add(self, passed, failed, names):
        self.passed += passed
        self.failed += failed
        self.names += names


def run(command, **kwargs):
    print("+", " ".join(command), flush=True)
    env = dict(os.environ, BUOY_BUILD="build", **kwargs)
    process = subprocess.Popen(command, cwd=TOP, env=env, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace")
    text = []
    for line in process.stdout:
        text.append(line)
        if not re.match(r"\[\d+/\d+\] ", line):
            print(line, end="", flush=True)
    return process.wait(), "".join(text)


def meson_tests(tally, folder, setup, compiler=None):
    env = {"CC": compiler} if compiler else {}
    if not (TOP / folder / "build.ninja").exists():
        code, _ = run(["meson", "setup", folder, "-Dwerror=true", *setup], **env)
        if code:
            return tally.one(f"{folder}: setup", False)
    code, _ = run(["ninja", "-C", folder])
    tally.one(f"{folder}: compiles without a warning", code == 0)
    if code:
        return None
    code, text = run(["meson", "test", "-C", folder, "--no-rebuild", "--print-errorlogs"])
    good = sum(int(n) for n in re.findall(r"^(?:Ok|Expected Fail):\s+(\d+)", text, re.M))
    bad = sum(int(n) for n in re.findall(r"^(?:Fail|Unexpected Pass|Timeout):\s+(\d+)", text, re.M))
    names = re.findall(r"^ *\d+/\d+ (.*?) +(?:FAIL|ERROR|UNEXPECTEDPASS|TIMEOUT)\b", text, re.M)
    tally.add(good, bad, [f"{folder}: {name}" for name in dict.fromkeys(names)])
    if code and not bad:
        tally.one(f"{folder}: meson test", False)
    return None


def lint(tally):
    run(["ninja", "-C", "build"]) if (TOP / "build/build.ninja").exists() else None
    code = [str(p) for d in ("src", "fuzz", "tests") for p in sorted((TOP / d).rglob("*.[ch]"))]
    tally.one("style", run(["tools/check_style.py"])[0] == 0)
    tally.one("clang-format", run(["clang-format", "--dry-run", "-Werror", *code])[0] == 0)
    tally.one("docs/security.md", run(["tests/security/check_table.py"])[0] == 0)
    shell = ["sh", "-n"]
    tally.one("tools/vm: syntax", run(["bash", "-n", "tools/vm"])[0] == 0)
    for script in ("tools/deps", "tools/fuzz_all.sh", ".ci/run"):
        tally.one(f"{script}: syntax", run([*shell, script])[0] == 0)


def pytest(tally, folder, *options):
    code, text = run([*PYTEST, *options, folder])
    last = text.strip().splitlines()[-1] if text.strip() else ""
    count = lambda word: sum(int(n) for n in re.findall(rf"(\d+) {word}", last))
    names = re.findall(r"^(?:FAILED|ERROR) (\S+)", text, re.M)
    tally.add(count("passed"), count("failed") + count("errors?"), names)
    if code and not count("failed") and not count("errors?"):
        tally.one(f"pytest {folder}", False)


def tidy(tally):
    # A third of the paths per function, in a third of the time; `make tidy` walks them all.
    tally.one("clang-tidy", run(["tools/tidy"], TIDY_NODES="75000")[0] == 0)


STAGES = {
    "gcc": lambda t: meson_tests(t, "build", []),
    "lint": lint,
    "tidy": tidy,
    # Clang makes the build under the sanitizers, so that its warnings are seen too. They do not
    # depend on how much it optimizes, but its time does.
    "asan": lambda t: meson_tests(t, "build-asan", SANITIZED, "clang"),
    # Two at a time: most of it is waiting. Each has machines and a leak oracle of its own.
    "e2e": lambda t: pytest(t, "tests/e2e", "-n", "2", "--dist", "loadfile"),
    "security": lambda t: pytest(t, "tests/security"),
}


def main(names):
    tally = Tally()
    for name in names or STAGES:
        start = time.monotonic()
        STAGES[name](tally)
        print(f"== {name}: {time.monotonic() - start:.0f} s", flush=True)
    for name in tally.names:
        print(f"FAILED: {name}")
    print(f"{tally.passed} passed, {tally.failed} failed")
    return tally.failed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
