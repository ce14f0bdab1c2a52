# SPDX-License-Identifier: Apache-2.0
"""buoy-runtime's systemd cgroup driver, against a service manager that makes cgroups and writes down what it is asked.

The real one does not run where tests run; the stand-in is on a bus of its own (dbus-daemon), and the runtime reaches it as it
reaches systemd, through busctl.
"""
import json
import os
import pathlib
import shutil
import subprocess

import pytest

from test_runtime import BUILD, RUNTIME, bundle, eventually, pytestmark as common  # noqa: F401

FAKE = BUILD / "tests/e2e/fake_systemd"
pytestmark = [*common, *(pytest.mark.skipif(not shutil.which(p), reason=f"no {p}") for p in ("dbus-daemon", "busctl"))]

BUS = """<busconfig><type>system</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>"""


def kept_by_systemd():
    """The hierarchy in which systemd has its units: its own of version 1, or version 2."""
    for path in ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup"):
        if os.access(f"{path}/cgroup.procs", os.W_OK):
            return pathlib.Path(path)
    pytest.skip("no hierarchy for systemd")


class Manager:
    def __init__(self, path):
        self.log = path / "log"
        self.log.touch()
        (path / "conf").write_text(BUS.format(path / "bus"))
        self.env = dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=f"unix:path={path}/bus")
        self.processes = [subprocess.Popen(["dbus-daemon", f"--config-file={path}/conf", "--nofork"])]
        eventually((path / "bus").exists)
        self.processes.append(subprocess.Popen([FAKE, self.log, kept_by_systemd()], env=self.env))
        eventually(lambda: subprocess.run(["busctl", "--system", "status", "org.freedesktop.systemd1"], env=self.env,
                                          capture_output=True, timeout=30).returncode == 0)

    def calls(self, verb):
        return [line.split()[1:] for line in self.log.read_text().splitlines() if line.startswith(verb + " ")]

    def stop(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()


@pytest.fixture
def manager(tmp_path_factory):
    made = Manager(tmp_path_factory.mktemp("bus"))
    yield made
    made.stop()
    leave = []
    for top in pathlib.Path("/sys/fs/cgroup").glob("*/buoytest.slice"):
        for parent, names, _ in os.walk(top, topdown=False):
            leave += [f"{parent}/{n}" for n in names if n.endswith(".scope")]
            os.rmdir(parent)
    assert not leave


@pytest.fixture
def scoped(bundle, manager):
    """The bundle, driven with --systemd-cgroup on the manager's bus."""
    bundle.config["linux"]["cgroupsPath"] = "buoytest-a.slice:pre:NAME"

    class Scoped:
        config, path, state = bundle.config, bundle.path, bundle.state

        def __call__(self, *words, **kwargs):
            return bundle(*words, env=manager.env, **kwargs)

        def start(self, *args):
            id = bundle.id()
            bundle.config["linux"]["cgroupsPath"] = f"buoytest-a.slice:pre:{id}"
            bundle.save(args)
            subprocess.run([RUNTIME, "--root", bundle.state, "--systemd-cgroup", "run", "--detach", "--bundle",
                            bundle.path, id], check=True, env=manager.env, stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, timeout=30)
            return id

    made = Scoped()
    yield made
    for id in bundle.ids:
        made("delete", "--force", id, check=False)


def test_a_container_is_a_scope_with_its_limits(scoped, manager):
    scoped.config["linux"]["resources"].update(memory={"limit": 64 << 20}, pids={"limit": 33})
    id = scoped.start("/bin/sleep", "61")
    (unit, mode, *properties), = manager.calls("start")
    assert unit == f"pre-{id}.scope" and mode == "fail"
    v1 = pathlib.Path("/sys/fs/cgroup/memory").exists()
    assert {"Slice=buoytest-a.slice", "Delegate=yes", "PIDs=1", "TasksMax=33",
            f"{'MemoryLimit' if v1 else 'MemoryMax'}={64 << 20}"} <= set(properties)
    pid = json.loads(scoped("state", id).stdout)["pid"]
    place = f"/buoytest.slice/buoytest-a.slice/pre-{id}.scope"
    mounts = pathlib.Path("/proc/mounts").read_text()
    for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().split():
        _, controllers, where = line.split(":")
        if where != place:  # then of a hierarchy that is not mounted
            assert controllers and f"/{controllers} cgroup " not in mounts, line
    # Nobody else is left in it: not who kept it alive until the container was there.
    assert (kept_by_systemd() / place[1:] / "cgroup.procs").read_text().split() == [str(pid)]
    assert json.loads(scoped("ps", "-f", "json", id).stdout) == [pid]
    assert scoped("exec", id, "/bin/sh", "-c", "exit 3", check=False).returncode == 3


def test_update_tells_the_manager(scoped, manager):
    id = scoped.start("/bin/sleep", "61")
    scoped("update", "--pids-limit", "44", id)
    assert manager.calls("set") == [[f"pre-{id}.scope", "TasksMax=44"]]
    limit = [p.read_text() for p in pathlib.Path("/sys/fs/cgroup").glob(f"**/pre-{id}.scope/pids.max")]
    assert limit == ["44\n"]


def test_pause_and_delete_work_there(scoped, manager):
    id = scoped.start("/bin/sleep", "61")
    scoped("pause", id)
    assert json.loads(scoped("state", id).stdout)["status"] == "paused"
    scoped("resume", id)
    scoped("delete", "--force", id)
    assert manager.calls("stop") == [[f"pre-{id}.scope"]]
    assert not list(pathlib.Path("/sys/fs/cgroup").glob(f"**/pre-{id}.scope"))


@pytest.mark.parametrize("path, says", [
    ("buoytest.slice:pre:refused", "already exists"),
    ("/plain/path", "is not slice:prefix:name"),
    ("noslice:pre:x", "'noslice' is not the name of a slice"),
])
def test_what_the_manager_or_we_refuse_is_told_and_nothing_is_left(scoped, path, says):
    scoped.config["linux"]["cgroupsPath"] = path
    (scoped.path / "config.json").write_text(json.dumps(scoped.config))
    done = scoped("--systemd-cgroup", "run", "--bundle", scoped.path, "sd-refused", check=False)
    assert done.returncode == 1 and says in done.stderr
    assert scoped("list", "-q").stdout == ""


def test_without_a_manager_or_busctl_it_says_what_is_needed(bundle, tmp_path):
    bundle.save(["/bin/true"])
    words = ["--cgroup-manager", "systemd", "run", "--bundle", bundle.path, bundle.id()]
    env = dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=f"unix:path={tmp_path}/nobody")
    done = bundle(*words, check=False, env=env)
    assert done.returncode == 1 and "systemd" in done.stderr
    done = bundle(*words, check=False, env=dict(env, PATH="/nowhere"))
    assert done.returncode == 1 and "needs busctl" in done.stderr


def test_a_path_for_systemd_is_refused_by_cgroupfs(bundle):
    bundle.config["linux"]["cgroupsPath"] = "system.slice:x:y"
    done = bundle.run("/bin/true", check=False)
    assert done.returncode == 1 and "--systemd-cgroup" in done.stderr


def test_no_cgroup_at_all(bundle):
    bundle.save(["/bin/sleep", "61"])
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["type"] != "cgroup"]
    bundle.save()
    id = bundle.id()
    subprocess.run([RUNTIME, "--root", bundle.state, "--cgroup-manager", "disabled", "run", "-d", "--bundle",
                    bundle.path, id], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=30)
    pid = json.loads(bundle("state", id).stdout)["pid"]
    assert pathlib.Path(f"/proc/{pid}/cgroup").read_text() == pathlib.Path("/proc/self/cgroup").read_text()
    assert bundle("exec", id, "/bin/true").returncode == 0
    refused = bundle("pause", id, check=False)
    assert refused.returncode == 1 and "has no cgroup" in refused.stderr
    bundle("kill", id, "KILL")
    eventually(lambda: bundle.status(id) == "stopped")
    bundle("delete", id)
