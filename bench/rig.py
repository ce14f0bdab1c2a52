# SPDX-License-Identifier: Apache-2.0
"""What bench/run and bench/runtime share: the place, the engines, interleaved measuring, the page.

A bench is a function of (lab, args, table); main() runs it in mount, process and network namespaces of its own,
below one directory in /tmp. When that ends, however it ends, the kernel ends every process it has started.
"""
import argparse
import datetime
import http.client
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("BUOY_BUILD", TOP / "build")).resolve()
PAGE = TOP / "docs/benchmarks.md"
IMAGE = "127.0.0.1:1/bench:1"  # a registry that refuses at once, so that nobody waits for a pull
PROGRAM = "benchprog"  # also the name by which the containers' own processes are told from the rest
PEERS_CGROUPS = ("docker", "conmon", "libpod_parent")  # removed at the end where empty

# What runs in the containers: static, small, ends at once; or says a word, or sleeps.
SOURCE = r"""
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	if (argc > 1 && argv[1][0] == 's')
		for (;;)
			pause();
	return argc > 1 ? puts(argv[1]) < 0 : 0;
}
"""

class Skip(Exception):
    """Why a peer takes no part."""


def sh(*command, check=True, timeout=60, **kwargs):
    try:
        result = subprocess.run([str(c) for c in command], capture_output=True, text=True, errors="replace",
                                timeout=timeout, **kwargs)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise Skip(f"{command[0]}: {problem}") from None
    if check and result.returncode:
        said = (result.stderr or result.stdout).strip().splitlines() or [""]
        raise Skip(f"{' '.join(map(str, command))[:80]}: exit {result.returncode}: {said[-1][:160]}")
    return result


def say(text):
    print(text, file=sys.stderr, flush=True)


# ---- measuring ----

def interleave(rounds, runners):
    """{name: [ms]}: one of each per round, so that a busy moment of the machine meets all of them. One
    round is not counted: it warms caches. A runner that fails leaves, with its reason."""
    times, gone = {name: [] for name in runners}, {}
    for turn in range(rounds + 1):
        for name, runner in runners.items():
            if name in gone:
                continue
            begin = time.perf_counter()
            try:
                runner()
            except Skip as reason:
                gone[name] = str(reason)
                continue
            if turn:
                times[name].append((time.perf_counter() - begin) * 1000)
    return {name: ts for name, ts in times.items() if name not in gone}, gone


def processes():
    """{pid: name}; a namespace of our own shows no others."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                found[int(entry)] = pathlib.Path(f"/proc/{entry}/comm").read_text().strip()
            except OSError:
                pass
    return found


def with_children(found):
    """These processes and all below them."""
    parents = {}
    for pid in processes():
        try:
            parents[pid] = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            pass
    found = set(found)
    while more := {p for p, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def pss(pids):
    """MB of memory of these processes; a page shared by n processes counts 1/n for each."""
    total = 0
    for pid in pids:
        try:
            text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1])
        except OSError:
            pass
    return total / 1024


class Table:
    HEAD = "| What | Buoy | Peer | Peer's | Ratio | Remark |"

    def __init__(self):
        self.rows, self.notes, self.skipped = [], [], []

    def skip(self, who, reason):
        line = f"{who}: {reason}"
        if line not in self.skipped:
            self.skipped.append(line)
            say(f"  left out: {line}")

    def row(self, what, unit, ours, peer, theirs, note=""):
        def show(values):
            text = f"{statistics.median(values):.{2 if unit == 'MB' and values[0] < 1 else 1}f} {unit}"
            return text + (f" ({min(values):.1f})" if len(values) > 1 else "")
        ratio = f"**{statistics.median(theirs) / statistics.median(ours):.1f}x**" if theirs else ""
        cells = [what, show(ours), peer, show(theirs) if theirs else "", ratio, note]
        self.rows.append("| " + " | ".join(cells) + " |")
        say("  " + "  ".join(c for c in cells if c))

    def compare(self, what, times, gone, note=""):
        """Rows for what interleave() gave; the first name of the runners is ours."""
        for name, reason in gone.items():
            self.skip(f"{name} ({what})", reason)
        ours = times.pop("buoy", None)
        for name, theirs in (times if ours else {}).items():
            self.row(what, "ms", ours, name, theirs, note)
        if ours and not times:
            self.row(what, "ms", ours, "", None, note)

    def text(self, args, seconds):
        load = os.getloadavg()
        lines = [
            f"Measured {datetime.date.today()} in {seconds:.0f} s on Linux {platform.release()} "
            f"({platform.machine()}, {os.cpu_count()} CPUs, load {load[0]:.1f} at the end) by `{args.command}`.",
            "", self.HEAD, re.sub(r"[^|]+", "---", self.HEAD), *self.rows, ""]
        lines += [f"- {line}" for line in self.notes] + [f"- Left out: {line}" for line in self.skipped]
        return "\n".join(lines).rstrip() + "\n"


# ---- the engines ----

class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.unix_path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.unix_path)


class Daemon:
    """A daemon with Docker's API in a network namespace of its own."""

    def __init__(self, lab, name, command, ours=False):
        self.dir, self.name, self.ours = lab.dir / name, name, ours
        self.dir.mkdir()
        self.socket = str(self.dir / "sock")
        self.cli = shutil.which("docker")
        inside = lab.inside(name)
        self.ip = lab.address(name)
        with open(self.dir / "log", "wb") as log:
            self.process = subprocess.Popen([str(c) for c in (*inside, *command(self))], stdout=log, stderr=log)
        self.wait_ready(30)
        self.import_image(lab)

    def wait_ready(self, limit):
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if self.process.poll() is not None:
                said = (self.dir / "log").read_text(errors="replace").strip().splitlines() or [""]
                raise Skip(f"ended with {self.process.returncode}: {said[-1][:200]}")
            try:
                return self.api("GET", "/_ping")
            except (OSError, Skip, http.client.HTTPException):
                time.sleep(0.05)
        raise Skip(f"did not answer within {limit} s")

    def import_image(self, lab):
        data = lab.tar.read_bytes()
        self.api("POST", f"/images/create?fromSrc=-&repo={IMAGE[:-2]}&tag=1", data, "application/x-tar")

    def api(self, method, path, body=None, kind="application/json"):
        connection = UnixConnection(self.socket)
        try:
            connection.request(method, path, body, {"Content-Type": kind} if body else {})
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        if response.status >= 400:
            raise Skip(f"{method} {path}: {response.status} {text[:160]!r}")
        return text

    def create(self, *command):
        body = json.dumps({"Image": IMAGE, "Cmd": [f"/{PROGRAM}", *command]})
        return json.loads(self.api("POST", "/containers/create", body))["Id"]

    def run_raw(self):
        """What run --rm does, without the client: create, start, wait, remove."""
        ident = self.create()
        self.api("POST", f"/containers/{ident}/start")
        code = json.loads(self.api("POST", f"/containers/{ident}/wait"))["StatusCode"]
        self.api("DELETE", f"/containers/{ident}")
        if code:
            raise Skip(f"the program ended with {code}")

    def docker(self, *words):
        if not self.cli:
            raise Skip("no docker CLI")
        env = dict(os.environ, DOCKER_HOST=f"unix://{self.socket}", DOCKER_BUILDKIT="0", HOME=str(self.dir))
        return sh(self.cli, *words, env=env).stdout

    def run_cli(self, word=None):
        return self.docker("run", "--rm", IMAGE, f"/{PROGRAM}", *([word] if word else []))

    def own_command(self):
        """`run --rm` by the engine's own client."""
        client = BUILD / "buoy" if self.ours else self.cli or "docker"
        return [client, "-H", f"unix://{self.socket}", "run", "--rm", IMAGE, f"/{PROGRAM}"]

    def run_own(self):
        sh(*self.own_command())

    def build(self, context):
        self.docker("build", "-q", "-t", "built", context)

    def start_idle(self):
        self.api("POST", f"/containers/{self.create('sleep')}/start")

    def remove_all(self):
        for c in json.loads(self.api("GET", "/containers/json?all=1")):
            self.api("DELETE", f"/containers/{c['Id']}?force=1")

    def own(self):
        """The daemon and what it has started for itself."""
        return with_children({self.process.pid})

    def stop(self):
        try:
            self.remove_all()
        except (OSError, Skip):
            pass
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def buoyd(lab, name="buoy"):
    return Daemon(lab, name, lambda d: [
        BUILD / "buoyd", "--root", d.dir / "root", "--run", lab.run / name, "--host", f"unix://{d.socket}",
        "--name", name, "--listen-addr", f"{d.ip}:2377", "--log-level", "warn"], ours=True)


def dockerd(lab, name="dockerd"):
    if not shutil.which("dockerd"):
        raise Skip("not installed")
    return Daemon(lab, name, lambda d: [
        "dockerd", "--data-root", d.dir / "root", "--exec-root", lab.run / name, "--pidfile", d.dir / "pid",
        "-H", f"unix://{d.socket}"])


class Podman:
    """No daemon: every call is the engine."""

    def __init__(self, lab):
        if not shutil.which("podman"):
            raise Skip("not installed")
        base = lab.dir / "podman"
        self.base = [*lab.inside("podman"), "podman", "--root", base / "root", "--runroot", lab.run / "podman",
                     "--tmpdir", base / "tmp", "--cgroup-manager=cgroupfs", "--events-backend=none"]
        self.limits = ["--ulimit", "nofile=20000:20000", "--ulimit", "nproc=4096:4096"]
        sh(*self.base, "import", lab.tar, IMAGE)
        self.run_cli()

    def own_command(self):
        return [*self.base, "run", "--rm", *self.limits, IMAGE, f"/{PROGRAM}"]

    def run_cli(self, word=None):
        return sh(*self.own_command(), *([word] if word else [])).stdout

    def build(self, context):
        sh(*self.base, "build", "-q", "--layers", "-t", "built", context)

    def start_idle(self):
        sh(*self.base, "run", "-d", *self.limits, IMAGE, f"/{PROGRAM}", "sleep")

    def remove_all(self):
        sh(*self.base, "rm", "-f", "-a", "-t", "0", timeout=120)

    def stop(self):
        try:
            self.remove_all()
        except Skip:
            pass


# ---- the place ----

class Lab:
    """A directory, the program, its image as a tar, one network namespace per engine."""

    def __init__(self, directory):
        self.dir, self.nets, self.dead = pathlib.Path(directory), [], []
        self.rootfs = self.dir / "rootfs"
        self.run = self.dir / "run"  # as on most machines, what does not outlive a boot is in memory
        self.run.mkdir()
        sh("mount", "-t", "tmpfs", "-o", "mode=755", "bench", self.run)
        for d in ("proc", "sys", "dev", "etc", "tmp"):
            (self.rootfs / d).mkdir(parents=True)
        (self.dir / "prog.c").write_text(SOURCE)
        sh(os.environ.get("CC", "cc"), "-O2", "-static", "-o", self.rootfs / PROGRAM, self.dir / "prog.c")
        self.tar = self.dir / "image.tar"
        sh("tar", "-C", self.rootfs, "--owner=0", "--group=0", "-cf", self.tar, ".")

        self.cable = self.namespace("cable")
        sh("ip", "-n", self.cable, "link", "add", "cable", "type", "bridge")
        sh("ip", "-n", self.cable, "addr", "add", "10.97.0.1/24", "dev", "cable")
        sh("ip", "-n", self.cable, "link", "set", "cable", "up")

    def namespace(self, name):
        net = f"buoybench-{os.getppid()}-{name}"
        sh("ip", "netns", "add", net)
        self.nets.append(net)
        sh("ip", "-n", net, "link", "set", "lo", "up")
        return net

    def address(self, name):
        """Of the machine of this name; they can all reach each other."""
        return f"10.97.0.{[n.split('-', 2)[2] for n in self.nets].index(name) + 1}"

    def inside(self, name):
        """A machine: the words that put a command into a network namespace of that name."""
        net = self.namespace(name)
        port = f"port{len(self.nets)}"
        sh("ip", "-n", self.cable, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", net)
        sh("ip", "-n", self.cable, "link", "set", port, "master", "cable", "up")
        sh("ip", "-n", net, "addr", "add", f"{self.address(name)}/24", "dev", "eth0")
        sh("ip", "-n", net, "link", "set", "eth0", "up")
        sh("ip", "-n", net, "route", "add", "default", "via", "10.97.0.1")
        return ["nsenter", f"--net=/run/netns/{net}"]

    def power_off(self, daemon):
        """The machine is gone at once: daemon, supervisors, containers."""
        ids = [c["Id"] for c in json.loads(daemon.api("GET", "/containers/json"))]
        net = next(n for n in self.nets if n.endswith(f"-{daemon.name}"))
        for pid in with_children(map(int, sh("ip", "netns", "pids", net).stdout.split())):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        daemon.process.wait()
        self.dead += ids

    def remove(self):
        """A machine that really dies takes its cgroups along; these only played it. The peers leave the
        empty parents of their containers' cgroups."""
        for parent, names, _ in os.walk("/sys/fs/cgroup", topdown=False):
            for name in names:
                if any(ident in name for ident in self.dead) or name in PEERS_CGROUPS:
                    try:
                        os.rmdir(os.path.join(parent, name))
                    except OSError:
                        pass
        for net in self.nets:
            sh("ip", "netns", "del", net, check=False)


def version(program):
    """As in: crun 1.8.1"""
    found = re.search(r"\d+\.\d+[\w.+-]*", sh(program, "--version").stdout)
    return f"{program} {found[0].split('+')[0]}" if found else program


# ---- shared parts ----

def default_seccomp(lab, ours):
    """The filter that our engine gives its containers."""
    if not ours:
        raise Skip("buoyd did not start: the default filter is not known")
    ident = ours.create()
    ours.api("POST", f"/containers/{ident}/start")
    ours.api("POST", f"/containers/{ident}/wait")
    config = json.loads((lab.dir / "buoy/root/containers" / ident / "config.json").read_text())
    ours.api("DELETE", f"/containers/{ident}")
    return config["linux"]["seccomp"]

def settled(before, count):
    """{pid: name} of what is new since processes() was `before`, once all programs have started (or a while has passed). A spare of
    the launcher that has become a supervisor is new: it has another name."""
    for _ in range(50):
        new = {p: comm for p, comm in processes().items() if before.get(p) != comm}
        if list(new.values()).count(PROGRAM) == count:
            break
        time.sleep(0.1)
    return new

def start_engines(lab, table):
    engines, fresh = {}, {}
    for name, start in (("buoy", buoyd), ("docker", dockerd), ("podman", Podman)):
        try:
            engine = start(lab)
            label = name if name == "buoy" else version("dockerd" if name == "docker" else name)
            engines[label] = engine
            if isinstance(engine, Daemon):
                time.sleep(0.5)
                fresh[label] = pss(engine.own())
        except Skip as reason:
            table.skip(name, reason)
    return engines, fresh

# ---- inside and outside of the namespaces ----

def hide_mixed_cgroups(table):
    """crun refuses to work where both versions of cgroups have controllers; all get the same view."""
    mixed = pathlib.Path("/sys/fs/cgroup/unified/cgroup.controllers")
    if mixed.exists() and mixed.read_text().strip():
        sh("umount", "/sys/fs/cgroup/unified")
        table.notes.append("The version 2 cgroup hierarchy was hidden from all: crun refuses a mix of both versions.")


def write_page(name, text):
    """Puts the table of this bench into its place on the page."""
    page = PAGE.read_text()
    begin, end = f"<!-- bench/{name} writes below -->", f"<!-- bench/{name} writes above -->"
    PAGE.write_text(f"{page.split(begin)[0]}{begin}\n{text}{end}{page.split(end)[1]}")
    say(f"wrote {PAGE.relative_to(TOP)}")


def inside(args, table, bench):
    begin = time.monotonic()
    hide_mixed_cgroups(table)
    lab = Lab(args.inside)
    try:
        bench(lab, args, table)
    finally:
        lab.remove()
    text = table.text(args, time.monotonic() - begin)
    print(text)
    if not args.print:
        write_page(pathlib.Path(args.command.split()[0]).name, text)


def main(script, usage, parts, table, bench, **numbers):
    """numbers: the options that are a number each, with their defaults; --quick is a quarter of them."""
    parser = argparse.ArgumentParser(usage=usage)
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--only", type=lambda t: t.split(","), default=parts)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--print", action="store_true")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    args = parser.parse_args()
    for name, default in numbers.items():
        if getattr(args, name) is None:
            setattr(args, name, max(2, default // 4) if args.quick else default)
    args.command = " ".join([f"bench/{pathlib.Path(script).name}", *[f"--{n} {getattr(args, n)}" for n in numbers]])
    if unknown := set(args.only) - set(parts):
        parser.error(f"--only {','.join(unknown)}: the parts are {','.join(parts)}")
    if os.geteuid():
        parser.error("needs root: it makes namespaces")
    if args.inside:
        return inside(args, table(), bench)
    directory = tempfile.mkdtemp(prefix="bench-")
    try:
        command = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc",
                   sys.executable, script, *sys.argv[1:], "--inside", directory]
        return subprocess.run(command).returncode
    finally:
        shutil.rmtree(directory, ignore_errors=True)
