# SPDX-License-Identifier: Apache-2.0
"""Machines for end-to-end tests: each is a network namespace with a buoyd of its own.

    def test_x(daemon):                 # one buoyd for the whole run, cleaned between tests
        daemon.docker("run", "--rm", "busybox", "true")
    def test_y(machines):               # fresh ones, joined by a bridge that is "the network"
        a, b = machines(2)

Everything is private: namespaces named buoytest-*, directories below a temporary one. The run
ends with the leak oracle: mounts, namespaces, links, tables, cgroups and processes as before.
"""
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUOY_BUILD", TOP / "build")).resolve()
DOCKER = next((p for p in ("/usr/local/bin/docker", "/usr/bin/docker") if os.access(p, os.X_OK)), None)
PREFIX = "buoytest"


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

    def __init__(self, name, base, network):
        self.name, self.netns = name, f"{PREFIX}-{os.getpid()}-{name}"
        self.dir = pathlib.Path(base) / name
        self.root, self.run_dir = self.dir / "root", self.dir / "run"
        self.dir.mkdir()
        sh("ip", "netns", "add", self.netns)
        sh("ip", "-n", self.netns, "link", "set", "lo", "up")
        self.ip = network.plug(self.netns)
        self.socket = str(self.run_dir / "buoy.sock")
        self.host = f"unix://{self.socket}"
        self.process = None
        self.log = self.dir / "log"

    def start(self, *extra, env=None, wait=True):
        command = ["ip", "netns", "exec", self.netns, BUILD / "buoyd", "--root", self.root,
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
            raise AssertionError(f"buoyd ended with {self.process.returncode}:\n{self.log.read_text()[-3000:]}")
        return os.path.exists(self.socket) and self.api("GET", "/_ping")[0] == 200

    def stop(self, sig=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(sig)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"buoyd did not stop:\n{self.log.read_text()[-3000:]}") from None

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
        """Ends containers through the API where possible, then everything that is left."""
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
            unmount_below(self.dir)
            sh("ip", "netns", "del", self.netns, check=False)

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
        return sh("ip", "netns", "exec", self.netns, *command, **kwargs)


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
    tar = tmp_path_factory.mktemp("images") / "busybox.tar"
    sh("tar", "-C", root, "--numeric-owner", "--owner=0", "--group=0", "-cf", tar, ".")
    return tar


def load_busybox(daemon, tar):
    with open(tar, "rb") as f:
        status, text = daemon.api("POST", "/images/create?fromSrc=-&repo=busybox&tag=latest", f.read(),
                                  {"Content-Type": "application/x-tar"})
    assert status == 200 and b"errorDetail" not in text, text
    return daemon


# ---- machines ----

@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """Directory and cable of this run, and the leak oracle around everything."""
    before = snapshot()
    base = tempfile.mkdtemp(prefix=f"{PREFIX}-")
    network = Network(f"{PREFIX}-{os.getpid()}-net")
    yield base, network
    network.remove()
    unmount_below(base)
    shutil.rmtree(base)
    leaked = compare(before, eventually_settled(before))
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

def snapshot():
    def lines(*command):
        return set(sh(*command, check=False).stdout.splitlines())

    with open("/proc/self/mountinfo") as f:
        mounts = {" ".join(line.split()[3:5]) for line in f}
    cgroups = set()
    for parent, names, _ in os.walk("/sys/fs/cgroup"):
        cgroups |= {os.path.join(parent, n) for n in names if "buoy" in n or "buoy" in parent}
    processes = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                command = pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
                name = pathlib.Path(f"/proc/{entry}/comm").read_text().strip()
            except OSError:
                continue
            if str(BUILD) in command or name.startswith("buoy"):
                processes.add(f"{entry} {name} {command}")
    return {
        "mounts": mounts,
        "namespaces": {line.split()[0] for line in lines("ip", "netns", "list")},
        "links": {line.split(":")[1].split("@")[0].strip() for line in lines("ip", "-o", "link")},
        "tables": lines("nft", "list", "tables"),
        "cgroups": cgroups,
        "processes": processes,
        "sockets": {line.split()[-1] for line in open("/proc/net/unix") if "@buoy" in line},
    }


def compare(before, after):
    return {kind: sorted(after[kind] - before[kind]) for kind in before if after[kind] - before[kind]}


def eventually_settled(before, timeout=5):
    end = time.monotonic() + timeout
    while True:
        after = snapshot()
        if not compare(before, after) or time.monotonic() > end:
            return after
        time.sleep(0.2)
