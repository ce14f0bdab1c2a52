# SPDX-License-Identifier: Apache-2.0
"""Cells for security tests: a bundle, a runtime, and the probe as the program inside.

    def test_x(cell):                             # the real runtime
        assert cell.probe("fds") == [...]
    def test_x_fails_without_the_defence(cell):   # the control
        assert cell.unsafe("fds").probe("fds") != [...]

A cell asks for what the engine asks for by default. `unsafe(NAME)` gives a cell whose runtime has
one defence off (unsafe.c lists the names); the test must find what it finds nowhere else.
"""
import functools
import json
import os
import pathlib
import shutil
import subprocess
import time
import uuid

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUOY_BUILD", TOP / "build")).resolve()
RUNTIME = str(BUILD / "buoy-runtime")
PROBE = str(BUILD / "tests/security/probe")
RACE = str(BUILD / "tests/security/race")
UNSAFE = str(BUILD / "tests/security/runtime_unsafe")
DEFAULT_CAPS = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
                "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
                "CAP_AUDIT_WRITE"]
CAP_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


@functools.cache
def programs():
    """The probe, the race and the programs with defences off: built when first asked for."""
    subprocess.run(["ninja", "-C", str(BUILD), *(str(pathlib.Path(p).relative_to(BUILD)) for p in (PROBE, RACE, UNSAFE))],
                   check=True, stdout=subprocess.DEVNULL)


def eventually(probe, timeout=10):
    end = time.monotonic() + timeout
    while not probe():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


def count(name, usual):
    """How often: the environment may ask for more, as `make soak` does."""
    return int(os.environ.get(f"BUOY_SECURITY_{name}", usual))


def status(text):
    """/proc/PID/status as a dict."""
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def caps(text):
    fields = status(text)
    return {name: int(fields[name], 16) for name in CAP_SETS}


class Cell:
    """One bundle; its containers end with it."""

    def __init__(self, path, runtime=RUNTIME, off=None):
        programs()
        self.path, self.runtime, self.off, self.ids, self.others = path, runtime, off, [], []
        self.state = path / f"state-{off or 'safe'}"
        self.root = path / "rootfs"
        if not self.root.exists():
            for name in ("bin", "dev", "etc", "proc", "sys", "tmp", "work", "vol"):
                (self.root / name).mkdir(parents=True)
            shutil.copy(PROBE, self.root / "bin/probe")
            subprocess.run([RUNTIME, "spec", "--bundle", path], check=True)
        self.config = json.loads((path / "config.json").read_text())
        self.config["process"].update(terminal=False, noNewPrivileges=True)
        self.config["root"]["readonly"] = False
        self.give(DEFAULT_CAPS)

    def unsafe(self, defence):
        """A cell on the same root whose runtime has this defence off."""
        self.others.append(Cell(self.path, UNSAFE, defence))
        self.others[-1].config = json.loads(json.dumps(self.config))
        return self.others[-1]

    def give(self, names):
        self.config["process"]["capabilities"] = {kind: list(names) for kind in ("bounding", "effective", "permitted")}

    def seccomp(self, profile):
        self.config["linux"]["seccomp"] = profile

    def bind(self, source, target, *options):
        self.config["mounts"].append({"destination": target, "type": "bind", "source": str(source),
                                      "options": ["rbind", *options]})

    def id(self):
        self.ids.append("sec-" + uuid.uuid4().hex[:12])
        return self.ids[-1]

    def call(self, *words, check=True, timeout=30, env=None, **kwargs):
        env = dict(os.environ, **(env or {}))
        if self.off:
            env["BUOY_UNSAFE"] = self.off
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run([self.runtime, "--root", str(self.state), *map(str, words)], text=True, env=env,
                              capture_output=True, timeout=timeout, errors="replace", **kwargs)
        assert not check or done.returncode == 0, f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def save(self, args):
        self.config["process"]["args"] = list(args)
        (self.path / "config.json").write_text(json.dumps(self.config))

    def run(self, *args, check=True, options=(), **kwargs):
        """The program as the container's first process, to its end."""
        self.save(args)
        return self.call("run", "--bundle", self.path, *options, self.id(), check=check, **kwargs)

    def start(self, *args, options=(), stdout=subprocess.DEVNULL, pass_fds=()):
        """A container that goes on; its id."""
        self.save(args or ["/bin/probe", "hold"])
        id, env = self.id(), dict(os.environ, **({"BUOY_UNSAFE": self.off} if self.off else {}))
        base = [self.runtime, "--root", str(self.state)]
        subprocess.run([*base, "create", "--bundle", self.path, *options, id], check=True, env=env, timeout=30,
                       stdin=subprocess.DEVNULL, stdout=stdout, pass_fds=pass_fds)
        subprocess.run([*base, "start", id], check=True, env=env, timeout=30)
        return id

    def pid(self, id):
        return json.loads(self.call("state", id).stdout)["pid"]

    def exec(self, id, *args, options=(), **kwargs):
        return self.call("exec", *options, id, *args, **kwargs)

    def probe(self, *words, **kwargs):
        """Lines that the probe found as the first process."""
        return self.run("/bin/probe", *words, **kwargs).stdout.splitlines()

    def both(self, *words, **kwargs):
        """What the probe found as the first process and by exec."""
        first = self.probe(*words, **kwargs)
        return first, self.exec(self.start(), "/bin/probe", *words, **kwargs).stdout.splitlines()

    def close(self):
        for other in self.others:
            other.close()
        for id in self.ids:
            self.call("delete", "--force", id, check=False)
