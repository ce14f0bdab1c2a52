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


# ---- resources ----

CGROUPS = pathlib.Path("/sys/fs/cgroup")


def cgroup_file(id, controller, name, parent="buoy"):
    """A file of the container's cgroup, in the hierarchy that has this controller."""
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        fields, options = line.split(" - ")
        kind, _, words = options.split(" ")
        if kind == "cgroup" and controller in words.split(",") or kind == "cgroup2" and controller == "unified":
            return pathlib.Path(fields.split()[4]) / parent / id / name
    pytest.skip(f"no {controller} cgroup here")


def with_resources(bundle, **resources):
    bundle.config["linux"]["resources"].update(resources)


def test_memory_settings_are_in_the_cgroup(bundle):
    with_resources(bundle, memory={"limit": 64 << 20, "swap": 128 << 20, "reservation": 32 << 20, "swappiness": 10,
                                   "disableOOMKiller": True, "useHierarchy": True, "kernelTCP": 1 << 20})
    id = bundle.start("/bin/sleep", "60")
    read = lambda name: cgroup_file(id, "memory", f"memory.{name}").read_text()
    assert read("limit_in_bytes") == f"{64 << 20}\n" and read("soft_limit_in_bytes") == f"{32 << 20}\n"
    assert read("memsw.limit_in_bytes") == f"{128 << 20}\n" and read("swappiness") == "10\n"
    assert read("oom_control").startswith("oom_kill_disable 1\n") and read("use_hierarchy") == "1\n"
    assert read("kmem.tcp.limit_in_bytes") == f"{1 << 20}\n"


def test_a_limit_on_kernel_memory_is_refused_where_the_kernel_has_none(bundle):
    with_resources(bundle, memory={"kernel": -1})
    id = bundle.start("/bin/sleep", "60")
    file = cgroup_file(id, "memory", "memory.kmem.limit_in_bytes")
    bundle("delete", "--force", id)
    with_resources(bundle, memory={"kernel": 64 << 20})
    if tuple(map(int, os.uname().release.split("-")[0].split(".")[:2])) >= (5, 16):
        refused(bundle, "linux.resources.memory: kernel: this kernel has no such limit")
    else:
        id = bundle.start("/bin/sleep", "60")
        assert cgroup_file(id, "memory", file.name).read_text() == f"{64 << 20}\n"


def test_cpu_settings_are_in_the_cgroup(bundle):
    with_resources(bundle, cpu={"shares": 512, "quota": 50000, "period": 100000, "burst": 20000, "cpus": "0", "mems": "0"})
    id = bundle.start("/bin/sleep", "60")
    read = lambda name: cgroup_file(id, "cpu", f"cpu.{name}").read_text()
    assert [read(n) for n in ("shares", "cfs_quota_us", "cfs_period_us", "cfs_burst_us")] == [
        "512\n", "50000\n", "100000\n", "20000\n"]
    assert cgroup_file(id, "cpuset", "cpuset.cpus").read_text() == "0\n"
    assert os.sched_getaffinity(pid_of(bundle, id)) == {0}
    update = bundle.path / "update.json"
    update.write_text(json.dumps({"cpu": {"quota": 10000, "burst": 5000}}))  # both below what they were
    bundle("update", "--resources", update, id)
    assert read("cfs_quota_us") == "10000\n" and read("cfs_burst_us") == "5000\n"


def test_an_idle_cgroup(bundle):
    with_resources(bundle, cpu={"idle": 1})
    id = bundle.start("/bin/sleep", "60")
    assert cgroup_file(id, "cpu", "cpu.idle").read_text() == "1\n"


def test_real_time_of_a_cgroup_comes_from_the_one_above(bundle):
    parent = f"buoytest-rt-{os.getpid()}"
    with_resources(bundle, cpu={"realtimeRuntime": 5000, "realtimePeriod": 1000000})
    bundle.config["linux"]["cgroupsPath"] = f"/{parent}/x"
    place = cgroup_file("x", "cpu", "cpu.rt_runtime_us", parent)
    place.parent.parent.mkdir()
    if not (place.parent.parent / place.name).exists():
        place.parent.parent.rmdir()
        pytest.skip("no real-time groups in this kernel")
    try:
        refused(bundle, "realtimeRuntime (is there enough in cpu.rt_runtime_us of the cgroup above?)")
        (place.parent.parent / place.name).write_text("10000")
        bundle.config["process"]["scheduler"] = {"policy": "SCHED_FIFO", "priority": 7}
        id = bundle.start("/bin/sleep", "60")
        assert place.read_text() == "5000\n"
        assert os.sched_getscheduler(pid_of(bundle, id)) == os.SCHED_FIFO
        bundle("delete", "--force", id)
    finally:
        for directory in CGROUPS.glob(f"*/{parent}"):
            directory.rmdir()


def disk():
    """A disk that takes limits: (major, minor)."""
    for path in sorted(pathlib.Path("/sys/block").iterdir()):
        if (path / "queue/scheduler").exists() and not path.name.startswith(("loop", "ram", "zram")):
            return tuple(map(int, (path / "dev").read_text().split(":")))
    pytest.skip("no disk here")


def test_block_io_throttles_are_in_the_cgroup(bundle):
    major, minor = disk()
    rates = {"throttleReadBpsDevice": 1 << 20, "throttleWriteBpsDevice": 2 << 20,
             "throttleReadIOPSDevice": 300, "throttleWriteIOPSDevice": 400}
    with_resources(bundle, blockIO={k: [{"major": major, "minor": minor, "rate": v}] for k, v in rates.items()})
    id = bundle.start("/bin/sleep", "60")
    for name, rate in (("read_bps", 1 << 20), ("write_bps", 2 << 20), ("read_iops", 300), ("write_iops", 400)):
        assert cgroup_file(id, "blkio", f"blkio.throttle.{name}_device").read_text() == f"{major}:{minor} {rate}\n"


def test_block_io_weight_is_there_or_refused(bundle):
    with_resources(bundle, blockIO={"weight": 300})
    done = bundle.run("/bin/true", check=False)
    if done.returncode:
        refused(bundle, "blockIO: weight: this kernel's cgroup has no blkio.weight")
    else:
        id = bundle.start("/bin/sleep", "60")
        assert cgroup_file(id, "blkio", "blkio.bfq.weight").read_text() == "300\n"


@pytest.fixture
def hugetlb_v2():
    """cgroup version 2 with hugetlb beside version 1; handed down as it was, afterwards."""
    top = cgroup_file("", "unified", "", parent="").resolve()
    if "hugetlb" not in (top / "cgroup.controllers").read_text().split():
        pytest.skip("no hugetlb in cgroup version 2 here")
    before = (top / "cgroup.subtree_control").read_text()
    yield top
    if "hugetlb" not in before:
        for path in (top / "buoy/cgroup.subtree_control", top / "cgroup.subtree_control"):
            if path.exists():
                path.write_text("-hugetlb")


def test_huge_pages_in_version_2_beside_version_1(bundle, hugetlb_v2):
    with_resources(bundle, hugepageLimits=[{"pageSize": "2MB", "limit": 4 << 20}],
                   unified={"hugetlb.2MB.max": str(2 << 20)})
    id = bundle.start("/bin/sleep", "60")
    assert (hugetlb_v2 / "buoy" / id / "hugetlb.2MB.rsvd.max").read_text() == f"{4 << 20}\n"
    assert (hugetlb_v2 / "buoy" / id / "hugetlb.2MB.max").read_text() == f"{2 << 20}\n"
    bundle("delete", "--force", id)
    bundle.config["linux"]["resources"]["hugepageLimits"][0]["pageSize"] = "3MB"
    refused(bundle, "linux.resources.hugepageLimits[0] (3MB): this kernel's cgroup has no hugetlb.3MB.max")


def test_network_class_and_priorities_where_they_are_mounted(bundle):
    """In a mount namespace of its own, with the two hierarchies mounted beside the others."""
    with_resources(bundle, network={"classID": 0x100001, "priorities": [{"name": "lo", "priority": 500}]})
    bundle.save(["/bin/sleep", "60"])
    id = bundle.id()
    script = (f"mount -t tmpfs tmpfs /mnt && mkdir /mnt/cls /mnt/prio && mount -t cgroup -o net_cls c /mnt/cls && "
              f"mount -t cgroup -o net_prio c /mnt/prio || exit 99; {RUNTIME} --root {bundle.state} run --detach "
              f"--bundle {bundle.path} {id} </dev/null >/dev/null || exit 1; "
              f"cat /mnt/cls/buoy/{id}/net_cls.classid; grep lo /mnt/prio/buoy/{id}/net_prio.ifpriomap; "
              f"{RUNTIME} --root {bundle.state} delete --force {id}; rmdir /mnt/cls/buoy /mnt/prio/buoy; umount /mnt/cls /mnt/prio")
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=30)
    if done.returncode == 99:
        pytest.skip("net_cls and net_prio cannot be mounted here")
    assert done.stdout.split("\n")[:2] == [str(0x100001), "lo 500"], done


def test_resources_of_controllers_that_are_not_there_are_refused(bundle):
    resources = dict(bundle.config["linux"]["resources"])
    for more, words in (({"rdma": {"mlx5_0": {"hcaHandles": 1}}}, "linux.resources.rdma: "),
                        ({"unified": {"memory.high": "1"}}, "linux.resources.unified.memory.high: "),
                        ({"unified": {"cgroup.procs": "1"}}, "is not a controller's file")):
        bundle.config["linux"]["resources"] = dict(resources, **more)
        refused(bundle, words)
