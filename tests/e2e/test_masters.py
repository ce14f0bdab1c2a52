# SPDX-License-Identifier: Apache-2.0
"""Several managers on a real etcd of three members, driven by the docker CLI and over the API."""
import os
import signal
import subprocess
import threading
import time

import pytest

from conftest import eventually, sh


class Etcd:
    """A member of its own on each machine."""

    def __init__(self, machines, base):
        self.machines, self.base, self.processes = machines, base, {}
        self.initial = ",".join(f"{d.name}=http://{d.ip}:2380" for d in machines)
        self.url = "etcd://" + ",".join(f"{d.ip}:2379" for d in machines)
        for d in machines:
            self.start(d)

    def start(self, d):
        with open(self.base / f"etcd-{d.name}.log", "ab") as log:
            self.processes[d.name] = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{d.netns}", "etcd", "--name", d.name,
                 "--data-dir", str(self.base / f"etcd-{d.name}"), "--unsafe-no-fsync",
                 "--listen-client-urls", f"http://{d.ip}:2379", "--advertise-client-urls", f"http://{d.ip}:2379",
                 "--listen-peer-urls", f"http://{d.ip}:2380", "--initial-advertise-peer-urls", f"http://{d.ip}:2380",
                 "--initial-cluster", self.initial], stdout=log, stderr=log)

    def kill(self, d):
        self.processes[d.name].kill()
        self.processes[d.name].wait()

    def healthy(self):
        return sh("nsenter", f"--net=/run/netns/{self.machines[0].netns}", "etcdctl", "endpoint", "health",
                  "--endpoints", ",".join(f"{d.ip}:2379" for d in self.machines), check=False,
                  env=dict(os.environ, ETCDCTL_API="3")).returncode == 0

    def stop(self):
        for process in self.processes.values():
            process.kill()
            process.wait()


@pytest.fixture
def masters(machines, tmp_path):
    """Three managers, all of them also workers."""
    trio = machines(3)
    etcd = Etcd(trio, tmp_path)
    try:
        eventually(etcd.healthy, 30)
        first = trio[0]
        status, body = first.api("POST", "/swarm/init", {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": first.ip,
                                                         "Store": etcd.url})
        assert status == 200, body
        token = eventually(lambda: first.docker("swarm", "join-token", "-q", "manager").stdout.strip())
        for d in trio[1:]:
            d.docker("swarm", "join", "--advertise-addr", d.ip, "--token", token, f"{first.ip}:2377")
        eventually(lambda: states(first).count("Ready") == 3, 20)
        yield trio, etcd
    finally:
        for d in trio:
            if d.process and d.process.poll() is None:
                d.process.send_signal(signal.SIGCONT)
        for d in trio:
            if d.process and d.process.poll() is None:
                d.api("POST", "/swarm/leave?force=1")
        etcd.stop()


def states(d):
    return [n["Status"]["State"].capitalize() for n in d.json("GET", "/nodes")]


def leader_of(trio, ask=None):
    """The machine that leads, as `ask` (or the first that answers) tells."""
    for d in [ask] if ask else trio:
        try:
            nodes = d.json("GET", "/nodes")
        except (AssertionError, OSError):
            continue
        for n in nodes:
            if n.get("ManagerStatus", {}).get("Leader"):
                return next(x for x in trio if x.name == n["Description"]["Hostname"])
    return None


def spec(name, replicas=0):
    return {"Name": name, "Mode": {"Replicated": {"Replicas": replicas}},
            "TaskTemplate": {"ContainerSpec": {"Image": "busybox", "Command": ["sleep", "3600"]},
                             "RestartPolicy": {"Condition": "any", "Delay": 0}}}


class Writer(threading.Thread):
    """Creates services on and on, over the managers in turn, and remembers what was acknowledged."""

    def __init__(self, over, prefix):
        super().__init__()
        self.over, self.prefix, self.acked, self.unknown, self.ending = over, prefix, [], {}, False

    def run(self):
        for i in range(100000):
            if self.ending:
                return
            d, name = self.over[i % len(self.over)], f"{self.prefix}{i}"
            try:
                status, answer = d.api("POST", "/services/create", spec(name))
            except OSError as problem:
                status, answer = 0, problem
            if status == 201:
                self.acked.append((time.monotonic(), name))
            else:
                self.unknown[name] = status, answer

    def end(self):
        self.ending = True
        self.join(30)
        assert not self.is_alive()

    def gap_around(self, moment):
        before = [t for t, _ in self.acked if t <= moment]
        after = [t for t, _ in self.acked if t > moment]
        return min(after) - (max(before) if before else moment)


def test_any_manager_answers_and_shows_the_leader(masters):
    trio, _ = masters
    for d in trio:
        assert leader_of(trio, d) is leader_of(trio)
        text = d.docker("node", "ls").stdout
        assert text.count("Leader") == 1 and text.count("Reachable") == 2
    trio[2].docker("service", "create", "-d", "--name", "web", "--replicas", "3", "busybox", "sleep", "3600")
    for d in trio:
        eventually(lambda: "3/3" in d.docker("service", "ls").stdout, 20)
    trio[1].docker("service", "rm", "web")
    assert "web" not in trio[2].docker("service", "ls").stdout


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_leader_lost_under_writes_loses_no_acknowledged_write(masters, how):
    trio, _ = masters
    for round in range(3):
        leader = leader_of(trio)
        others = [d for d in trio if d is not leader]
        writer = Writer(others, f"r{round}x")
        writer.start()
        eventually(lambda: len(writer.acked) >= 20, 20)
        moment = time.monotonic()
        leader.process.send_signal(how)
        eventually(lambda: any(t > moment + 2.5 for t, _ in writer.acked), 15)
        time.sleep(0.5)
        if how == signal.SIGSTOP:
            leader.process.send_signal(signal.SIGCONT)
            time.sleep(0.5)
        writer.end()
        gap = writer.gap_around(moment)
        print(f"{how.name} round {round}: {len(writer.acked)} writes, gap {gap:.2f} s")
        assert gap <= 3.5
        if how == signal.SIGKILL:
            leader.process.wait()
            leader.start()
        for d in trio:
            there = {s["Spec"]["Name"] for s in d.json("GET", "/services")}
            lost = [name for _, name in writer.acked if name not in there]
            assert not lost, (d.name, lost)
        eventually(lambda: states(trio[0]).count("Ready") == 3, 20)


def test_a_planned_handover_fails_no_write(masters):
    """Three in a row. How long writes waited is printed; the assertion only tells a handover from a lease that ran out."""
    trio, _ = masters
    gaps = []
    for round in range(3):
        leader = eventually(lambda: leader_of(trio), 10)
        others = [d for d in trio if d is not leader]
        writer = Writer(others, f"h{round}x")
        writer.start()
        eventually(lambda: len(writer.acked) >= 20, 20)
        moment = time.monotonic()
        leader.stop()
        time.sleep(1)
        writer.end()
        times = [t for t, _ in writer.acked if t >= moment - 0.2]
        gaps.append(max(b - a for a, b in zip(times, times[1:])))
        assert not writer.unknown, writer.unknown # each write was done, none was answered by a 503
        assert leader_of(others) in others
        there = {s["Spec"]["Name"] for s in others[0].json("GET", "/services")}
        assert not [name for _, name in writer.acked if name not in there]
        leader.start()
        eventually(lambda: states(trio[0]).count("Ready") == 3, 20)
    print("planned handover: longest gaps between writes", [f"{gap * 1000:.0f} ms" for gap in gaps])
    assert max(gaps) <= 0.5, gaps


def test_quorum_lost_stops_no_container(masters):
    trio, etcd = masters
    trio[0].docker("service", "create", "-d", "--name", "web", "--replicas", "3", "busybox", "sleep", "3600")

    def held():
        return {c["Id"] for d in trio for c in d.json("GET", "/containers/json")}
    eventually(lambda: len(held()) == 3, 20)
    before = held()
    for d in trio[1:]:
        etcd.kill(d)
    time.sleep(6)
    assert trio[0].api("POST", "/services/create", spec("no"))[0] >= 500
    trio[1].kill9()
    trio[1].start()
    time.sleep(1)
    assert held() == before
    for d in trio[1:]:
        etcd.start(d)
    eventually(lambda: states(trio[0]).count("Ready") == 3, 30)
    time.sleep(4)
    assert held() == before
