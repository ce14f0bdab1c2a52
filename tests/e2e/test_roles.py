# SPDX-License-Identifier: Apache-2.0
"""`node promote`, `node demote` and `node rm` of managers, with the etcd that managers run and with one of the user's."""
import json
import time

import pytest

from conftest import eventually
from test_fleet import create, etcd_pids, fleet, join, members, names # noqa: F401: fleet is a fixture
from test_masters import Etcd, Writer, leader_of, states


def rows(d):
    """HOSTNAME -> MANAGER STATUS, as the docker CLI shows it."""
    text = d.docker("node", "ls", "--format", "{{.Hostname}}={{.ManagerStatus}}").stdout
    return dict(line.split("=") for line in text.split())


def containers(*ds):
    return {c["Id"]: c["Created"] for d in ds for c in d.json("GET", "/containers/json")}


def votes(d):
    return [learner for _, learner in members(d)]


def kept(d):
    """What of a manager's is on the machine's disk."""
    return sorted(n for n in ("etcd", "etcd.pem", "etcd-key.pem", "vault.key") if (d.root / "cluster" / n).exists())


@pytest.fixture
def trio(fleet, machines): # noqa: F811
    """A manager that runs etcd, two workers, and a service with a task on each."""
    (first,) = fleet(1)
    workers = machines(2)
    for d in workers:
        join(d, first, "worker")
    eventually(lambda: states(first).count("Ready") == 3, 20)
    first.docker("secret", "create", "key", "-", input="hush")
    first.docker("service", "create", "-d", "--name", "web", "--mode", "global", "--secret", "key", "busybox", "sleep",
                 "3600")
    eventually(lambda: len(containers(first, *workers)) == 3, 30)
    yield first, *workers
    for d in workers:
        if d.process and d.process.poll() is None:
            d.api("POST", "/swarm/leave?force=1")
            assert not etcd_pids(d)


def test_workers_become_managers_and_workers_again(trio):
    first, second, third = trio
    before = containers(*trio)
    assert rows(first) == {first.name: "Leader", second.name: "", third.name: ""}
    assert "promoted to a manager" in first.docker("node", "promote", second.name).stdout
    first.buoy("node", "update", "--role", "manager", third.name)
    eventually(lambda: votes(first) == [False] * 3, 40)
    eventually(lambda: rows(third) == {first.name: "Leader", second.name: "Reachable", third.name: "Reachable"}, 20)
    for i, d in enumerate(trio):
        eventually(lambda: create(d, f"s{i}") is True, 15)
    assert names(second) == {"web", "s0", "s1", "s2"}
    # It is one of three: the first may fail, and what it knew is known, secrets included.
    first.kill9()
    eventually(lambda: create(second, "alone") is True, 15)
    assert leader_of([second, third]) in (second, third)
    eventually(lambda: rows(second)[first.name] == "Unreachable", 15)
    first.start()
    eventually(lambda: states(second).count("Ready") == 3, 20)

    for d in (second, third):
        asked = first if leader_of(trio) is not first else d
        assert "demoted" in asked.docker("node", "demote", d.name).stdout
        eventually(lambda: kept(d) == [], 30)
        assert not etcd_pids(d)
        refused = d.docker("node", "ls", check=False)
        assert refused.returncode != 0 and "not a swarm manager" in refused.stderr
    eventually(lambda: len(members(first)) == 1, 20)
    eventually(lambda: create(first, "end") is True, 15)
    assert rows(first) == {first.name: "Leader", second.name: "", third.name: ""}
    # Neither was a container touched, nor are the workers less than they were.
    assert containers(*trio) == before
    first.docker("service", "create", "-d", "--name", "more", "--mode", "global", "--secret", "key", "busybox", "sleep",
                 "3600")
    eventually(lambda: len(containers(*trio)) == 6, 30)
    # And once more, over what it has been.
    first.docker("node", "promote", second.name)
    eventually(lambda: votes(first) == [False] * 2, 40)
    eventually(lambda: create(second, "again") is True, 15)
    first.docker("node", "demote", second.name)
    eventually(lambda: kept(second) == [], 30)


def test_the_leader_demotes_itself_and_no_write_fails(fleet): # noqa: F811
    three = fleet(3)
    eventually(lambda: votes(three[0]) == [False] * 3, 30)
    old = leader_of(three)
    others = [d for d in three if d is not old]
    writer = Writer(others, "w")
    writer.start()
    eventually(lambda: len(writer.acked) >= 20, 20)
    moment = time.monotonic()
    old.docker("node", "demote", old.name)
    eventually(lambda: kept(old) == [], 30)
    time.sleep(0.5)
    writer.end()
    times = [t for t, _ in writer.acked if t >= moment - 0.2]
    print(f"leader demoted itself: longest gap {max(b - a for a, b in zip(times, times[1:])) * 1000:.0f} ms")
    assert not writer.unknown, writer.unknown
    assert {n for _, n in writer.acked} <= names(others[0])
    shown = rows(others[0])
    assert shown[old.name] == "" and sorted(shown.values()) == ["", "Leader", "Reachable"]
    eventually(lambda: len(members(others[0])) == 2, 20)


def test_what_must_not_be_is_refused(trio, machines):
    first, second, third = trio
    alone = first.docker("node", "demote", first.name, check=False)
    assert alone.returncode != 0 and "attempting to demote the last manager of the swarm" in alone.stderr
    first.docker("node", "promote", second.name, third.name)
    eventually(lambda: votes(first) == [False] * 3, 60)
    eventually(lambda: list(rows(first).values()).count("Reachable") == 2, 20)
    manager = first.docker("node", "rm", second.name, check=False)
    assert manager.returncode != 0 and "must be demoted" in manager.stderr
    third.power_off()
    eventually(lambda: rows(first)[third.name] == "Unreachable", 15)
    voice = first.docker("node", "demote", second.name, check=False)
    assert voice.returncode != 0 and "loss of quorum" in voice.stderr
    # One that is down may go: it is demoted, then removed.
    first.docker("node", "demote", third.name)
    eventually(lambda: len(members(first)) == 2, 20)
    first.docker("node", "rm", third.name)
    assert set(rows(first)) == {first.name, second.name}
    # A state in a file has one manager.
    (single,) = machines(1)
    single.buoy("swarm", "init", "--advertise-addr", single.ip)
    (worker,) = machines(1)
    join(worker, single, "worker")
    eventually(lambda: states(single).count("Ready") == 2, 20)
    for program in single.docker, single.buoy:
        no = program("node", "promote", worker.name, check=False)
        assert no.returncode != 0 and "migrate-store etcd" in no.stderr
    worker.api("POST", "/swarm/leave?force=1")
    single.api("POST", "/swarm/leave?force=1")


def test_killed_while_it_changes_its_role_it_ends_as_it_should(trio):
    first, second, _ = trio
    before = containers(*trio)
    role = "manager"
    for wait in (0.0, 0.05, 0.2, 0.6, 1.0, 0.1):
        first.buoy("node", "update", "--role", role, second.name)
        time.sleep(wait)
        second.kill9()
        second.start()
        card = second.root / "cluster" / "member.json"
        if role == "manager":
            eventually(lambda: json.loads(card.read_text())["Manager"], 40)
            eventually(lambda: votes(first) == [False] * 2, 60)
            eventually(lambda: create(second, f"at{wait}".replace(".", "-")) is True, 15)
        else:
            eventually(lambda: not json.loads(card.read_text())["Manager"] and kept(second) == [], 40)
            assert not etcd_pids(second)
            eventually(lambda: len(members(first)) == 1, 20)
        assert not (second.root / "cluster" / "renewed.json").exists()
        role = "worker" if role == "manager" else "manager"
    assert containers(*trio) == before


def test_roles_with_an_etcd_of_ones_own(machines, tmp_path):
    three = machines(3)
    first, second, third = three
    etcd = Etcd(three, tmp_path)
    try:
        eventually(etcd.healthy, 30)
        first.buoy("swarm", "init", "--advertise-addr", first.ip, "--store", etcd.url)
        for d in (second, third):
            join(d, first, "worker")
        eventually(lambda: states(first).count("Ready") == 3, 20)
        first.docker("node", "promote", second.name)
        eventually(lambda: create(second, "one") is True, 20)
        eventually(lambda: rows(second)[second.name] == "Reachable", 15)
        first.docker("node", "demote", first.name) # the leader, with one other
        eventually(lambda: leader_of([second]) is second, 15)
        eventually(lambda: first.docker("node", "ls", check=False).returncode != 0, 20)
        assert rows(second) == {first.name: "", second.name: "Leader", third.name: ""}
        assert create(second, "two") is True and names(second) == {"one", "two"}
        eventually(lambda: kept(first) == [], 10)
        assert len(etcd.processes) == 3 and etcd.healthy()
        last = second.docker("node", "demote", second.name, check=False)
        assert last.returncode != 0 and "last manager" in last.stderr
    finally:
        for d in (first, third, second):
            d.api("POST", "/swarm/leave?force=1")
        etcd.stop()
