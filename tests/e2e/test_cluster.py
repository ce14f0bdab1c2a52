# SPDX-License-Identifier: Apache-2.0
"""A cluster of two machines, driven by the docker CLI."""
import json
import time

import pytest

from conftest import eventually

SERVE = "mkdir -p /w; hostname > /w/index.html; trap 'exit 0' TERM; httpd -f -p 80 -h /w & wait"


@pytest.fixture
def cluster(machines):
    """A manager and a worker."""
    a, b = machines(2)
    a.docker("swarm", "init", "--advertise-addr", a.ip)
    token = a.docker("swarm", "join-token", "-q", "worker").stdout.strip()
    b.docker("swarm", "join", "--token", token, f"{a.ip}:2377")
    eventually(lambda: a.docker("node", "ls").stdout.count("Ready") == 2)
    return a, b


def create(manager, *options, name="web", command=("sh", "-c", SERVE)):
    manager.docker("service", "create", "-d", "--name", name, "--restart-delay", "0s", "--stop-grace-period", "2s",
                   *options, "busybox", *command)


def running(*daemons):
    return sum(len(d.json("GET", '/containers/json?filters={"label":["com.docker.swarm.task.id"]}')) for d in daemons)


def names(daemon):
    return {c["Id"] for c in daemon.json("GET", "/containers/json")}


def tasks(manager, **wanted):
    return [t for t in manager.json("GET", "/tasks") if all(t["Status"][k] == v for k, v in wanted.items())]


def test_published_service_answers_on_every_node_from_every_task(cluster):
    a, b = cluster
    create(a, "--replicas", "6", "--publish", "8080:80")
    eventually(lambda: len(tasks(a, State="running")) == 6)
    assert running(a) == running(b) == 3
    everyone = {c["Id"][:12] for d in cluster for c in d.json("GET", "/containers/json")}
    for d in cluster:
        seen = set()

        def ask():
            seen.add(d.inside("busybox", "wget", "-qO-", f"http://{d.ip}:8080/", timeout=10).stdout.strip())
            return seen == everyone
        eventually(ask)


def test_killed_container_is_replaced_within_a_second(cluster):
    a, b = cluster
    create(a, "--replicas", "2")
    eventually(lambda: len(tasks(a, State="running")) == 2)
    victim = next(iter(names(b)))
    began = time.monotonic()
    b.docker("kill", victim)
    eventually(lambda: len(tasks(a, State="failed")) == 1 and len(tasks(a, State="running")) == 2, 5)
    assert time.monotonic() - began < 1.0
    assert victim not in names(b)


def test_tasks_of_a_machine_that_is_switched_off_are_back_within_six_seconds(cluster):
    a, b = cluster
    create(a, "--replicas", "4", "--publish", "8080:80")
    eventually(lambda: len(tasks(a, State="running")) == 4)
    began = time.monotonic()
    b.power_off()
    eventually(lambda: running(a) == 4, 10)
    assert time.monotonic() - began < 6.0
    assert "Down" in a.docker("node", "ls").stdout
    for _ in range(8):
        assert a.inside("busybox", "wget", "-qO-", f"http://{a.ip}:8080/", timeout=10).stdout


def test_killed_daemons_leave_the_tasks_alone(cluster):
    a, b = cluster
    create(a, "--replicas", "4")
    eventually(lambda: len(tasks(a, State="running")) == 4)
    before = names(a), names(b)
    for d in (b, a):
        d.kill9()
        d.start()
    eventually(lambda: a.docker("node", "ls").stdout.count("Ready") == 2)
    time.sleep(1)
    assert (names(a), names(b)) == before
    assert len(tasks(a)) == 4


@pytest.mark.parametrize("who", ["worker", "manager"])
def test_daemon_killed_amid_starts_loses_and_doubles_nothing(cluster, who):
    a, b = cluster
    victim = b if who == "worker" else a
    for round in range(3):
        name = f"r{round}"
        create(a, "--replicas", "12", name=name)
        time.sleep(0.05 + 0.15 * round)
        victim.kill9()
        victim.start()
        eventually(lambda: running(a, b) == 12 and len(tasks(a, State="running")) == 12, 30)
        held = [c["Labels"]["com.docker.swarm.task.name"].rsplit(".", 1)[0]
                for d in cluster for c in d.json("GET", "/containers/json")]
        assert sorted(held) == sorted(f"{name}.{slot}" for slot in range(1, 13))
        a.docker("service", "rm", name)
        eventually(lambda: running(a, b) == 0 and not tasks(a), 20)
    eventually(lambda: not [c for d in cluster for c in d.json("GET", "/containers/json?all=1")])


def test_worker_goes_on_without_its_manager(cluster):
    a, b = cluster
    create(a, "--replicas", "2")
    eventually(lambda: len(tasks(a, State="running")) == 2)
    before = names(b)
    a.kill9()
    b.kill9()
    b.start()
    time.sleep(1)
    assert names(b) == before
    a.start()
    eventually(lambda: a.docker("node", "ls").stdout.count("Ready") == 2)
    assert names(b) == before


def test_scale_update_rollback_and_remove(cluster):
    a, b = cluster
    create(a, "--replicas", "2", "--env", "V=1", "--update-monitor", "100ms")
    eventually(lambda: running(a, b) == 2)
    a.docker("service", "scale", "-d", "web=5")
    eventually(lambda: running(a, b) == 5)
    a.docker("service", "update", "-d", "--env-add", "V=2", "--update-parallelism", "0", "web")

    def values():
        return {e for d in cluster for c in names(d) for e in d.json("GET", f"/containers/{c}/json")["Config"]["Env"]
                if e.startswith("V=")}
    eventually(lambda: values() == {"V=2"} and running(a, b) == 5, 20)
    # The end of the update is one more version of the service, and would make the client's answer come too late.
    eventually(lambda: "completed" in a.docker("service", "inspect", "--format", "{{.UpdateStatus.State}}", "web").stdout)
    a.docker("service", "rollback", "-d", "web")
    eventually(lambda: values() == {"V=1"} and running(a, b) == 5, 30)
    a.docker("service", "rm", "web")
    eventually(lambda: running(a, b) == 0, 20)
    eventually(lambda: not a.json("GET", "/tasks"), 20)


def test_drained_node_is_emptied_and_global_services_follow(cluster):
    a, b = cluster
    create(a, "--replicas", "4")
    create(a, "--mode", "global", name="each")
    eventually(lambda: running(a) == running(b) == 3)
    node = json.loads(a.docker("node", "inspect", b.name).stdout)[0]["ID"]
    a.docker("node", "update", "--availability", "drain", node)
    eventually(lambda: running(b) == 0 and running(a) == 5, 15)
    a.docker("node", "update", "--availability", "active", node)
    eventually(lambda: running(b) == 1)


def test_templates_labels_and_mounts_of_a_task(cluster):
    a, b = cluster
    create(a, "--replicas", "1", "--env", "WHO={{.Service.Name}}.{{.Task.Slot}}@{{.Node.Hostname}}",
           "--hostname", "h{{.Task.Slot}}", "--mount", "type=volume,source=v{{.Task.Slot}},target=/v",
           "--constraint", "node.role==worker")
    eventually(lambda: running(b) == 1)
    c = b.json("GET", f"/containers/{next(iter(names(b)))}/json")
    assert f"WHO=web.1@{b.name}" in c["Config"]["Env"]
    assert c["Config"]["Hostname"] == "h1"
    assert c["Config"]["Labels"]["com.docker.swarm.service.name"] == "web"
    assert c["Name"].startswith("/web.1.")
    assert [m["Name"] for m in c["Mounts"]] == ["v1"]


def test_task_with_a_health_check_runs_when_it_is_healthy_and_is_replaced_when_not(cluster):
    a, b = cluster
    create(a, "--health-cmd", "test -f /ok", "--health-interval", "200ms", "--health-retries", "2",
           "--health-start-period", "10s", command=("sh", "-c", "trap 'exit 0' TERM; sleep 1; touch /ok; sleep 1000 & wait"))
    task = eventually(lambda: tasks(a, State="starting"))[0]
    assert not tasks(a, State="running")
    eventually(lambda: tasks(a, State="running"))
    where = next(d for d in cluster if running(d))
    where.docker("exec", next(iter(names(where))), "rm", "/ok")
    failed = eventually(lambda: tasks(a, State="failed"))[0]
    assert failed["ID"] == task["ID"] and "unhealthy" in failed["Status"]["Err"]
    eventually(lambda: tasks(a, State="running"))


def test_stack_on_a_network_that_is_there(cluster, tmp_path):
    a, b = cluster
    file = tmp_path / "stack.yml"
    file.write_text("""
version: '3.8'
services:
  one: {image: busybox, command: sleep 1000, stop_grace_period: 1s, deploy: {replicas: 2}}
networks: {default: {external: true, name: bridge}}
""")
    a.docker("stack", "deploy", "--detach=true", "-c", file, "st")
    eventually(lambda: a.docker("stack", "ps", "st").stdout.count("Running") == 4)
    assert "2/2" in a.docker("stack", "services", "st").stdout
    a.docker("stack", "rm", "st")
    eventually(lambda: running(a, b) == 0)


def test_logs_of_all_tasks_are_read_through_the_manager(cluster):
    a, b = cluster
    create(a, "--replicas", "2", command=("sh", "-c", "echo hello from $(hostname); sleep 1000"))
    eventually(lambda: running(a) == running(b) == 1)
    expected = {f"hello from {c[:12]}" for d in cluster for c in names(d)}

    def said():
        lines = a.docker("service", "logs", "web").stdout.splitlines()
        return {line.split("| ", 1)[1] for line in lines} == expected
    eventually(said)


def test_image_that_nobody_has_is_told_in_the_task(cluster):
    a, _ = cluster
    a.docker("service", "create", "-d", "--name", "bad", "--restart-condition", "none", "127.0.0.1:1/none")
    task = eventually(lambda: tasks(a, State="rejected"))[0]
    assert "127.0.0.1:1" in task["Status"]["Err"]


def test_answers_of_machines_that_may_not(machines):
    a, b = machines(2)
    status, text = a.api("GET", "/services")
    assert status == 503 and b"This node is not a swarm manager" in text
    a.docker("swarm", "init", "--advertise-addr", a.ip)
    assert "already part of a swarm" in a.docker("swarm", "init", check=False).stderr
    wrong = "SWMTKN-1-" + "0" * 50 + "-" + "0" * 25
    result = b.docker("swarm", "join", "--token", wrong, f"{a.ip}:2377", check=False)
    assert result.returncode and "remote CA does not match" in result.stderr
    assert b.docker("info", "-f", "{{.Swarm.LocalNodeState}}").stdout.strip() == "inactive"
    token = a.docker("swarm", "join-token", "-q", "worker").stdout.strip()
    a.docker("swarm", "join-token", "--rotate", "-q", "worker")
    assert b.docker("swarm", "join", "--token", token, f"{a.ip}:2377", check=False).returncode
    token = a.docker("swarm", "join-token", "-q", "worker").stdout.strip()
    b.docker("swarm", "join", "--token", token, f"{a.ip}:2377")
    status, text = b.api("GET", "/nodes")
    assert status == 503 and b"Worker nodes can't be used" in text
    spec = json.dumps({"Name": "x", "TaskTemplate": {"ContainerSpec": {"Image": "busybox"}}})
    assert a.api("POST", "/services/create", spec)[0] == 201
    assert a.api("POST", "/services/create", spec)[0] == 409
    assert a.api("POST", "/services/x/update?version=1", spec)[0] == 500
    assert a.api("POST", "/services/x/update", spec)[0] == 400
    assert a.docker("swarm", "leave", check=False).returncode
    b.docker("swarm", "leave")
    a.docker("swarm", "leave", "--force")
    assert not names(a) and not names(b)


def test_python_sdk_makes_scales_and_removes_a_service(cluster):
    docker = pytest.importorskip("docker")
    a, b = cluster
    client = docker.DockerClient(base_url=a.host, version="auto")
    assert len(client.nodes.list()) == 2
    service = client.services.create("busybox", command=["sh", "-c", "echo hi; sleep 1000"], name="py",
                                     mode=docker.types.ServiceMode("replicated", replicas=2), labels={"k": "v"},
                                     stop_grace_period=1000000000)
    eventually(lambda: running(a, b) == 2)
    eventually(lambda: list(service.logs(stdout=True)) == [b"hi\n", b"hi\n"])
    service.scale(3)
    eventually(lambda: running(a, b) == 3)
    assert [s.name for s in client.services.list(filters={"label": "k=v"})] == ["py"]
    service.remove()
    eventually(lambda: running(a, b) == 0)
    client.close()
