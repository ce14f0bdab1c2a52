# SPDX-License-Identifier: Apache-2.0
"""Networks over several machines, names and virtual addresses on them; by the docker CLI."""
import json
import os
import re
import subprocess
import time

import pytest

from conftest import DOCKER, eventually, sh

SERVE = "mkdir -p /w; hostname > /w/index.html; trap 'exit 0' TERM; httpd -f -p 80 -h /w & wait"
IDLE = ("sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait")


@pytest.fixture
def cluster(machines):
    """A manager and a worker, with an overlay network."""
    a, b = machines(2)
    a.docker("swarm", "init", "--advertise-addr", a.ip)
    token = a.docker("swarm", "join-token", "-q", "worker").stdout.strip()
    b.docker("swarm", "join", "--token", token, f"{a.ip}:2377")
    eventually(lambda: a.docker("node", "ls").stdout.count("Ready") == 2)
    a.docker("network", "create", "-d", "overlay", "wide")
    return a, b


def create(manager, name, *options, command=("sh", "-c", SERVE), network="wide"):
    manager.docker("service", "create", "-d", "--name", name, "--restart-delay", "0s", "--stop-grace-period", "2s",
                   "--network", network, *options, "busybox", *command)


def tasks(manager, name):
    return [t for t in manager.json("GET", f'/tasks?filters={{"service":["{name}"]}}')
            if t["Status"]["State"] == "running" and t["DesiredState"] == "running"]


def addresses(manager, name):
    return {t["NetworksAttachments"][0]["Addresses"][0].split("/")[0] for t in tasks(manager, name)}


def container(daemon, service):
    """The one that the service has on the machine."""
    found = daemon.json("GET", f'/containers/json?filters={{"label":["com.docker.swarm.service.name={service}"]}}')
    return found[0]["Id"] if found else None


def lookup(daemon, box, name):
    text = daemon.docker("exec", box, "nslookup", "-type=a", name, check=False).stdout
    return {line.split()[-1] for line in text.splitlines()[2:] if line.startswith("Address")}


def fetch(daemon, box, name, check=True):
    return daemon.docker("exec", box, "timeout", "3", "wget", "-qO-", f"http://{name}", check=check).stdout.strip()


def devices(daemon):
    """Interfaces of overlays on the machine."""
    return [link["ifname"] for link in json.loads(daemon.inside("ip", "-j", "-d", "link").stdout)
            if link.get("linkinfo", {}).get("info_kind") == "vxlan"]


def start_client(daemon, box, script):
    """In the background; its output is text."""
    env = dict(os.environ, DOCKER_HOST=daemon.host, HOME=str(daemon.dir))
    return subprocess.Popen([DOCKER, "exec", box, "sh", "-c", script], env=env, text=True, stdout=subprocess.PIPE)


def spread(a, b, service, count=2, *options):
    """A client on each machine, and the service with its tasks on both."""
    create(a, "client", "--mode", "global", command=IDLE)
    create(a, service, "--replicas", str(count), *options)
    eventually(lambda: len(tasks(a, service)) == count and len(tasks(a, "client")) == 2, 20)
    assert container(a, service) and container(b, service)
    return container(a, "client"), container(b, "client")


def test_tasks_reach_each_other_by_address_and_name_over_machines(cluster):
    a, b = cluster
    boxes = spread(a, b, "web")
    everyone = addresses(a, "web")
    assert len(everyone) == 2
    vip = json.loads(a.docker("service", "inspect", "web").stdout)[0]["Endpoint"]["VirtualIPs"][0]["Addr"].split("/")[0]
    hosts = {d.docker("exec", container(d, "web"), "hostname").stdout.strip() for d in cluster}
    for d, box in zip(cluster, boxes):
        for address in everyone:
            assert fetch(d, box, address) in hosts
        eventually(lambda: lookup(d, box, "web") == {vip})
        assert lookup(d, box, "tasks.web") == everyone
        eventually(lambda: {fetch(d, box, "web") for _ in range(8)} == hosts)
    mtu = b.docker("exec", boxes[1], "cat", "/sys/class/net/eth0/mtu").stdout.strip()
    assert mtu == "1450"
    big = a.docker("exec", boxes[0], "sh", "-c", "head -c 3000000 /dev/zero > /tmp/z; httpd -p 81 -h /tmp")
    assert big.returncode == 0
    own = a.docker("exec", boxes[0], "hostname", "-i").stdout.split()[0]
    assert b.docker("exec", boxes[1], "sh", "-c", f"wget -qO- http://{own}:81/z | wc -c").stdout.strip() == "3000000"


def test_the_caller_is_seen_and_names_of_other_networks_are_not(cluster):
    a, b = cluster
    boxes = spread(a, b, "web")
    a.docker("network", "create", "-d", "overlay", "other")
    create(a, "away", network="other")
    eventually(lambda: len(tasks(a, "away")) == 1, 20)
    create(a, "door", "--constraint", "node.role==worker", command=("sh", "-c", "httpd -f -vv -p 80 -h /etc 2>&1"))
    eventually(lambda: len(tasks(a, "door")) == 1, 20)
    own = a.docker("exec", boxes[0], "hostname", "-i").stdout.split()[0]
    eventually(lambda: "root" in fetch(a, boxes[0], "door/passwd", check=False))
    assert own in b.docker("logs", container(b, "door")).stdout
    assert not lookup(a, boxes[0], "away")
    address = next(iter(addresses(a, "away")))
    assert a.docker("exec", boxes[0], "timeout", "1", "wget", "-qO-", f"http://{address}/", check=False).returncode


def test_a_killed_task_gets_no_requests_afterwards(cluster):
    a, b = cluster
    boxes = spread(a, b, "web", 4)
    killed = container(b, "web")
    gone = b.docker("inspect", "-f", '{{.NetworkSettings.Networks.wide.IPAddress}}', killed).stdout.strip()
    b.docker("kill", killed)

    def replaced(now):
        return len(now) == 4 and gone not in now

    eventually(lambda: replaced(addresses(a, "web")), 20)
    for d, box in zip(cluster, boxes):
        eventually(lambda: replaced(found := lookup(d, box, "tasks.web")) and found == addresses(a, "web"))
    for d, box in zip(cluster, boxes):
        script = "for i in $(seq 60); do timeout 3 wget -qO /dev/null http://web/ || echo failed; done"
        assert "failed" not in d.docker("exec", box, "sh", "-c", script, timeout=180).stdout


def test_a_service_is_updated_and_drained_without_a_failed_request(cluster):
    """A task that is to stop gets no new connections before it is told."""
    a, b = cluster
    boxes = spread(a, b, "web", 4, "--health-cmd", "wget -qO- http://127.0.0.1/", "--health-interval", "200ms")
    script = "n=0; while [ ! -e /tmp/stop ]; do timeout 5 wget -qO /dev/null http://web/ || echo failed; n=$((n+1)); done; echo asked $n"
    clients = [start_client(d, box, script) for d, box in zip(cluster, boxes)]
    a.docker("service", "update", "-d", "--force", "--update-order", "start-first", "--update-monitor", "100ms", "web")
    eventually(lambda: a.json("GET", "/services/web")["UpdateStatus"]["State"] == "completed", 60)
    a.docker("service", "scale", "-d", "web=2")
    eventually(lambda: len(tasks(a, "web")) == 2, 20)
    time.sleep(1)
    for d, box, client in zip(cluster, boxes, clients):
        d.docker("exec", box, "touch", "/tmp/stop")
        out = client.communicate(timeout=30)[0]
        assert "failed" not in out and int(out.split("asked ")[1]) > 10


def test_plain_containers_are_on_attachable_networks_of_the_cluster(cluster):
    """On both machines: with names, over a daemon's death, and gone when they are gone."""
    a, b = cluster
    for d in cluster:
        refused = d.docker("run", "--rm", "--network", "wide", "busybox", "true", check=False)
        assert refused.returncode and "network wide not manually attachable" in refused.stderr
    a.docker("network", "create", "-d", "overlay", "--attachable", "open")
    create(a, "web", "--replicas", "1", network="open")
    for d, name in ((a, "left"), (b, "right")):
        d.docker("run", "-d", "--name", name, "--network", "open", "busybox", *IDLE)
    a.docker("run", "-d", "--name", "late", "busybox", "sh", "-c", SERVE)
    a.docker("network", "connect", "--alias", "shop", "open", "late")
    own = {name: d.docker("inspect", "-f", "{{.NetworkSettings.Networks.open.IPAddress}}", name).stdout.strip()
           for d, name in ((a, "left"), (b, "right"), (a, "late"))}
    assert len(set(own.values())) == 3
    for name in ("late", "shop"):
        eventually(lambda: lookup(b, "right", name) == {own["late"]})
    assert fetch(b, "right", "shop")
    eventually(lambda: lookup(a, "left", "right") == {own["right"]})
    eventually(lambda: fetch(b, "right", "web", check=False), 20)

    b.kill9()
    b.start()
    assert b.docker("inspect", "-f", "{{.State.Running}}", "right").stdout.strip() == "true"
    eventually(lambda: fetch(b, "right", "shop", check=False))

    a.docker("network", "disconnect", "open", "late")
    eventually(lambda: not lookup(b, "right", "shop"))
    refused = a.docker("network", "rm", "open", check=False)
    assert refused.returncode and "in use by" in refused.stderr
    b.docker("rm", "-f", "right")
    a.docker("rm", "-f", "left", "late")
    a.docker("service", "rm", "web")
    eventually(lambda: a.docker("network", "rm", "open", check=False).returncode == 0)


def test_dnsrr_names_lead_to_the_tasks_and_aliases_too(cluster):
    a, b = cluster
    create(a, "client", "--mode", "global", command=IDLE)
    a.docker("service", "create", "-d", "--name", "web", "--replicas", "2", "--endpoint-mode", "dnsrr",
             "--network", "name=wide,alias=site", "busybox", "sh", "-c", SERVE)
    eventually(lambda: len(tasks(a, "web")) == 2 and len(tasks(a, "client")) == 2, 20)
    endpoint = json.loads(a.docker("service", "inspect", "web").stdout)[0]["Endpoint"]
    assert not endpoint.get("VirtualIPs")
    for name in ("web", "site", "tasks.web"):
        eventually(lambda: lookup(b, container(b, "client"), name) == addresses(a, "web"))


def test_a_service_without_tasks_refuses_at_once(cluster):
    a, b = cluster
    create(a, "client", "--mode", "global", command=IDLE)
    create(a, "web", "--replicas", "0")
    eventually(lambda: len(tasks(a, "client")) == 2, 20)
    box = container(b, "client")
    eventually(lambda: lookup(b, box, "web"))
    result = b.docker("exec", box, "timeout", "5", "wget", "-qO-", "http://web/", check=False)
    assert result.returncode and "refused" in result.stderr


def test_a_machine_that_dies_takes_no_requests_along(cluster):
    a, b = cluster
    boxes = spread(a, b, "web", 2)
    b.power_off()
    eventually(lambda: len(now := tasks(a, "web")) == 2 and now[0]["NodeID"] == now[1]["NodeID"], 20)
    eventually(lambda: lookup(a, boxes[0], "tasks.web") == addresses(a, "web"))
    for _ in range(10):
        assert fetch(a, boxes[0], "web")


def test_networks_work_without_masters_and_through_a_restart(cluster):
    a, b = cluster
    boxes = spread(a, b, "web")
    eventually(lambda: lookup(b, boxes[1], "tasks.web") == addresses(a, "web")) # b has heard of both
    a.kill9()
    b.kill9()
    b.start()
    time.sleep(0.5)
    hosts = {fetch(b, boxes[1], "web") for _ in range(12)}
    assert len(hosts) == 2
    assert len(lookup(b, boxes[1], "tasks.web")) == 2
    a.start()
    eventually(lambda: a.docker("node", "ls").stdout.count("Ready") == 2)
    assert len({fetch(a, boxes[0], "web") for _ in range(12)}) == 2


def test_nothing_is_left_on_a_machine_that_nobody_uses_it_on(cluster):
    a, b = cluster
    spread(a, b, "web")
    assert len(devices(a)) == len(devices(b)) == 1
    refused = a.docker("network", "rm", "wide", check=False)
    assert refused.returncode and "in use by service" in refused.stderr
    a.docker("service", "rm", "web", "client")
    a.docker("network", "rm", "wide")
    eventually(lambda: not devices(a) and not devices(b))
    assert "wide" not in a.docker("network", "ls").stdout
    for d in cluster:
        assert "by-" not in d.inside("ip", "-br", "link").stdout


def test_published_ports_of_a_service_on_an_overlay_answer_on_every_machine(cluster):
    a, b = cluster
    create(a, "web", "--replicas", "1", "--publish", "8080:80", "--constraint", "node.role==worker")
    create(a, "fixed", "--mode", "global", "--publish", "mode=host,published=8090,target=80")
    eventually(lambda: len(tasks(a, "web")) == 1 and len(tasks(a, "fixed")) == 2, 20)
    for d in cluster:
        eventually(lambda: d.inside("busybox", "wget", "-qO-", f"http://{d.ip}:8080/", timeout=10).stdout)
        assert d.inside("busybox", "wget", "-qO-", f"http://{d.ip}:8090/", timeout=10).stdout


def test_a_stack_has_a_network_of_its_own_over_machines(cluster, tmp_path):
    a, b = cluster
    file = tmp_path / "stack.yml"
    file.write_text("""
version: '3.8'
services:
  web: {image: busybox, command: "sh -c 'httpd -f -p 80 -h /etc'", stop_grace_period: 1s, deploy: {mode: global}}
  box: {image: busybox, command: sleep 1000, stop_grace_period: 1s, deploy: {mode: global}}
""")
    result = a.docker("stack", "deploy", "--detach=true", "-c", file, "st")
    assert "this machine alone" not in result.stderr
    eventually(lambda: len(tasks(a, "st_web")) == len(tasks(a, "st_box")) == 2, 20)
    networks = a.docker("network", "ls", "--filter", "driver=overlay", "--format", "{{.Name}} {{.Scope}}").stdout
    assert "st_default swarm" in networks
    for d in cluster:
        box = container(d, "st_box")
        for name in ("web", "st_web", "tasks.st_web"):
            eventually(lambda: lookup(d, box, name))
        assert "root" in d.docker("exec", box, "wget", "-qO-", "http://web/passwd").stdout
    a.docker("stack", "rm", "st", timeout=60)
    assert "st_default" not in a.docker("network", "ls").stdout


def test_rules_flushed_by_somebody_come_back_and_those_of_others_stay(cluster):
    a, b = cluster
    create(a, "web", "--replicas", "2", "--publish", "8080:80")
    eventually(lambda: len(tasks(a, "web")) == 2, 20)
    a.inside("nft", "add", "table", "inet", "somebody")
    a.inside("nft", "add", "chain", "inet", "somebody", "mine")
    listed = lambda: a.inside("nft", "list", "table", "inet", "buoy", check=False).stdout
    chains = lambda: set(re.findall(r"chain (\S+)", listed()))
    eventually(lambda: "8080" in listed())
    before = chains()
    a.inside("nft", "flush", "table", "inet", "buoy")
    a.inside("nft", "delete", "table", "inet", "buoy")
    # Not that every line is as it was: what is known of the tasks may go on meanwhile.
    eventually(lambda: chains() >= before and "8080" in listed())
    assert a.inside("busybox", "wget", "-qO-", f"http://{a.ip}:8080/", timeout=10).stdout
    assert "chain mine" in a.inside("nft", "list", "table", "inet", "somebody").stdout
    assert sh("nft", "list", "tables").returncode == 0
