# SPDX-License-Identifier: Apache-2.0
"""Managers that run their etcd themselves: `swarm init --store etcd`."""
import json
import os
import signal
import subprocess
import time

import pytest

from conftest import eventually
from test_masters import leader_of, spec, states
from test_store import Etcd


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


def test_one_surviving_manager_goes_on_alone(fleet, machines):
    trio = fleet(3)
    eventually(lambda: [learner for _, learner in members(trio[0])] == [False] * 3, 30)
    trio[0].docker("service", "create", "-d", "--name", "web", "--mode", "global", "busybox", "sleep", "3600")
    held = eventually(lambda: len(c := trio[2].json("GET", "/containers/json")) == 1 and [x["Id"] for x in c], 20)
    last = trio[2]
    for d in trio[:2]:
        d.power_off()
    assert create(last, "no") is not True
    refused = last.docker("swarm", "init", "--advertise-addr", last.ip, check=False)
    assert refused.returncode != 0 and "already part of a swarm" in refused.stderr # not by accident
    began = time.monotonic()
    last.docker("swarm", "init", "--force-new-cluster", "--advertise-addr", last.ip)
    eventually(lambda: create(last, "yes") is True, 15)
    print(f"one of three went on alone after {time.monotonic() - began:.1f} s")
    assert {"web", "yes"} <= names(last) and len(members(last)) == 1
    assert [c["Id"] for c in last.json("GET", "/containers/json")] == held # adopted, not restarted
    for d in trio[:2]:
        eventually(lambda: last.docker("node", "rm", "--force", d.name, check=False).returncode == 0, 15)
    (fresh,) = machines(1)
    join(fresh, last)
    try:
        eventually(lambda: [learner for _, learner in members(last)] == [False] * 2, 30)
        assert "web" in names(fresh)
        # The flag is not for ever: an etcd that is started again keeps the new member.
        os.kill(etcd_pids(last)[0], signal.SIGKILL)
        eventually(lambda: create(last, "after") is True, 30)
        assert [learner for _, learner in members(last)] == [False] * 2
    finally:
        fresh.api("POST", "/swarm/leave?force=1")


@pytest.mark.parametrize("where", ["etcd", "external"])
def test_a_living_cluster_moves_from_its_file_to_etcd(fleet, machines, tmp_path, where):
    first, second = machines(2)
    own = where == "etcd"
    first.buoy("swarm", "init", "--advertise-addr", first.ip)
    join(second, first, "worker")
    eventually(lambda: states(first).count("Ready") == 2, 20)
    first.docker("service", "create", "-d", "--name", "web", "--replicas", "4", "busybox", "sleep", "3600")
    first.docker("secret", "create", "key", "-", input="hush")

    def containers():
        return {c["Id"]: c["Created"] for d in (first, second) for c in d.json("GET", "/containers/json")}
    eventually(lambda: len(containers()) == 4, 30)
    before = containers(), {n["ID"] for n in first.json("GET", "/nodes")}, first.json("GET", "/secrets")[0]["ID"]

    nowhere = first.buoy("cluster", "migrate-store", "etcd://127.0.0.1:1", check=False)
    assert nowhere.returncode != 0
    assert names(first) == {"web"} and create(first, "still") is True # all is as it was
    etcd = None if own else Etcd(first, tmp_path)
    try:
        if etcd:
            eventually(lambda: etcd.ctl("endpoint", "status", check=False).returncode == 0, 20)
        first.buoy("cluster", "migrate-store", "etcd" if own else f"etcd://{first.ip}")
        eventually(lambda: create(first, "more") is True, 15)
        again = first.buoy("cluster", "migrate-store", "etcd", check=False)
        assert again.returncode != 0 and "already" in again.stderr
        assert names(first) == {"web", "still", "more"}
        eventually(lambda: states(first).count("Ready") == 2, 20)
        assert {n["ID"] for n in first.json("GET", "/nodes")} == before[1]
        assert first.json("GET", "/secrets")[0]["ID"] == before[2]
        # The worker follows the new store's leader: it takes tasks, and has kept what it had.
        first.docker("service", "scale", "-d", "web=6")
        eventually(lambda: len(containers()) == 6, 30)
        assert before[0].items() <= containers().items()
        # It is a cluster that takes managers now, and a daemon that starts again finds it.
        first.stop()
        first.start()
        eventually(lambda: "web" in names(first), 15)
        (third,) = machines(1)
        join(third, first)
        assert create(third, "third") is True
        third.api("POST", "/swarm/leave?force=1")
    finally:
        for d in (second, first):
            d.api("POST", "/swarm/leave?force=1")
        if etcd:
            etcd.stop()
    assert not etcd_pids(first)


class Hostile:
    """A worker whose key somebody has: speaks to the leader's port as that node."""

    def __init__(self, d, leader):
        self.keys, self.d, self.leader = d.root / "cluster", d, leader
        self.id = json.loads((self.keys / "member.json").read_text())["NodeID"]

    def __call__(self, method, path, body=None, certificate=True, seconds=3):
        mine = ["--cert", self.keys / "cert.pem", "--key", self.keys / "key.pem"] if certificate else []
        answer = self.d.inside("curl", "-s", "-w", "\n%{http_code}", "--max-time", str(seconds), "--cacert",
                               self.keys / "ca.pem", *mine, "--connect-to", f"::{self.leader.ip}:2377", "-X", method,
                               *(["-d", json.dumps(body)] if body is not None else []),
                               f"https://swarm-manager{path}", check=False)
        text, _, status = answer.stdout.rpartition("\n")
        return int(status or 0), text


def test_a_hostile_node_speaks_for_itself_alone(machines):
    """Every door of the leader's port, with a worker's certificate. Control: the same words about its own."""
    manager, good, bad = machines(3)
    manager.buoy("swarm", "init", "--advertise-addr", manager.ip)
    for d in (good, bad):
        join(d, manager, "worker")
    eventually(lambda: states(manager).count("Ready") == 3, 20)
    manager.docker("secret", "create", "key", "-", input="hush-hush")
    manager.docker("service", "create", "-d", "--name", "theirs", "--secret", "key", "--constraint",
                   f"node.hostname=={good.name}", "busybox", "sleep", "3600")
    manager.docker("service", "create", "-d", "--name", "ours", "--secret", "key", "--constraint",
                   f"node.hostname=={bad.name}", "busybox", "sleep", "3600")

    def tasks():
        found = {t["NodeID"]: t for t in manager.json("GET", "/tasks") if t["Status"]["State"] == "running"}
        return found if len(found) == 2 else None
    running = eventually(tasks, 30)
    hostile = Hostile(bad, manager)
    other = next(id for id in running if id != hostile.id)
    theirs, ours = running[other]["ID"], running[hostile.id]["ID"]
    bad.stop() # from here on, what it says is ours

    def hello(node, statuses=()):
        return {"Protocol": 1, "NodeID": node, "Epoch": 0, "Description": {"Hostname": "evil"},
                "Statuses": [{"TaskID": t, "Status": {"State": "failed"}} for t in statuses]}

    # Reading: assignments, secrets, logs.
    assert hostile("POST", "/v1/session", hello(other))[0] == 403
    assert hostile("GET", f"/v1/files/{theirs}")[0] == 403
    status, text = hostile("GET", f"/v1/files/{ours}")
    assert status == 200 and "Files" in text # the control
    status, text = hostile("POST", "/v1/session", hello(hostile.id, [theirs]), seconds=2)
    assert ours in text and theirs not in text
    # Writing: reports for another node, statuses of its tasks, its output.
    report = {"Protocol": 1, "NodeID": other, "Epoch": 1, "Session": 1, "Sequence": 1, "Applied": 1, "Statuses": []}
    assert hostile("POST", "/v1/report", report)[0] == 403
    assert hostile("POST", "/v1/logs/0123456789abcdef0123456789abcdef", {})[0] in (403, 404)
    # Ruling: what managers ask of each other, joining as one, and all of it without a certificate.
    for method, path in (("GET", "/v1/api/services"), ("POST", "/v1/api/services/create"), ("GET", "/v1/api/swarm")):
        assert hostile(method, path, {} if method == "POST" else None)[0] in (403, 404), path
        assert hostile(method, path, {} if method == "POST" else None, certificate=False)[0] in (403, 404), path
    for path, body in (("/v1/session", hello(hostile.id)), ("/v1/report", {**report, "NodeID": hostile.id})):
        assert hostile("POST", path, body, certificate=False)[0] == 403
    assert hostile("POST", "/v1/join", {"Token": "SWMTKN-1-guess", "Request": "x"})[0] == 403
    # Nothing of it was believed.
    task = manager.json("GET", f"/tasks/{theirs}")
    assert task["Status"]["State"] == "running" and task["NodeID"] == other
    node = manager.json("GET", f"/nodes/{other}")
    assert node["Description"]["Hostname"] == good.name and node["Status"]["State"] == "ready"
    # Once it is removed, it is nobody.
    bad.start()
    bad.stop()
    eventually(lambda: manager.docker("node", "rm", "--force", bad.name, check=False).returncode == 0, 15)
    assert hostile("GET", f"/v1/files/{ours}")[0] == 403
    assert hostile("POST", "/v1/session", hello(hostile.id), seconds=2)[0] in (403, 404)
