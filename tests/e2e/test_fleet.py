# SPDX-License-Identifier: Apache-2.0
"""Managers that run their etcd themselves: `swarm init --store etcd`."""
import json
import os
import signal
import subprocess

import pytest

from conftest import eventually, sh
from test_masters import leader_of, spec, states


@pytest.fixture
def fleet(machines):
    """fleet(n): n managers. Their etcds are looked for and must all be gone in the end."""
    made = []

    def make(count):
        made.extend(machines(count))
        first = made[0]
        first.buoy("swarm", "init", "--advertise-addr", first.ip, "--store", "etcd")
        for d in made[1:]:
            join(d, first)
        eventually(lambda: states(first).count("Ready") == count, 20)
        return made
    yield make
    for d in reversed(made):
        if d.process and d.process.poll() is None:
            d.api("POST", "/swarm/leave?force=1")
    for d in made:
        assert not etcd_pids(d) or d.process.poll() is not None, d.log.read_text()[-2000:]


def join(d, manager, role="manager"):
    token = eventually(lambda: manager.buoy("swarm", "join-token", "-q", role).stdout.strip())
    d.buoy("swarm", "join", "--advertise-addr", d.ip, "--token", token, f"{manager.ip}:2377")


def etcd_pids(d):
    found = []
    for pid in d.pids():
        try:
            with open(f"/proc/{pid}/comm") as f:
                if f.read().strip() == "etcd":
                    found.append(pid)
        except OSError:
            pass
    return found


def members(d):
    """Of the machine's etcd: (name, learner) each."""
    answer = subprocess.run(["curl", "-s", "--max-time", "3", "--unix-socket", "client:0", "-d", "{}",
                             "http://etcd/v3/cluster/member/list"], cwd=d.root / "cluster" / "etcd",
                            capture_output=True, text=True)
    assert answer.returncode == 0, answer
    return sorted((m.get("name", ""), m.get("isLearner", False)) for m in json.loads(answer.stdout)["members"])


def create(d, name):
    """True when it is there: an attempt that was answered by an error may have been done all the same."""
    status, body = d.api("POST", "/services/create", spec(name))
    return status in (201, 409) or body


def names(d):
    return {s["Spec"]["Name"] for s in d.json("GET", "/services")}


def test_three_managers_by_swarm_init_and_join_alone(fleet):
    trio = fleet(3)
    eventually(lambda: [learner for _, learner in members(trio[0])] == [False] * 3, 30)
    for i, d in enumerate(trio):
        assert d.docker("node", "ls").stdout.count("Reachable") == 2
        assert create(d, f"s{i}") is True
    for d in trio:
        assert names(d) == {"s0", "s1", "s2"}
    # Nobody but root of the machine gets at it, and nobody without a member's certificate at the others' port.
    for d in trio:
        assert os.stat(d.root / "cluster").st_mode & 0o77 == 0
        assert "2379" not in d.inside("ss", "-Hltn").stdout
    keys = trio[0].root / "cluster"
    def ask(*certificate):
        return trio[0].inside("curl", "-sk", "--http1.1", "--max-time", "5", *certificate,
                              f"https://{trio[1].ip}:2380/version", check=False)
    assert "etcdserver" in ask("--cert", keys / "etcd.pem", "--key", keys / "etcd-key.pem").stdout
    for certificate in [], ["--cert", keys / "cert.pem", "--key", keys / "key.pem"]: # none; a node's
        assert "etcdserver" not in ask(*certificate).stdout


def test_a_lost_manager_is_replaced(fleet, machines):
    trio = fleet(3)
    eventually(lambda: [learner for _, learner in members(trio[0])] == [False] * 3, 30)
    assert create(trio[1], "before") is True
    lost = leader_of(trio)
    rest = [d for d in trio if d is not lost]
    lost.power_off()
    eventually(lambda: create(rest[0], "during") is True, 15)
    eventually(lambda: leader_of(rest) in rest, 15)
    node = next(n["ID"] for n in rest[0].json("GET", "/nodes") if n["Description"]["Hostname"] == lost.name)
    eventually(lambda: rest[0].docker("node", "rm", "--force", lost.name, check=False).returncode == 0, 15)
    eventually(lambda: node not in [name for name, _ in members(rest[0])] and len(members(rest[0])) == 2, 20)
    (fresh,) = machines(1)
    join(fresh, rest[0])
    try:
        eventually(lambda: [learner for _, learner in members(rest[0])] == [False] * 3, 30)
        assert names(fresh) == {"before", "during"}
        # And it counts: with the new one and one of the old, all goes on.
        rest[1].power_off()
        eventually(lambda: create(fresh, "after") is True, 20)
        assert names(rest[0]) == {"before", "during", "after"}
    finally:
        fresh.api("POST", "/swarm/leave?force=1")


def test_etcd_outlives_the_daemon_and_is_brought_back(fleet):
    (d,) = fleet(1)
    assert create(d, "one") is True
    pid, = etcd_pids(d)
    d.kill9()
    assert etcd_pids(d) == [pid]
    d.start()
    eventually(lambda: create(d, "two") is True, 15)
    assert etcd_pids(d) == [pid]
    d.stop()
    assert etcd_pids(d) == [pid]
    d.start()
    eventually(lambda: names(d) == {"one", "two"}, 15)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: create(d, "three") is True, 20)
    assert etcd_pids(d) not in ([], [pid])
    assert names(d) == {"one", "two", "three"}


def test_a_manager_leaves_and_the_others_stay_able(fleet):
    trio = fleet(3)
    eventually(lambda: [learner for _, learner in members(trio[0])] == [False] * 3, 30)
    for d in (trio[2], trio[1]):
        d.buoy("swarm", "leave", "--force")
        assert not etcd_pids(d)
        eventually(lambda: create(trio[0], f"without-{d.name}") is True, 15)
    assert len(members(trio[0])) == 1
    assert len(names(trio[0])) == 2
