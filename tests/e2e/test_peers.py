# SPDX-License-Identifier: Apache-2.0
"""buoy-runtime under the engines of others: podman, dockerd and containerd's runc shim run containers
with it as with their own runtime. Each engine has directories, a cgroup and (dockerd) a network
namespace of its own; what it leaves behind is looked for afterwards."""
import hashlib
import io
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time

import pytest
from conftest import BUILD, DOCKER, eventually, sh, unmount_below

RUNTIME = BUILD / "buoy-runtime"
NAME = f"buoytest-peer-{os.getpid()}"
KEY_LIMITS = ("root_maxkeys", "root_maxbytes") # dockerd raises them
LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")
FORTY_MIB = 40 << 20
KNOWN_CAPS = (1 << 38) - 1 # the newest three are younger than Debian 12's dockerd
# Says that it runs, and ends with 3 when asked to.
PATIENT = 'trap "exit 3" TERM; echo ready; while :; do sleep 0.05; done'

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not os.access(RUNTIME, os.X_OK), reason="no buoy-runtime"),
]


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            pytest.xfail(f"{program} is not installed (tools/deps peers)")


def cgroups_of(word):
    return [os.path.join(at, n) for at, names, _ in os.walk("/sys/fs/cgroup") for n in names if word in n]


def remove_cgroups():
    """The engines leave the parent that they were given."""
    for path in cgroups_of(NAME):
        below = [p.name for p in pathlib.Path(path).iterdir() if p.is_dir()]
        if below == ["conmon"]: # podman's own, which outlives its monitors
            os.rmdir(os.path.join(path, below.pop()))
        assert not below, f"left behind in {path}: {below}"
        os.rmdir(path)


def on_terminal(command, env=None):
    """(exit code, what the screen got)"""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(command[0], [str(c) for c in command], env or os.environ)
    screen = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            piece = b""
        if not piece:
            break
        screen += piece
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), screen.decode(errors="replace")


def pids_with(word):
    """Processes of which an argument holds this word: an engine's own shims and monitors."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if word.encode() in pathlib.Path(f"/proc/{entry}/cmdline").read_bytes():
                found.append(int(entry))
        except OSError:
            pass
    return [p for p in found if p != os.getpid()]


@pytest.fixture(scope="module")
def place():
    path = pathlib.Path(tempfile.mkdtemp(prefix="buoytest-peer-"))
    yield path
    unmount_below(path)
    shutil.rmtree(path)


@pytest.fixture(autouse=True, scope="module")
def key_limits():
    limits = {n: pathlib.Path("/proc/sys/kernel/keys", n).read_text() for n in KEY_LIMITS}
    yield
    for name, value in limits.items():
        pathlib.Path("/proc/sys/kernel/keys", name).write_text(value)


class Server:
    """A daemon in the background, ended by its pid."""

    def __init__(self, command, log, ready):
        self.log = log
        with open(log, "wb") as out:
            self.process = subprocess.Popen([str(c) for c in command], stdout=out, stderr=subprocess.STDOUT,
                                            stdin=subprocess.DEVNULL)
        eventually(lambda: self.alive() and ready(), 30, 0.1)

    def alive(self):
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        return True

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


# ---- podman and docker: the same verbs ----

class Podman:
    def __init__(self, place, tar):
        need("podman", "conmon")
        self.base = ["podman", "--root", place / "p-root", "--runroot", place / "p-run", "--tmpdir", place / "p-tmp",
                     "--storage-driver", "vfs", "--events-backend", "none", "--cgroup-manager", "cgroupfs",
                     "--runtime", RUNTIME]
        self("import", tar, "bb")

    def words(self, *args):
        if args[0] in ("run", "create"):
            args = (args[0], "--network", "none", "--cgroup-parent", f"/{NAME}", *LIMITS, *args[1:])
        return [*self.base, *args]

    def __call__(self, *args, check=True):
        return sh(*self.words(*args), check=check, stdin=subprocess.DEVNULL)

    def env(self):
        return None

    def done(self):
        self("rm", "-f", "-a", "-t", "0", check=False)


class Dockerd(Podman):
    # pylint: disable=super-init-not-called
    def __init__(self, place, tar):
        need("dockerd", "containerd", "containerd-shim-runc-v2")
        assert DOCKER
        self.host = f"unix://{place}/docker.sock"
        sh("ip", "netns", "add", NAME)
        sh("ip", "-n", NAME, "link", "set", "lo", "up")
        self.server = Server(["nsenter", f"--net=/run/netns/{NAME}", "dockerd", "--data-root", place / "d-root",
                              "--exec-root", place / "d-run", "--pidfile", place / "d-pid", "-H", self.host,
                              "--add-runtime", f"ours={RUNTIME}", "--default-runtime", "ours",
                              "--cgroup-parent", f"/{NAME}", "--storage-driver", "vfs"],
                             place / "dockerd.log", lambda: self("info", check=False).returncode == 0)
        self("import", tar, "bb")

    def words(self, *args):
        return [DOCKER, *args]

    def __call__(self, *args, check=True):
        return sh(*self.words(*args), check=check, env=self.env(), stdin=subprocess.DEVNULL)

    def env(self):
        return dict(os.environ, DOCKER_HOST=self.host)

    def done(self):
        for container in self("ps", "-aq", check=False).stdout.split():
            self("rm", "-f", container, check=False)
        self.server.stop()
        sh("ip", "netns", "del", NAME)


@pytest.fixture(scope="module", params=[Podman, Dockerd], ids=["podman", "dockerd"])
def engine(request, place, busybox_tar):
    made = request.param(place, busybox_tar)
    try:
        yield made
    finally:
        made.done()
    eventually(lambda: not pids_with(str(place)), 10)
    remove_cgroups()


@pytest.fixture
def patient(engine):
    """A running container that ends with 3 on SIGTERM."""
    name = f"c{time.monotonic_ns()}"
    engine("run", "-d", "--name", name, "--ipc", "shareable", "bb", "sh", "-c", PATIENT)
    eventually(lambda: "ready" in engine("logs", name).stdout)
    yield name
    engine("rm", "-f", name, check=False)


def state(engine, name, field):
    return engine("inspect", name, "--format", f"{{{{.State.{field}}}}}").stdout.strip()


def test_a_run_prints_and_passes_exit_codes_on(engine):
    assert engine("run", "--rm", "bb", "echo", "hi").stdout == "hi\n"
    for code in (0, 7, 255):
        assert engine("run", "--rm", "bb", "sh", "-c", f"exit {code}", check=False).returncode == code


def test_a_program_that_cannot_be_run_is_told_apart(engine):
    missing = engine("run", "--rm", "bb", "nosuch", check=False)
    assert missing.returncode == 127 and "not found" in missing.stderr, missing.stderr
    refused = engine("run", "--rm", "bb", "/etc/passwd", check=False)
    assert refused.returncode == 126 and "permission denied" in refused.stderr.lower(), refused.stderr


def test_exec_runs_beside_it_with_its_own_exit_code_user_and_directory(engine, patient):
    assert engine("exec", patient, "echo", "in").stdout == "in\n"
    assert engine("exec", patient, "sh", "-c", "exit 9", check=False).returncode == 9
    assert engine("exec", "-u", "1000:2000", "-w", "/tmp", "-e", "A=b", patient, "sh", "-c",
                  "id -u; id -g; pwd; echo $A").stdout.split() == ["1000", "2000", "/tmp", "b"]
    missing = engine("exec", patient, "nosuch", check=False)
    assert missing.returncode in (126, 127) and "not found" in missing.stdout + missing.stderr


def test_a_terminal_is_one_inside(engine, patient):
    for words in (("run", "--rm", "-t", "bb", "tty"), ("exec", "-t", patient, "tty")):
        code, screen = on_terminal(engine.words(*words), engine.env())
        assert code == 0 and "/dev/pts/" in screen, screen


def test_stop_gives_it_time_and_kill_none(engine, patient):
    engine("stop", "-t", "20", patient)
    assert (state(engine, patient, "ExitCode"), state(engine, patient, "Status")) == ("3", "exited")
    engine("start", patient)
    engine("kill", patient)
    eventually(lambda: state(engine, patient, "Status") == "exited")
    assert state(engine, patient, "ExitCode") == "137"


def test_pause_freezes_every_process(engine, patient):
    engine("pause", patient)
    assert state(engine, patient, "Status") == "paused"
    pid = int(state(engine, patient, "Pid"))
    ticks = [pathlib.Path(f"/proc/{pid}/stat").read_text().split()[13:15] for _ in (0, time.sleep(0.3))]
    assert ticks[0] == ticks[1]
    engine("unpause", patient)
    assert state(engine, patient, "Status") == "running"


def cgroup_file(pid, controller, name):
    """Of the process's cgroup, version 1 or 2."""
    for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        file = pathlib.Path("/sys/fs/cgroup" + (f"/{controller}" if names else "") + path, name)
        if controller in names.split(",") and file.exists():
            return file.read_text().strip()
    pytest.xfail(f"no version 1 cgroup {controller}")


def test_limits_are_the_kernels(engine):
    name = engine("run", "-d", "--memory", "64m", "--pids-limit", "50", "bb", "sleep", "60").stdout.strip()
    pid = state(engine, name, "Pid")
    assert cgroup_file(pid, "memory", "memory.limit_in_bytes") == str(64 << 20)
    assert cgroup_file(pid, "pids", "pids.max") == "50"
    engine("rm", "-f", name)


def test_docker_update_changes_a_running_containers_limits(engine, patient):
    if isinstance(engine, Dockerd):
        engine("update", "--memory", str(FORTY_MIB), "--memory-swap", str(2 * FORTY_MIB), "--pids-limit", "77",
               "--cpu-shares", "512", patient)
        pid = state(engine, patient, "Pid")
        assert cgroup_file(pid, "memory", "memory.limit_in_bytes") == str(FORTY_MIB)
        assert cgroup_file(pid, "pids", "pids.max") == "77"
        assert cgroup_file(pid, "cpu", "cpu.shares") == "512"
    else: # podman 4.3 calls the runtime's update with a file
        engine("update", "--memory", str(FORTY_MIB), "--cpu-shares", "512", patient)
        pid = state(engine, patient, "Pid")
        assert cgroup_file(pid, "memory", "memory.limit_in_bytes") == str(FORTY_MIB)
        assert cgroup_file(pid, "cpu", "cpu.shares") == "512"


def test_top_shows_its_processes(engine, patient):
    assert "sh -c trap" in engine("top", patient).stdout


def test_privileges_are_as_asked(engine):
    shown = engine("run", "--rm", "--user", "1000:1000", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
                   "--read-only", "bb", "sh", "-c", "cat /proc/self/status; touch /x || echo read-only").stdout
    for line in ("CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "Uid:\t1000", "read-only"):
        assert line in shown, shown
    shown = engine("run", "--rm", "--privileged", "bb", "cat", "/proc/self/status").stdout
    ours, theirs = (int(re.search(r"CapBnd:\s*(\w+)", text).group(1), 16) & KNOWN_CAPS
                    for text in (pathlib.Path("/proc/self/status").read_text(), shown))
    assert ours == theirs, shown


def test_volumes_and_temporary_file_systems(engine, place):
    (place / "shared").mkdir(exist_ok=True)
    engine("run", "--rm", "-v", f"{place}/shared:/s", "--tmpfs", "/t:size=1m", "bb", "sh", "-c",
           "grep ' /t tmpfs' /proc/mounts && echo there > /s/file")
    assert (place / "shared/file").read_text() == "there\n"


def test_a_restart_runs_it_again(engine, patient):
    before = state(engine, patient, "Pid")
    engine("restart", "-t", "0", patient)
    assert state(engine, patient, "Status") == "running" and state(engine, patient, "Pid") != before


def test_podman_init_and_pod_like_namespaces_are_joined(engine, patient):
    """--pid and --ipc container: join by path."""
    shown = engine("run", "--rm", "--pid", f"container:{patient}", "--ipc", f"container:{patient}", "bb", "ps").stdout
    assert "trap" in shown
    own = state(engine, patient, "Pid")
    theirs = engine("run", "-d", "--ipc", f"container:{patient}", "bb", "sleep", "60").stdout.strip()
    assert os.readlink(f"/proc/{own}/ns/ipc") == os.readlink(f"/proc/{state(engine, theirs, 'Pid')}/ns/ipc")
    engine("rm", "-f", theirs)


# ---- containerd, by way of its runc shim ----

CONTAINERD = """version = 2
root = "{0}/ct-root"
state = "{0}/ct-state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
address = "{0}/ct.sock"
"""


def write_image(layer_tar, path):
    """What `docker save` writes: one layer, one config, one manifest."""
    layer = layer_tar.read_bytes()
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"]}, "rootfs": {
        "type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": ["docker.io/library/bb:latest"],
                            "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, "w") as tar:
        for name, data in (("config.json", config), ("layer.tar", layer), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


class Containerd:
    def __init__(self, place, tar):
        need("containerd", "ctr", "containerd-shim-runc-v2")
        self.place = place
        (place / "containerd.toml").write_text(CONTAINERD.format(place))
        self.server = Server(["containerd", "-c", place / "containerd.toml"], place / "containerd.log",
                             lambda: self("version", check=False).returncode == 0)
        write_image(tar, place / "image.tar")
        self("image", "import", "--snapshotter", "native", place / "image.tar")

    def words(self, *args):
        words = ["ctr", "-a", self.place / "ct.sock", "-n", NAME, *args]
        if args[0] == "run":
            words[6:] = ["--runc-binary", RUNTIME, "--runc-root", self.place / "ct-runc", "--snapshotter", "native",
                         "--fifo-dir", self.place / "fifo", *args[1:]]
        elif args[:2] == ("task", "exec"):
            words[7:] = ["--fifo-dir", self.place / "fifo", *args[2:]]
        return words

    def __call__(self, *args, check=True):
        return sh(*self.words(*args), check=check, stdin=subprocess.DEVNULL)

    def status(self, name):
        found = re.search(rf"^{name} +(\d+) +(\w+)", self("task", "ls").stdout, re.M)
        return found and (int(found.group(1)), found.group(2))

    def remove(self, name):
        self("task", "kill", "-s", "KILL", name, check=False)
        eventually(lambda: (self.status(name) or (0, "STOPPED"))[1] == "STOPPED")
        self("task", "rm", name)
        self("container", "rm", name)


IMAGE = "docker.io/library/bb:latest"


@pytest.fixture(scope="module")
def ctr(place, busybox_tar):
    made = Containerd(place, busybox_tar)
    try:
        yield made
    finally:
        made.server.stop()
    eventually(lambda: not pids_with(f"{place}/ct")) # dockerd may still be there
    remove_cgroups()


@pytest.fixture
def task(ctr):
    name = f"c{time.monotonic_ns()}"
    ctr("run", "-d", "--memory-limit", str(FORTY_MIB), IMAGE, name, "sh", "-c", PATIENT)
    yield name
    ctr.remove(name)


def test_containerd_runs_and_passes_exit_codes_on(ctr):
    assert ctr("run", "--rm", IMAGE, "one", "echo", "hi").stdout == "hi\n"
    assert ctr("run", "--rm", IMAGE, "two", "sh", "-c", "exit 7", check=False).returncode == 7
    missing = ctr("run", "--rm", IMAGE, "three", "nosuch", check=False)
    assert missing.returncode != 0 and 'exec: "nosuch": executable file not found in $PATH' in missing.stderr
    assert not list((ctr.place / "ct-runc" / NAME).iterdir()), "the runtime's state outlives its containers"


def test_containerd_execs_and_lists_processes(ctr, task):
    assert ctr("task", "exec", "--exec-id", "e1", task, "echo", "in").stdout == "in\n"
    assert ctr("task", "exec", "--exec-id", "e2", task, "sh", "-c", "exit 9", check=False).returncode == 9
    pid, _ = ctr.status(task)
    assert str(pid) in ctr("task", "ps", task).stdout
    assert cgroup_file(pid, "memory", "memory.limit_in_bytes") == str(FORTY_MIB)


def test_containerd_gives_a_terminal(ctr, task):
    code, screen = on_terminal(ctr.words("run", "--rm", "-t", IMAGE, "tt", "tty"))
    assert code == 0 and "/dev/pts/" in screen, screen
    code, screen = on_terminal(ctr.words("task", "exec", "-t", "--exec-id", "t1", task, "tty"))
    assert code == 0 and "/dev/pts/" in screen, screen


def test_containerd_pauses_resumes_signals_and_removes(ctr):
    ctr("run", "-d", IMAGE, "ps", "sh", "-c", PATIENT)
    ctr("task", "pause", "ps")
    assert ctr.status("ps")[1] == "PAUSED"
    ctr("task", "resume", "ps")
    assert ctr.status("ps")[1] == "RUNNING"
    ctr("task", "kill", "-s", "TERM", "ps")
    eventually(lambda: ctr.status("ps")[1] == "STOPPED")
    assert "exit code 3" in ctr("task", "rm", "ps").stderr
    ctr("container", "rm", "ps")


def test_containerd_kills_all_and_reports_the_signal(ctr):
    ctr("run", "-d", IMAGE, "ka", "sleep", "60")
    ctr("task", "kill", "-a", "-s", "KILL", "ka")
    eventually(lambda: ctr.status("ka")[1] == "STOPPED")
    assert "exit code 137" in ctr("task", "rm", "ka").stderr
    ctr("container", "rm", "ka")
