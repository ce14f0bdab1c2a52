# SPDX-License-Identifier: Apache-2.0
"""The launcher and its supervisors, driven through runtime/launcher.h by launcher_probe."""
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from conftest import eventually

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUOY_BUILD", TOP / "build")).resolve()
RUNTIME = os.environ.get("BUOY_RUNTIME", str(BUILD / "buoy-runtime"))
PROBE = os.environ.get("BUOY_PROBE", str(BUILD / "tests/e2e/launcher_probe"))
BUSYBOX = "/bin/busybox"

CONFLICT, NOT_FOUND, INVALID, DENIED = 4, 3, 1, 2

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not os.access(RUNTIME, os.X_OK), reason="no buoy-runtime"),
    pytest.mark.skipif(not os.access(PROBE, os.X_OK), reason="no launcher_probe"),
    pytest.mark.skipif(not os.access(BUSYBOX, os.X_OK), reason="no busybox-static"),
]


class Refused(Exception):
    def __init__(self, kind, words):
        super().__init__(f"{kind}: {words}")
        self.kind, self.words = kind, words


class Probe:
    def __init__(self, run_dir, env=None):
        self.process = subprocess.Popen([PROBE, RUNTIME, str(run_dir)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **(env or {})})
        self._answer()

    def _answer(self):
        line = self.process.stdout.readline().strip()
        word, _, rest = line.partition(" ")
        if word == "ok":
            return rest
        kind, _, words = rest.partition(" ")
        raise Refused(int(kind or -1), words)

    def __call__(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def state(self, id):
        return Seen(self("state", id))

    def exit(self, id):
        return Seen(self("exit", id))

    def wait(self, name):
        return Seen(self("wait", name))

    def read(self, name, size=65536, timeout_ms=3000):
        got = self("read", name, size, timeout_ms)
        return None if got == "-" else bytes.fromhex(got)

    def read_all(self, name):
        data = b""
        while chunk := self.read(name, timeout_ms=10000):
            data += chunk
        return data

    def stop(self):
        self.process.stdin.close()
        self.process.wait(10)


class Seen:
    def __init__(self, text):
        final, self.state, pid, code, oom, started, finished = text.split()
        self.final, self.oom = final == "1", oom == "1"
        self.pid, self.code, self.started, self.finished = int(pid), int(code), int(started), int(finished)


def frames(data):
    out = {1: b"", 2: b""}
    while data:
        n = int.from_bytes(data[4:8], "big")
        out[data[0]] += data[8:8 + n]
        data = data[8 + n:]
    return out


class World:
    """A run directory, bundles with a busybox root, and everything ended afterwards."""

    def __init__(self, tmp):
        self.tmp, self.count, self.ids = tmp, 0, []
        self.run = tmp / "run"
        self.run.mkdir(mode=0o700)
        self.rootfs = tmp / "rootfs"
        for name in ("bin", "proc", "dev", "sys", "tmp", "etc"):
            (self.rootfs / name).mkdir(parents=True)
        shutil.copy(BUSYBOX, self.rootfs / "bin/busybox")
        for applet in ("sh", "cat", "sleep", "echo", "true", "false", "seq", "yes", "head", "stty", "dd", "id"):
            (self.rootfs / "bin" / applet).symlink_to("busybox")
        self.probe = Probe(self.run)

    def bundle(self, *args, terminal=False, memory=None, uid=0, large=False):
        self.count += 1
        path = self.tmp / f"bundle{self.count}"
        path.mkdir()
        if self.count > 0 and not (path / "rootfs").exists():
            (path / "rootfs").symlink_to(self.rootfs)
        config = {
            "ociVersion": "1.0.2",
            "process": self.process(*args, terminal=terminal, uid=uid),
            "root": {"path": str(self.rootfs), "readonly": False},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
                       {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                        "options": ["nosuid", "mode=755"]},
                       {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                        "options": ["newinstance", "ptmxmode=0666"]}],
            "linux": {"namespaces": [{"type": t} for t in ("pid", "mount", "ipc", "uts", "network")],
                      "resources": {}},
        }
        if large:  # about what an engine writes
            calls = subprocess.run(["ausyscall", "--dump"], capture_output=True, text=True).stdout if shutil.which("ausyscall") else ""
            names = [line.split()[1] for line in calls.splitlines()[1:]] or ["read", "write", "openat", "execve"] * 100
            config["process"]["env"] += [f"VARIABLE_{i}=" + "x" * 100 for i in range(100)]
            config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
                                          "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]}
            config["linux"]["maskedPaths"] = ["/proc/kcore", "/proc/keys", "/proc/timer_list"]
            config["annotations"] = {f"org.example.{i}": "y" * 100 for i in range(100)}
        if memory:
            config["linux"]["resources"]["memory"] = {"limit": memory, "swap": memory}
        (path / "config.json").write_text(json.dumps(config))
        return path

    @staticmethod
    def process(*args, terminal=False, uid=0):
        return {"terminal": terminal, "user": {"uid": uid, "gid": uid}, "args": list(args), "cwd": "/",
                "env": ["PATH=/bin:/usr/bin"]}

    def create(self, *args, options=(), **kwargs):
        id = f"buoysup-s{os.getpid()}-{len(self.ids)}"
        self.ids.append(id)
        self.probe("create", id, self.bundle(*args, **kwargs), *options)
        return id

    def exec(self, container, *args, options=(), terminal=False):
        id = f"buoysup-s{os.getpid()}-{len(self.ids)}"
        self.ids.append(id)
        file = self.tmp / f"{id}.json"
        file.write_text(json.dumps(self.process(*args, terminal=terminal)))
        self.probe("create", id, "-", f"exec={container}", f"process={file}", *options)
        return id

    def record(self, id):
        return json.loads((self.run / id / "state.json").read_text())

    def ended(self, id, timeout=10):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if (self.run / id / "exit.json").exists():
                return self.probe.exit(id)
            time.sleep(0.01)
        raise AssertionError(f"{id} has not ended")

    def close(self):
        for id in reversed(self.ids):
            try:
                self.probe("kill", id, 9)
                self.ended(id)
            except (Refused, AssertionError):
                pass
            try:
                self.probe("forget", id)
            except Refused:
                pass
        left = list(self.run.iterdir())
        self.probe.stop()
        assert not left


@pytest.fixture
def world(tmp_path):
    w = World(tmp_path)
    yield w
    w.close()


def alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def cgroups(id):
    return subprocess.run(["find", "/sys/fs/cgroup", "-name", id], capture_output=True, text=True).stdout.split()


def test_a_container_is_created_started_and_its_exit_recorded(world):
    p = world.probe
    id = world.create("sh", "-c", "exit 7")
    seen = p.state(id)
    assert seen.state == "created" and alive(seen.pid)
    p("watch", "w", id)
    p("start", id)
    event = p.wait("w")
    assert event.state == "running" and event.started > 0
    event = p.wait("w")
    assert event.final and event.code == 7 and event.finished >= event.started
    record = p.exit(id)
    assert record.code == 7 and record.state == "stopped"
    with pytest.raises(Refused) as refused:
        p("state", id)
    assert refused.value.kind == NOT_FOUND
    assert cgroups(id) == []


def test_output_reaches_who_attached_before_the_start(world):
    p = world.probe
    id = world.create("sh", "-c", "echo out; echo err >&2; echo -n more")
    p("attach", "a", id, "out,err")
    p("start", id)
    got = frames(p.read_all("a"))
    assert got == {1: b"out\nmore", 2: b"err\n"}
    p("close", "a")


def test_all_output_of_a_quick_process_arrives(world):
    p = world.probe
    for i in range(10):
        id = world.create("seq", "1", "3000")
        name = f"a{i}"
        p("attach", name, id, "out")
        p("start", id)
        assert frames(p.read_all(name))[1].split()[-1] == b"3000"
        p("close", name)


def test_stdin_is_piped_and_half_close_ends_it(world):
    p = world.probe
    id = world.create("cat", options=["stdin", "once"])
    p("attach", "a", id, "in,out")
    p("start", id)
    p("write", "a", b"hello".hex())
    assert frames(p.read("a"))[1] == b"hello"
    p("write", "a", b"bye".hex())
    p("shut", "a")
    assert frames(p.read_all("a"))[1] == b"bye"
    assert world.ended(id).code == 0


def test_without_stdin_a_reader_sees_the_end_at_once(world):
    id = world.create("cat")
    world.probe("start", id)
    assert world.ended(id).code == 0


def test_logs_replays_what_was_before(world):
    p = world.probe
    id = world.create("sh", "-c", "echo early; sleep 30")
    p("start", id)
    time.sleep(0.3)
    p("attach", "a", id, "out,logs")
    assert frames(p.read("a"))[1] == b"early\n"
    p("close", "a")


def test_the_log_is_dockers_json_lines_and_rotates(world, tmp_path):
    p = world.probe
    logs = tmp_path / "logs"
    logs.mkdir()
    id = world.create("sh", "-c", "echo one; echo two >&2; seq 1 5000; echo -n end",
                      options=[f"log={logs}", "log_size=100000", "log_files=3"])
    p("start", id)
    world.ended(id)
    files = [logs / "x-json.log.2", logs / "x-json.log.1", logs / "x-json.log"]
    assert sorted(f.name for f in logs.iterdir()) == sorted(f.name for f in files)
    lines = [json.loads(line) for f in files for line in f.read_text().splitlines()]
    assert all(f.stat().st_size <= 100000 for f in files)
    assert lines[-1]["log"] == "end" and lines[-1]["stream"] == "stdout"
    numbers = [int(line["log"]) for line in lines[:-1] if line["stream"] == "stdout"]
    assert numbers == list(range(numbers[0], 5001))


def test_a_terminal_is_raw_and_resizes(world):
    p = world.probe
    id = world.create("sh", "-c", "stty size; read x; stty size", terminal=True,
                      options=["stdin", "rows=30", "cols=100"])
    p("attach", "a", id, "in,out")
    p("start", id)
    assert p.read("a") == b"30 100\r\n"
    p("resize", id, 40, 90)
    p("write", "a", b"\n".hex())
    assert p.read_all("a").endswith(b"40 90\r\n")
    p("close", "a")


def test_signals_and_exit_codes(world):
    p = world.probe
    for number, code in ((9, 137), (15, 143)):
        id = world.create("sh", "-c", "trap 'exit 143' TERM; while :; do sleep 0.05; done")
        p("start", id)
        time.sleep(0.2)
        p("kill", id, number)
        assert world.ended(id).code == code


def test_a_missing_program_is_said_at_the_start(world):
    p = world.probe
    id = world.create("no-such-program")
    with pytest.raises(Refused) as refused:
        p("start", id)
    assert refused.value.kind == NOT_FOUND and "executable file not found in $PATH" in refused.value.words
    assert world.ended(id).code == 127


def test_an_id_is_used_once(world):
    id = world.create("sleep", "30")
    with pytest.raises(Refused) as refused:
        world.probe("create", id, world.bundle("true"))
    assert refused.value.kind == CONFLICT
    assert world.probe.state(id).state == "created"


def test_a_bad_config_leaves_nothing(world):
    bundle = world.bundle("true")
    (bundle / "config.json").write_text('{"ociVersion": "1.0.2", "process": {"args": 7}}')
    with pytest.raises(Refused) as refused:
        world.probe("create", "buoysup-bad", bundle)
    assert refused.value.kind == INVALID and "args" in refused.value.words
    assert list(world.run.iterdir()) == []


def test_the_launcher_is_started_again_and_supervisors_stay(world):
    p = world.probe
    id = world.create("sleep", "30")
    p("start", id)
    before = int(p("launcher"))
    os.kill(before, signal.SIGKILL)
    assert p.state(id).state == "running"
    eventually(lambda: not alive(before))  # until then its spares may take a request
    other = world.create("true")
    assert int(p("launcher")) != before
    p("start", other)
    assert world.ended(other).code == 0


def spares(launcher):
    return subprocess.run(["pgrep", "-P", str(launcher), "-x", "buoy-launcher"], capture_output=True, text=True).stdout.split()


def test_there_is_a_spare_whatever_happens_to_the_others(world):
    p = world.probe
    launcher = int(p("launcher"))
    eventually(lambda: len(spares(launcher)) == 2)
    for spare in spares(launcher):
        os.kill(int(spare), signal.SIGKILL)
    ids = [world.create("true") for _ in range(5)]  # none is started: each launch is under way for a while
    assert spares(launcher)
    for id in ids:
        p("start", id)
        assert world.ended(id).code == 0
    eventually(lambda: len(spares(launcher)) == 2)
    p.stop()
    eventually(lambda: not alive(launcher) and not spares(launcher))
    world.probe = Probe(world.run)


LOOK = """
import ctypes, os, sys
for fd in os.listdir(sys.argv[1]):
    link = os.path.join(sys.argv[1], fd)
    if os.readlink(link).startswith("mnt:") and os.stat(link).st_ino != os.stat("/proc/self/ns/mnt").st_ino:
        there = os.open(link, os.O_RDONLY)
assert ctypes.CDLL(None).setns(there, 0x20000) == 0
print(os.listdir("/"), os.statvfs("/").f_flag & os.ST_RDONLY)
print(open("/proc/self/mountinfo").read())
"""


def test_containers_are_born_from_a_mount_namespace_without_the_hosts(world):
    launcher = int(world.probe("launcher"))
    done = subprocess.run([sys.executable, "-c", LOOK, f"/proc/{launcher}/fd"], capture_output=True, text=True, check=True)
    first, *mounts = done.stdout.splitlines()
    assert sorted(first.split("'")[1::2]) == ["dev", "proc", "sys"] and first.endswith(" 1")
    places = [line.split()[4] for line in mounts if line]
    assert {place.split("/")[1] for place in places} == {"", "proc", "sys", "dev"}
    assert not any("shared:" in line or "master:" in line for line in mounts)


def test_a_killed_engine_finds_everything_again(world):
    p = world.probe
    id = world.create("sh", "-c", "read x; exit 5", options=["stdin"])
    p("start", id)
    launcher = int(p("launcher"))
    p.process.kill()
    p.process.wait()
    world.probe = p = Probe(world.run)
    deadline = time.monotonic() + 3
    while alive(launcher) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(launcher)
    assert p.state(id).state == "running"
    p("watch", "w", id)
    p("attach", "a", id, "in")
    p("write", "a", b"x\n".hex())
    event = p.wait("w")
    assert event.final and event.code == 5
    p("close", "a")


def test_an_exit_while_the_engine_is_away_is_kept(world):
    p = world.probe
    id = world.create("sh", "-c", "sleep 0.3; exit 9")
    p("start", id)
    p.process.kill()
    p.process.wait()
    time.sleep(0.8)
    world.probe = Probe(world.run)
    assert world.probe.exit(id).code == 9
    assert cgroups(id) == []


def test_a_killed_supervisor_takes_its_container_along(world):
    p = world.probe
    id = world.create("sh", "-c", "sleep 1000 & sleep 1000")
    p("start", id)
    time.sleep(0.2)
    pids = [int(x) for x in p("pids", id).split()]
    assert len(pids) >= 2
    p("watch", "w", id)
    os.kill(world.record(id)["supervisor"], signal.SIGKILL)
    with pytest.raises(Refused):
        p.wait("w")
    deadline = time.monotonic() + 2
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(alive(pid) for pid in pids)  # even if no engine is there to clean up
    with pytest.raises(Refused) as refused:
        p.exit(id)
    assert refused.value.kind == NOT_FOUND
    p("forget", id)
    assert not any(alive(pid) for pid in pids)
    assert cgroups(id) == [] and not (world.run / id).exists()


def test_forget_refuses_what_runs(world):
    id = world.create("sleep", "30")
    with pytest.raises(Refused) as refused:
        world.probe("forget", id)
    assert refused.value.kind == CONFLICT


def test_pause_holds_and_kill_ends_the_paused(world):
    p = world.probe
    id = world.create("sh", "-c", "while :; do echo x; sleep 0.02; done")
    p("attach", "a", id, "out")
    p("start", id)
    p.read("a")
    p("pause", id, 1)
    assert p.state(id).state == "paused"
    while p.read("a", timeout_ms=100):
        pass
    assert p.read("a", timeout_ms=200) is None
    p("pause", id, 0)
    assert p.read("a")
    p("pause", id, 1)
    p("kill", id, 9)
    assert world.ended(id).code == 137
    p("close", "a")


def test_exec_runs_in_the_container(world):
    p = world.probe
    id = world.create("sleep", "30")
    with pytest.raises(Refused) as refused:
        world.exec(id, "true")
    assert refused.value.kind == CONFLICT
    p("start", id)
    e = world.exec(id, "sh", "-c", "cat; exit 3", options=["stdin", "once"])
    p("attach", "e", e, "in,out")
    p("start", e)
    p("write", "e", b"in".hex())
    p("shut", "e")
    assert frames(p.read_all("e"))[1] == b"in"
    assert world.ended(e).code == 3
    assert p.state(id).state == "running"
    p("close", "e")


def test_stats_and_limits(world):
    p = world.probe
    id = world.create("sleep", "30", memory=64 << 20)
    p("start", id)
    stats = json.loads(p("stats", id))
    assert stats["memory"]["limit"] == 64 << 20 and stats["memory"]["usage"] > 0
    assert stats["cpu"]["total_ns"] > 0 and stats["pids"]["current"] >= 1
    p("update", id, json.dumps({"memory": {"limit": 128 << 20, "swap": 128 << 20}}, separators=(",", ":")))
    assert json.loads(p("stats", id))["memory"]["limit"] == 128 << 20


def test_oom_is_told_of_the_main_process_only(world):
    p = world.probe
    main = world.create("dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1", memory=16 << 20)
    p("start", main)
    seen = world.ended(main)
    assert seen.code == 137 and seen.oom
    child = world.create("sh", "-c", "dd if=/dev/zero of=/dev/null bs=100M count=1; sleep 0.2; exit 4", memory=16 << 20)
    p("start", child)
    seen = world.ended(child)
    assert seen.code == 4 and not seen.oom
    assert json.loads((world.run / child / "exit.json").read_text())["oom_kills"] >= 1
    killed = world.create("sh", "-c", "dd if=/dev/zero of=/dev/null bs=100M count=1; sleep 30", memory=16 << 20)
    p("start", killed)
    time.sleep(1)
    p("kill", killed, 9)
    seen = world.ended(killed)
    assert seen.code == 137 and not seen.oom


def rss(pid):
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Rss:"):
            return int(line.split()[1])


def pss(pid):
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1])


def test_a_flood_of_output_costs_no_memory_and_loses_nothing(world, tmp_path):
    p = world.probe
    logs = tmp_path / "logs"
    logs.mkdir()
    id = world.create("dd", "if=/dev/zero", "bs=64k", "count=4000",
                      options=[f"log={logs}", "log_size=1000000", "log_files=2"])
    p("attach", "a", id, "out")
    supervisor = world.record(id)["supervisor"]
    p("start", id)
    before, peak, got = rss(supervisor), 0, 0
    time.sleep(1)  # nobody reads: the process must wait
    peak = rss(supervisor)
    while chunk := p.read("a", 256 * 1024, 10000):
        got += len(chunk)
        if got % 7 == 0 and alive(supervisor):
            try:
                peak = max(peak, rss(supervisor) or 0)
            except OSError:
                pass
    assert got >= 4000 * 65536
    assert peak - before < 8192
    assert sum(f.stat().st_size for f in logs.iterdir()) <= 2000000
    p("close", "a")


def test_attached_clients_come_and_go_without_a_trace(world):
    p = world.probe
    id = world.create("sh", "-c", "while :; do echo x; sleep 0.01; done")
    p("start", id)
    supervisor = world.record(id)["supervisor"]

    def fds():
        return len(os.listdir(f"/proc/{supervisor}/fd"))

    p("attach", "a", id, "out,logs")
    p("close", "a")
    time.sleep(0.1)
    before, memory = fds(), rss(supervisor)
    for _ in range(1000):
        p("attach", "a", id, "in,out,err,logs")
        p("close", "a")
    time.sleep(0.3)
    assert fds() <= before
    assert rss(supervisor) - memory < 400


def test_a_supervisor_is_small(world):
    p = world.probe
    ids = [world.create("sleep", "1000", large=True) for _ in range(int(os.environ.get("BUOY_SUPERVISORS", "20")))]
    for id in ids:
        p("start", id)
    time.sleep(1.5)
    sizes = [pss(world.record(id)["supervisor"]) for id in ids]
    print(f"{len(ids)} supervisors: PSS {min(sizes)} to {max(sizes)} kB, mean {sum(sizes) / len(sizes):.0f}")
    assert sum(sizes) / len(sizes) <= 200


def test_supervisors_hold_no_descriptor_of_others(world):
    p = world.probe
    ids = [world.create("sleep", "30") for _ in range(3)]
    time.sleep(0.2)
    counts = [len(os.listdir(f"/proc/{world.record(id)['supervisor']}/fd")) for id in ids]
    assert counts[0] == counts[-1], subprocess.run(
        ["ls", "-l", f"/proc/{world.record(ids[-1])['supervisor']}/fd"], capture_output=True, text=True).stdout


def test_many_starts_at_once(world):
    ids, errors = [], []

    def churn(number):
        probe = Probe(world.run)
        try:
            for i in range(10):
                id = f"buoysup-m{os.getpid()}-{number}-{i}"
                probe("create", id, bundles[number])
                probe("watch", "w", id)
                probe("start", id)
                while not (seen := probe.wait("w")).final:
                    pass
                assert seen.code == number
                probe("close", "w")
                probe("forget", id)
        except Exception as e:  # noqa: BLE001 - shown by the main thread
            errors.append(e)
        probe.stop()

    bundles = [world.bundle("sh", "-c", f"exit {n}") for n in range(4)]
    threads = [threading.Thread(target=churn, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert errors == []


def test_a_supervisor_whose_directory_was_removed_ends_with_its_process(world):
    id = world.create("sleep", "30")
    world.probe("start", id)
    record = world.record(id)
    shutil.rmtree(world.run / id)
    os.kill(record["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 2
    while alive(record["supervisor"]) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(record["supervisor"]) and cgroups(id) == []


def test_garbage_and_crowds_on_its_socket_do_no_harm(world):
    p = world.probe
    id = world.create("sleep", "30")
    p("start", id)
    supervisor = world.record(id)["supervisor"]
    path = str(world.run / id / "socket")
    assert os.stat(path).st_mode & 0o777 == 0o600

    def connect():
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.settimeout(2)
        s.connect(path)
        return s

    for garbage in (b"{", b"[]", b"\xff\xfe", b"{\"op\": 7}", b"{\"op\": \"x\"}", b"x" * 100000,
                    b"{\"op\":\"kill\",\"signal\":9999}", b"{\"op\":\"update\",\"resources\":{\"nope\":1}}",
                    b"{\"op\":\"resize\",\"rows\":-1,\"cols\":99999999}", b"[" * 60000):
        with connect() as s:
            s.send(garbage)
            try:
                reply = s.recv(65536)
                assert reply == b"" or b"error" in reply
            except ConnectionError:
                pass
    with connect() as s:  # descriptors nobody asked for are closed
        fds = len(os.listdir(f"/proc/{supervisor}/fd"))
        socket.send_fds(s, [b'{"op":"state"}'], [0] * 200)
        assert b"running" in s.recv(65536)
        time.sleep(0.2)  # they are closed after the answer
        assert len(os.listdir(f"/proc/{supervisor}/fd")) <= fds + 1
    crowd = []
    for _ in range(64):
        crowd.append(connect())
    for s in crowd[:32]:  # asks for much and reads nothing
        s.setblocking(False)
        try:
            for _ in range(10000):
                s.send(b'{"op":"state"}')
        except OSError:
            pass
    for s in crowd:
        s.close()
    time.sleep(0.2)
    assert p.state(id).state == "running"
    assert rss(supervisor) < 8192


def test_the_end_is_on_record_before_anybody_hears_of_it(world):
    """Stopped while its process ends, a supervisor finds the end and a request at once: the record comes first."""
    id = world.create("sh", "-c", "sleep 0.2; exit 6")
    world.probe("start", id)
    supervisor, pid = world.record(id)["supervisor"], world.probe.state(id).pid
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.settimeout(10)
        s.connect(str(world.run / id / "socket"))
        s.send(b'{"op":"state"}')
        assert json.loads(s.recv(65536))["state"] == "running"
        os.kill(supervisor, signal.SIGSTOP)
        try:
            eventually(lambda: not alive(pid))
            assert not (world.run / id / "exit.json").exists()
            s.send(b'{"op":"state"}')
        finally:
            os.kill(supervisor, signal.SIGCONT)
        try:
            told = s.recv(65536)
        except ConnectionResetError:  # closed with our request unread
            told = b""
        assert world.probe.exit(id).code == 6
    assert told == b""


def whole_records(run):
    """Whoever was killed at whatever moment: a record is complete, or it is not there."""
    for path in list(run.glob("*/state.json")) + list(run.glob("*/exit.json")):
        try:
            record = json.loads(path.read_text())
        except FileNotFoundError:
            continue
        assert {"id", "state", "pid", "supervisor", "exit_code", "oom_killed", "cgroup"} <= set(record), (path, record)


def reconcile(world, code):
    """What an engine does when it starts: asks, reads, cleans up. Returns how each one stood."""
    whole_records(world.run)
    probe, stood = Probe(world.run), {}
    for path in list(world.run.iterdir()):
        id = path.name
        try:
            state = probe.state(id).state
            stood[id] = state
            try:
                probe("kill", id, 9)
            except Refused:
                pass  # ended just now
            world.probe = probe
            seen = world.ended(id)
            assert seen.code in (137, code)
        except Refused as refused:
            assert refused.kind == NOT_FOUND
            try:
                assert probe.exit(id).code == code
                stood[id] = "stopped"
            except Refused as none:
                assert none.kind == NOT_FOUND
                stood[id] = "lost"
        probe("forget", id)
    probe.stop()
    return stood


def processes():
    return int(subprocess.run("ps -eo comm= | grep -c '^buoy:buoysup-k'", shell=True, capture_output=True, text=True).stdout or 0)


@pytest.mark.parametrize("victim", ["engine", "launcher", "supervisor"])
def test_kill_9_at_any_moment_loses_no_exit_and_leaves_nothing(world, victim):
    rounds = int(os.environ.get("BUOY_KILLS", "30"))
    rng = random.Random(rounds)
    world.probe.stop()
    bundle = world.bundle("sh", "-c", "sleep 0.01; exit 6")
    seen = {}
    for i in range(rounds):
        probe = Probe(world.run)
        launcher = int(probe("launcher"))
        ids = [f"buoysup-k{os.getpid()}-{victim}-{i}-{n}" for n in range(3)]
        delay = rng.uniform(0, 0.08)

        def assassin():
            time.sleep(delay)
            if victim == "engine":
                probe.process.kill()
            elif victim == "launcher":
                os.kill(launcher, signal.SIGKILL)
            else:
                for path in world.run.iterdir():
                    try:
                        os.kill(json.loads((path / "state.json").read_text())["supervisor"], signal.SIGKILL)
                        return
                    except (OSError, ValueError, KeyError):
                        continue

        started = set()
        killer = threading.Thread(target=assassin)
        killer.start()
        try:
            for id in ids:
                probe("create", id, bundle)
                probe("watch", id, id)
                probe("start", id)
                started.add(id)
            for id in ids:
                while not (event := probe.wait(id)).final:
                    pass
                assert event.code == 6
        except (Refused, BrokenPipeError, ValueError, OSError):
            assert victim != "launcher", "a launcher's death must not be seen"
        killer.join()
        probe.process.kill()
        probe.process.wait()
        for id, stood in reconcile(world, 6).items():
            seen[stood] = seen.get(stood, 0) + 1
            assert stood != "lost" or victim == "supervisor" or id not in started
    print(victim, seen)
    world.probe = Probe(world.run)
    deadline = time.monotonic() + 3
    while processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes() == 0
    assert subprocess.run(["find", "/sys/fs/cgroup", "-name", f"buoysup-k{os.getpid()}-*"],
                          capture_output=True, text=True).stdout == ""
