# SPDX-License-Identifier: Apache-2.0
"""`buoy cluster backup` and `restore`: everything is lost but the file and the workers."""
import json
import os
import shutil
import signal
import time

import pytest

from conftest import eventually
from test_fleet import create, etcd_pids, join, members, names
from test_masters import leader_of, states
from test_roles import containers, kept, rows


def make(machines, *init):
    first, *workers = machines(3)
    first.buoy("swarm", "init", "--advertise-addr", first.ip, *init)
    for d in workers:
        join(d, first, "worker")
    eventually(lambda: states(first).count("Ready") == 3, 20)
    first.docker("secret", "create", "key", "-", input="hush-hush")
    first.docker("config", "create", "conf", "-", input="c" * 900_000)
    first.docker("service", "create", "-d", "--name", "web", "--replicas", "4", "--secret", "key", "--config", "conf",
                 "--constraint", "node.role==worker", "busybox", "sleep", "3600")
    eventually(lambda: len(containers(*workers)) == 4, 30)
    return first, workers


def lose(d):
    """The machine's disk: only images are as they were, so that no registry is needed."""
    d.kill9()
    for pid in etcd_pids(d):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not etcd_pids(d), 10)
    shutil.rmtree(d.root / "cluster")
    d.start()


def secret_in(d, container):
    return d.docker("exec", container, "cat", "/run/secrets/key").stdout


@pytest.mark.parametrize("store", ["file", "etcd"])
def test_all_is_lost_and_comes_back(machines, tmp_path, store):
    first, workers = make(machines, *(["--store", "etcd"] if store == "etcd" else []))
    before = containers(*workers)
    nodes = {d.json("GET", "/info")["Swarm"]["NodeID"] for d in workers}
    token = first.buoy("swarm", "join-token", "-q", "worker").stdout
    file = tmp_path / "cluster.backup"
    file.write_text("old")
    file.chmod(0o644)
    first.buoy("cluster", "backup", file)
    assert file.stat().st_mode & 0o777 == 0o600
    head = json.loads(file.read_text().splitlines()[0])
    assert head["Format"] == "buoy-cluster-backup" and head["Version"] == 1
    assert first.buoy("cluster", "backup", "-").stdout.splitlines()[-1].startswith("sha256 ")

    lose(first)
    assert first.docker("node", "ls", check=False).returncode != 0
    began = time.monotonic()
    first.buoy("cluster", "restore", "--advertise-addr", first.ip, file)
    eventually(lambda: create(first, "after") is True, 15)
    took = time.monotonic() - began
    eventually(lambda: states(first).count("Ready") == 3, 20)
    print(f"restored from {file.stat().st_size >> 10} KiB, first write after {took:.2f} s")
    assert took < 10
    assert names(first) == {"web", "after"}
    assert first.buoy("swarm", "join-token", "-q", "worker").stdout == token
    assert {n["ID"] for n in first.json("GET", "/nodes")} >= nodes
    time.sleep(4) # longer than nodes are waited for
    assert containers(*workers) == before # adopted, not started again
    # What was sealed opens, and the whole goes on.
    first.docker("service", "scale", "-d", "web=6")
    eventually(lambda: len(containers(*workers)) == 6, 30)
    fresh = next(iter(containers(*workers).keys() - before.keys()))
    where = next(d for d in workers if fresh in containers(d))
    assert secret_in(where, fresh) == "hush-hush"
    assert (len(etcd_pids(first)) == 1) == (store == "etcd")
    old = [n for n in first.json("GET", "/nodes") if n["Status"]["State"] == "down"]
    assert len(old) == 1 # the manager that was lost
    first.docker("node", "rm", old[0]["ID"])
    for d in (*workers, first):
        d.api("POST", "/swarm/leave?force=1")
    assert not etcd_pids(first)


def test_sealed_damaged_and_misplaced_backups(machines, tmp_path):
    first, (second, third) = make(machines)
    phrase, other = tmp_path / "phrase", tmp_path / "other"
    phrase.write_text("correct horse\n")
    other.write_text("battery staple\n")
    file = tmp_path / "sealed"
    first.buoy("cluster", "backup", "--passphrase-file", phrase, file)
    plain = tmp_path / "plain"
    first.buoy("cluster", "backup", plain)
    assert "BEGIN" in plain.read_text() and "BEGIN" not in file.read_text() # the CA's key is in the one for all to see
    before = containers(second, third)

    def restore(d, *args):
        done = d.buoy("cluster", "restore", *args, check=False)
        return done.returncode, done.stderr
    assert restore(first, file)[0] and "passphrase is needed" in restore(first, file)[1]
    assert "another one" in restore(first, "--passphrase-file", other, file)[1]
    cut = tmp_path / "cut"
    cut.write_text(plain.read_text()[:-200])
    assert "damaged" in restore(first, cut)[1]
    assert "on one of its managers" in restore(second, plain)[1]
    assert names(first) == {"web"} and states(first).count("Ready") == 3 # nothing has happened

    # In place, to what was: on the manager itself, whose node and containers stay.
    self = first.json("GET", "/info")["Swarm"]["NodeID"]
    create(first, "wrong")
    first.docker("service", "rm", "web")
    eventually(lambda: not containers(second, third), 30)
    first.buoy("cluster", "restore", "--passphrase-file", phrase, file)
    eventually(lambda: names(first) == {"web"}, 15)
    assert first.json("GET", "/info")["Swarm"]["NodeID"] == self
    eventually(lambda: states(first).count("Ready") == 3 and len(first.json("GET", "/nodes")) == 3, 20)
    eventually(lambda: len(containers(second, third)) == 4, 40)
    assert not before.keys() & containers(second, third).keys()
    assert secret_in(d := next(d for d in (second, third) if containers(d)), next(iter(containers(d)))) == "hush-hush"
    assert (first.root / "cluster.before" / "cluster.db").exists()
    for d in (second, third, first):
        d.api("POST", "/swarm/leave?force=1")


def test_snapshots_on_a_schedule(machines):
    (d,) = machines(1)
    d.buoy("swarm", "init", "--advertise-addr", d.ip)
    kept_here = d.root / "snapshots"

    def listed(*flags):
        return d.buoy("cluster", "snapshots", "--quiet", *flags).stdout.split()
    assert "None are taken" in d.buoy("cluster", "snapshots").stdout and listed() == []
    no = d.buoy("cluster", "snapshots", "--interval", "1s", "--keep", "0", check=False)
    assert no.returncode != 0 and "between 1 and 1000" in no.stderr
    create(d, "first")
    assert len(first := listed("--take")) == 1
    create(d, "second")
    d.buoy("cluster", "snapshots", "--interval", "1s", "--keep", "3")
    d.kill9()
    d.start() # it is a setting of the cluster
    eventually(lambda: len(now := listed()) == 3 and first[0] not in now, 15)
    assert "One every 1 s; 3 are kept." in d.buoy("cluster", "snapshots").stdout
    assert "None are taken" in d.buoy("cluster", "snapshots", "--interval", "0").stdout
    last = listed()
    assert all(oct((kept_here / name).stat().st_mode & 0o777) == "0o600" for name in last)
    (kept_here / last[1]).write_text((kept_here / last[1]).read_text()[:-100])
    bad = d.buoy("cluster", "snapshots", "--verify", check=False)
    assert bad.returncode != 0 and "1 of 3 snapshots are damaged" in bad.stderr and last[1] in bad.stderr
    create(d, "later")
    d.buoy("cluster", "restore", kept_here / last[0])
    eventually(lambda: names(d) == {"first", "second"}, 15)
    d.api("POST", "/swarm/leave?force=1")


def test_managers_that_outlive_their_cluster_become_workers_of_the_restored(machines, tmp_path):
    """Two of three machines are lost for good, a third is new at the address of one; the one left had a vote in
    what was, and must not take part in that again."""
    trio = machines(3)
    first, second, third = trio
    first.buoy("swarm", "init", "--advertise-addr", first.ip, "--store", "etcd")
    for d in (second, third):
        join(d, first)
    eventually(lambda: [learner for _, learner in members(first)] == [False] * 3, 40)
    first.docker("service", "create", "-d", "--name", "web", "--mode", "global", "busybox", "sleep", "3600")
    eventually(lambda: len(containers(*trio)) == 3, 30)
    held = containers(third)
    file = tmp_path / "b"
    follower = next(d for d in trio if d is not leader_of(trio))
    follower.buoy("cluster", "backup", file) # any manager has it
    second.power_off()
    lose(first)
    first.buoy("cluster", "restore", "--advertise-addr", first.ip, file)
    eventually(lambda: create(first, "after") is True, 15)
    eventually(lambda: kept(third) == [], 40)
    assert not etcd_pids(third)
    eventually(lambda: rows(first)[third.name] == "" and states(first).count("Ready") == 2, 20)
    assert containers(third).items() >= held.items()
    first.docker("node", "promote", third.name)
    eventually(lambda: [learner for _, learner in members(first)] == [False] * 2, 40)
    eventually(lambda: names(third) == {"web", "after"}, 15)
    for d in (third, first):
        d.api("POST", "/swarm/leave?force=1")
