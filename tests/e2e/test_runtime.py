# SPDX-License-Identifier: Apache-2.0
"""buoy-runtime, driven as other engines drive an OCI runtime: bundles, verbs, exit codes."""
import copy
import fcntl
import json
import os
import pathlib
import pty
import shutil
import subprocess
import tempfile
import time
import uuid

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUOY_BUILD", TOP / "build")).resolve()
RUNTIME = str(BUILD / "buoy-runtime")
BUSYBOX = "/bin/busybox"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not os.access(RUNTIME, os.X_OK), reason="no buoy-runtime"),
    pytest.mark.skipif(not os.access(BUSYBOX, os.X_OK), reason="no busybox-static"),
]


def eventually(probe, timeout=5):
    end = time.monotonic() + timeout
    while not probe():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


def make_rootfs(path):
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp", "work"):
        (path / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, path / "bin/busybox")
    for name in ("sh", "cat", "ls", "true", "id", "sleep", "grep", "stat", "mount", "echo", "tty", "pwd",
                 "readlink", "touch", "hostname", "kill", "dd", "stty", "wc", "env"):
        (path / "bin" / name).symlink_to("busybox")
    (path / "plain").write_text("not a program\n")
    return path


class Bundle:
    """A bundle with a state directory of its own; every container in it is gone afterwards."""

    def __init__(self, path):
        self.path = path
        self.state = path / "state"
        self.ids = []
        make_rootfs(path / "rootfs")
        subprocess.run([RUNTIME, "spec", "--bundle", path], check=True)
        self.config = json.loads((path / "config.json").read_text())
        self.config["process"]["terminal"] = False

    def id(self):
        self.ids.append("rt-" + uuid.uuid4().hex[:12])
        return self.ids[-1]

    def save(self, args=None, **process):
        if args:
            self.config["process"]["args"] = list(args)
        self.config["process"].update(process)
        (self.path / "config.json").write_text(json.dumps(self.config))

    def __call__(self, *words, check=True, **kwargs):
        if "input" not in kwargs:
            kwargs.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run([RUNTIME, "--root", str(self.state), *map(str, words)], text=True,
                              capture_output=True, timeout=30, **kwargs)
        if check and done.returncode:
            raise AssertionError(f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def run(self, *args, check=True, options=(), **kwargs):
        self.save(args or None)
        return self("run", "--bundle", self.path, *options, self.id(), check=check, **kwargs)

    def shell(self, script, **kwargs):
        return self.run("/bin/sh", "-c", script, **kwargs).stdout

    def create(self, *args, options=()):
        self.save(args or None)
        id = self.id()
        # The init keeps its stdio: nothing of ours may wait for it.
        subprocess.run([RUNTIME, "--root", str(self.state), "create", "--bundle", self.path, *options,
                        id], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=30)
        return id

    def start(self, *args, **kwargs):
        id = self.create(*args, **kwargs)
        self("start", id)
        return id

    def status(self, id):
        return json.loads(self("state", id).stdout)["status"]

    def close(self):
        for id in self.ids:
            self("delete", "--force", id, check=False)


@pytest.fixture
def bundle(tmp_path):
    b = Bundle(tmp_path)
    yield b
    b.close()
    assert not os.path.exists(b.state) or os.listdir(b.state) == []
    assert str(tmp_path) not in pathlib.Path("/proc/self/mountinfo").read_text()
    for id in b.ids:
        assert not list(pathlib.Path("/sys/fs/cgroup").glob(f"*/buoy/{id}"))


# ---- life ----

def test_create_start_kill_delete_as_engines_do_it(bundle):
    pid_file = bundle.path / "pid"
    id = bundle.create("/bin/sh", "-c", 'trap "exit 7" TERM; while :; do sleep 0.05; done',
                       options=("--pid-file", pid_file))
    state = json.loads(bundle("state", id).stdout)
    assert state["status"] == "created" and state["pid"] == int(pid_file.read_text())
    assert state["bundle"] == str(bundle.path) and state["id"] == id
    again = bundle("create", "--bundle", bundle.path, id, check=False)
    assert again.returncode == 1 and "exists already" in again.stderr
    bundle("start", id)
    assert bundle.status(id) == "running"
    assert "is running, not created" in bundle("start", id, check=False).stderr
    refused = bundle("delete", id, check=False)
    assert refused.returncode == 1 and "running" in refused.stderr
    bundle("kill", id, "TERM")
    eventually(lambda: bundle.status(id) == "stopped")
    assert "not running" in bundle("kill", id, "TERM", check=False).stderr
    bundle("delete", id)
    assert "does not exist" in bundle("state", id, check=False).stderr


def test_exit_codes_are_a_shell_s(bundle):
    assert bundle.run("/bin/sh", "-c", "exit 42", check=False).returncode == 42
    assert bundle.run("/bin/sh", "-c", "kill -9 $$; sleep 5", check=False,
                      ).returncode in (0, 137)  # init is immune to itself
    assert bundle.run("nothere", check=False).returncode == 127
    assert bundle.run("/bin/nothere", check=False).returncode == 127
    denied = bundle.run("/plain", check=False)
    assert denied.returncode == 126 and 'exec: "/plain": permission denied' in denied.stderr


def test_a_killed_program_is_128_and_the_signal(bundle):
    bundle.save(["/bin/sleep", "60"])
    id = bundle.id()
    process = subprocess.Popen([RUNTIME, "--root", str(bundle.state), "run", "--bundle", bundle.path, id],
                               stdin=subprocess.DEVNULL)
    eventually(lambda: bundle("state", id, check=False).returncode == 0 and bundle.status(id) == "running")
    bundle("kill", id, "KILL")
    assert process.wait(10) == 137


def test_create_says_at_once_that_there_is_no_program(bundle):
    bundle.save(["nothere"])
    done = bundle("--log", bundle.path / "log", "--log-format", "json", "create", "--bundle", bundle.path,
                  bundle.id(), check=False)
    assert done.returncode == 1
    line = json.loads((bundle.path / "log").read_text())
    assert line["level"] == "error"
    assert 'exec: "nothere": executable file not found in $PATH' in line["msg"]


def test_pause_holds_everything_and_resume_lets_go(bundle):
    count = bundle.path / "rootfs/tmp/count"
    bundle.config["root"]["readonly"] = False
    id = bundle.start("/bin/sh", "-c", "while :; do echo x >> /tmp/count; sleep 0.01; done")
    eventually(count.exists)
    bundle("pause", id)
    assert bundle.status(id) == "paused"
    size = count.stat().st_size
    time.sleep(0.1)
    assert count.stat().st_size == size
    assert "paused" in bundle("exec", id, "true", check=False).stderr
    bundle("resume", id)
    eventually(lambda: count.stat().st_size > size)


def test_ps_and_list_show_what_runs(bundle):
    id = bundle.start("/bin/sh", "-c", "sleep 61 & sleep 62 & wait")
    eventually(lambda: len(json.loads(bundle("ps", "-f", "json", id).stdout)) == 3)
    listed = json.loads(bundle("list", "-f", "json").stdout)
    assert [c["id"] for c in listed] == [id] and listed[0]["status"] == "running"


def test_kill_all_reaches_every_process(bundle):
    id = bundle.start("/bin/sh", "-c", "sleep 61 & sleep 62 & wait")
    bundle("kill", "--all", id, "KILL")
    eventually(lambda: bundle.status(id) == "stopped")


# ---- who the program is ----

CAPS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def cap_lines(text):
    return {line.split()[0][:-1]: int(line.split()[1], 16) for line in text.splitlines()
            if line[:6] in CAPS}


def test_all_five_capability_sets_are_what_was_asked_for_run_and_exec(bundle):
    golden = dict.fromkeys(CAPS, 0)
    golden.update(CapPrm=0x20000420, CapEff=0x20000420, CapBnd=0x20000420)
    assert cap_lines(bundle.shell("cat /proc/self/status")) == golden
    id = bundle.start("/bin/sleep", "60")
    assert cap_lines(bundle("exec", id, "cat", "/proc/self/status").stdout) == golden
    bundle.config["process"]["capabilities"] = {}
    assert cap_lines(bundle.shell("cat /proc/self/status")) == dict.fromkeys(CAPS, 0)


def test_ambient_capabilities_reach_a_plain_user(bundle):
    names = ["CAP_KILL"]
    bundle.config["process"]["capabilities"] = dict.fromkeys(
        ("bounding", "effective", "permitted", "inheritable", "ambient"), names)
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    assert cap_lines(bundle.shell("cat /proc/self/status")) == dict.fromkeys(CAPS, 0x20)


def test_user_groups_umask_env_and_cwd(bundle):
    bundle.config["root"]["readonly"] = False
    os.chmod(bundle.path / "rootfs/work", 0o777)
    bundle.config["process"].update(user={"uid": 1000, "gid": 100, "additionalGids": [7, 8], "umask": 0o27},
                                    cwd="/work", env=["PATH=/bin", "A=b c"])
    out = bundle.shell('id -u; id -g; id -G; pwd; echo "$A"; touch x; stat -c %a x; echo out > /dev/stdout')
    assert out.split("\n")[:7] == ["1000", "100", "100 7 8", "/work", "b c", "640", "out"]


@pytest.mark.parametrize("user,uid", [("0", 0), ("1", 1), ("65535", 65535), ("2147483648", 2147483648),
                                      ("4294967294", 4294967294)])
def test_exec_takes_a_number_for_what_it_is(bundle, user, uid):
    id = bundle.start("/bin/sleep", "60")
    assert bundle("exec", "--user", user, id, "id", "-u").stdout.strip() == str(uid)


@pytest.mark.parametrize("user", ["4294967295", "4294967296", "1e3", "+1", " 1", "0x0", "-1", "", "root", "1:",
                                  "100000000000000000000"])
def test_exec_refuses_what_is_not_an_id(bundle, user):
    id = bundle.start("/bin/sleep", "60")
    done = bundle("exec", "--user", user, id, "id", "-u", check=False)
    assert done.returncode == 255 and done.stdout == ""


def test_no_descriptor_leaks_in(bundle):
    read, write = os.pipe()
    extra = fcntl.fcntl(write, fcntl.F_DUPFD, 77)  # not over one that the test's own process has
    os.set_inheritable(extra, True)
    script = "ls /proc/self/fd"  # ls itself holds 3, its directory
    assert bundle.shell(script, pass_fds=(extra,)).split() == ["0", "1", "2", "3"]
    id = bundle.start("/bin/sleep", "60")
    assert bundle("exec", id, "ls", "/proc/self/fd", pass_fds=(extra,)).stdout.split() == \
        ["0", "1", "2", "3"]
    assert bundle("exec", id, "ls", "/proc/1/fd").stdout.split() == ["0", "1", "2"]
    for fd in (read, write, extra):
        os.close(fd)


def test_preserved_descriptors_arrive(bundle):
    script = "exec 3</plain; exec " + " ".join([RUNTIME, "--root", str(bundle.state), "run", "--preserve-fds 1",
                                                "--bundle", str(bundle.path), bundle.id()])
    bundle.save(["/bin/sh", "-c", "cat <&3"])
    done = subprocess.run(["/bin/sh", "-c", script.replace("/plain", str(bundle.path / "rootfs/plain"))],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.stdout == "not a program\n", done.stderr
    refused = bundle("run", "--preserve-fds", "3", "--bundle", bundle.path, bundle.id(), check=False)
    assert "is not open" in refused.stderr


def test_a_cwd_outside_the_root_is_refused(bundle):
    for cwd in ("/proc/self/fd/3", "/proc/self/fd/5", "/proc/self/fd/9"):
        bundle.save(["/bin/pwd"], cwd=cwd)
        done = bundle("run", "--bundle", bundle.path, bundle.id(), check=False)
        assert done.returncode != 0 and done.stdout == "", cwd


def test_a_cwd_that_is_missing_is_made(bundle):
    bundle.save(["/bin/pwd"], cwd="/made/here")
    assert bundle("run", "--bundle", bundle.path, bundle.id()).stdout == "/made/here\n"


# ---- what it sees ----

def test_masked_paths_show_nothing(bundle):
    script = "; ".join(f"test -e {p} && {{ if test -d {p}; then ls {p} | wc -l; touch {p}/x 2>&1; "
                       f"else stat -c %t:%T {p}; fi; }}" for p in
                       bundle.config["linux"]["maskedPaths"])
    lines = bundle.shell(script + "; true").split("\n")
    assert "1:3" in lines
    for line in filter(None, lines):
        assert line in ("0", "1:3") or "Read-only file system" in line, line


def test_readonly_paths_and_root_cannot_be_written(bundle):
    out = bundle.shell("touch /dev/ok && echo devok", check=False)
    done = bundle.run("/bin/sh", "-c", "exec 2>&1; for p in /proc/sys/net/ipv4/ip_forward "
                      "/proc/sys/kernel/domainname /x /sys/kernel/x; do echo 1 > $p; done", check=False)
    assert done.stdout.count("Read-only file system") == 4, done.stdout
    assert "devok" in out


def test_devices_are_the_default_ones_and_no_more(bundle):
    out = bundle.shell("ls /dev; echo > /dev/null; dd if=/dev/zero of=/dev/null bs=4 count=1 2>/dev/null && echo z;"
                       "readlink /dev/ptmx; readlink /dev/fd")
    names = out.split("\n")
    for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "fd", "stdin", "pts", "shm"):
        assert name in names
    assert "console" not in names and "sda" not in names and "vda" not in names
    assert "pts/ptmx" in names and "z" in names


def test_a_device_that_is_not_allowed_cannot_be_opened(bundle):
    caps = ["CAP_MKNOD"]
    bundle.config["process"]["capabilities"] = {"bounding": caps, "effective": caps, "permitted": caps}
    bundle.config["linux"]["devices"] = [{"type": "c", "path": "/dev/extra", "major": 1, "minor": 5}]
    done = bundle.run("/bin/sh", "-c", "exec 2>&1; busybox mknod /dev/kmsg2 c 1 11 && cat /dev/kmsg2; "
                      "dd if=/dev/extra bs=1 count=1 2>/dev/null | wc -c", check=False)
    assert "Operation not permitted" in done.stdout and done.stdout.endswith("1\n")


@pytest.mark.parametrize("name", ["dev", "proc", "sys"])
def test_a_symlink_where_we_build_is_refused(bundle, name, tmp_path_factory):
    canary = tmp_path_factory.mktemp("canary")
    shutil.rmtree(bundle.path / "rootfs" / name)
    (bundle.path / "rootfs" / name).symlink_to(canary)
    done = bundle.run("/bin/true", check=False)
    assert done.returncode == 1 and name in done.stderr
    assert os.listdir(canary) == []


@pytest.mark.parametrize("kind", ["file", "fifo", "dangling"])
def test_a_dev_that_is_no_directory_is_refused(bundle, kind):
    dev = bundle.path / "rootfs/dev"
    dev.rmdir()
    if kind == "file":
        dev.write_text("")
    elif kind == "fifo":
        os.mkfifo(dev)
    else:
        dev.symlink_to("/nowhere")
    assert bundle.run("/bin/true", check=False).returncode == 1


def test_a_mount_target_that_leads_out_stays_in(bundle, tmp_path_factory):
    canary = tmp_path_factory.mktemp("canary")
    (bundle.path / "rootfs/out").symlink_to(canary)
    bundle.config["mounts"].append({"destination": "/out/sub", "type": "tmpfs", "source": "tmpfs"})
    bundle.run("/bin/true", check=False)
    assert os.listdir(canary) == []


def test_binds_with_their_options(bundle, tmp_path_factory):
    source = tmp_path_factory.mktemp("source")
    (source / "file").write_text("hello\n")
    bundle.config["mounts"] += [
        {"destination": "/mnt/ro", "type": "bind", "source": str(source), "options": ["rbind", "ro"]},
        {"destination": "/mnt/rw", "type": "bind", "source": str(source), "options": ["bind"]},
        {"destination": "/mnt/file", "type": "bind", "source": str(source / "file"), "options": ["bind", "ro"]}]
    bundle.config["root"]["readonly"] = False
    out = bundle.shell("exec 2>&1; cat /mnt/file; touch /mnt/ro/x; touch /mnt/rw/y; mount | grep /mnt/ro")
    assert out.startswith("hello\n") and "Read-only" in out and (source / "y").exists()


def test_its_own_names_processes_and_loopback(bundle):
    out = bundle.shell("hostname; echo $$; ls /proc | grep -c '^[0-9]'; cat /sys/class/net/lo/operstate; "
                       "ls /sys/class/net; cat /proc/self/cgroup")
    lines = out.split("\n")
    assert lines[0] == "buoy" and lines[1] == "1" and int(lines[2]) <= 3
    assert lines[3] == "unknown" and lines[4] == "lo"
    for line in filter(None, lines[5:]):
        assert line.endswith(":/"), line


def test_limits_are_in_force(bundle):
    bundle.config["linux"]["resources"].update(memory={"limit": 64 << 20}, pids={"limit": 9},
                                               cpu={"quota": 50000, "period": 100000, "shares": 512})
    out = bundle.shell("cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory.max pids/pids.max pids.max "
                       "cpu/cpu.cfs_quota_us cpu/cpu.shares cpu.max 2>/dev/null; true", check=False)
    version_1 = os.path.exists("/sys/fs/cgroup/memory")
    assert out.split() == [str(64 << 20), "9", "50000", "512" if version_1 else "100000"]


def test_a_limit_too_low_for_the_start_ends_the_start_and_not_the_runtime(bundle):
    """The kernel kills all that share an address space when one of them is out of memory."""
    if not os.path.exists("/sys/fs/cgroup/memory"):
        pytest.skip("no version 1 memory cgroup")
    bundle.config["linux"]["resources"]["memory"] = {"limit": 16 << 10}
    done = bundle.run("/bin/true", check=False)
    assert done.returncode == 1 and "died" in done.stderr, (done.returncode, done.stderr)


def test_an_oom_score_is_the_container_s_alone(bundle):
    """It belongs to an address space, and the runtime lives on beside the program."""
    bundle.save(["/bin/sh", "-c", "echo ready; cat /proc/self/oom_score_adj; read x"], oomScoreAdj=517)
    with subprocess.Popen([RUNTIME, "--root", str(bundle.state), "run", "--bundle", bundle.path, bundle.id()], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
        assert p.stdout.readline() == "ready\n" and p.stdout.readline() == "517\n"
        assert pathlib.Path(f"/proc/{p.pid}/oom_score_adj").read_text() != "517\n"
        p.communicate("\n", timeout=10)
    assert p.returncode == 0


def test_the_cgroup_view_cannot_be_written(bundle):
    out = bundle.shell("exec 2>&1; for f in /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/*/notify_on_release "
                       "/sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/memory.max; do test -e $f && echo 0 > $f; done; true")
    assert out and all("Read-only" in line for line in out.splitlines())


def test_sysctls_of_its_own_namespaces(bundle):
    bundle.config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.msgmax": "4242"}
    assert bundle.shell("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax").split() == ["1", "4242"]
    bundle.config["linux"]["sysctl"] = {"kernel.panic": "1"}
    assert "not a namespaced sysctl" in bundle.run("/bin/true", check=False).stderr


def test_cgroup_version_2_alone(bundle):
    caps = ["CAP_MKNOD"]
    bundle.config["process"]["capabilities"] = {"bounding": caps, "effective": caps, "permitted": caps}
    bundle.config["root"]["readonly"] = False
    bundle.save(["/bin/sh", "-c", "exec 2>&1; busybox mknod /tmp/kmsg c 1 11; cat /tmp/kmsg; "
                 "dd if=/dev/zero bs=1 count=2 2>/dev/null | wc -c; grep ^0: /proc/self/cgroup; "
                 "ls /sys/fs/cgroup; trap 'exit 9' TERM; while :; do sleep 0.05; done"])
    id = bundle.id()
    runtime = f"{RUNTIME} --root {bundle.state}"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", "test -e /sys/fs/cgroup/cgroup.controllers || "
         "mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 99; "
         f"{runtime} run --bundle {bundle.path} {id} & "
         f"until {runtime} state {id} 2>/dev/null | grep -q running; do sleep 0.05; done; sleep 0.3; "
         f"{runtime} pause {id}; {runtime} state {id} | grep status; {runtime} ps {id} | wc -l; "
         f"{runtime} resume {id}; {runtime} kill {id} TERM; wait $!; echo rc $?; "
         f"ls /sys/fs/cgroup/buoy/{id}"],
        capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    if done.returncode == 99:
        pytest.skip("cgroup version 2 cannot be mounted here")
    assert "can't open '/tmp/kmsg': Operation not permitted\n2\n0::/\n" in done.stdout, done
    assert "cgroup.procs" in done.stdout and '"status": "paused"' in done.stdout
    assert "rc 9" in done.stdout and "No such file" in done.stderr


# ---- walls ----

def test_no_new_privileges_and_seccomp(bundle):
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}]}
    script = "grep -E 'NoNewPrivs|Seccomp:' /proc/self/status; busybox mkdir /dev/x; echo $?"
    for nnp in (True, False):
        bundle.config["process"]["noNewPrivileges"] = nnp
        out = bundle.shell(script).split()
        assert out == ["NoNewPrivs:", "1" if nnp else "0", "Seccomp:", "2", "1"]
    id = bundle.start("/bin/sleep", "60")
    assert "2" in bundle("exec", id, "grep", "Seccomp:", "/proc/self/status").stdout


def test_the_program_file_of_the_runtime_cannot_be_written_from_inside(bundle):
    before = pathlib.Path(RUNTIME).stat()
    everything = json.loads(bundle("features").stdout)["linux"]["capabilities"]
    bundle.config["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"),
                                                             everything)
    id = bundle.start("/bin/sh", "-c", "while :; do for p in /proc/[0-9]*/exe; do "
                      "case $(readlink $p) in */busybox) ;; *) (echo bad > $p) 2>/dev/null && echo won "
                      ">> /dev/shm/won;; esac; done; done")
    for _ in range(20):
        bundle("exec", id, "/proc/self/exe", "--version", check=False)
    assert bundle("exec", id, "ls", "/dev/shm").stdout == ""
    after = pathlib.Path(RUNTIME).stat()
    assert (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)


def test_each_mapping_of_the_program_file_is_on_a_read_only_mount(bundle):
    id = bundle.create("/bin/true")  # what waits for the start is the runtime itself
    proc = pathlib.Path("/proc") / str(json.loads(bundle("state", id).stdout)["pid"])
    program = os.stat(RUNTIME)

    def is_readonly(path):
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)

    ways = [proc / "exe", *(link for link in (proc / "map_files").iterdir() if os.path.samestat(link.stat(), program))]
    assert len(ways) > 1
    assert all(map(is_readonly, ways)), ways
    assert not is_readonly(RUNTIME)  # the control: it is the mount that makes the difference
    assert (proc / "cmdline").read_bytes().split(b"\0")[:4] == \
        [str(word).encode() for word in (RUNTIME, "--root", bundle.state, "create")]
    assert b"PATH=" + os.environ["PATH"].encode() in (proc / "environ").read_bytes().split(b"\0")


def test_an_unknown_field_is_refused_and_nothing_is_left(bundle):
    bundle.config["linux"]["landlock"] = {}
    done = bundle.run("/bin/true", check=False)
    assert done.returncode == 1 and "linux.landlock" in done.stderr


def test_a_user_namespace_with_mapped_ids(bundle):
    bundle.config["linux"]["namespaces"].append({"type": "user"})
    for ids in ("uidMappings", "gidMappings"):
        bundle.config["linux"][ids] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    os.chmod(bundle.path, 0o755)
    out = bundle.shell("id -u; cat /proc/self/uid_map; echo > /dev/null && echo ok; mount | grep -c cgroup")
    assert out.split()[:5] == ["0", "0", "100000", "65536", "ok"]


# ---- terminals ----

def test_a_terminal_in_the_foreground(bundle):
    bundle.config["process"]["terminal"] = True
    bundle.save(["/bin/sh", "-c", "tty; ls /dev/console; read x; echo got $x; exit 3"])
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(RUNTIME, [RUNTIME, "--root", str(bundle.state), "run", "--bundle", str(bundle.path), bundle.id()])
    out = b""
    os.write(fd, b"hello\n")
    while True:
        try:
            piece = os.read(fd, 4096)
        except OSError:
            break
        if not piece:
            break
        out += piece
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3, out
    assert b"/dev/pts/0" in out and b"/dev/console" in out and b"got hello" in out


def test_the_terminal_goes_to_the_console_socket(bundle):
    import socket
    path = bundle.path / "console"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    bundle.config["process"]["terminal"] = True
    bundle.save(["/bin/sh", "-c", "tty; sleep 60"])
    id = bundle.create(options=("--console-socket", path))
    peer, _ = listener.accept()
    _, fds, _, _ = socket.recv_fds(peer, 100, 1)
    bundle("start", id)
    assert os.read(fds[0], 100).strip() == b"/dev/pts/0"
    os.close(fds[0])
    bundle.config["process"]["terminal"] = False
    bundle.save(["/bin/true"])
    wrong = bundle("create", "--bundle", bundle.path, "--console-socket", path, bundle.id(), check=False)
    assert "asks for no terminal" in wrong.stderr


# ---- exec ----

def test_exec_from_a_process_file_detached_with_pid_file(bundle):
    id = bundle.start("/bin/sleep", "60")
    process = copy.deepcopy(bundle.config["process"])
    process.update(args=["/bin/sleep", "61"], env=["X=y"], cwd="/tmp")
    (bundle.path / "process.json").write_text(json.dumps(process))
    subprocess.run([RUNTIME, "--root", str(bundle.state), "exec", "--process", bundle.path / "process.json",
                    "--detach", "--pid-file", bundle.path / "pid", id], check=True, timeout=30,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    pid = int((bundle.path / "pid").read_text())
    eventually(lambda: b"61" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes())
    assert pathlib.Path(f"/proc/{pid}/environ").read_bytes() == b"X=y\0"
    assert pid in json.loads(bundle("ps", "-f", "json", id).stdout)


def test_exec_exit_codes_and_environment(bundle):
    id = bundle.start("/bin/sleep", "60")
    assert bundle("exec", id, "sh", "-c", "exit 5", check=False).returncode == 5
    assert bundle("exec", id, "nothere", check=False).returncode == 127
    assert bundle("exec", id, "/plain", check=False).returncode == 126
    assert bundle("exec", "-e", "A=b", "--cwd", "/tmp", id, "sh", "-c", "echo $A; pwd").stdout == "b\n/tmp\n"
    assert bundle("exec", "--cap", "CAP_CHOWN", id, "grep", "CapEff", "/proc/self/status"
                  ).stdout.split()[1] == "0000000020000421"


def test_hooks_of_the_runtime_get_the_state(bundle):
    log = bundle.path / "log"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat >> {log}; echo >> {log}"]}
    bundle.config["hooks"] = {point: [hook] for point in ("prestart", "createRuntime", "poststart", "poststop")}
    bundle.run("/bin/true")
    states = [json.loads(line) for line in log.read_text().splitlines()]
    assert [s["status"] for s in states] == ["creating", "creating", "running", "stopped"]
    assert states[0]["pid"] > 1
    bundle.config["hooks"] = {"prestart": [{"path": "/bin/false"}]}
    assert "hooks.prestart[0]" in bundle.run("/bin/true", check=False).stderr


# ---- another engine ----

@pytest.fixture(scope="module")
def podman(tmp_path_factory):
    if not shutil.which("podman"):
        pytest.skip("no podman")
    top = tmp_path_factory.mktemp("podman")
    rootfs = make_rootfs(top / "rootfs")
    run = tempfile.mkdtemp(prefix="buoytest-podman-") # podman takes 50 characters at most
    base = ["podman", "--root", str(top / "root"), "--runroot", run,
            "--cgroup-manager=cgroupfs", "--runtime", RUNTIME]
    subprocess.run(["tar", "-C", rootfs, "-cf", top / "bb.tar", "."], check=True)
    subprocess.run([*base, "import", top / "bb.tar", "bb"], check=True, capture_output=True)
    limits = ["--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]

    def call(verb, *words, **kwargs):
        extra = limits if verb == "run" else []
        return subprocess.run([*base, verb, *extra, *words], capture_output=True, text=True, timeout=60, **kwargs)
    yield call
    call("rm", "-f", "-a", "-t", "0")
    call("system", "reset", "--force")
    subprocess.run(["umount", "-l", str(top / "root/overlay")], capture_output=True)
    shutil.rmtree(run, ignore_errors=True)


def test_podman_runs_on_it(podman):
    assert podman("run", "--rm", "bb", "/bin/echo", "hi").stdout == "hi\n"
    assert podman("run", "--rm", "bb", "sh", "-c", "exit 3").returncode == 3
    assert podman("run", "--rm", "bb", "nothere").returncode == 127
    assert podman("run", "--rm", "bb", "/plain").returncode == 126
    assert podman("run", "--rm", "-i", "bb", "cat", input="in\n").stdout == "in\n"
    assert "Read-only" in podman("run", "--rm", "--read-only", "bb", "touch", "/x").stderr
    done = podman("run", "--rm", "--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536", "bb", "id", "-u")
    assert done.stdout == "0\n", done.stderr


def test_podman_execs_pauses_and_stops(podman):
    started = podman("run", "-d", "--name", "x", "bb", "sleep", "60")
    assert started.returncode == 0, started.stderr
    assert podman("exec", "x", "sh", "-c", "echo in; exit 4").returncode == 4
    assert podman("exec", "-t", "x", "tty").stdout.strip() == "/dev/pts/0"
    assert podman("exec", "x", "nothere").returncode == 127
    assert podman("pause", "x").returncode == 0
    assert podman("unpause", "x").returncode == 0
    assert podman("stop", "-t", "0", "x").returncode == 0
    assert podman("rm", "x").returncode == 0


# ---- events and update, beside runc's ----

def test_events_has_the_shape_of_runcs(bundle):
    id = bundle.create("/bin/sleep", "60")
    bundle("start", id)
    event = json.loads(bundle("events", "--stats", id).stdout)
    assert (event["type"], event["id"]) == ("stats", id)
    assert event["data"]["cpu"]["usage"]["total"] > 0 and event["data"]["memory"]["usage"]["usage"] > 0
    assert event["data"]["pids"]["current"] == 1
    lines = subprocess.run(["timeout", "1", RUNTIME, "--root", bundle.state, "events", "--interval", "200ms", id],
                           capture_output=True, text=True, check=False).stdout.splitlines()
    assert len(lines) >= 2 and all(json.loads(line)["type"] == "stats" for line in lines)
    assert "5s or 300ms" in bundle("events", "--interval", "soon", id, check=False).stderr


def test_update_takes_flags_and_a_file_on_stdin_but_not_both(bundle):
    id = bundle.create("/bin/sleep", "60")
    bundle("update", "--pids-limit", "20", id)
    assert json.loads(bundle("events", "--stats", id).stdout)["data"]["pids"]["limit"] == 20
    bundle("update", "--resources", "-", id, input='{"memory": {"kernel": 0}, "pids": {"limit": 30}}')
    assert json.loads(bundle("events", "--stats", id).stdout)["data"]["pids"]["limit"] == 30
    for words in (("--memory", "abc"), ("--pids-limit", "x"), ("--resources", "-", "--memory", "1m"), ("--nosuch", "1")):
        assert bundle("update", *words, id, check=False, input="{}").returncode == 1


def test_the_log_tells_why_an_exec_failed(bundle):
    id = bundle.create("/bin/sleep", "60")
    bundle("start", id)
    log = bundle.path / "log"
    result = subprocess.run([RUNTIME, "--root", bundle.state, "--log", log, "--log-format", "json", "exec", id, "/nosuch"],
                            capture_output=True, check=False)
    assert result.returncode == 127
    assert "/nosuch" in json.loads(log.read_text())["msg"]
