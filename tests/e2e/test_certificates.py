# SPDX-License-Identifier: Apache-2.0
"""Node certificates that last seconds: renewed under load, and come back from after they have expired."""
import subprocess
import time

import pytest

from conftest import eventually
from test_fleet import create, join, members, names
from test_masters import Writer, states
from test_roles import containers


def certificate(d):
    """(serial, end) of the node's."""
    text = subprocess.run(["openssl", "x509", "-in", d.root / "cluster" / "cert.pem", "-noout", "-serial", "-enddate"],
                          capture_output=True, text=True, check=True).stdout
    return tuple(line.partition("=")[2] for line in text.splitlines())


def expired(d):
    return subprocess.run(["openssl", "x509", "-in", d.root / "cluster" / "cert.pem", "-noout", "-checkend", "0"],
                          capture_output=True).returncode != 0


def make(machines, managers, *init):
    first, *others = machines(3)
    first.buoy("swarm", "init", "--advertise-addr", first.ip, *init)
    for i, d in enumerate(others):
        join(d, first, "manager" if i + 1 < managers else "worker")
    eventually(lambda: states(first).count("Ready") == 3, 20)
    if managers > 1:
        eventually(lambda: [learner for _, learner in members(first)] == [False] * managers, 40)
    first.docker("service", "create", "-d", "--name", "web", "--mode", "global", "busybox", "sleep", "3600")
    eventually(lambda: len(containers(first, *others)) == 3, 30)
    return first, *others


def leave(ds):
    for d in reversed(ds):
        d.api("POST", "/swarm/leave?force=1")


def test_renewed_under_writes_without_a_lost_session(machines):
    trio = make(machines, 2, "--store", "etcd", "--cert-expiry", "8s")
    before = containers(*trio)
    logs = {d: d.log.read_text().count("node disconnected") for d in trio}
    seen = {d: {certificate(d)[0]} for d in trio}
    writer = Writer(trio[:2], "w")
    writer.start()
    until = time.monotonic() + 40
    while min(len(serials) for serials in seen.values()) < 4:
        assert time.monotonic() < until, seen
        for d in trio:
            seen[d].add(certificate(d)[0])
            assert not expired(d)
        time.sleep(0.3)
    writer.end()
    print("certificates:", [len(serials) for serials in seen.values()], "writes:", len(writer.acked))
    assert not writer.unknown, writer.unknown
    assert {name for _, name in writer.acked} <= names(trio[1])
    assert {d: d.log.read_text().count("node disconnected") for d in trio} == logs
    assert states(trio[0]).count("Ready") == 3 and containers(*trio) == before
    # And what is opened anew: a session, requests from manager to manager.
    trio[2].kill9()
    trio[2].start()
    eventually(lambda: states(trio[1]).count("Ready") == 3, 20)
    assert create(trio[1], "end") is True
    leave(trio)


@pytest.mark.parametrize("managers", [1, 3])
def test_a_cluster_that_was_off_for_longer_than_its_certificates_comes_back(machines, managers):
    trio = make(machines, managers, *(["--store", "etcd"] if managers > 1 else []), "--cert-expiry", "4s")
    before = containers(*trio)
    for d in trio:
        d.stop()
    eventually(lambda: all(expired(d) for d in trio), 15)
    for d in trio:
        d.start()
    eventually(lambda: create(trio[0], "after") is True, 20)
    eventually(lambda: states(trio[0]).count("Ready") == 3, 20)
    eventually(lambda: not any(expired(d) for d in trio), 10)
    assert containers(*trio) == before
    # One alone, too; and one that was removed meanwhile is let in by no certificate.
    trio[2].stop()
    eventually(lambda: expired(trio[2]), 15)
    trio[2].start()
    eventually(lambda: not expired(trio[2]) and states(trio[0]).count("Ready") == 3, 20)
    if managers == 1:
        trio[2].stop()
        eventually(lambda: expired(trio[2]), 15)
        eventually(lambda: trio[0].docker("node", "rm", "--force", trio[2].name, check=False).returncode == 0, 15)
        trio[2].start()
        time.sleep(4)
        assert expired(trio[2]) and len(trio[0].json("GET", "/nodes")) == 2
    assert containers(*trio[:2]).items() <= before.items() # the third was down: it has new tasks
    leave(trio)


def test_ninety_days_by_default(machines):
    (d,) = machines(1)
    d.buoy("swarm", "init", "--advertise-addr", d.ip)

    def lasts(days):
        return subprocess.run(["openssl", "x509", "-in", d.root / "cluster" / "cert.pem", "-noout", "-checkend",
                               str(days * 86400)], capture_output=True).returncode == 0
    assert lasts(89) and not lasts(91)
    leave([d])


def test_a_one_use_token_lets_one_machine_in(machines):
    first, second, third = machines(3)
    first.buoy("swarm", "init", "--advertise-addr", first.ip)

    def token(*flags):
        return first.buoy("swarm", "join-token", "-q", *flags, "worker").stdout.strip()

    def try_join(d, secret):
        return d.docker("swarm", "join", "--advertise-addr", d.ip, "--token", secret, f"{first.ip}:2377", check=False)
    standing, one, brief = token(), token("--one-use"), token("--one-use", "--expires", "1s")
    assert len({standing, one, brief}) == 3 and token() == standing
    assert "swarm join --token SWMTKN-1-" in first.buoy("swarm", "join-token", "--one-use", "worker").stdout
    # Not shown to whoever may look at the cluster, and kept by the manager over a restart.
    assert one.split("-")[3] not in first.docker("swarm", "ca", check=False).stdout + str(first.json("GET", "/swarm"))
    first.kill9()
    first.start()
    assert try_join(second, one).returncode == 0
    again = try_join(third, one)
    assert again.returncode != 0 and "invalid join token" in again.stderr
    time.sleep(1.5)
    late = try_join(third, brief)
    assert late.returncode != 0 and "invalid join token" in late.stderr
    assert try_join(third, standing).returncode == 0 # the control
    assert states(first).count("Ready") == 3 or eventually(lambda: states(first).count("Ready") == 3, 20)
    assert first.buoy("swarm", "join-token", "--expires", "1h", "worker", check=False).returncode != 0
    no = first.buoy("swarm", "join-token", "--one-use", "manager", check=False)
    assert no.returncode != 0 and "second manager" in no.stderr
    leave([first, second, third])
