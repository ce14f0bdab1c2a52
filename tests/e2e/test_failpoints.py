# SPDX-License-Identifier: Apache-2.0
"""Every failpoint of buoy-runtime, by its own list: the step fails there, and the process is killed there.

An error leaves nothing behind by itself. A kill leaves nothing after the one call that an engine makes then:
`delete --force`, or forget after asking the supervisor. A failpoint that no scenario reaches fails the test.
"""
import json
import os
import pathlib
import subprocess
import time
import uuid

import pytest

from test_runtime import TOP, Bundle
from test_supervisor import RUNTIME, Probe, Refused, World, alive, whole_records

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not os.access(RUNTIME, os.X_OK), reason="no buoy-runtime"),
]

LATER = range(2, 13) if os.environ.get("BUOY_SLOW_TESTS") else (2, 5)
LOOPS = ("cgroup.level", "cgroup.place", "cgroup.joined", "cgroup.removed", "fs.replace.")
# The end of a container goes on whatever happens: there is nobody who would take an error.
GOES_ON = {"run.ended", "launcher.forked", "supervisor.answered", "supervisor.start.before", "supervisor.start.released",
           "supervisor.killed", "supervisor.drained", "supervisor.exit.before", "supervisor.exit.after",
           "supervisor.exit.closed"}
# An error while removing leaves the rest to the next delete.
REMOVING = ("container.remove.", "cgroup.removed", "delete.")


def listed():
    names = subprocess.run([RUNTIME], env=dict(os.environ, BUOY_FAILPOINTS="list"), check=True, capture_output=True,
                           text=True).stdout.split()
    assert len(names) == len(set(names)) > 50, names
    return sorted(names)


def variants(names):
    """Each point at its first pass; those that are passed again and again at some later ones, too."""
    for name in names:
        yield name, "@1"
        for n in LATER if name.startswith(LOOPS) else ():
            yield name, f"@{n}"


class Case:
    """One point and one action, and what can be seen of it."""

    def __init__(self, ids, mark, places):
        self.ids, self.mark, self.places = ids, mark, places

    def marked(self):
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                if self.mark.encode() in pathlib.Path(f"/proc/{entry}/environ").read_bytes():
                    found.append(f"{entry} {pathlib.Path(f'/proc/{entry}/cmdline').read_bytes()}")
            except OSError:
                pass
        return found

    def left(self):
        """All that could be left: processes, and with them namespaces; cgroups; mounts; state."""
        left = [str(p) for place in self.places if place.exists() for p in place.iterdir()]
        left += self.marked()
        for parent, names, _ in os.walk("/sys/fs/cgroup"):
            left += [f"{parent}/{name}" for name in names if name in self.ids]
        with open("/proc/self/mountinfo") as f:
            left += [line.split()[4] for line in f if any(str(place.parent) in line for place in self.places)]
        return left

    def check(self, what, timeout=3):
        end = time.monotonic() + timeout
        while left := self.left():
            assert time.monotonic() < end, f"{what}: left behind {left}"
            time.sleep(0.01)


# ---- the command line ----

@pytest.fixture
def bundle(tmp_path):
    b = Bundle(tmp_path)
    c = b.config
    c["linux"]["namespaces"] += [{"type": "user"}]
    c["linux"]["uidMappings"] = c["linux"]["gidMappings"] = [{"containerID": 0, "hostID": 700000, "size": 65536}]
    c["linux"]["resources"] = {"memory": {"limit": 64 << 20}, "pids": {"limit": 100}}
    b.save(["/bin/sleep", "60"])
    yield b
    b.close()


class ByHand:
    """create, start, exec, kill, delete, run with one failpoint on."""

    def __init__(self, bundle, point, action):
        self.b, self.point, self.action = bundle, point, action
        self.mark = f"FAILPOINT_CASE={uuid.uuid4().hex}"
        self.id, self.other = bundle.id(), bundle.id()
        self.case = Case({self.id, self.other}, self.mark, [bundle.state])
        self.what = f"{point}={action}"
        name, _, value = self.mark.partition("=")
        self.env = dict(os.environ, **{name: value})
        self.seen = False # something went otherwise than without it

    def call(self, *words, on=True):
        env = dict(self.env, BUOY_FAILPOINTS=self.what) if on else self.env
        try:
            with open(self.b.path / "err", "w") as err:
                done = subprocess.run([RUNTIME, "--root", self.b.state, *words], env=env, stdin=subprocess.DEVNULL,
                                      stdout=subprocess.DEVNULL, stderr=err, timeout=20, check=False)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.what}: {words} hangs") from None
        if on:
            self.seen |= done.returncode != 0
        return done.returncode

    def said(self):
        return (self.b.path / "err").read_text()

    def force(self, id):
        assert self.call("delete", "--force", id, on=False) == 0, f"{self.what}: delete --force: {self.said()}"

    def begin(self, killed):
        if self.call("create", "--bundle", self.b.path, self.id):
            if killed:
                self.force(self.id)
            self.case.check(f"{self.what} in create")
            return False
        if self.call("start", self.id):
            self.force(self.id)
            self.case.check(f"{self.what} in start")
            return False
        return True

    def exec(self, killed):
        if self.call("exec", self.id, "/bin/true") and not killed:
            pids = subprocess.run([RUNTIME, "--root", self.b.state, "ps", "-f", "json", self.id], check=True,
                                  capture_output=True, text=True).stdout
            assert len(json.loads(pids)) == 1, f"{self.what} in exec: {pids}"

    def end(self):
        if self.call("kill", self.id, "KILL", on=False):
            assert "not running" in self.said() # its process was killed on the way to its program
            self.seen = True
        end = time.monotonic() + 5
        while self.b.status(self.id) != "stopped":
            assert time.monotonic() < end
        if self.call("delete", self.id):
            self.force(self.id)
        self.case.check(f"{self.what} in delete")

    def run(self, killed):
        self.b.save(["/bin/true"])
        if self.call("run", "--bundle", self.b.path, self.other) and (killed or self.point.startswith(REMOVING)):
            self.force(self.other)
        self.b.save(["/bin/sleep", "60"])
        self.case.check(f"{self.what} in run")

    def all(self):
        killed = self.action.startswith("exit")
        if self.begin(killed):
            self.exec(killed)
            self.end()
        self.run(killed)
        return self.seen


class ByCheckpoint(ByHand):
    """A container that is written down and made again, by a stand-in for CRIU."""

    def step(self, verb, *words):
        images = self.b.path / "images"
        return self.call("--criu", str(TOP / "tests/e2e/fake_criu.py"), verb, "--image-path", images, *words, self.id)

    def all(self):
        killed = self.action == "exit"
        self.b.config["linux"].pop("uidMappings", None) # the stand-in knows no user namespaces
        self.b.config["linux"].pop("gidMappings", None)
        self.b.config["linux"]["namespaces"] = [n for n in self.b.config["linux"]["namespaces"] if n["type"] != "user"]
        self.b.save()
        assert self.call("run", "--detach", "--bundle", self.b.path, self.id, on=False) == 0
        if self.step("checkpoint"):
            if self.b.status(self.id) == "running": # as if nothing had been asked
                assert self.call("exec", self.id, "/bin/true", on=False) == 0
            self.force(self.id)
            self.case.check(f"{self.what} in checkpoint")
            return self.seen
        if self.step("restore", "--detach", "--bundle", self.b.path) and killed:
            self.force(self.id)
        if not self.seen:
            self.force(self.id)
        self.case.check(f"{self.what} in restore")
        return self.seen


# ---- the launcher and its supervisors ----

class World2(World):
    def bundle(self, *args, **kwargs):
        path = super().bundle(*args, **kwargs)
        config = json.loads((path / "config.json").read_text())
        config["process"]["env"].append(self.mark)
        (path / "config.json").write_text(json.dumps(config))
        return path


@pytest.fixture
def world(tmp_path):
    World2.mark = "FAILPOINT_CASE=none"
    (tmp_path / "world").mkdir()
    w = World2(tmp_path / "world")
    yield w
    w.close()


class BySupervisor:
    def __init__(self, world, point, action):
        self.w, self.point, self.what = world, point, f"{point}={action}"
        World2.mark = self.mark = f"FAILPOINT_CASE={uuid.uuid4().hex}"
        self.id = f"buoysup-f{uuid.uuid4().hex[:12]}"
        self.case = Case({self.id, f"{self.id}-exec"}, self.mark, [world.run])
        self.seen, self.why = False, None

    def settled(self, id):
        """The exit record, or None when nobody is there any more who could write one."""
        end = time.monotonic() + 8
        while not (self.w.run / id / "exit.json").exists():
            try:
                self.w.probe.state(id)
            except Refused:
                if not (self.w.run / id / "exit.json").exists():
                    return None
                break
            assert time.monotonic() < end, f"{self.what}: {id} does not end"
            time.sleep(0.005)
        return self.w.probe.exit(id)

    def finish(self, id, code):
        seen, socket = self.settled(id), self.w.run / id / "socket"
        supervisor = self.w.record(id)["supervisor"]
        while socket.exists() and alive(supervisor):
            time.sleep(0.002)
        self.seen |= seen is None or socket.exists()
        assert seen is None or seen.code == code or seen.code in (126, 127, 1, 137), f"{self.what}: {seen.code}"

    def drive(self, probe):
        """The life of a container and of a program in it, as an engine goes through it."""
        exec_id, process = f"{self.id}-exec", self.w.tmp / "process.json"
        process.write_text(json.dumps(self.w.process("true")))
        probe("create", self.id, self.w.bundle("sleep", "60"))
        probe("watch", "w", self.id)
        probe("start", self.id)
        probe("create", exec_id, "-", f"exec={self.id}", f"process={process}")
        probe("start", exec_id)
        self.finish(exec_id, 0)
        probe("kill", self.id, 9)
        try:
            while not probe.wait("w").final:
                pass
        except Refused:
            self.seen = True
        self.finish(self.id, 137)

    def all(self):
        name, _, value = self.mark.partition("=")
        probe = Probe(self.w.run, env={"BUOY_FAILPOINTS": self.what, name: value})
        try:
            launcher = probe("launcher")
            self.drive(probe)
            self.seen |= probe("launcher") != launcher
        except Refused as refused:
            self.seen, self.why = True, refused
        probe.stop()
        whole_records(self.w.run)
        for path in list(self.w.run.iterdir()): # as an engine that starts
            try:
                self.w.probe("kill", path.name, 9)
            except Refused:
                pass
            self.settled(path.name)
            self.w.probe("forget", path.name)
        self.case.check(self.what)
        return self.seen


# ---- all of them ----

BY_CHECKPOINT = ("checkpoint.", "restore.")
BY_HAND_ONLY = (*BY_CHECKPOINT, "container.", "create.", "start.", "run.", "exec.", "delete.", "spawn.mapped")
BY_SUPERVISOR_ONLY = ("supervisor.", "launcher.")


@pytest.mark.parametrize("action", ["errno:5", "exit"])
def test_the_command_line_fails_and_dies_at_each_step(bundle, action):
    silent = []
    names = [n for n in listed() if not n.startswith((*BY_SUPERVISOR_ONLY, *BY_CHECKPOINT))]
    for name, count in variants(names):
        if not ByHand(bundle, name, action + count).all() and count == "@1":
            silent.append(name)
    assert set(silent) == (GOES_ON & set(names) if action != "exit" else set())


@pytest.mark.parametrize("action", ["errno:5", "exit"])
def test_checkpoint_and_restore_fail_and_die_at_each_step(bundle, action):
    silent = []
    names = [n for n in listed() if n.startswith(BY_CHECKPOINT)]
    assert len(names) > 4
    for name in names:
        if not ByCheckpoint(bundle, name, action).all():
            silent.append(name)
    assert not silent


@pytest.mark.parametrize("action", ["errno:5", "exit"])
def test_a_supervisor_fails_and_dies_at_each_step(world, action):
    silent = []
    names = [n for n in listed() if not n.startswith(BY_HAND_ONLY)]
    for name, count in variants(names):
        if not BySupervisor(world, name, action + count).all() and count == "@1":
            silent.append(name)
    # A cgroup that could not be removed is tried again.
    assert set(silent) == ((GOES_ON | {"cgroup.removed"}) & set(names) if action != "exit" else set())


def test_without_the_variable_nothing_fails(bundle, world):
    """The control of the two above: a name that is none changes nothing."""
    assert not ByHand(bundle, "no.such.point", "exit").all()
    case = BySupervisor(world, "no.such.point", "exit")
    assert not case.all(), case.why
