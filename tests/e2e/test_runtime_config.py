# SPDX-License-Identifier: Apache-2.0
"""Every field of a runtime config, looked at from outside: /proc/PID, cgroup files, system calls."""
import ctypes
import json
import os
import pathlib
import subprocess

import pytest

from test_runtime import RUNTIME, bundle, eventually, pytestmark  # noqa: F401 (a fixture, and marks)

libc = ctypes.CDLL(None, use_errno=True)


def pid_of(bundle, id):
    return json.loads(bundle("state", id).stdout)["pid"]


def refused(bundle, words, *args):
    """The config is refused with these words, and nothing of the container is left."""
    done = bundle.run(*(args or ("/bin/true",)), check=False)
    assert done.returncode and words in done.stderr, done
    assert not os.path.exists(bundle.state) or os.listdir(bundle.state) == []
    return done


# ---- hooks ----

def hook(script, **more):
    return dict({"path": "/bin/sh", "args": ["sh", "-c", script]}, **more)


POINTS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def test_six_hooks_in_order_with_the_state_on_stdin(bundle):
    log = bundle.path / "log"
    inside = bundle.path / "rootfs/tmp/log"
    note = "cat > /tmp/state; (cat /tmp/state; echo) >> /tmp/log"
    bundle.config["root"]["readonly"] = False
    bundle.config["annotations"] = {"a": "b"}
    bundle.config["hooks"] = {point: [hook(f"echo {point} $(cat) >> {log}")] for point in POINTS}
    bundle.config["hooks"]["startContainer"] = [hook(note), hook("echo second >> /tmp/log")]
    id = bundle.create("/bin/sleep", "60")
    created = [line.split(" ", 1) for line in log.read_text().splitlines()]
    assert [name for name, _ in created] == ["prestart", "createRuntime", "createContainer"]
    assert not inside.exists()
    bundle("start", id)
    first, second = inside.read_text().splitlines()
    assert second == "second"
    bundle("delete", "--force", id)
    lines = [line.split(" ", 1) for line in log.read_text().splitlines()]
    assert [name for name, _ in lines[3:]] == ["poststart", "poststop"]
    states = dict((name, json.loads(text)) for name, text in lines)
    states["startContainer"] = json.loads(first)
    assert {p: s["status"] for p, s in states.items()} == {
        "prestart": "creating", "createRuntime": "creating", "createContainer": "creating",
        "startContainer": "created", "poststart": "running", "poststop": "stopped"}
    for state in states.values():
        assert state["id"] == id and state["bundle"] == str(bundle.path)
        assert state["annotations"] == {"a": "b"} and state["ociVersion"]
    # The pid as each sees it.
    assert states["createContainer"]["pid"] == states["startContainer"]["pid"] == 1
    assert states["prestart"]["pid"] == states["poststart"]["pid"] > 1
    assert states["poststop"]["pid"] == 0


def test_a_createcontainer_hook_is_a_host_program_in_the_container_s_namespaces(bundle):
    """/usr/bin/readlink is the host's: the container's root has no /usr at all."""
    bundle.config["hooks"] = {"createContainer": [
        {"path": "/usr/bin/readlink", "args": ["readlink", "/proc/self/ns/mnt"]},
        hook(f"touch tmp/made; for n in mnt uts ipc net; do stat -Lc %i /proc/self/ns/$n; done > {bundle.path}/ns; "
             f"grep -q '{bundle.path}/rootfs/proc ' /proc/self/mountinfo && echo mounted > {bundle.path}/seen; "
             f"hostname > {bundle.path}/name")]}
    bundle.config["root"]["readonly"] = False
    id = bundle.start("/bin/sleep", "60")
    pid = pid_of(bundle, id)
    theirs = [str(os.stat(f"/proc/{pid}/ns/{n}").st_ino) for n in ("mnt", "uts", "ipc", "net")]
    assert (bundle.path / "ns").read_text().split() == theirs
    assert (bundle.path / "name").read_text() == "buoy\n"
    assert (bundle.path / "seen").read_text() == "mounted\n"
    assert (bundle.path / "rootfs/tmp/made").exists()


def test_a_startcontainer_hook_is_as_confined_as_the_program(bundle):
    bundle.config["root"]["readonly"] = False
    os.chmod(bundle.path / "rootfs/tmp", 0o777)
    bundle.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}
    bundle.config["hooks"] = {"startContainer": [
        hook("(id -u; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; "
             "busybox mkdir /tmp/x 2>/dev/null || echo no; ls /proc/self/fd | wc -l) > /tmp/out",
             env=["PATH=/bin"])]}
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    assert bundle.run("/bin/echo", "ran").stdout == "ran\n"
    out = (bundle.path / "rootfs/tmp/out").read_text().split()
    assert out[0] == "1000" and out[2] == "0" * 16 and out[4] == "1" and out[6] == "2"
    assert out[7] == "no" and int(out[8]) <= 5


@pytest.mark.parametrize("point", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_of_create_that_fails_destroys_the_container(bundle, point):
    log = bundle.path / "log"
    bundle.config["hooks"] = {point: [hook("exit 3"), hook(f"echo never >> {log}")],
                              "poststop": [hook("exit 1"), hook(f"cat >> {log}")]}
    done = refused(bundle, f"hooks.{point}[0]: /bin/sh ended with status 3")
    assert "warning: hooks.poststop[0]" in done.stderr  # and the second ran all the same
    assert json.loads(log.read_text())["status"] == "stopped"


def test_a_hook_that_hangs_is_killed(bundle):
    bundle.config["hooks"] = {"createContainer": [hook("exec sleep 60", timeout=1)]}
    refused(bundle, "hooks.createContainer[0]: /bin/sh did not end in 1 s")
    bundle.config["hooks"] = {"createContainer": [hook("exec sleep 60", timeout=0)]}
    refused(bundle, "hooks[].timeout: 0 is not in 1 to")


def test_a_startcontainer_hook_that_fails_ends_the_start(bundle):
    log = bundle.path / "log"
    bundle.config["hooks"] = {"startContainer": [hook("exit 4")], "poststart": [hook(f"echo never > {log}")]}
    id = bundle.create("/bin/sleep", "60")
    done = bundle("start", id, check=False)
    assert done.returncode and "hooks.startContainer[0]: /bin/sh ended with status 4" in done.stderr
    eventually(lambda: bundle.status(id) == "stopped")
    bundle("delete", id)
    refused(bundle, "hooks.startContainer[0]")
    bundle.config["hooks"]["startContainer"] = [{"path": "/usr/bin/env"}]  # the host's, not the container's
    refused(bundle, "hooks.startContainer[0]: /usr/bin/env ended with status 127")
    assert not log.exists()


def test_a_poststart_hook_that_fails_stops_the_container(bundle):
    log = bundle.path / "log"
    bundle.config["hooks"] = {"poststart": [hook("exit 5")], "poststop": [hook(f"echo stopped >> {log}")]}
    refused(bundle, "hooks.poststart[0]: /bin/sh ended with status 5", "/bin/sleep", "60")
    assert log.read_text() == "stopped\n"
    id = bundle.create("/bin/sleep", "60")
    assert bundle("start", id, check=False).returncode
    eventually(lambda: bundle.status(id) == "stopped")
    bundle("delete", id)
    assert log.read_text() == "stopped\nstopped\n"
