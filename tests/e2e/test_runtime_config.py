# SPDX-License-Identifier: Apache-2.0
"""Every field of a runtime config, looked at from outside: /proc/PID, cgroup files, system calls."""
import ctypes
import fcntl
import json
import os
import pathlib
import select
import socket
import struct
import subprocess
import threading
import time

import pytest

from test_runtime import RUNTIME, bundle, eventually, pytestmark  # noqa: F401 (a fixture, and marks)

libc = ctypes.CDLL(None, use_errno=True)


def pid_of(bundle, id):
    return json.loads(bundle("state", id).stdout)["pid"]


def refused(bundle, words, *args):
    """The config is refused with these words, and nothing of the container is left."""
    left = lambda: set(os.listdir(bundle.state)) if os.path.exists(bundle.state) else set()
    before = left()
    done = bundle.run(*(args or ("/bin/true",)), check=False)
    assert done.returncode and words in done.stderr, done
    assert left() == before
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


# ---- mounts ----

def mountinfo(pid, point):
    """(attributes, optional fields, super options) of the mount at this point, as the process has it."""
    for line in reversed(pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines()):
        front, back = line.split(" - ")
        fields = front.split()
        if fields[4] == point:
            return set(fields[5].split(",")), fields[6:], set(back.split()[2].split(","))
    return None


@pytest.fixture
def source(tmp_path_factory):
    """A directory with a mount below it, private to a mount namespace that the runtime is started in."""
    top = tmp_path_factory.mktemp("source")
    (top / "below").mkdir()
    (top / "file").write_text("x\n")
    os.chmod(top, 0o755)
    os.chmod(top.parent, 0o755)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid", "below", top / "below"], check=True)
    (top / "below/file").write_text("y\n")
    yield top
    subprocess.run(["umount", "-l", top / "below"], check=True)


def add_mount(bundle, source, *options, destination="/work", type="bind", **more):
    bundle.config["mounts"].append(dict({"destination": destination, "type": type, "source": str(source),
                                         "options": list(options)}, **more))


def test_recursive_attributes_reach_what_is_mounted_below(bundle, source):
    add_mount(bundle, source, "rbind", "rro", "rnoexec", "rnodev", "rnosymfollow", "rnoatime")
    add_mount(bundle, source, "rbind", "ro", "noexec", destination="/tmp")
    pid = pid_of(bundle, bundle.start("/bin/sleep", "60"))
    for point in ("/work", "/work/below"):
        attributes = mountinfo(pid, point)[0]
        assert {"ro", "noexec", "nodev", "noatime", "nosymfollow"} <= attributes, point
    assert "nosuid" in mountinfo(pid, "/work/below")[0]
    assert {"ro", "noexec"} <= mountinfo(pid, "/tmp")[0] and "rw" in mountinfo(pid, "/tmp/below")[0]
    bundle.config["mounts"][-2]["options"] = ["rbind", "ro", "rrw", "rsuid"]
    attributes = mountinfo(pid_of(bundle, bundle.start("/bin/sleep", "60")), "/work/below")[0]
    assert "rw" in attributes and "nosuid" not in attributes


@pytest.mark.parametrize("word, tags", [
    ("private", ()), ("rprivate", ()), ("slave", ("master:",)), ("rslave", ("master:",)), ("shared", ("shared:",)),
    ("rshared", ("shared:",)), ("unbindable", ("unbindable",)), ("runbindable", ("unbindable",))])
def test_propagation_of_a_bind(bundle, source, word, tags):
    subprocess.run(["mount", "--make-shared", source / "below"], check=True)
    add_mount(bundle, source / "below", "bind", word)
    pid = pid_of(bundle, bundle.start("/bin/sleep", "60"))
    fields = mountinfo(pid, "/work")[1]
    assert len(fields) == len(tags) and all(f.startswith(t) for f, t in zip(fields, tags)), fields


def test_a_slave_sees_what_the_host_mounts_later(bundle, source):
    subprocess.run(["mount", "--make-shared", source / "below"], check=True)
    (source / "below/late").mkdir()
    add_mount(bundle, source / "below", "rbind", "rslave")
    add_mount(bundle, source / "below", "rbind", "rprivate", destination="/tmp")
    id = bundle.start("/bin/sleep", "60")
    subprocess.run(["mount", "-t", "tmpfs", "late", source / "below/late"], check=True)
    try:
        pid = pid_of(bundle, id)
        assert mountinfo(pid, "/work/late") and not mountinfo(pid, "/tmp/late")
    finally:
        subprocess.run(["umount", source / "below/late"], check=True)


@pytest.mark.parametrize("word, tag", [("private", ""), ("slave", ""), ("rshared", "shared:"), ("unbindable", "unbindable")])
def test_propagation_of_the_root(bundle, word, tag):
    bundle.config["linux"]["rootfsPropagation"] = word
    fields = mountinfo(pid_of(bundle, bundle.start("/bin/sleep", "60")), "/")[1]
    assert any(f.startswith(tag) for f in fields) if tag else not any(f.startswith("shared:") for f in fields)


IDS = {"uidMappings": [{"containerID": 0, "hostID": 5000, "size": 10}],
       "gidMappings": [{"containerID": 0, "hostID": 6000, "size": 10}]}


def owner(pid, path):
    st = os.stat(f"/proc/{pid}/root{path}")
    return st.st_uid, st.st_gid


def test_an_idmapped_mount_with_maps_of_its_own(bundle, source):
    """In the runtime's user namespace; read through /proc/PID/root, which shows what the mount says."""
    os.chown(source / "file", 3, 4)
    add_mount(bundle, source, "rbind", "idmap", **IDS)
    add_mount(bundle, source, "rbind", "ridmap", destination="/tmp", **IDS)
    add_mount(bundle, source, "rbind", destination="/etc", **IDS)  # the maps alone say it
    id = bundle.start("/bin/sleep", "60")
    pid = pid_of(bundle, id)
    assert owner(pid, "/work/file") == owner(pid, "/tmp/file") == owner(pid, "/etc/file") == (5003, 6004)
    assert owner(pid, "/work/below/file") == (0, 0) and owner(pid, "/tmp/below/file") == (5000, 6000)
    assert bundle("exec", id, "stat", "-c", "%u %g", "/work/file").stdout == "5003 6004\n"
    assert os.stat(source / "file").st_uid == 3


def test_an_idmapped_mount_of_a_file_system_that_is_made(bundle):
    add_mount(bundle, "tmpfs", "idmap", "mode=755", "uid=2", type="tmpfs", **IDS)
    assert owner(pid_of(bundle, bundle.start("/bin/sleep", "60")), "/work") == (5002, 6000)


def test_an_idmapped_mount_with_the_container_s_maps(bundle, source):
    bundle.config["linux"]["namespaces"].append({"type": "user"})
    for ids in ("uidMappings", "gidMappings"):
        bundle.config["linux"][ids] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    os.chmod(bundle.path, 0o755)
    add_mount(bundle, source, "bind", "idmap")
    add_mount(bundle, source, "bind", destination="/tmp")
    id = bundle.start("/bin/sleep", "60")
    assert bundle("exec", id, "stat", "-c", "%u", "/work/file", "/tmp/file").stdout.split() == ["0", "65534"]
    bundle("exec", id, "touch", "/work/made")
    assert os.stat(source / "made").st_uid == 0


def test_an_idmapped_mount_without_maps_is_refused(bundle, source):
    add_mount(bundle, source, "bind", "idmap")
    refused(bundle, "idmap: needs uidMappings and gidMappings, of the mount or of the container")
    bundle.config["mounts"][-1]["uidMappings"] = IDS["uidMappings"]
    refused(bundle, "uidMappings and gidMappings go together")
    bundle.config["mounts"][-1] = {"destination": "/proc2", "type": "proc", "source": "proc", "options": ["idmap"], **IDS}
    bundle.config["root"]["readonly"] = False
    refused(bundle, "map a mount's ids")


def test_tmpcopyup_starts_with_what_is_there(bundle):
    (bundle.path / "rootfs/etc/conf.d").mkdir()
    (bundle.path / "rootfs/etc/conf.d/a").write_text("a\n")
    os.chown(bundle.path / "rootfs/etc/conf.d/a", 5, 6)
    (bundle.path / "rootfs/etc/link").symlink_to("conf.d/a")
    add_mount(bundle, "tmpfs", "tmpcopyup", "ro", destination="/etc", type="tmpfs")
    id = bundle.start("/bin/sleep", "60")
    assert bundle("exec", id, "cat", "/etc/link").stdout == "a\n"
    pid = pid_of(bundle, id)
    assert owner(pid, "/etc/conf.d/a") == (5, 6) and "ro" in mountinfo(pid, "/etc")[0]


def test_remount_changes_what_it_names(bundle, source):
    add_mount(bundle, "tmpfs", "nosuid", "size=1m", type="tmpfs")
    add_mount(bundle, "tmpfs", "remount", "ro", "size=2m", type="tmpfs")
    add_mount(bundle, source, "bind", destination="/tmp")
    add_mount(bundle, source, "remount", "bind", "ro", "nodev", destination="/tmp", type="none")
    pid = pid_of(bundle, bundle.start("/bin/sleep", "60"))
    attributes, _, options = mountinfo(pid, "/work")
    assert {"ro", "nosuid"} <= attributes and "size=2048k" in options
    assert {"ro", "nodev"} <= mountinfo(pid, "/tmp")[0]
    bundle.config["mounts"].append({"destination": "/bin", "options": ["remount", "ro"]})
    refused(bundle, "(/bin): remount")


def test_cgroup_mounts_of_version_1_show_only_the_container_s_part(bundle):
    id = bundle.start("/bin/sleep", "60")
    pid = pid_of(bundle, id)
    shown = set(os.listdir(f"/proc/{pid}/root/sys/fs/cgroup"))
    assert {"memory", "pids", "devices"} <= shown
    attributes, _, _ = mountinfo(pid, "/sys/fs/cgroup/memory")
    assert {"ro", "nosuid", "nodev", "noexec"} <= attributes
    assert pathlib.Path(f"/proc/{pid}/root/sys/fs/cgroup/pids/cgroup.procs").read_text() == f"{pid}\n"


# ---- security modules ----

@pytest.mark.parametrize("place, key, words", [
    ("process", "apparmorProfile", "process.apparmorProfile: AppArmor is not enabled on this machine"),
    ("process", "selinuxLabel", "process.selinuxLabel: SELinux is not enabled on this machine"),
    ("linux", "mountLabel", "linux.mountLabel: SELinux is not enabled on this machine")])
def test_labels_without_their_security_module_are_refused(bundle, place, key, words):
    enabled = pathlib.Path("/sys/module/apparmor/parameters/enabled")
    if os.path.ismount("/sys/fs/selinux") or enabled.exists() and enabled.read_text() == "Y\n":
        pytest.skip("this machine has a security module")
    bundle.config[place][key] = "some_label"
    refused(bundle, words)
    bundle.config[place].pop(key)
    bundle.config["process"]["apparmorProfile"] = "unconfined"
    id = bundle.start("/bin/sleep", "60")
    bundle.config["process"].pop("apparmorProfile")
    if place == "process":
        process = bundle.path / "process.json"
        process.write_text(json.dumps(dict(bundle.config["process"], args=["true"], **{key: "some_label"})))
        assert words in bundle("exec", "--process", process, id, check=False).stderr


# ---- seccomp ----

NOTIF_RECV, NOTIF_SEND, CONTINUE = 0xC0502100, 0xC0182101, 1


class Agent(threading.Thread):
    """A seccomp agent: takes one listener, answers every call with answer(number)."""

    def __init__(self, path, answer):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(str(path))
        self.socket.listen(4)
        self.answer, self.states, self.calls, self.failure = answer, [], [], None
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            text, fds, _, _ = socket.recv_fds(connection, 65536, 4)
            while more := connection.recv(65536):
                text += more
            self.states.append(json.loads(text))
            assert len(fds) == 1
            threading.Thread(target=self.serve, args=fds, daemon=True).start()

    def serve(self, fd):
        while True:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            if not poll.poll(20000)[0][1] & select.POLLIN:
                break
            request = bytearray(80)
            try:
                fcntl.ioctl(fd, NOTIF_RECV, request)
                id, pid, _, number = struct.unpack_from("QIIi", request)
                self.calls.append(number)
                error = self.answer(number)
                flags = CONTINUE if error is None else 0
                fcntl.ioctl(fd, NOTIF_SEND, bytearray(struct.pack("QqiI", id, 0, error or 0, flags)))
            except OSError:
                continue  # the caller was killed in between
        os.close(fd)

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


@pytest.fixture
def agent(tmp_path_factory):
    agents = []

    def make(answer):
        agents.append(Agent(tmp_path_factory.mktemp("agent") / "sock", answer))
        return agents[-1]
    yield make
    for a in agents:
        a.close()


def notify(bundle, agent, names, **more):
    bundle.config["linux"]["seccomp"] = dict(
        {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": agent.socket.getsockname(), "listenerMetadata": "a=b",
         "syscalls": [{"names": names, "action": "SCMP_ACT_NOTIFY"}]}, **more)


MKDIR = {83, 258}


@pytest.mark.parametrize("nnp", [True, False])
def test_a_seccomp_agent_answers_for_the_kernel(bundle, agent, nnp):
    a = agent(lambda number: -123 if number in MKDIR else None)
    notify(bundle, a, ["mkdir", "mkdirat"])
    bundle.config["annotations"] = {"k": "v"}
    id = bundle.create("/bin/sh", "-c", "busybox mkdir /dev/x 2>/dev/shm/said; exec sleep 60")
    bundle.config["process"]["noNewPrivileges"] = nnp
    assert a.states == []  # nothing is filtered yet
    bundle("start", id)
    pid = pid_of(bundle, id)
    state = a.states[0]
    assert state["fds"] == ["seccompFd"] and state["pid"] == pid and state["metadata"] == "a=b"
    assert state["state"] == {"ociVersion": state["ociVersion"], "id": id, "status": "creating", "pid": pid,
                              "bundle": str(bundle.path), "annotations": {"k": "v"}}
    said = pathlib.Path(f"/proc/{pid}/root/dev/shm/said")
    eventually(lambda: said.exists() and "No medium found" in said.read_text())
    assert set(a.calls) <= MKDIR and a.calls
    # Nothing of ours is left once the shell has buried its mkdir: no descriptor, no helper.
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    eventually(lambda: children.read_text().split() == [])
    assert len(os.listdir(f"/proc/{pid}/fd")) <= 3
    # An exec has a listener of its own.
    done = bundle("exec", id, "busybox", "mkdir", "/dev/y", check=False)
    assert "No medium found" in done.stderr and len(a.states) == 2
    assert a.states[1]["state"]["pid"] == pid and a.states[1]["state"]["status"] == "running"


def test_an_agent_may_be_asked_about_every_call(bundle, agent):
    """Even those that start the program: nothing waits for an agent that has no listener yet."""
    a = agent(lambda number: None)
    notify(bundle, a, ["read"], defaultAction="SCMP_ACT_NOTIFY", flags=["SECCOMP_FILTER_FLAG_LOG"])
    assert bundle.run("/bin/echo", "through").stdout == "through\n"
    assert 59 in a.calls  # execve


def test_an_agent_that_is_not_there_fails_the_start(bundle, agent):
    a = agent(lambda number: None)
    notify(bundle, a, ["mkdir"], listenerPath="/no/such/socket")
    done = refused(bundle, "linux.seccomp.listenerPath: ")
    id = bundle.create("/bin/sleep", "60")
    assert "linux.seccomp.listenerPath: " in bundle("start", id, check=False).stderr
    eventually(lambda: bundle.status(id) == "stopped")
    assert a.states == [] and done


@pytest.mark.parametrize("seccomp, words", [
    ({"syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}, "listenerPath: SCMP_ACT_NOTIFY needs the absolute path"),
    ({"listenerMetadata": "x"}, "linux.seccomp.listenerMetadata: needs listenerPath"),
    ({"syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_KILL", "errnoRet": 1}]}, "SCMP_ACT_KILL takes no errnoRet"),
    ({"defaultErrnoRet": 1}, "SCMP_ACT_ALLOW takes no errnoRet"),
    ({"flags": ["SECCOMP_FILTER_FLAG_FLY"]}, "linux.seccomp.flags[0]: unknown"),
    ({"architectures": ["SCMP_ARCH_Z80"]}, "linux.seccomp.architectures[0]: unknown")])
def test_what_is_wrong_in_a_seccomp_profile_is_named(bundle, seccomp, words):
    bundle.config["linux"]["seccomp"] = dict({"defaultAction": "SCMP_ACT_ALLOW"}, **seccomp)
    refused(bundle, words)


@pytest.mark.parametrize("action, status", [
    ("SCMP_ACT_KILL_PROCESS", 128 + 31), ("SCMP_ACT_TRAP", 128 + 31), ("SCMP_ACT_ERRNO", 1), ("SCMP_ACT_LOG", 0),
    ("SCMP_ACT_ALLOW", 0)])
def test_seccomp_actions_as_a_shell_sees_them(bundle, action, status):
    bundle.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": action}]}
    assert bundle.shell("busybox mkdir /dev/x 2>/dev/null; echo $?").strip() == str(status)


def test_seccomp_knows_every_flag_and_architecture(bundle):
    features = json.loads(bundle("features").stdout)["linux"]["seccomp"]
    assert len(features["archs"]) == 23 and "SCMP_ACT_NOTIFY" in features["actions"]
    assert set(features["supportedFlags"]) <= set(features["knownFlags"]) and len(features["knownFlags"]) == 4
    bundle.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": features["archs"],
                                         "flags": features["supportedFlags"]}
    assert bundle.run("/bin/echo", "ok").stdout == "ok\n"


# ---- what a process gets from the kernel ----

class SchedAttr(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("policy", ctypes.c_uint32), ("flags", ctypes.c_uint64),
                ("nice", ctypes.c_int32), ("priority", ctypes.c_uint32), ("runtime", ctypes.c_uint64),
                ("deadline", ctypes.c_uint64), ("period", ctypes.c_uint64), ("util", ctypes.c_uint32 * 2)]


def sched_getattr(pid):
    attr = SchedAttr()
    assert libc.syscall(315, pid, ctypes.byref(attr), ctypes.sizeof(attr), 0) == 0
    return attr


@pytest.mark.parametrize("policy, number", [("SCHED_OTHER", 0), ("SCHED_BATCH", 3), ("SCHED_IDLE", 5)])
def test_scheduler(bundle, policy, number):
    bundle.config["process"]["scheduler"] = {"policy": policy, "nice": 7, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
    pid = pid_of(bundle, bundle.start("/bin/sleep", "60"))
    attr = sched_getattr(pid)
    assert attr.policy == number and attr.flags == 1
    if policy != "SCHED_IDLE":  # which has none in the kernel
        assert os.getpriority(os.PRIO_PROCESS, pid) == 7


def test_a_deadline_or_the_kernel_s_words(bundle):
    bundle.config["process"]["scheduler"] = {"policy": "SCHED_DEADLINE", "runtime": 10**6, "deadline": 10**8, "period": 10**8}
    bundle.save(["/bin/sleep", "60"])
    if bundle.run("/bin/true", check=False).returncode:
        refused(bundle, "process.scheduler: set SCHED_DEADLINE")
    else:
        attr = sched_getattr(pid_of(bundle, bundle.start("/bin/sleep", "60")))
        assert (attr.policy, attr.runtime, attr.deadline, attr.period) == (6, 10**6, 10**8, 10**8)


@pytest.mark.parametrize("scheduler, words", [
    ({"policy": "SCHED_FAST"}, "process.scheduler.policy: unknown 'SCHED_FAST'"),
    ({"policy": "SCHED_FIFO", "priority": 100}, "process.scheduler.priority: 100 is not in 1 to 99"),
    ({"policy": "SCHED_OTHER", "nice": 20}, "process.scheduler.nice: 20 is not in -20 to 19"),
    ({"policy": "SCHED_OTHER", "runtime": 5}, "belong to SCHED_DEADLINE"),
    ({"policy": "SCHED_OTHER", "flags": ["X"]}, "process.scheduler.flags[0]: unknown 'X'"),
    ({"policy": "SCHED_ISO"}, "process.scheduler: set SCHED_ISO")])
def test_what_is_wrong_in_a_scheduler_is_named(bundle, scheduler, words):
    bundle.config["process"]["scheduler"] = scheduler
    refused(bundle, words)


@pytest.mark.parametrize("name, number", [("RT", 1), ("BE", 2), ("IDLE", 3)])
def test_io_priority(bundle, name, number):
    bundle.config["process"]["ioPriority"] = {"class": f"IOPRIO_CLASS_{name}", "priority": 5}
    id = bundle.start("/bin/sh", "-c", "sleep 61 & sleep 60")
    pid = pid_of(bundle, id)
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    eventually(lambda: children.read_text())
    for p in (pid, int(children.read_text().split()[0])):
        assert libc.syscall(252, 1, p) == number << 13 | 5
    bundle.config["process"]["ioPriority"]["priority"] = 8
    refused(bundle, "process.ioPriority.priority: 8 is not in 0 to 7")
    bundle.config["process"]["ioPriority"] = {"class": "X", "priority": 0}
    refused(bundle, "process.ioPriority.class: unknown 'X'")


def test_cpus_of_an_exec(bundle):
    if os.cpu_count() < 2:
        pytest.skip("one CPU")
    everything = os.sched_getaffinity(0)
    bundle.config["process"]["execCPUAffinity"] = {"initial": "0", "final": "1"}
    id = bundle.start("/bin/sleep", "60")
    assert os.sched_getaffinity(pid_of(bundle, id)) == everything  # not of the first process
    assert bundle("exec", id, "grep", "Cpus_allowed_list", "/proc/self/status").stdout.split()[1] == "1"
    process = bundle.path / "process.json"
    process.write_text(json.dumps(dict(bundle.config["process"], args=["true"], execCPUAffinity={"final": "0,x"})))
    assert "process.execCPUAffinity.final: '0,x' is not a list" in bundle("exec", "--process", process, id, check=False).stderr
    process.write_text(json.dumps(dict(bundle.config["process"], args=["true"], execCPUAffinity={"initial": "1000"})))
    assert "process.execCPUAffinity.initial: CPUs 1000" in bundle("exec", "--process", process, id, check=False).stderr


def test_personality(bundle):
    bundle.config["linux"]["personality"] = {"domain": "LINUX32"}
    id = bundle.start("/bin/sleep", "60")
    assert pathlib.Path(f"/proc/{pid_of(bundle, id)}/personality").read_text().strip().endswith("8")
    assert bundle("exec", id, "busybox", "uname", "-m").stdout == "i686\n"
    bundle.config["linux"]["personality"] = {"domain": "LINUX"}
    assert bundle.run("busybox", "uname", "-m").stdout == "x86_64\n"
    bundle.config["linux"]["personality"] = {"domain": "BSD"}
    refused(bundle, "linux.personality.domain: 'BSD' is not LINUX or LINUX32")
    bundle.config["linux"]["personality"] = {"domain": "LINUX", "flags": ["X"]}
    refused(bundle, "linux.personality.flags: none is defined")


@pytest.mark.parametrize("policy, shown", [
    ({"mode": "MPOL_BIND", "nodes": "0"}, "bind:0"), ({"mode": "MPOL_INTERLEAVE", "nodes": "0-0"}, "interleave:0"),
    ({"mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}, "prefer=static:0"),
    ({"mode": "MPOL_LOCAL"}, "local"), ({"mode": "MPOL_DEFAULT"}, "default")])
def test_memory_policy(bundle, policy, shown):
    bundle.config["linux"]["memoryPolicy"] = policy
    pid = pid_of(bundle, bundle.start("/bin/sleep", "60"))
    assert pathlib.Path(f"/proc/{pid}/numa_maps").read_text().split()[1] == shown


@pytest.mark.parametrize("policy, words", [
    ({"mode": "MPOL_BIND"}, "linux.memoryPolicy.nodes: MPOL_BIND needs some"),
    ({"mode": "MPOL_LOCAL", "nodes": "0"}, "linux.memoryPolicy.nodes: MPOL_LOCAL takes none"),
    ({"mode": "MPOL_X"}, "linux.memoryPolicy.mode: unknown"),
    ({"mode": "MPOL_BIND", "nodes": "0-"}, "linux.memoryPolicy.nodes: '0-' is not a list"),
    ({"mode": "MPOL_BIND", "nodes": "900"}, "linux.memoryPolicy: set MPOL_BIND")])
def test_what_is_wrong_in_a_memory_policy_is_named(bundle, policy, words):
    bundle.config["linux"]["memoryPolicy"] = policy
    refused(bundle, words)


def test_clocks_of_its_own(bundle):
    bundle.config["linux"]["namespaces"].append({"type": "time"})
    bundle.config["linux"]["timeOffsets"] = {"monotonic": {"secs": 86400, "nanosecs": 5}, "boottime": {"secs": 172800}}
    id = bundle.start("/bin/sleep", "60")
    pid = pid_of(bundle, id)
    offsets = [line.split() for line in pathlib.Path(f"/proc/{pid}/timens_offsets").read_text().splitlines()]
    assert offsets == [["monotonic", "86400", "5"], ["boottime", "172800", "0"]]
    assert os.stat(f"/proc/{pid}/ns/time").st_ino != os.stat("/proc/self/ns/time").st_ino
    up = float(bundle("exec", id, "cat", "/proc/uptime").stdout.split()[0])
    assert up - time.clock_gettime(time.CLOCK_BOOTTIME) > 172000
    bundle.config["linux"]["timeOffsets"] = {"realtime": {"secs": 1}}
    refused(bundle, "linux.timeOffsets.realtime: not monotonic or boottime")
    bundle.config["linux"]["timeOffsets"] = {"monotonic": {"secs": -10**9}}
    refused(bundle, "linux.timeOffsets: ")
    bundle.config["linux"]["namespaces"].pop()
    refused(bundle, "linux.timeOffsets: need a new namespace of type time")


# ---- network devices ----

@pytest.fixture
def host_net():
    """A network namespace that stands for the host's, with two interfaces."""
    name = f"buoytest-cfg-{os.getpid()}"
    run = lambda *words: subprocess.run(["ip", *words], check=True)
    run("netns", "add", name)
    try:
        run("-n", name, "link", "add", "one0", "type", "veth", "peer", "name", "two0")
        run("-n", name, "addr", "add", "10.77.0.1/24", "dev", "one0")
        run("-n", name, "addr", "add", "fd77::1/64", "dev", "one0")
        run("-n", name, "addr", "add", "10.78.0.1/24", "scope", "link", "dev", "one0")
        run("-n", name, "link", "set", "one0", "mtu", "1400")
        yield name
    finally:
        run("netns", "del", name)


def test_network_devices_move_in_with_their_addresses(bundle, host_net):
    bundle.config["linux"]["netDevices"] = {"one0": {"name": "eth7"}, "two0": {"name": "net%d"}}
    bundle.save(["/bin/sleep", "60"])
    id = bundle.id()
    start = lambda: subprocess.run(
        ["nsenter", f"--net=/run/netns/{host_net}", RUNTIME, "--root", bundle.state, "run", "--detach", "--bundle",
         bundle.path, id], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(bundle.path / "said", "w"))
    assert start().returncode == 0, (bundle.path / "said").read_text()
    shown = subprocess.run(["nsenter", "-t", str(pid_of(bundle, id)), "-n", "ip", "-j", "addr"], capture_output=True, check=True)
    links = {link["ifname"]: link for link in json.loads(shown.stdout)}
    assert set(links) >= {"lo", "eth7", "net0"}
    assert "UP" in links["eth7"]["flags"] and "UP" in links["net0"]["flags"] and links["eth7"]["mtu"] == 1400
    addresses = {a["local"]: a["prefixlen"] for a in links["eth7"]["addr_info"] if a["scope"] == "global"}
    assert addresses == {"10.77.0.1": 24, "fd77::1": 64}
    assert "10.78.0.1" not in shown.stdout.decode()  # its scope was the link
    bundle("delete", "--force", id)
    assert start().returncode and "linux.netDevices.one0: no such interface" in (bundle.path / "said").read_text()


def test_network_devices_that_cannot_move_are_refused(bundle, host_net):
    bundle.config["linux"]["netDevices"] = {"one0": {"name": "lo"}}
    bundle.save(["/bin/true"])
    done = subprocess.run(["nsenter", f"--net=/run/netns/{host_net}", RUNTIME, "--root", bundle.state, "run", "--bundle",
                           bundle.path, bundle.id()], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert "linux.netDevices.one0: netlink: File exists" in done.stderr and os.listdir(bundle.state) == []
    bundle.config["linux"]["netDevices"] = {"a/b": {}}
    refused(bundle, "linux.netDevices.a/b: 'a/b' is not an interface's name")
    bundle.config["linux"]["netDevices"] = {"lo": {"name": "waytoolongforaninterface"}}
    refused(bundle, "is not an interface's name")
    bundle.config["linux"]["namespaces"] = [n for n in bundle.config["linux"]["namespaces"] if n["type"] != "network"]
    refused(bundle, "linux.netDevices: need a namespace of type network")


# ---- the rest ----

def test_cache_classes_need_resctrl(bundle):
    bundle.config["linux"]["intelRdt"] = {"closID": "x"}
    if " - resctrl " in pathlib.Path("/proc/self/mountinfo").read_text():
        refused(bundle, "linux.intelRdt: closID: x")
    else:
        refused(bundle, "linux.intelRdt: no resctrl file system is mounted")
    bundle.config["linux"]["intelRdt"] = {"closID": "../x"}
    refused(bundle, "linux.intelRdt.closID: '../x' is not a name or /")
    bundle.config["linux"]["intelRdt"] = {"memBwSchema": "L3:0=1"}
    refused(bundle, "linux.intelRdt.memBwSchema: is not one line that begins with MB:")


def test_oom_score(bundle):
    bundle.config["process"]["oomScoreAdj"] = 321
    id = bundle.start("/bin/sleep", "60")
    assert pathlib.Path(f"/proc/{pid_of(bundle, id)}/oom_score_adj").read_text() == "321\n"


def test_features_tell_the_truth(bundle):
    features = json.loads(bundle("features").stdout)
    assert features["ociVersionMax"] == "1.3.0" and set(features["hooks"]) == set(POINTS)
    assert {"idmap", "ridmap", "rro", "rnosuid", "rstrictatime", "remount", "tmpcopyup"} <= set(features["mountOptions"])
    lin = features["linux"]
    assert lin["mountExtensions"]["idmap"]["enabled"] and lin["netDevices"]["enabled"]
    assert lin["intelRdt"] == {"enabled": True, "schemata": True, "monitoring": True}
    assert lin["apparmor"]["enabled"] and lin["selinux"]["enabled"] and lin["cgroup"]["rdma"]
    assert len(lin["memoryPolicy"]["modes"]) == 7 and len(lin["memoryPolicy"]["flags"]) == 3


# ---- a user namespace that is there ----

def test_a_user_namespace_by_path_is_shared_and_owns_the_rest(bundle):
    maps = [{"containerID": 0, "hostID": 1_700_000_000, "size": 1000}]
    bundle.config["linux"].update(uidMappings=maps, gidMappings=maps)
    namespaces = bundle.config["linux"]["namespaces"]
    bundle.config["linux"]["namespaces"] = [*namespaces, {"type": "user"}]
    first = bundle.start("/bin/sleep", "61")
    pid = json.loads(bundle("state", first).stdout)["pid"]
    del bundle.config["linux"]["uidMappings"], bundle.config["linux"]["gidMappings"]
    bundle.config["linux"]["namespaces"] = [*namespaces, {"type": "user", "path": f"/proc/{pid}/ns/user"}]
    script = "id -u; readlink /proc/self/ns/user; readlink /proc/self/ns/mnt; cat /proc/self/uid_map; echo > /dev/null"
    out = bundle.shell(script).split()
    assert out[0] == "0"
    assert out[1] == os.readlink(f"/proc/{pid}/ns/user") and out[2] != os.readlink(f"/proc/{pid}/ns/mnt")
    assert out[3:] == ["0", "1700000000", "1000"]
    second = bundle.start("/bin/sleep", "61")
    assert bundle("exec", second, "/bin/readlink", "/proc/self/ns/user").stdout.strip() == out[1]
    pid = json.loads(bundle("state", second).stdout)["pid"]
    assert os.stat(f"/proc/{pid}").st_uid == 1_700_000_000


def test_a_path_that_is_no_user_namespace_is_refused(bundle):
    bundle.config["linux"]["namespaces"].append({"type": "user", "path": "/proc/self/ns/net"})
    assert bundle.run("/bin/true", check=False).returncode == 1
    bundle.config["linux"]["namespaces"][-1]["path"] = "/nowhere"
    done = bundle.run("/bin/true", check=False)
    assert done.returncode == 1 and "/nowhere" in done.stderr


def test_an_update_of_cache_shares_needs_a_class(bundle):
    id = bundle.start("/bin/sleep", "60")
    done = bundle("update", "--l3-cache-schema", "L3:0=f", id, check=False)
    assert done.returncode == 1 and "was made without linux.intelRdt" in done.stderr
