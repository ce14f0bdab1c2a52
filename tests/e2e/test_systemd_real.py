# SPDX-License-Identifier: Apache-2.0
"""buoy-runtime's systemd cgroup driver with the real service manager: names, units and properties as it understands them.

Needs a machine that systemd runs: `tools/vm --systemd`. test_systemd_cgroup.py has the rest, with a stand-in.
"""
import json
import os
import pathlib
import subprocess

import pytest

from test_runtime import RUNTIME, bundle, eventually, pytestmark as common  # noqa: F401

pytestmark = [*common, pytest.mark.skipif(not os.path.isdir("/run/systemd/system"), reason="systemd does not run here")]


def systemctl(*words, check=True):
    return subprocess.run(["systemctl", *words], check=check, capture_output=True, text=True, timeout=60).stdout


class Scopes:
    def __init__(self, bundle):
        self.b = bundle
        bundle.config["linux"].setdefault("resources", {})

    def start(self, *args):
        id = self.b.id()
        self.b.config["linux"]["cgroupsPath"] = f"buoytest-a.slice:pre:{id}"
        self.b.save(args)
        subprocess.run([RUNTIME, "--root", self.b.state, "--systemd-cgroup", "run", "--detach", "--bundle", self.b.path, id],
                       check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60)
        return id

    def shown(self, id, *names):
        lines = systemctl("show", f"pre-{id}.scope", *(f"--property={n}" for n in names)).splitlines()
        return dict(line.partition("=")[::2] for line in lines)

    def cgroup(self, id):
        return pathlib.Path("/sys/fs/cgroup", self.shown(id, "ControlGroup")["ControlGroup"].lstrip("/"))


@pytest.fixture
def scopes(bundle):
    yield Scopes(bundle)
    for id in bundle.ids:
        bundle("delete", "--force", id, check=False)
        assert systemctl("is-active", f"pre-{id}.scope", check=False).strip() in ("inactive", "unknown")


def test_the_manager_knows_scope_and_limits(scopes):
    scopes.b.config["linux"]["resources"].update(
        memory={"limit": 64 << 20, "reservation": 32 << 20}, pids={"limit": 33},
        cpu={"shares": 2048, "quota": 50000, "period": 100000, "cpus": "0"})
    id = scopes.start("/bin/sleep", "600")
    shown = scopes.shown(id, "ActiveState", "Slice", "Delegate", "TasksMax", "MemoryMax", "MemoryLow", "CPUWeight",
                         "CPUQuotaPerSecUSec", "AllowedCPUs", "ControlGroup")
    assert shown == {"ActiveState": "active", "Slice": "buoytest-a.slice", "Delegate": "yes", "TasksMax": "33",
                     "MemoryMax": str(64 << 20), "MemoryLow": str(32 << 20), "CPUWeight": "79", "AllowedCPUs": "0",
                     "CPUQuotaPerSecUSec": "500ms", "ControlGroup": f"/buoytest.slice/buoytest-a.slice/pre-{id}.scope"}
    place = scopes.cgroup(id)
    pid = json.loads(scopes.b("state", id).stdout)["pid"]
    assert (place / "cgroup.procs").read_text().split() == [str(pid)]
    assert (place / "memory.max").read_text() == f"{64 << 20}\n" and (place / "cpu.max").read_text() == "50000 100000\n"


def test_a_reload_of_the_manager_undoes_nothing(scopes):
    scopes.b.config["linux"]["resources"].update(memory={"limit": 64 << 20}, pids={"limit": 33})
    id = scopes.start("/bin/sleep", "600")
    place = scopes.cgroup(id)
    scopes.b("update", "--pids-limit", "44", id)
    systemctl("daemon-reload")
    assert scopes.shown(id, "TasksMax") == {"TasksMax": "44"}
    assert (place / "pids.max").read_text() == "44\n" and (place / "memory.max").read_text() == f"{64 << 20}\n"
    assert scopes.b("exec", id, "/bin/sh", "-c", "echo > /dev/null; exit 3", check=False).returncode == 3


def test_devices_stay_forbidden_over_a_reload(scopes):
    scopes.b.config["process"]["capabilities"]["bounding"].append("CAP_MKNOD")
    scopes.b.config["process"]["capabilities"]["effective"].append("CAP_MKNOD")
    scopes.b.config["process"]["capabilities"]["permitted"].append("CAP_MKNOD")
    id = scopes.start("/bin/sleep", "600")
    systemctl("daemon-reload")
    script = "busybox mknod /dev/kmsg c 1 11 && cat /dev/kmsg >/dev/null"
    refused = scopes.b("exec", "--cap", "CAP_MKNOD", id, "/bin/sh", "-c", script, check=False)
    assert refused.returncode != 0 and "not permitted" in refused.stderr


def test_pause_kill_and_delete_work_there(scopes):
    id = scopes.start("/bin/sleep", "600")
    scopes.b("pause", id)
    assert scopes.b.status(id) == "paused"
    scopes.b("resume", id)
    scopes.b("kill", id, "KILL")
    eventually(lambda: scopes.b.status(id) == "stopped")
    scopes.b("delete", id)
    eventually(lambda: systemctl("is-active", f"pre-{id}.scope", check=False).strip() == "inactive", timeout=20)
    assert not list(pathlib.Path("/sys/fs/cgroup").glob(f"**/pre-{id}.scope"))


def test_a_scope_that_is_there_is_refused_in_the_manager_s_words(scopes):
    id = scopes.start("/bin/sleep", "600")
    scopes.b.save(["/bin/true"])
    done = scopes.b("--systemd-cgroup", "run", "--bundle", scopes.b.path, scopes.b.id(), check=False)
    assert done.returncode == 1 and f"pre-{id}.scope" in done.stderr
    assert scopes.b.status(id) == "running"
