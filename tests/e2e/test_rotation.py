# SPDX-License-Identifier: Apache-2.0
"""The cluster's root certificate is replaced while everything goes on: `swarm ca --rotate`, by docker and by buoy."""
import subprocess

from conftest import eventually
from test_fleet import etcd_pids, fleet, join, members, names # noqa: F401: fleet is a fixture
from test_masters import Writer, leader_of, states
from test_roles import containers


def root_of(d):
    return (d.root / "cluster" / "ca.pem").read_text()


def started_with(d):
    """Digest of the certificates that the machine's etcd trusts."""
    return (d.root / "cluster" / "etcd" / "trust").read_text()


def settled(ds, root):
    return all(root_of(d) == root for d in ds)


def own_root(directory):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                    "30", "-subj", "/CN=house", "-keyout", directory / "key.pem", "-out", directory / "cert.pem"],
                   check=True, capture_output=True)
    return directory / "cert.pem", directory / "key.pem"


def test_another_root_for_three_managers_while_the_leader_falls(fleet): # noqa: F811
    trio = fleet(3)
    eventually(lambda: [learner for _, learner in members(trio[0])] == [False] * 3, 40)
    trio[0].docker("service", "create", "-d", "--name", "web", "--mode", "global", "busybox", "sleep", "3600")
    eventually(lambda: len(containers(*trio)) == 3, 30)
    before, old, token = containers(*trio), root_of(trio[0]), trio[0].json("GET", "/swarm")["JoinTokens"]["Worker"]
    writer = Writer(trio, "w")
    writer.start()
    trio[0].docker("swarm", "ca", "--rotate", "--detach")
    # The first manager's etcd has begun to trust both: the leader falls in the middle.
    eventually(lambda: any(root_of(d) != old for d in trio), 20)
    leader = leader_of(trio)
    leader.kill9()
    others = [d for d in trio if d is not leader]
    assert others[0].json("GET", "/swarm")["RootRotationInProgress"] is True # it waits for the one that is away
    leader.start()
    swarm = eventually(lambda: (s := trio[1].json("GET", "/swarm"))["RootRotationInProgress"] is False and s, 60)
    new = swarm["TLSInfo"]["TrustRoot"]
    assert new != old and swarm["JoinTokens"]["Worker"] != token
    eventually(lambda: settled(trio, new), 40)
    eventually(lambda: len({started_with(d) for d in trio}) == 1, 40)
    writer.end()
    assert writer.acked and {name for _, name in writer.acked} <= names(trio[1])
    assert containers(*trio) == before
    for n in trio[0].json("GET", "/nodes"):
        eventually(lambda: trio[0].json("GET", f"/nodes/{n['ID']}")["Description"]["TLSInfo"] == swarm["TLSInfo"], 20)


def test_a_root_of_the_house(machines, tmp_path):
    pair = machines(2)
    first, worker = pair
    first.buoy("swarm", "init", "--advertise-addr", first.ip)
    join(worker, first, "worker")
    eventually(lambda: states(first).count("Ready") == 2, 20)
    cert, key = own_root(tmp_path)
    for args, why in ((["--ca-cert", cert], "key is needed"), (["--ca-key", key], "without its root"),
                      (["--external-ca", "protocol=cfssl,url=https://127.0.0.1:1"], "not supported")):
        no = first.buoy("swarm", "ca", "--rotate", *args, check=False)
        assert no.returncode != 0 and why in no.stderr
    no = first.docker("swarm", "update", "--external-ca", "protocol=cfssl,url=https://127.0.0.1:1", check=False)
    assert no.returncode != 0 and "external CA is not supported" in no.stderr
    # The docker CLI waits until all nodes have it.
    shown = first.docker("swarm", "ca", "--rotate", "--quiet", "--ca-cert", cert, "--ca-key", key, "--cert-expiry", "30h")
    assert shown.returncode == 0 and first.buoy("swarm", "ca").stdout.split() == cert.read_text().split()
    assert settled(pair, first.json("GET", "/swarm")["TLSInfo"]["TrustRoot"])
    assert "SigningCAKey" not in str(first.json("GET", "/swarm")["Spec"])
    # And buoy's, to a new one; the node that is away is waited for.
    worker.stop()
    first.buoy("swarm", "ca", "--rotate", "--detach")
    eventually(lambda: root_of(first).count("BEGIN") == 3, 10)
    assert first.json("GET", "/swarm")["RootRotationInProgress"] is True
    worker.start()
    eventually(lambda: not first.json("GET", "/swarm")["RootRotationInProgress"], 20)
    eventually(lambda: settled(pair, first.json("GET", "/swarm")["TLSInfo"]["TrustRoot"]), 10)
    assert states(first).count("Ready") == 2
    for d in (worker, first):
        d.api("POST", "/swarm/leave?force=1")
