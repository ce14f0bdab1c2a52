# SPDX-License-Identifier: Apache-2.0
"""checkpoint and restore: what we ask of CRIU and what becomes of container, record and cgroup.

With a stand-in (fake_criu.py) everywhere; with the real one where it works, as in the machine of `tools/vm --criu`.
"""
import array
import json
import os
import pathlib
import shutil
import socket
import subprocess

import pytest

from test_runtime import RUNTIME, TOP, bundle, eventually, pytestmark  # noqa: F401
from test_supervisor import World, alive

FAKE = str(TOP / "tests/e2e/fake_criu.py")
SOFT, FULL = 3, 4


def real_works():
    """None, or why there is no real one."""
    if not shutil.which("criu", path="/usr/sbin:/usr/bin"):
        return "no criu"
    done = subprocess.run(["criu", "check"], capture_output=True, text=True, timeout=60, check=False)
    return None if done.returncode == 0 else f"criu does not work on this kernel: {done.stderr.splitlines()[0]}"


class Checkpoints:
    def __init__(self, bundle, criu):
        self.b, self.criu, self.images = bundle, criu, bundle.path / "images"

    def start(self, script, stdout=subprocess.DEVNULL, options=()):
        self.b.save(["/bin/sh", "-c", script])
        id = self.b.id()
        subprocess.run([RUNTIME, "--root", self.b.state, "run", "--detach", "--bundle", self.b.path, *options, id],
                       check=True, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.DEVNULL, timeout=30)
        return id

    def words(self, verb, id, *options):
        bundle = ("--bundle", self.b.path) if verb == "restore" else ()
        return ["--criu", self.criu, verb, "--image-path", self.images, *bundle, *options, id]

    def checkpoint(self, id, *options, check=True, env=None):
        return self.b(*self.words("checkpoint", id, *options), check=check, env=env)

    def restore(self, id, *options, check=True, env=None, stdout=subprocess.DEVNULL, **kwargs):
        with open(self.b.path / "err", "w") as err:
            done = subprocess.run([RUNTIME, "--root", self.b.state, *map(str, self.words("restore", id, *options))],
                                  stdin=subprocess.DEVNULL, stdout=stdout, stderr=err, timeout=60, check=False, env=env,
                                  **kwargs)
        done.stderr = (self.b.path / "err").read_text()
        assert not check or done.returncode == 0, done.stderr
        return done

    def asked(self):
        return [json.loads(line) for line in (self.images / "requests.json").read_text().splitlines()]

    def pid(self, id):
        return json.loads(self.b("state", id).stdout)["pid"]

    def is_gone(self, id):
        return "does not exist" in self.b("state", id, check=False).stderr


@pytest.fixture
def fake(bundle):
    return Checkpoints(bundle, FAKE)


@pytest.fixture
def real(bundle):
    if why := real_works():
        pytest.skip(why)
    return Checkpoints(bundle, "criu")


COUNTER = "i=0; while :; do i=$((i+1)); echo $i >/work/count; sleep 0.1; done"


def count(cr):
    path = cr.b.path / "rootfs/work/count"
    return int(path.read_text() or 0) if path.exists() else 0


# ---- with the real one ----

def rights(pid):
    """What holds a process: capabilities, filters, and whether a program could give it more."""
    wanted = ("Uid", "Gid", "Cap", "NoNewPrivs", "Seccomp")
    return [line for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(wanted)]


def test_a_real_checkpoint_goes_on_where_it_was(real):
    real.b.config["root"]["readonly"] = False
    real.b.config["process"]["noNewPrivileges"] = True
    real.b.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["kexec_load"], "action": "SCMP_ACT_ERRNO"}]}
    id = real.start(COUNTER)
    eventually(lambda: count(real) > 5, timeout=30)
    before = rights(real.pid(id))
    real.checkpoint(id)
    assert real.is_gone(id)
    seen = count(real)
    pid_file = real.b.path / "pid"
    real.restore(id, "--detach", "--pid-file", pid_file)
    assert real.b.status(id) == "running" and real.pid(id) == int(pid_file.read_text())
    eventually(lambda: count(real) > seen, timeout=20)
    assert count(real) < seen + 200 # it went on and did not begin again
    assert rights(real.pid(id)) == before and "NoNewPrivs:\t1" in before and "Seccomp:\t2" in before
    assert real.b("exec", id, "/bin/sh", "-c", "exit 5", check=False).returncode == 5
    real.b("kill", id, "KILL")
    eventually(lambda: real.b.status(id) == "stopped")


def test_a_real_one_of_a_supervisor_goes_on_where_it_was(real, tmp_path):
    (tmp_path / "world").mkdir()
    world = World(tmp_path / "world")
    try:
        root = {name: tmp_path / name for name in ("upper", "work", "images")}
        for path in root.values():
            path.mkdir()
        (root["upper"] / "work").mkdir()
        layers = [f"lower={world.rootfs}", f"upper={root['upper']}", f"work={root['work']}"]
        id = world.create("sh", "-c", COUNTER, options=layers)
        world.probe("start", id)
        path = root["upper"] / "work/count"
        eventually(lambda: path.exists() and int(path.read_text() or 0) > 5, timeout=30)
        world.probe("checkpoint", id, root["images"])
        assert world.ended(id).code == 137
        seen = int(path.read_text())
        world.probe("forget", id)
        world.create("sh", "-c", COUNTER, options=[*layers, f"restore={root['images']}"])
        id = world.ids[-1]
        world.probe("start", id)
        assert world.probe.state(id).state == "running"
        eventually(lambda: int(path.read_text() or 0) > seen, timeout=20)
        assert int(path.read_text()) < seen + 200
        exec_id = world.exec(id, "sh", "-c", "exit 5")
        world.probe("start", exec_id)
        assert world.ended(exec_id).code == 5
    finally:
        world.close()


def test_a_real_one_that_is_left_running_runs(real):
    real.b.config["root"]["readonly"] = False
    id = real.start(COUNTER)
    eventually(lambda: count(real) > 2, timeout=30)
    real.checkpoint(id, "--pre-dump", "--image-path", real.b.path / "pre")
    real.checkpoint(id, "--leave-running", "--parent-path", "../pre")
    seen, pid = count(real), real.pid(id)
    eventually(lambda: count(real) > seen, timeout=20)
    assert real.b.status(id) == "running" and real.pid(id) == pid


def test_a_real_one_in_a_user_namespace_with_binds(real):
    c = real.b.config
    c["root"]["readonly"] = False
    (real.b.path / "shared").mkdir()
    (real.b.path / "shared").chmod(0o777)
    (real.b.path / "file").write_text("x")
    c["mounts"] += [{"destination": "/data", "type": "bind", "source": str(real.b.path / "shared"), "options": ["bind"]},
                    {"destination": "/etc/one", "type": "bind", "source": str(real.b.path / "file"), "options": ["bind"]}]
    id = real.start("while :; do echo x >>/data/lines; sleep 0.1; done")
    lines = real.b.path / "shared/lines"
    eventually(lines.exists, timeout=30)
    real.checkpoint(id)
    seen = lines.stat().st_size
    real.restore(id, "--detach")
    eventually(lambda: lines.stat().st_size > seen, timeout=20)


def test_a_real_failure_is_told_with_its_log(real):
    id = real.start("exec sleep 60")
    real.images.mkdir()
    (real.images / "descriptors.json").write_text("[]")
    done = real.restore(id + "x", "--detach", check=False)
    real.b.ids.append(id + "x")
    assert done.returncode == 1 and "restore.log" in done.stderr
    assert real.is_gone(id + "x")


# ---- what is asked, and what becomes of the container ----

def test_a_checkpoint_ends_the_container_and_a_restore_makes_it_again(fake):
    fake.b.config["root"]["readonly"] = False
    fake.b.config["process"]["noNewPrivileges"] = True
    id = fake.start("echo begun >>/work/begun; exec sleep 60")
    first = fake.pid(id)
    fake.checkpoint(id)
    assert not alive(first) and fake.is_gone(id)
    assert not list(pathlib.Path("/sys/fs/cgroup").glob(f"**/buoy/{id}"))
    pid_file = fake.b.path / "pid"
    fake.restore(id, "--detach", "--pid-file", pid_file)
    pid = fake.pid(id)
    assert pid == int(pid_file.read_text()) and pid != first and fake.b.status(id) == "running"
    assert "NoNewPrivs:\t1" in rights(pid) # CRIU 3.17 does not see to it
    assert f"/buoy/{id}" in pathlib.Path(f"/proc/{pid}/cgroup").read_text()
    assert fake.b("exec", id, "/bin/sh", "-c", "exit 5", check=False).returncode == 5
    assert str(fake.b.path) not in pathlib.Path("/proc/self/mountinfo").read_text()
    assert str(pid) in fake.b("ps", id).stdout
    dump, restore = fake.asked()
    assert dump["type"] == 1 and dump["pid"] == first and dump["root"] == str(fake.b.path / "rootfs")
    assert restore["keyring"].endswith(f";_ses.{id}") # the processes inherit it
    assert dump["freeze_cgroup"].endswith(f"/buoy/{id}") and dump["manage_cgroups_mode"] == SOFT
    assert not {"leave_running", "tcp_established", "shell_job", "file_locks", "ext_unix_sk"} & set(dump)
    assert restore["type"] == 2 and restore["root"] == str(fake.b.state / id / "criu-root")
    assert f"/buoy/{id}" in restore["cgroup"], "criu itself was not in the container's cgroup"
    assert [f"/buoy/{id}"] == sorted({root[-1] for root in restore["cg_root"]})
    assert "mnt[/proc/kcore]:/dev/null" in restore["external"]
    masked = [p for p in fake.b.config["linux"]["maskedPaths"] if os.path.exists(p)]
    left_out = [p for p in masked if f"mnt[{p}]:{p}" in dump["external"]]
    assert left_out == [p for p in masked if not os.path.isdir(p)], "a masked directory is the container's own"


def test_limits_are_there_again(fake):
    fake.b.config["linux"]["resources"] = {"pids": {"limit": 33}}
    id = fake.start("exec sleep 60")
    fake.checkpoint(id)
    fake.restore(id, "--detach")
    assert {p.read_text() for p in pathlib.Path("/sys/fs/cgroup").glob(f"**/buoy/{id}/pids.max")} == {"33\n"}


def test_options_reach_criu(fake):
    id = fake.start("exec sleep 60")
    reader, writer = os.pipe()
    with os.fdopen(reader), os.fdopen(writer, "w"):
        words = fake.words("checkpoint", id, "--leave-running", "--tcp-established", "--ext-unix-sk", "--shell-job",
                           "--file-locks", "--auto-dedup", "--manage-cgroups-mode", "full", "--empty-ns", "network",
                           "--parent-path", "../pre", "--lazy-pages", "--page-server", "10.0.0.1:27", "--status-fd", writer,
                           "--work-path", fake.b.path / "logs")
        done = subprocess.run([RUNTIME, "--root", fake.b.state, *map(str, words)], pass_fds=[writer], timeout=30, check=False,
                              capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    asked = json.loads((fake.b.path / "logs/requests.json").read_text())
    for flag in ("leave_running", "tcp_established", "ext_unix_sk", "shell_job", "file_locks", "auto_dedup", "track_mem",
                 "lazy_pages", "orphan_pts_master", "notify_scripts"):
        assert asked[flag] == 1, flag
    assert asked["manage_cgroups_mode"] == FULL and asked["empty_ns"] == 0x40000000
    assert asked["parent_img"] == "../pre" and asked["ps"] == ["10.0.0.1", 27] and asked["status_fd"] >= 3
    assert fake.b.status(id) == "running"


def test_a_pre_dump_leaves_it_running(fake):
    id = fake.start("exec sleep 60")
    pid = fake.pid(id)
    fake.checkpoint(id, "--pre-dump")
    asked, = fake.asked()
    assert asked["type"] == 4 and asked["track_mem"] == 1 and (fake.images / "pages.img").exists()
    assert fake.b.status(id) == "running" and fake.pid(id) == pid


def test_a_paused_one_can_be_written_and_one_that_is_not_there_cannot(fake):
    id = fake.start("exec sleep 60")
    fake.b("pause", id)
    fake.checkpoint(id, "--leave-running")
    assert fake.b.status(id) == "paused"
    created = fake.b.create("/bin/sleep", "60")
    for other, says in ((created, "is created: there is nothing to write"), ("nobody", "does not exist")):
        done = fake.checkpoint(other, check=False)
        assert done.returncode == 1 and says in done.stderr
    assert fake.b.status(created) == "created"


def test_pipes_of_stdio_are_handed_over(fake):
    reader, writer = os.pipe()
    id = fake.start("echo begun; sleep 60; true", stdout=writer)
    os.close(writer)
    assert os.read(reader, 100) == b"begun\n"
    fake.checkpoint(id)
    with os.fdopen(reader):
        assert os.read(reader, 100) == b"" # the end: nobody has it
    described = json.loads((fake.images / "descriptors.json").read_text())
    assert described[1].startswith("pipe:[")
    reader, writer = os.pipe()
    fake.restore(id, "--detach", stdout=writer)
    os.close(writer)
    with os.fdopen(reader):
        assert os.read(reader, 100) == b"begun\n"


def test_dev_null_of_the_caller_is_the_container_s_own(fake):
    """CRIU finds no file of another mount namespace again."""
    id = fake.start("exec sleep 60")
    for fd in 0, 1, 2:
        with open(f"/proc/{fake.pid(id)}/fdinfo/{fd}") as f:
            mount = next(line.split()[1] for line in f if line.startswith("mnt_id"))
        with open(f"/proc/{fake.pid(id)}/mountinfo") as f:
            assert mount in [line.split()[0] for line in f]


def test_a_file_of_the_caller_is_handed_over(fake):
    with open(fake.b.path / "out", "w") as out:
        id = fake.start("echo begun; sleep 60; true", stdout=out)
    eventually(lambda: (fake.b.path / "out").read_text() == "begun\n")
    fake.checkpoint(id)
    key = json.loads((fake.images / "descriptors.json").read_text())[1]
    assert key.startswith("file[") and key in fake.asked()[0]["external"]
    with open(fake.b.path / "again", "w") as out:
        fake.restore(id, "--detach", stdout=out)
    eventually(lambda: (fake.b.path / "again").read_text() == "begun\n")


def test_binds_and_a_network_namespace_are_handed_over(fake, tmp_path):
    ns = fake.b.path.name[-8:] + "-cr"
    subprocess.run(["ip", "netns", "add", ns], check=True)
    try:
        path = f"/run/netns/{ns}"
        c = fake.b.config
        (tmp_path / "shared").mkdir()
        (tmp_path / "shared/token").write_text("t")
        c["mounts"].append({"destination": "/data", "type": "bind", "source": str(tmp_path / "shared"), "options": ["bind"]})
        next(n for n in c["linux"]["namespaces"] if n["type"] == "network")["path"] = path
        id = fake.start("test -f /data/token && exec sleep 60")
        inode = os.stat(path).st_ino
        fake.checkpoint(id)
        shutil.rmtree(fake.b.path / "rootfs/data") # as in a root that is made anew
        fake.restore(id, "--detach")
        assert os.stat(f"/proc/{fake.pid(id)}/ns/net").st_ino == inode
        assert fake.b("exec", id, "/bin/cat", "/data/token").stdout == "t"
        dump, restore = fake.asked()
        assert f"net[{inode}]:extRootNetNS" in dump["external"] and "mnt[/data]:/data" in dump["external"]
        assert f"mnt[/data]:{tmp_path}/shared" in restore["external"]
        assert [k for k, _ in restore["inherit_fd"]] == ["extRootNetNS"]
        fake.b("delete", "--force", id)
    finally:
        subprocess.run(["ip", "netns", "del", ns], check=True)


def test_hooks_of_create_run_before_it_goes_on_and_poststop_after(fake):
    log = fake.b.path / "hooks"
    fake.b.config["hooks"] = {point: [{"path": "/bin/sh", "args": ["sh", "-c", f"echo {point} >>{log}"]}]
                              for point in ("prestart", "createRuntime", "poststart", "poststop")}
    id = fake.start("exec sleep 60")
    log.write_text("")
    fake.checkpoint(id)
    assert log.read_text().split() == ["poststop"]
    fake.restore(id, "--detach")
    assert log.read_text().split() == ["poststop", "prestart", "createRuntime"]
    fake.b.config["hooks"]["createRuntime"][0]["args"] = ["sh", "-c", "exit 3"]
    fake.b.save()
    fake.b("delete", "--force", id)
    log.write_text("")
    failed = fake.restore(id, "--detach", check=False)
    assert failed.returncode == 1 and "createRuntime" in failed.stderr
    assert fake.is_gone(id) and log.read_text().split() == ["prestart", "poststop"]


def test_in_the_foreground_it_waits_and_tells_the_exit_code(fake):
    fake.b.config["root"]["readonly"] = False
    id = fake.start("test -e /work/again && exit 7; touch /work/again; exec sleep 60")
    eventually((fake.b.path / "rootfs/work/again").exists)
    (fake.b.path / "rootfs/work/again").unlink()
    fake.checkpoint(id)
    (fake.b.path / "rootfs/work/again").touch()
    image = fake.images / "inventory.img"
    image.write_text(json.dumps(dict(json.loads(image.read_text()), args=["/bin/sh", "-c", "exit 7"])))
    assert fake.restore(id, check=False).returncode == 7
    assert fake.is_gone(id)


def test_a_foreground_run_that_is_checkpointed_leaves_the_rest_to_it(fake):
    log = fake.b.path / "hooks"
    fake.b.config["hooks"] = {"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", f"echo poststop >>{log}"]}]}
    fake.b.save(["/bin/sleep", "60"])
    id = fake.b.id()
    with subprocess.Popen([RUNTIME, "--root", fake.b.state, "run", "--bundle", fake.b.path, id],
                          stdin=subprocess.DEVNULL) as run:
        eventually(lambda: "running" in fake.b("state", id, check=False).stdout)
        fake.checkpoint(id)
        assert run.wait(10) == 137
    assert fake.is_gone(id) and log.read_text() == "poststop\n"


def test_a_terminal_is_handed_to_the_console_socket(fake):
    fake.b.config["process"]["terminal"] = True
    place = fake.b.path / "console"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))
        server.listen()
        id = fake.start("exec sleep 60", options=("--console-socket", place))
        server.accept()[0].close()
        refused = fake.restore(id + "n", "--detach", check=False)
        assert refused.returncode == 1 and "needs --console-socket" in refused.stderr
        fake.checkpoint(id)
        fake.restore(id, "--detach", "--console-socket", place)
        with server.accept()[0] as peer:
            _, control, *_ = peer.recvmsg(100, 100)
            master, = array.array("i", control[0][2])
            assert os.isatty(master)
            os.close(master)


@pytest.mark.parametrize("mode, says", [
    ("dump", ["checkpoint of", "it is a fake", "dump.log", "the first reason", "the last reason"]),
    ("die", ["criu check", "this kernel is not for me"]),
    ("old", ["criu 3.10 is too old", "3.15"]),
])
def test_a_checkpoint_that_fails_says_why_and_the_container_runs_on(fake, mode, says):
    id = fake.start("exec sleep 60")
    pid = fake.pid(id)
    done = fake.checkpoint(id, check=False, env=dict(os.environ, FAKE_CRIU=mode))
    assert done.returncode == 1 and all(s in done.stderr for s in says), done.stderr
    assert fake.b.status(id) == "running" and fake.pid(id) == pid
    assert "checkpoint" not in os.listdir(fake.b.state / id)


@pytest.mark.parametrize("mode, says", [
    ("restore", ["restore of", "it is a fake", "restore.log", "the last reason"]),
    ("die", ["criu check", "this kernel is not for me"]),
    ("killed", ["without an answer"]),
])
def test_a_restore_that_fails_leaves_nothing(fake, mode, says):
    id = fake.start("exec sleep 60")
    fake.checkpoint(id)
    done = fake.restore(id, "--detach", check=False, env=dict(os.environ, FAKE_CRIU=mode))
    assert done.returncode == 1 and all(s in done.stderr for s in says), done.stderr
    assert fake.is_gone(id) and not list(pathlib.Path("/sys/fs/cgroup").glob(f"**/buoy/{id}"))
    fake.restore(id, "--detach")
    assert fake.b.status(id) == "running"


def test_without_criu_it_says_what_is_needed(fake):
    id = fake.start("exec sleep 60")
    fake.criu = "no-such-criu"
    done = fake.checkpoint(id, check=False)
    assert done.returncode == 1 and "no-such-criu: no such program in PATH: checkpoints need CRIU" in done.stderr
    assert fake.b.status(id) == "running"


@pytest.mark.parametrize("verb, words, says", [
    ("checkpoint", ["--parent-path", "/abs"], "must be relative"),
    ("checkpoint", ["--lazy-pages"], "needs --page-server"),
    ("checkpoint", ["--page-server", "here"], "is not ADDRESS:PORT"),
    ("checkpoint", ["--empty-ns", "pid"], "is not network"),
    ("checkpoint", ["--manage-cgroups-mode", "odd"], "is not soft, full, strict or ignore"),
    ("restore", ["--detach"], "no checkpoint"),
])
def test_wrong_words_are_refused(fake, verb, words, says):
    id = fake.start("exec sleep 60")
    fake.images.mkdir()
    done = fake.b(*fake.words(verb, id if verb == "checkpoint" else fake.b.id(), *words), check=False)
    assert done.returncode == 1 and says in done.stderr, done.stderr
    assert fake.b.status(id) == "running"


def test_features_name_checkpoints_whatever_the_machine_has():
    """As features.md wants it: what the program can do."""
    done = subprocess.run([RUNTIME, "--criu", "/nowhere/criu", "features"], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["annotations"]["org.buoy.checkpoint.enabled"] == "true"
