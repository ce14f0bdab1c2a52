# SPDX-License-Identifier: Apache-2.0
"""The store of a cluster on a real etcd of one member: certificates, passwords, compaction, a full disk quota."""
import os
import subprocess

import pytest

from conftest import eventually, sh
from test_masters import spec


class Etcd:
    """One member on a machine's own network; `options` are etcd's."""

    def __init__(self, machine, base, *options, tls=False):
        self.machine, self.tls = machine, tls
        scheme = "https" if tls else "http"
        self.endpoint = f"{scheme}://{machine.ip}:2379"
        with open(base / "etcd.log", "ab") as log:
            self.process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{machine.netns}", "etcd", "--data-dir", str(base / "etcd"),
                 "--unsafe-no-fsync", "--listen-client-urls", self.endpoint,
                 "--advertise-client-urls", self.endpoint, *options], stdout=log, stderr=log)

    def ctl(self, *args, check=True, **kwargs):
        return sh("nsenter", f"--net=/run/netns/{self.machine.netns}", "etcdctl", "--endpoints", self.endpoint, *args,
                  check=check, env=dict(os.environ, ETCDCTL_API="3"), **kwargs)

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def etcd(tmp_path):
    running = []

    def start(machine, *options, auth=(), **kwargs):
        member = Etcd(machine, tmp_path, *options, **kwargs)
        running.append(member)
        eventually(lambda: member.ctl(*auth, "endpoint", "status", check=False).returncode == 0, 20)
        return member
    yield start
    for member in running:
        member.machine.api("POST", "/swarm/leave?force=1")
    for member in running:
        member.stop()


class Authority:
    """A CA of the operator's own, with certificates for etcd and for its clients."""

    def __init__(self, directory, ip):
        self.dir = directory
        self.run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
                 "-subj", "/CN=operator", "-keyout", "ca.key", "-out", "ca.pem")
        self.issue("server", f"subjectAltName=IP:{ip}\nextendedKeyUsage=serverAuth,clientAuth")
        self.issue("client", "extendedKeyUsage=clientAuth")

    def run(self, *args):
        sh("openssl", *args, cwd=self.dir)

    def issue(self, name, extensions):
        (self.dir / f"{name}.ext").write_text(extensions)
        self.run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                 "-keyout", f"{name}.key", "-out", f"{name}.csr")
        self.run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                 "-days", "1", "-extfile", f"{name}.ext", "-out", f"{name}.pem")

    def __getitem__(self, name):
        return str(self.dir / name)


def test_an_etcd_with_certificates(machines, etcd, tmp_path):
    first, second = machines(2)
    ca = Authority(tmp_path, first.ip)
    mine = ("--cacert", ca["ca.pem"], "--cert", ca["client.pem"], "--key", ca["client.key"])
    etcd(first, "--cert-file", ca["server.pem"], "--key-file", ca["server.key"], "--client-cert-auth",
         "--trusted-ca-file", ca["ca.pem"], tls=True, auth=mine)
    init = ["swarm", "init", "--advertise-addr", first.ip, "--store", f"etcds://{first.ip}"]

    unknown = first.buoy(*init, check=False)
    assert unknown.returncode != 0 and "certificate" in unknown.stderr.lower(), unknown.stderr
    refused = first.buoy(*init, "--store-ca", ca["ca.pem"], check=False)
    assert refused.returncode != 0, refused.stdout
    half = first.buoy(*init, "--store-ca", ca["ca.pem"], "--store-cert", ca["client.pem"], check=False)
    assert "belong together" in half.stderr
    first.buoy(*init, "--store-ca", ca["ca.pem"], "--store-cert", ca["client.pem"], "--store-key", ca["client.key"])

    # Whoever joins as a manager gets them too, and a daemon that starts again has kept them.
    token = eventually(lambda: first.buoy("swarm", "join-token", "-q", "manager").stdout.strip())
    second.buoy("swarm", "join", "--advertise-addr", second.ip, "--token", token, f"{first.ip}:2377")
    for d in (first, second):
        d.stop()
    for d in (second, first):
        d.start()
    eventually(lambda: second.api("POST", "/services/create", spec("web"))[0] == 201, 20)
    assert [s["Spec"]["Name"] for s in eventually(lambda: first.json("GET", "/services"))] == ["web"]
    second.api("POST", "/swarm/leave?force=1")


def test_an_etcd_with_passwords(machines, etcd):
    (d,) = machines(1)
    member = etcd(d)
    member.ctl("user", "add", "root:p@ss/word", "--interactive=false")
    member.ctl("user", "grant-role", "root", "root", check=False)
    member.ctl("auth", "enable")
    try:
        status, body = d.api("POST", "/swarm/init", {"ListenAddr": f"{d.ip}:2377", "AdvertiseAddr": d.ip,
                                                     "Store": f"etcd://root:guess@{d.ip}"})
        assert status >= 400 and b"authentication failed" in body, body
        d.buoy("swarm", "init", "--advertise-addr", d.ip, "--store", f"etcd://root:p%40ss%2Fword@{d.ip}")
        eventually(lambda: d.api("POST", "/services/create", spec("web"))[0] == 201, 10)
    finally:
        member.ctl("--user", "root:p@ss/word", "auth", "disable")


def test_old_revisions_are_forgotten(machines, etcd):
    (d,) = machines(1)
    d.stop()
    d.start("--store-compaction", "1s")
    member = etcd(d)
    d.buoy("swarm", "init", "--advertise-addr", d.ip, "--store", f"etcd://{d.ip}")
    eventually(lambda: d.api("POST", "/services/create", spec("one"))[0] == 201, 10)
    eventually(lambda: "compacted" in member.ctl("get", "buoy/head", "--rev=2", check=False).stderr, 20, 0.3)
    assert d.json("GET", "/services")[0]["Spec"]["Name"] == "one"
    assert d.api("POST", "/services/create", spec("two"))[0] == 201


def test_a_full_etcd_is_said_and_recovers_by_itself(machines, etcd):
    (d,) = machines(1)
    member = etcd(d, "--quota-backend-bytes", str(4 << 20))
    d.buoy("swarm", "init", "--advertise-addr", d.ip, "--store", f"etcd://{d.ip}")
    eventually(lambda: d.api("POST", "/services/create", spec("one"))[0] == 201, 10)
    block = "x" * 200000
    for i in range(60):
        if member.ctl("put", f"ballast/{i}", input=block, check=False).returncode != 0:
            break
    status, body = d.api("POST", "/services/create", spec("two"))
    assert status == 507 and b"etcd is full" in body, (status, body)
    assert d.json("GET", "/services")[0]["Spec"]["Name"] == "one"  # reading goes on
    eventually(lambda: "etcd is full" in d.docker("info").stdout or "needs attention" in d.log.read_text(), 15)
    # What was overwritten or deleted is given back without anybody's help.
    member.ctl("del", "--prefix", "ballast/")
    eventually(lambda: d.api("POST", "/services/create", spec("three"))[0] == 201, 30, 0.5)
    eventually(lambda: not d.json("GET", "/info")["Swarm"]["Error"], 15)
