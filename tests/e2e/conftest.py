# SPDX-License-Identifier: Apache-2.0
"""Machines for end-to-end tests: each is a network namespace with a buoyd of its own.

    def test_x(daemon):                 # one buoyd for the whole run, cleaned between tests
        daemon.docker("run", "--rm", "busybox", "true")
    def test_y(machines):               # fresh ones, joined by a bridge that is "the network"
        a, b = machines(2)

Everything is private: namespaces named buoytest-*, directories below a temporary one. The run
ends with the leak oracle: mounts, namespaces, links, tables, cgroups and processes as before.
"""
import fcntl
import http.client
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import time

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUOY_BUILD", TOP / "build")).resolve()
DOCKER = next((p for p in ("/usr/local/bin/docker", "/usr/bin/docker") if os.access(p, os.X_OK)), None)
PREFIX = "buoytest"
MARK = "BUOYTEST_RUN"
NSENTER = ("nsenter", "--net=/run/netns/{}")
IP_NETNS_EXEC = ("ip", "netns", "exec", "{}")


def sh(*command, check=True, timeout=120, **kwargs):
    """Runs a command and returns it with text output; a failure shows what it said."""
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True,
                            timeout=timeout, errors="replace", **kwargs)
    if check and result.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {result.returncode}\n"
                             f"{result.stdout}{result.stderr}")
    return result


def eventually(probe, timeout=10, every=0.05):
    """Waits until probe() is true and returns it; fails with its last answer."""
    end = time.monotonic() + timeout
    while True:
        try:
            value, failure = probe(), None
        except (AssertionError, OSError) as problem:
            value, failure = None, problem
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {failure or value!r}")
        time.sleep(every)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=60):
        super().__init__("localhost", timeout=timeout)
        self.unix_path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.unix_path)


class Network:
    """A namespace with a bridge that machines are plugged into: the cable between them."""

    def __init__(self, name):
        self.name, self.count = name, 0
        sh("ip", "netns", "add", name)
        sh("ip", "-n", name, "link", "set", "lo", "up")
        sh("ip", "-n", name, "link", "add", "cable", "type", "bridge")
        sh("ip", "-n", name, "addr", "add", "10.99.0.1/24", "dev", "cable")
        sh("ip", "-n", name, "link", "set", "cable", "up")

    def plug(self, netns):
        self.count += 1
        ip = f"10.99.0.{self.count + 1}"
        port = f"port{self.count}"
        sh("ip", "-n", self.name, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", netns)
        sh("ip", "-n", self.name, "link", "set", port, "master", "cable", "up")
        sh("ip", "-n", netns, "addr", "add", f"{ip}/24", "dev", "eth0")
        sh("ip", "-n", netns, "link", "set", "eth0", "up")
        sh("ip", "-n", netns, "route", "add", "default", "via", "10.99.0.1")
        return ip

    def remove(self):
        sh("ip", "netns", "del", self.name, check=False)


class Daemon:
    """A machine: one namespace, one buoyd."""

    namespaces = set()  # inode numbers of the network namespaces of all machines
    containers = set()  # short ids of what ran on machines that are gone

    def __init__(self, name, base, network):
        self.name, self.netns = name, f"{PREFIX}-{os.getpid()}-{name}"
        self.dir = pathlib.Path(base) / name
        self.root, self.run_dir = self.dir / "root", self.dir / "run"
        self.dir.mkdir()
        sh("ip", "netns", "add", self.netns)
        self.inode = os.stat(f"/run/netns/{self.netns}").st_ino
        self.namespaces.add(self.inode)
        sh("ip", "-n", self.netns, "link", "set", "lo", "up")
        self.ip = network.plug(self.netns)
        self.socket = str(self.run_dir / "buoy.sock")
        self.host = f"unix://{self.socket}"
        self.process = None
        self.log = self.dir / "log"

    def start(self, *extra, env=None, wait=True, enter=NSENTER):
        """enter: how the daemon gets into the machine's network; nsenter leaves the mounts alone."""
        command = [*(word.format(self.netns) for word in enter), BUILD / "buoyd", "--root", self.root,
                   "--run", self.run_dir, "--host", self.host, "--name", self.name,
                   "--listen-addr", f"{self.ip}:2377", "--log-level", "debug", *extra]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([str(c) for c in command], stdout=log, stderr=log,
                                            env=dict(os.environ, **(env or {})))
        if wait:
            eventually(self.ready, 15)
        return self

    def ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"buoyd ended with {self.process.returncode}:\n{self.log.read_text()[-600:]}")
        return os.path.exists(self.socket) and self.api("GET", "/_ping")[0] == 200

    def stop(self, sig=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(sig)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"buoyd did not stop:\n{self.log.read_text()[-600:]}") from None

    def kill9(self):
        self.process.kill()
        self.process.wait()

    def pids(self):
        """Every process in this machine's network namespace, its containers' supervisors included,
        and the processes below those."""
        found = {int(p) for p in sh("ip", "netns", "pids", self.netns, check=False).stdout.split()}
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    with open(f"/proc/{entry}/stat") as f:
                        parents[int(entry)] = int(f.read().rpartition(")")[2].split()[1])
                except OSError:
                    pass
        grown = True
        while grown:
            more = {p for p, parent in parents.items() if parent in found} - found
            found |= more
            grown = bool(more)
        return found

    def power_off(self):
        """The machine is gone: daemon, supervisors, containers, all at once."""
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.process:
            self.process.wait()

    def remove(self):
        """Ends containers through the API where possible, then everything that is left. Of a machine
        that went down with containers the cgroups are swept too: in earnest its memory would be gone."""
        down = not self.process or self.process.poll() is not None
        try:
            if self.process and self.process.poll() is None:
                self.api("POST", "/swarm/leave?force=1")
                self.clean()
        except (OSError, AssertionError):
            pass
        try:
            self.stop()
        finally:
            self.power_off()
            time.sleep(0.05)
            self.containers.update(re.findall(r" id=([0-9a-f]{12})", self.log.read_text(errors="replace")))
            if down:
                self.sweep_cgroups()
            unmount_below(self.dir)
            sh("ip", "netns", "del", self.netns, check=False)
            self.namespaces.discard(self.inode) # the number may be another run's next

    def sweep_cgroups(self):
        ids = {p.name for base in (self.root, self.run_dir) for p in base.glob("containers/*")}
        for parent, names, _ in os.walk("/sys/fs/cgroup", topdown=False):
            for name in ids & set(names):
                os.rmdir(os.path.join(parent, name))
            if os.path.basename(parent) == "buoy" and not set(names) - ids:
                try:
                    os.rmdir(parent)
                except OSError: # another run's containers
                    pass

    def clean(self):
        for c in self.json("GET", "/containers/json?all=1"):
            self.api("DELETE", f"/containers/{c['Id']}?force=1&v=1")
        for n in self.json("GET", "/networks"):
            if n["Name"] not in ("bridge", "host", "none"):
                self.api("DELETE", f"/networks/{n['Id']}")
        for v in self.json("GET", "/volumes").get("Volumes") or []:
            self.api("DELETE", f"/volumes/{v['Name']}?force=1")

    # ---- clients ----

    def api(self, method, path, body=None, headers=None, timeout=60):
        """(status, bytes) of one request."""
        connection = UnixConnection(self.socket, timeout)
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            headers = {"Content-Type": "application/json", **(headers or {})}
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def json(self, method, path, body=None, status=None):
        got, text = self.api(method, path, body)
        assert got == status if status else got < 400, f"{method} {path}: {got} {text!r}"
        return json.loads(text) if text else None

    def docker(self, *args, check=True, timeout=120, **kwargs):
        assert DOCKER, "the docker CLI is not installed"
        env = dict(os.environ, DOCKER_HOST=self.host, DOCKER_BUILDKIT="0", HOME=str(self.dir))
        return sh(DOCKER, *args, check=check, timeout=timeout, env=env, **kwargs)

    def buoy(self, *args, check=True, timeout=120, **kwargs):
        env = dict(os.environ, BUOY_HOST=self.host, HOME=str(self.dir))
        return sh(BUILD / "buoy", *args, check=check, timeout=timeout, env=env, **kwargs)

    def cli(self, which, *args, **kwargs):
        return (self.docker if which == "docker" else self.buoy)(*args, **kwargs)

    def inside(self, *command, **kwargs):
        """Runs a command on the machine itself (its network, not a container)."""
        return sh("nsenter", f"--net=/run/netns/{self.netns}", *command, **kwargs)


def unmount_below(path):
    """Mounts that a killed machine left below its own directory."""
    with open("/proc/self/mountinfo") as f:
        points = [line.split()[4] for line in f]
    for point in sorted(points, reverse=True):
        if point.startswith(f"{path}/"):
            sh("umount", "-l", point, check=False)


# ---- images ----

@pytest.fixture(scope="session")
def busybox_tar(tmp_path_factory):
    """A root file system of one static program, as a tar for import."""
    root = tmp_path_factory.mktemp("busybox")
    for d in ("bin", "etc", "tmp", "root", "proc", "sys", "dev", "home"):
        (root / d).mkdir()
    shutil.copy("/bin/busybox", root / "bin/busybox")
    applets = sh("/bin/busybox", "--list").stdout.split()
    for applet in applets:
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\napp:x:1000:\nextra:x:2000:app\n")
    (root / "tmp").chmod(0o1777)
    root.chmod(0o755)
    tar = tmp_path_factory.mktemp("images") / "busybox.tar"
    sh("tar", "-C", root, "--numeric-owner", "--owner=0", "--group=0", "-cf", tar, ".")
    return tar


def load_busybox(daemon, tar):
    with open(tar, "rb") as f:
        status, text = daemon.api("POST", "/images/create?fromSrc=-&repo=busybox&tag=latest", f.read(),
                                  {"Content-Type": "application/x-tar"})
    assert status == 200 and b"errorDetail" not in text, text
    return daemon


# ---- clients ----

class Client:
    """One of the two command lines, pointed at one daemon: cli("ps", "-a") is docker or buoy ps -a."""

    def __init__(self, daemon, which):
        self.daemon, self.which = daemon, which

    def __call__(self, *args, **kwargs):
        return self.daemon.cli(self.which, *args, **kwargs)

    def out(self, *args, **kwargs):
        """What it printed, without the white space around it."""
        return self(*args, **kwargs).stdout.strip()

    def inspect(self, *args):
        return json.loads(self("inspect", *args).stdout)

    def start(self, *args, **kwargs):
        """A client in the background; the caller ends it."""
        return subprocess.Popen([str(c) for c in (self.program(), *args)], env=self.env(), **kwargs)

    def program(self):
        return DOCKER if self.which == "docker" else BUILD / "buoy"

    def env(self):
        return dict(os.environ, DOCKER_HOST=self.daemon.host, BUOY_HOST=self.daemon.host,
                    DOCKER_BUILDKIT="0", HOME=str(self.daemon.dir), TERM="xterm")

    def on_terminal(self, *args, typed=b"", timeout=20, size=None):
        """Runs it on a terminal of its own, types once something was printed; (exit code, what the screen got)."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(self.program(), [str(self.program()), *map(str, args)], self.env())
        if size:
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        screen, end = b"", time.monotonic() + timeout
        while time.monotonic() < end:
            if select.select([terminal], [], [], 0.1)[0]:
                try:
                    screen += os.read(terminal, 65536)
                except OSError:
                    break
            if typed and screen:
                os.write(terminal, typed)
                typed = b""
        else:
            os.kill(pid, signal.SIGKILL)
        os.close(terminal)
        status = os.waitpid(pid, 0)[1]
        return os.waitstatus_to_exitcode(status), screen.decode(errors="replace")


def missing_client(which):
    program = DOCKER if which == "docker" else BUILD / "buoy"
    return None if program and os.access(program, os.X_OK) else f"the {which} command line is not there"


@pytest.fixture(params=["docker", "buoy"])
def cli(request, daemon):
    """The test runs twice: driven by docker, and by buoy."""
    missing = missing_client(request.param)
    assert not missing, missing # half of the tests would be nothing
    return Client(daemon, request.param)


# ---- machines ----

@pytest.fixture(scope="session")
def oracle():
    return LeakOracle()


@pytest.fixture(scope="session")
def lab(oracle):
    """Directory and cable of this run, and the leak oracle around everything."""
    network = Network(f"{PREFIX}-{os.getpid()}-net")
    yield oracle.base, network
    network.remove()
    unmount_below(oracle.base)
    shutil.rmtree(oracle.base)
    leaked = oracle.leaked()
    assert not leaked, "left behind: " + json.dumps(leaked, indent=1)


@pytest.fixture(scope="session")
def shared_daemon(lab, busybox_tar):
    daemon = Daemon("one", *lab)
    try:
        daemon.start()
        load_busybox(daemon, busybox_tar)
        yield daemon
    finally:
        daemon.remove()


@pytest.fixture
def daemon(shared_daemon):
    """The shared machine, without containers."""
    if shared_daemon.process.poll() is not None:
        shared_daemon.start()
    yield shared_daemon
    if shared_daemon.process.poll() is not None:
        shared_daemon.start()
    shared_daemon.clean()


@pytest.fixture
def machines(lab, busybox_tar):
    """machines(n): n fresh ones with busybox, started."""
    made = []

    def make(count, image=True, **kwargs):
        new = []
        for _ in range(count):
            daemon = Daemon(f"m{len(made) + 1}-{time.monotonic_ns() % 100000}", *lab)
            made.append(daemon)
            new.append(daemon)
            daemon.start(**kwargs)
            if image:
                load_busybox(daemon, busybox_tar)
        return new

    yield make
    for daemon in made:
        daemon.remove()
        shutil.rmtree(daemon.dir, ignore_errors=True)


# ---- the leak oracle ----

class LeakOracle:
    """What this run has on the machine, and what of it was not there at first. Other daemons may run
    beside it: then only things with this run's mark count, and cgroups of containers that it ran."""

    def __init__(self):
        os.environ[MARK] = self.mark = f"{os.getpid()}-{time.monotonic_ns()}"
        self.base = tempfile.mkdtemp(prefix=f"{PREFIX}-")
        self.names = f"{PREFIX}-{os.getpid()}-"
        self.others = False
        self.before = self.snapshot()

    def is_ours(self, pid):
        """The process or one above it was started by this run."""
        while pid > 1:
            try:
                if f"{MARK}={self.mark}".encode() in pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    return True
                if os.stat(f"/proc/{pid}/ns/net").st_ino in Daemon.namespaces:
                    return True
                pid = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                return False
        return False

    def processes(self):
        """Ours, and whether there are daemons that are not."""
        ours, others = set(), False
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                command = pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().decode(errors="replace").split("\0")
                name = pathlib.Path(f"/proc/{entry}/comm").read_text().strip()
            except OSError:
                continue
            if not name.startswith("buoy") and str(BUILD) not in command[0]:
                continue
            if self.is_ours(int(entry)):
                ours.add(f"{entry} {name} {command[0]}")
            else:
                others |= name.startswith("buoy")
        return ours, others

    def cgroups(self):
        found = set()
        for parent, names, _ in os.walk("/sys/fs/cgroup"):
            for name in names:
                if "buoy" in parent + name and (not self.others or name[:12] in Daemon.containers):
                    found.add(os.path.join(parent, name))
        return found

    def snapshot(self):
        def lines(*command):
            return set(sh(*command, check=False).stdout.splitlines())

        with open("/proc/self/mountinfo") as f:
            mounts = {" ".join(line.split()[3:5]) for line in f}
        with open("/proc/net/unix") as f:
            sockets = {line.split()[-1] for line in f if "@buoy" in line}
        processes, others = self.processes()
        self.others |= others
        return {
            "mounts": {m for m in mounts if self.base in m or self.names in m},
            "namespaces": {n for n in lines("ip", "netns", "list") if n.startswith(self.names)},
            "links": {line.split(":")[1].split("@")[0].strip() for line in lines("ip", "-o", "link")
                      if line.split(":")[1].strip().startswith(("vb", "buoy0", "by-", "port", "cable"))},
            "tables": {t for t in lines("nft", "list", "tables") if t.startswith("table inet buoy")},
            "cgroups": self.cgroups(),
            "processes": processes,
            "sockets": sockets,
        }

    def leaked(self, timeout=5):
        """Kind by kind what is left behind; {} is how it should be. Gives it time to go."""
        end = time.monotonic() + timeout
        while True:
            after = self.snapshot()
            more = {kind: sorted(after[kind] - self.before[kind]) for kind in after if after[kind] - self.before[kind]}
            if not more or time.monotonic() > end:
                return more
            time.sleep(0.2)
