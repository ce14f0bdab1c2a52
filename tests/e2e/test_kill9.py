# SPDX-License-Identifier: Apache-2.0
"""buoyd is killed fifty times while containers run, stop and are built: none lost, no exit code wrong, nothing leaked.

BUOY_SEED repeats a run; BUOY_KILLS is how often. A failure shows the seed.
"""
import http.client
import json
import os
import pathlib
import random
import threading
import time

import pytest

from conftest import IP_NETNS_EXEC, NSENTER, eventually, sh

KILLS = int(os.environ.get("BUOY_KILLS", "50"))
SEED = int(os.environ.get("BUOY_SEED", str(time.time_ns() % 1000000)))
BROKEN = (OSError, http.client.HTTPException, ValueError) # what a client sees when the daemon dies under it
COUNT = "n=0; while :; do n=$((n+1)); echo $n; echo $n > /counter; sleep 0.05; done"


def create(daemon, name, command, **more):
    return daemon.json("POST", f"/containers/create?name={name}",
                       {"Image": "busybox", "Cmd": ["sh", "-c", command], **more})["Id"]


def inspect(daemon, name):
    return daemon.json("GET", f"/containers/{name}/json")


class Worker(threading.Thread):
    """Does one kind of work until told to stop, and notes what was acknowledged: that must be true for ever."""

    def __init__(self, daemon, number):
        super().__init__()
        self.daemon_, self.number = daemon, number
        self.rng = random.Random(SEED * 10 + number)
        self.done = threading.Event()
        self.expected = {}  # name: the exit code it must show in the end
        self.gone = set()   # removed, acknowledged
        self.wrong = []     # exit codes told wrong meanwhile
        self.rounds = 0

    def run(self):
        while not self.done.is_set():
            try:
                self.work()
                self.rounds += 1
            except BROKEN:
                time.sleep(0.01)
            except AssertionError as problem: # "api" said no: only a dying daemon may
                if "500" not in str(problem) and "404" not in str(problem) and "409" not in str(problem):
                    self.wrong.append(str(problem))
                time.sleep(0.01)

    def name(self):
        return f"w{self.number}-{self.rng.randrange(10 ** 9)}"


class Runner(Worker):
    def work(self):
        name, code = self.name(), self.rng.randrange(1, 126)
        create(self.daemon_, name, f"sleep 0.0{self.rng.randrange(9)}; exit {code}")
        if self.daemon_.api("POST", f"/containers/{name}/start")[0] != 204:
            return
        self.expected[name] = code
        status, text = self.daemon_.api("POST", f"/containers/{name}/wait")
        if status == 200 and text.strip() and json.loads(text)["StatusCode"] != code:
            self.wrong.append(f"{name}: wait said {text!r}, not {code}")
        if self.rng.random() < 0.7:
            del self.expected[name] # from here on either is right
            if self.daemon_.api("DELETE", f"/containers/{name}")[0] == 204:
                self.gone.add(name)


class Stopper(Worker):
    def work(self):
        name, code = self.name(), self.rng.randrange(1, 126)
        create(self.daemon_, name, f"trap 'exit {code}' TERM; echo ready; while :; do sleep 0.01; done")
        if self.daemon_.api("POST", f"/containers/{name}/start")[0] != 204:
            return
        eventually(lambda: b"ready" in self.daemon_.api("GET", f"/containers/{name}/logs?stdout=1")[1], 5)
        self.expected[name] = (code, None) # killed meanwhile, the daemon may or may not have passed the signal on
        if self.daemon_.api("POST", f"/containers/{name}/stop?t=20")[0] == 204:
            self.expected[name] = code


class Builder(Worker):
    def __init__(self, daemon, number, tar):
        super().__init__(daemon, number)
        self.tar = tar

    def work(self):
        name = self.name()
        status, text = self.daemon_.api("POST", f"/build?t={name}:1&nocache=1", self.tar, {"Content-Type": "application/x-tar"})
        if status == 200 and b"Successfully tagged" in text:
            assert self.daemon_.api("GET", f"/images/{name}:1/json")[0] == 200
            self.daemon_.api("DELETE", f"/images/{name}:1?force=1")


def context_tar(path):
    path.mkdir()
    (path / "Dockerfile").write_text("FROM busybox\nRUN head -c 100000 /dev/urandom > /a; sleep 0.05\nCOPY b /b\nRUN cat /b > /c\n")
    (path / "b").write_text("b\n")
    sh("tar", "-C", path, "-cf", f"{path}.tar", ".")
    return pathlib.Path(f"{path}.tar").read_bytes()


def counters_lost_nothing(daemon, rocks):
    for name, pid in rocks.items():
        state = inspect(daemon, name)["State"]
        assert state["Running"] and state["Pid"] == pid, f"{name} was lost: {state}"
        status, raw = daemon.api("GET", f"/containers/{name}/logs?stdout=1")
        assert status == 200
        lines, at = [], 0
        while at < len(raw): # frames of eight bytes and a text
            size = int.from_bytes(raw[at + 4:at + 8], "big")
            lines.append(raw[at + 8:at + 8 + size])
            at += 8 + size
        numbers = b"".join(lines).split()
        assert numbers == [str(n).encode() for n in range(1, len(numbers) + 1)] and numbers, f"{name}: lines are missing"


def test_fifty_kills(machines, tmp_path, capsys):
    with capsys.disabled():
        print(f"\n[kill -9 of buoyd: seed {SEED}, {KILLS} times]", flush=True)
    daemon, = machines(1)
    rng = random.Random(SEED)
    rocks = {}
    for n in range(3):
        create(daemon, f"rock{n}", COUNT, HostConfig={"PortBindings": {"80/tcp": [{"HostPort": str(9000 + n)}]}})
        daemon.api("POST", f"/containers/rock{n}/start")
        rocks[f"rock{n}"] = inspect(daemon, f"rock{n}")["State"]["Pid"]
    tar = context_tar(tmp_path / "context")
    workers = [Runner(daemon, 1), Runner(daemon, 2), Stopper(daemon, 3), Builder(daemon, 4, tar)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(KILLS):
            time.sleep(rng.choice((0.02, 0.1, 0.3, 0.8)) * rng.random())
            daemon.kill9()
            time.sleep(rng.choice((0, 0, 0.05)))
            if rng.random() < 0.3: # in the middle of its start, too
                daemon.start(wait=False)
                time.sleep(rng.random() * 0.04)
                daemon.kill9()
            daemon.start()
    finally:
        for worker in workers:
            worker.done.set()
        for worker in workers:
            worker.join(60)
    assert not [w for w in workers if w.is_alive()], f"seed {SEED}: a request never ended"
    time.sleep(0.3)
    rounds = {type(w).__name__ + str(w.number): w.rounds for w in workers}
    with capsys.disabled():
        print(f"[rounds: {rounds}]", flush=True)
    wrong = [text for worker in workers for text in worker.wrong]
    for worker in workers:
        for name, code in worker.expected.items():
            status, text = daemon.api("GET", f"/containers/{name}/json")
            if status != 200:
                wrong.append(f"{name} is lost: {status}")
                continue
            codes = code if isinstance(code, tuple) else (code,)
            state = json.loads(text)["State"]
            if state["Running"] and None in codes:
                continue
            if state["Running"] or state["ExitCode"] not in codes:
                wrong.append(f"{name}: {state['Status']} {state['ExitCode']}, not {codes}")
        wrong += [f"{name} is back" for name in worker.gone if daemon.api("GET", f"/containers/{name}/json")[0] != 404]
    assert not wrong, f"seed {SEED}: " + "\n".join(wrong)
    counters_lost_nothing(daemon, rocks)
    daemon.clean()
    no_half_things(daemon)


def no_half_things(daemon):
    places = [daemon.root / "containers", daemon.run_dir / "containers", daemon.run_dir / "netns"]

    def all_gone():
        left = [str(p) for place in places if place.exists() for p in place.iterdir()]
        with open("/proc/self/mountinfo") as f:
            left += [line.split()[4] for line in f if f"{daemon.dir}/" in line.split()[4]]
        left += [line for line in sh("ip", "-n", daemon.netns, "-o", "link").stdout.splitlines() if " vb" in line]
        left += [p for p in daemon.pids() if "buoy:" in pathlib.Path(f"/proc/{p}/comm").read_text()]
        assert not left, f"left: {left}"
        return True

    eventually(all_gone, 10)


def test_a_service_is_scaled_while_the_daemon_is_killed(machines):
    """After each acknowledged scale and a kill, the service comes to that many replicas: no more, no fewer."""
    daemon, = machines(1)
    rng = random.Random(SEED)
    daemon.docker("swarm", "init", "--advertise-addr", daemon.ip)
    daemon.docker("service", "create", "-d", "--name", "s", "--replicas", "2", "--stop-grace-period", "1s", "busybox", "sleep", "600")

    def settled(count):
        service = daemon.json("GET", "/services?status=1")[0]
        up = [c for c in daemon.json("GET", "/containers/json") if c["State"] == "running"]
        return service["ServiceStatus"]["RunningTasks"] == count == len(up)

    eventually(lambda: settled(2), 15)
    wanted = 2
    for _ in range(max(KILLS // 5, 1)):
        count = rng.randrange(1, 7)
        if daemon.docker("service", "scale", "-d", f"s={count}", check=False).returncode == 0:
            wanted = count
        time.sleep(rng.random() * 0.2)
        daemon.kill9()
        daemon.start()
    eventually(lambda: settled(wanted), 20)
    daemon.docker("service", "rm", "s")
    eventually(lambda: not daemon.json("GET", "/containers/json?all=1"), 15)
    daemon.docker("swarm", "leave", "--force")
    no_half_things(daemon)


@pytest.mark.parametrize("enter", [NSENTER, IP_NETNS_EXEC, ("unshare", "-m", *NSENTER)],
                         ids=["nsenter", "ip-netns-exec", "mounts-of-its-own"])
def test_a_published_port_answers_on_after_a_kill(machines, enter):
    how = {"enter": enter}
    daemon, = machines(1, **how)
    daemon.docker("run", "-d", "--name", "web", "-p", "8085:80", "busybox", "httpd", "-f", "-p", "80", "-h", "/etc")

    def ask():
        return daemon.inside("curl", "-s", "-m", "2", "http://127.0.0.1:8085/group").stdout.startswith("root:")

    assert eventually(ask)
    daemon.kill9()
    assert ask(), "not while the daemon is away"
    daemon.start(**how)
    assert ask(), "not after the daemon is back"
    assert "8085->80/tcp" in daemon.docker("ps").stdout
    daemon.docker("restart", "-t", "0", "web")
    assert eventually(ask)
    daemon.docker("rm", "-f", "web")
    no_half_things(daemon)


def test_a_machine_that_went_down_comes_back_clean(machines):
    """Daemon, supervisors and containers gone at once: the next daemon tells 255 and sweeps what they left."""
    daemon, = machines(1)
    create(daemon, "plain", "sleep 60", HostConfig={"PortBindings": {"80/tcp": [{"HostPort": "8086"}]}})
    create(daemon, "again", "sleep 60", HostConfig={"RestartPolicy": {"Name": "always"}})
    for name in ("plain", "again"):
        assert daemon.api("POST", f"/containers/{name}/start")[0] == 204
    daemon.power_off()
    daemon.start()
    state = inspect(daemon, "plain")["State"]
    assert not state["Running"] and state["ExitCode"] in (137, 255)
    eventually(lambda: inspect(daemon, "again")["State"]["Running"], 10)
    assert daemon.api("POST", "/containers/plain/start")[0] == 204
    daemon.clean()
    no_half_things(daemon)
