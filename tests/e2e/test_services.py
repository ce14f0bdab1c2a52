# SPDX-License-Identifier: Apache-2.0
"""What services are made of beside replicas: secrets, configs, jobs, updates, stacks; by the docker CLI."""
import base64
import json
import os
import pathlib
import subprocess

import pytest

from conftest import eventually
from test_cluster import cluster, create, names, running, tasks # noqa: F401
from test_masters import leader_of, masters # noqa: F401

CANARY = "canary-5f2c81d09e"


@pytest.fixture
def manager(machines):
    """A cluster of one machine."""
    a = machines(1)[0]
    a.docker("swarm", "init", "--advertise-addr", a.ip)
    return a


def make(d, kind, name, data, *options):
    return d.docker(kind, "create", *options, name, "-", input=data).stdout.strip()


def only_container(d):
    return next(iter(names(d)))


def inside(d, *command, **kwargs):
    return d.docker("exec", only_container(d), *command, **kwargs).stdout


# ---- secrets and configs ----

@pytest.mark.parametrize("kind", ["secret", "config"])
def test_secrets_and_configs_are_made_listed_shown_and_removed(manager, kind):
    id = make(manager, kind, "one", "hello", "--label", "a=b")
    listed = manager.docker(kind, "ls", "--format", "{{.ID}} {{.Name}} {{.Labels}}").stdout.split()
    assert listed == [id, "one", "a=b"]
    assert manager.docker(kind, "ls", "-q", "--filter", "label=a=c").stdout == ""
    assert manager.docker(kind, "ls", "-q", "--filter", "name=on").stdout.strip() == id
    shown = json.loads(manager.docker(kind, "inspect", "one").stdout)[0]
    assert shown["ID"] == id and shown["Spec"]["Labels"] == {"a": "b"}
    if kind == "config":
        assert base64.b64decode(shown["Spec"]["Data"]) == b"hello"
    else:
        assert "Data" not in shown["Spec"] and set(shown) == {"ID", "Version", "CreatedAt", "UpdatedAt", "Spec"}
    again = manager.docker(kind, "create", "one", "-", input="x", check=False)
    assert f"{kind} one already exists" in again.stderr
    assert manager.docker(kind, "rm", "one").stdout.strip() == "one"
    assert f"{kind} one not found" in manager.docker(kind, "rm", "one", check=False).stderr
    status, text = manager.api("POST", f"/{kind}s/create", {"Name": "-x-", "Data": "eA=="})
    assert status == 400 and b"invalid name" in text


@pytest.mark.parametrize("kind", ["secret", "config"])
def test_buoy_makes_lists_shows_gives_and_removes_them(manager, tmp_path, kind):
    file = tmp_path / "data"
    file.write_text("hello")
    id = manager.buoy(kind, "create", "--label", "a=b", "one", file).stdout.strip()
    piped = manager.buoy(kind, "create", "two", input="world").stdout.strip()
    assert sorted(manager.buoy(kind, "ls", "-q").stdout.split()) == sorted([id, piped])
    header, row = manager.buoy(kind, "ls", "--filter", "label=a=b").stdout.splitlines()
    assert header.split()[:2] == ["ID", "NAME"] and row.split()[:2] == [id, "one"] and "ago" in row
    assert json.loads(manager.buoy(kind, "inspect", "two").stdout)[0]["ID"] == piped
    assert manager.buoy("inspect", "--type", kind, "--format", "{{.ID}}", "one").stdout.strip() == id
    manager.buoy("service", "create", "--name", "web", f"--{kind}", "one", f"--{kind}", "source=two,target=/in/two,mode=0400",
                 "--stop-grace-period", "0s", "busybox", "sleep", "1000")
    assert inside(manager, "cat", "/run/secrets/one" if kind == "secret" else "/one") == "hello"
    assert inside(manager, "stat", "-c", "%a", "/in/two").strip() == "400"
    assert "in use" in manager.buoy(kind, "rm", "one", check=False).stderr
    manager.buoy("service", "update", f"--{kind}-rm", "one", "web")
    assert manager.buoy(kind, "rm", "one").stdout.strip() == "one"
    missing = manager.buoy("service", "create", f"--{kind}", "gone", "busybox", check=False)
    assert missing.returncode == 1 and f"{kind} gone not found" in missing.stderr
    assert manager.buoy(kind, "create", "three", tmp_path / "no", check=False).returncode == 1


@pytest.mark.parametrize("kind,most", [("secret", 500 * 1024), ("config", 1000 * 1024)])
def test_sizes_at_the_limit_are_taken_and_beyond_refused(manager, kind, most):
    words = f"{kind} data must be larger than 0 and less than {most} bytes"
    assert words in manager.docker(kind, "create", "big", "-", input="x" * most, check=False).stderr
    assert manager.api("POST", f"/{kind}s/create", {"Name": "none", "Data": ""})[0] == 400
    make(manager, kind, "big", "x" * (most - 1))
    create(manager, f"--{kind}", "source=big,target=/big", command=("sleep", "1000"))
    eventually(lambda: running(manager) == 1 and tasks(manager, State="running"))
    assert inside(manager, "wc", "-c", "/big").split()[0] == str(most - 1)


def test_task_sees_its_secrets_and_configs_as_files_in_memory(cluster):
    a, b = cluster
    make(a, "secret", "db", CANARY)
    make(a, "config", "conf", "slot={{.Task.Slot}} node={{.Node.Hostname}}", "--template-driver", "golang")
    create(a, "--secret", "db", "--secret", "source=db,target=other,uid=1000,gid=1001,mode=0400",
           "--config", "source=conf,target=/etc/app/conf,mode=0440", "--constraint", "node.role==worker",
           command=("sleep", "1000"))
    eventually(lambda: tasks(a, State="running"))
    assert inside(b, "cat", "/run/secrets/db") == CANARY
    assert inside(b, "stat", "-c", "%u %g %a", "/run/secrets/db").split() == ["0", "0", "444"]
    assert inside(b, "stat", "-c", "%u %g %a", "/run/secrets/other").split() == ["1000", "1001", "400"]
    assert inside(b, "cat", "/etc/app/conf") == f"slot=1 node={b.name}"
    mounts = {line.split()[1]: line.split()[2:4] for line in inside(b, "cat", "/proc/mounts").splitlines()}
    for path in ("/run/secrets/db", "/run/secrets/other", "/etc/app/conf"):
        kind, options = mounts[path]
        assert kind == "tmpfs" and {"ro", "nosuid", "nodev", "noexec"} <= set(options.split(","))
    # Nothing of it is left when the task has ended.
    assert list((b.run_dir / "secrets").iterdir())
    a.docker("service", "rm", "web")
    eventually(lambda: running(b) == 0)
    eventually(lambda: not os.path.ismount(b.run_dir / "secrets"))


def grep(needle, *roots):
    """Files below the roots, and processes of them, that show the needle."""
    found = []
    for root in roots:
        result = subprocess.run(["grep", "-rlaF", needle, str(root)], capture_output=True, text=True, check=False)
        found += result.stdout.split()
    return found


def test_secret_is_nowhere_in_clear(cluster):
    """A canary in a secret and a config, looked for in stores, logs, records and answers of both machines."""
    a, b = cluster
    make(a, "secret", "db", CANARY)
    make(a, "config", "conf", CANARY)
    encoded = base64.b64encode(CANARY.encode()).decode()[:-4]
    create(a, "--replicas", "2", "--secret", "db", "--config", "source=conf,target=/conf", command=("sleep", "1000"))
    eventually(lambda: len(tasks(a, State="running")) == 2)
    for d in cluster:
        assert inside(d, "cat", "/run/secrets/db") == CANARY
        files = d.run_dir / "secrets"
        for needle in (CANARY, encoded):
            hits = [p for p in grep(needle, d.dir) if not p.startswith(str(files))]
            assert not hits
            for path in ("/services", "/tasks", "/secrets", "/containers/json?all=1"):
                if d is a or path.startswith("/containers"):
                    assert needle.encode() not in d.api("GET", path)[1]
            assert needle not in d.docker("inspect", only_container(d)).stdout
    # The control: it would be found, if it were there.
    (a.dir / "control").write_text(CANARY)
    assert grep(CANARY, a.dir / "control")
    assert oct((a.root / "cluster" / "vault.key").stat().st_mode)[-3:] == "600"


def test_secret_in_use_is_not_removed_and_an_update_rolls_to_another(manager):
    make(manager, "secret", "v1", "one")
    make(manager, "secret", "v2", "two")
    create(manager, "--secret", "source=v1,target=pw", "--update-monitor", "100ms", command=("sleep", "1000"))
    eventually(lambda: tasks(manager, State="running"))
    refused = manager.docker("secret", "rm", "v1", check=False)
    assert refused.returncode and "secret 'v1' is in use by the following service: web" in refused.stderr
    manager.docker("service", "update", "-d", "--secret-rm", "v1", "--secret-add", "source=v2,target=pw", "web")
    eventually(lambda: running(manager) == 1 and len(tasks(manager, State="running")) == 1
               and inside(manager, "cat", "/run/secrets/pw", check=False) == "two")
    manager.docker("secret", "rm", "v1")
    missing = manager.docker("service", "create", "-d", "--secret", "v1", "busybox", check=False)
    assert missing.returncode and "secret not found: v1" in missing.stderr
    refused = manager.docker("service", "update", "-d", "--secret-add", "source=v2,target=pw", "web", check=False)
    assert refused.returncode # a target can be taken once
    spec = {"Name": "x", "TaskTemplate": {"ContainerSpec": {"Image": "busybox", "Secrets": [
        {"SecretID": "nothere", "SecretName": "x", "File": {"Name": "x"}}]}}}
    assert manager.api("POST", "/services/create", spec)[0] == 404


def test_secrets_outlive_daemons_and_wait_for_the_leader(cluster):
    a, b = cluster
    make(a, "secret", "db", CANARY)
    create(a, "--secret", "db", "--constraint", "node.role==worker", "--restart-delay", "100ms", command=("sleep", "1000"))
    eventually(lambda: tasks(a, State="running"))
    first = names(b)
    for d in (b, a):
        d.kill9()
        d.start()
    eventually(lambda: a.docker("node", "ls").stdout.count("Ready") == 2)
    assert names(b) == first and inside(b, "cat", "/run/secrets/db") == CANARY
    b.docker("kill", only_container(b))
    eventually(lambda: (now := names(b)) and now != first and tasks(a, State="running"))
    assert inside(b, "cat", "/run/secrets/db") == CANARY


def test_node_gets_no_secrets_of_tasks_that_are_not_its_own(cluster):
    a, b = cluster
    make(a, "secret", "db", CANARY)
    create(a, "--secret", "db", "--constraint", "node.role==manager", command=("sleep", "1000"))
    task = eventually(lambda: tasks(a, State="running"))[0]

    def ask(d):
        c = d.root / "cluster"
        return a.inside("curl", "-s", "--cacert", c / "ca.pem", "--cert", c / "cert.pem", "--key", c / "key.pem",
                        "--connect-to", f"swarm-manager:443:{a.ip}:2377", f"https://swarm-manager/v1/files/{task['ID']}").stdout
    assert "has no task" in ask(b)
    assert base64.b64encode(CANARY.encode()).decode() in ask(a)


def test_every_manager_opens_what_another_has_sealed(masters):
    """The key comes with joining and is not in etcd, whose values are read in clear here."""
    trio, etcd = masters
    make(trio[1], "secret", "db", CANARY)
    make(trio[2], "config", "big", "x" * (1000 * 1024 - 1))
    keys = {(d.root / "cluster" / "vault.key").read_text() for d in trio}
    assert len(keys) == 1
    dump = trio[0].inside("etcdctl", "get", "", "--prefix", "--endpoints", etcd.url.removeprefix("etcd://"),
                          env=dict(os.environ, ETCDCTL_API="3")).stdout
    assert '"Name":"db"' in dump and CANARY not in dump and next(iter(keys)) not in dump
    assert base64.b64encode(CANARY.encode()).decode()[:-4] not in dump
    first = leader_of(trio)
    first.kill9()
    rest = [d for d in trio if d is not first]
    eventually(lambda: leader_of(rest), 20)
    create(rest[0], "--secret", "db", "--config", "source=big,target=/big", "--constraint",
           f"node.hostname=={rest[1].name}", command=("sleep", "1000"))
    eventually(lambda: tasks(rest[0], State="running"), 20)
    assert inside(rest[1], "cat", "/run/secrets/db") == CANARY
    assert inside(rest[1], "wc", "-c", "/big").split()[0] == str(1000 * 1024 - 1)


# ---- jobs ----

def test_replicated_job_runs_so_many_at_a_time_until_all_are_through(cluster):
    a, b = cluster
    done = a.docker("service", "create", "--name", "job", "--mode", "replicated-job", "--replicas", "5", "--max-concurrent", "2",
                    "--quiet", "busybox", "sleep", "0.3", timeout=60)
    assert done.returncode == 0 # without --detach the client waits for the end of it
    assert a.docker("service", "ls", "--format", "{{.Mode}}: {{.Replicas}}").stdout.strip() == "replicated job: 0/0 (5/5 completed)"
    shown = a.json("GET", "/tasks")
    assert len(shown) == 5
    assert all(t["Status"]["State"] == "complete" and t["DesiredState"] == "complete" for t in shown)
    assert {t["JobIteration"].get("Index", 0) for t in shown} == {0} and {t.get("Slot", 0) for t in shown} == set(range(5))
    a.docker("service", "update", "--force", "--quiet", "job", timeout=60)
    again = [t for t in a.json("GET", "/tasks") if t["JobIteration"].get("Index") == 1]
    assert len(again) == 5 and all(t["Status"]["State"] == "complete" for t in again)
    assert json.loads(a.docker("service", "inspect", "job").stdout)[0]["JobStatus"]["JobIteration"]["Index"] == 1


def test_buoy_waits_for_a_job_as_well(manager):
    said = manager.buoy("service", "create", "--name", "job", "--mode", "replicated-job", "--replicas", "3", "--max-concurrent", "1",
                        "busybox", "true", timeout=60).stdout
    assert "overall progress: 3 out of 3 tasks" in said
    assert len(tasks(manager, State="complete")) == 3
    assert manager.buoy("service", "create", "--max-concurrent", "1", "busybox", check=False).returncode


def test_failed_task_of_a_job_is_tried_again_and_then_left(manager):
    manager.docker("service", "create", "-d", "--name", "job", "--mode", "replicated-job", "--restart-condition", "on-failure",
                   "--restart-max-attempts", "2", "--restart-delay", "100ms", "busybox", "false")
    eventually(lambda: len(tasks(manager, State="failed")) == 3, 20)
    assert "(0/1 completed)" in manager.docker("service", "ls", "--format", "{{.Replicas}}").stdout


def test_global_job_runs_once_on_each_machine(cluster):
    a, b = cluster
    a.docker("service", "create", "--name", "job", "--mode", "global-job", "--quiet", "busybox", "true", timeout=60)
    shown = a.json("GET", "/tasks")
    assert len(shown) == 2 and len({t["NodeID"] for t in shown}) == 2
    assert all(t["Status"]["State"] == "complete" for t in shown)
    assert "(2/2 completed)" in a.docker("service", "ls", "--format", "{{.Replicas}}").stdout
    assert a.docker("service", "ls", "-q", "--filter", "mode=global-job").stdout.strip()


# ---- updates: what the docker CLI says while it waits ----

LIVES = ("sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait")


def wait_for(d, *args, **kwargs):
    """A command of the CLI that stays until its service has converged or never will."""
    return d.docker("service", *args, check=False, timeout=60, **kwargs)


def versions(d):
    return sorted(e for c in names(d) for e in d.json("GET", f"/containers/{c}/json")["Config"]["Env"] if e.startswith("V="))


def state(d):
    return json.loads(d.docker("service", "inspect", "web").stdout)[0]["UpdateStatus"]


@pytest.fixture
def web(manager):
    """Three replicas that an update replaces one by one."""
    result = wait_for(manager, "create", "--name", "web", "--replicas", "3", "--env", "V=1", "--restart-delay", "100ms",
                      "--stop-grace-period", "1s", "--update-monitor", "500ms", "--rollback-monitor", "500ms", "busybox", *LIVES)
    assert result.returncode == 0 and "converged" in result.stdout
    return manager


def test_update_and_rollback_are_followed_to_their_end(web):
    result = wait_for(web, "update", "--env-add", "V=2", "--update-order", "start-first", "web")
    assert result.returncode == 0 and "converged" in result.stdout
    assert versions(web) == ["V=2"] * 3
    eventually(lambda: state(web)["State"] == "completed")
    assert state(web)["Message"] == "update completed" and state(web)["CompletedAt"] > state(web)["StartedAt"]
    result = wait_for(web, "rollback", "web")
    assert result.returncode == 0 and "rollback: manually requested rollback" in result.stdout
    assert versions(web) == ["V=1"] * 3
    eventually(lambda: state(web)["State"] == "rollback_completed")


def test_failing_update_is_paused_and_the_client_says_so(web):
    result = wait_for(web, "update", "--args", "false", "web")
    words = "update paused due to failure or early termination of task "
    failed = {words + t["ID"] for t in web.json("GET", "/tasks") if t["Status"]["State"] in ("failed", "rejected")}
    assert result.returncode == 1 and any(f"service update paused: {message}" in result.stderr for message in failed)
    assert state(web)["State"] == "paused" and state(web)["Message"] in failed
    # As with Docker, the next slot's turn comes as soon as a task runs: the second may have begun, the third never.
    assert sum("trap" in c["Command"] for c in web.json("GET", "/containers/json")) in (1, 2)
    result = wait_for(web, "update", "--args", "sleep 1000", "web")
    assert result.returncode == 0 and running(web) == 3


def test_failing_update_rolls_back_and_the_client_says_so(web):
    result = wait_for(web, "update", "--args", "false", "--env-add", "V=2", "--update-failure-action", "rollback", "web")
    assert "rollback: update rolled back due to failure or early termination of task" in result.stdout
    eventually(lambda: versions(web) == ["V=1"] * 3)
    assert state(web)["State"] == "rollback_completed"


def test_update_that_never_gets_healthy_is_rolled_back_without_a_gap(web):
    """Start-first: the old tasks stay until the new ones are healthy, which they never are."""
    before = names(web)
    result = wait_for(web, "update", "--health-cmd", "false", "--health-interval", "200ms", "--health-retries", "2",
                      "--update-order", "start-first", "--update-failure-action", "rollback", "web")
    assert "rollback: " in result.stdout # how it began or, if that was over before the client looked, how it ended
    eventually(lambda: running(web) == 3)
    assert names(web) == before # nobody was stopped for it


def test_update_with_failures_within_the_ratio_goes_on(web):
    result = wait_for(web, "update", "--args", "false", "--update-failure-action", "continue", "--update-parallelism", "3",
                      "--restart-condition", "none", "--detach", "web")
    assert result.returncode == 0
    eventually(lambda: state(web)["State"] == "completed", 20)
    assert len(tasks(web, State="failed")) == 3


# ---- priorities ----

def test_task_of_higher_priority_gets_the_room_of_a_lower_one(manager):
    def runs(name):
        return [t["ServiceName"] for t in tasks(manager, State="running")] == [name] and running(manager) == 1

    most = manager.json("GET", "/info")["NCPU"]
    manager.buoy("service", "create", "-d", "--name", "low", "--priority", "-1", "--reserve-cpu", most * 0.75, "busybox", *LIVES)
    eventually(lambda: runs("low"))
    manager.docker("service", "create", "-d", "--name", "high", "--label", "buoy.priority=10", "--reserve-cpu", str(most * 0.5),
                   "busybox", *LIVES)
    eventually(lambda: runs("high"))
    shown = manager.docker("service", "ps", "--no-trunc", "--format", "{{.DesiredState}} {{.Error}}", "low").stdout
    assert "Shutdown \"made room for high.1 of priority 10\"" in shown
    assert "the task before it made room for high.1" in manager.buoy("service", "explain", "low").stdout
    manager.docker("service", "rm", "high")
    eventually(lambda: runs("low"))


def test_tasks_move_to_a_machine_that_takes_tasks_again(cluster):
    a, b = cluster
    a.docker("node", "update", "--availability", "drain", b.name)
    a.buoy("service", "create", "-d", "--name", "web", "--replicas", "2", "--rebalance", "--update-order", "start-first", "busybox", *LIVES)
    eventually(lambda: len(tasks(a, State="running")) == 2)
    assert (running(a), running(b)) == (2, 0)
    a.docker("node", "update", "--availability", "active", b.name)
    eventually(lambda: (running(a), running(b)) == (1, 1), 30)


# ---- stacks: Compose files as they are ----

COMPOSE = """
version: "3.9"
x-common: &common
  image: busybox
  stop_grace_period: 1s
services:
  web:
    <<: *common
    command: ["sh", "-c", "while true; do wget -qO /w/index.html http://api:8000/; sleep 0.2; done & exec httpd -f -p 80 -h /w"]
    ports:
      - "8080:80"
    networks: [front, back]
    volumes: [{type: tmpfs, target: /w}]
    configs:
      - source: site
        target: /etc/site.conf
        mode: 0440
    deploy:
      replicas: 2
      labels: {tier: web}
      update_config: {parallelism: 1, delay: 100ms, order: start-first, failure_action: rollback, monitor: 300ms}
      rollback_config: {parallelism: 0, order: stop-first}
      restart_policy: {condition: on-failure, delay: 100ms, max_attempts: 5, window: 30s}
      resources:
        limits: {cpus: "0.50", memory: 64M, pids: 50}
        reservations: {memory: 16M}
  api:
    <<: *common
    command: ["sh", "-c", "cd /tmp; cat /run/secrets/password > index.html; exec httpd -f -p 8000"]
    environment: {STAGE: test}
    networks:
      back: {aliases: [backend]}
    secrets:
      - source: password
        mode: 0400
    healthcheck: {test: ["CMD", "wget", "-qO-", "http://127.0.0.1:8000/"], interval: 200ms, retries: 3, start_period: 5s}
    labels: {app: api}
    deploy:
      placement: {constraints: ["node.role == manager"], max_replicas_per_node: 1}
  db:
    <<: *common
    command: ["sh", "-c", "date > /data/since; exec sleep 1000"]
    volumes: ["data:/data"]
    networks: [back]
    ulimits: {nofile: {soft: 100, hard: 200}}
    cap_drop: [ALL]
    sysctls: {net.core.somaxconn: 128}
    deploy: {mode: global, endpoint_mode: dnsrr}
networks:
  front:
  back: {driver: overlay, attachable: true}
volumes:
  data:
configs:
  site: {file: ./site.conf}
secrets:
  password: {file: ./password.txt}
"""


@pytest.fixture
def stack(manager, tmp_path):
    (tmp_path / "site.conf").write_text("server")
    (tmp_path / "password.txt").write_text(CANARY)
    (tmp_path / "stack.yml").write_text(COMPOSE)
    manager.docker("stack", "deploy", "--detach=true", "-c", tmp_path / "stack.yml", "shop")
    eventually(lambda: len(tasks(manager, State="running")) == 4, 30)
    return manager


def by_service(d, name):
    return [c["Id"] for c in d.json("GET", "/containers/json")
            if c["Labels"]["com.docker.swarm.service.name"] == f"shop_{name}"]


def test_stack_of_three_services_works_as_its_file_says(stack, tmp_path):
    d = stack
    assert d.docker("stack", "ls", "--format", "{{.Name}} {{.Services}}").stdout.split() == ["shop", "3"]
    shown = dict(line.split() for line in d.docker("stack", "services", "shop", "--format", "{{.Name}} {{.Replicas}}").stdout.splitlines()
                 if line.split()[0] != "shop_api")
    assert shown == {"shop_web": "2/2", "shop_db": "1/1"}
    assert d.docker("stack", "ps", "shop", "--format", "{{.CurrentState}}").stdout.count("Running") == 4
    # web asks api by its name in the file, api reads its secret, and the mesh gives the answer to the outside.
    eventually(lambda: d.inside("busybox", "wget", "-qO-", f"http://{d.ip}:8080/", timeout=10, check=False).stdout == CANARY)
    web, api, db = (by_service(d, name)[0] for name in ("web", "api", "db"))
    for name in ("api", "backend", "shop_api", "tasks.shop_api", "db"):
        assert d.docker("exec", web, "nslookup", name, check=False).returncode == 0, name
    assert d.docker("exec", web, "cat", "/etc/site.conf").stdout == "server"
    assert d.docker("exec", api, "stat", "-c", "%a", "/run/secrets/password").stdout.strip() == "400"
    host = d.json("GET", f"/containers/{web}/json")["HostConfig"]
    assert host["Memory"] == 64 << 20 and host["NanoCpus"] == 5 * 10**8 and host["PidsLimit"] == 50
    assert d.docker("exec", db, "sh", "-c", "grep files /proc/1/limits; cat /proc/sys/net/core/somaxconn; grep CapEff /proc/1/status").stdout.split() == \
        ["Max", "open", "files", "100", "200", "files", "128", "CapEff:", "0" * 16]
    assert [m["Name"] for m in d.json("GET", f"/containers/{db}/json")["Mounts"]] == ["shop_data"]
    assert d.docker("network", "ls", "--filter", "driver=overlay", "--filter", "scope=swarm", "--format", "{{.Name}}").stdout.split() == \
        ["shop_back", "shop_front"]


def test_stack_deployed_again_changes_only_what_changed(stack, tmp_path):
    d = stack
    before = {name: set(by_service(d, name)) for name in ("web", "api", "db")}
    d.docker("stack", "deploy", "--detach=true", "-c", tmp_path / "stack.yml", "shop")
    file = tmp_path / "stack.yml"
    file.write_text(COMPOSE.replace("STAGE: test", "STAGE: live"))
    d.docker("stack", "deploy", "--detach=false", "-c", file, "shop", timeout=90)
    assert set(by_service(d, "web")) == before["web"] and set(by_service(d, "db")) == before["db"]
    assert not set(by_service(d, "api")) & before["api"]
    # A secret does not change its bytes, and the refusal says so.
    (tmp_path / "password.txt").write_text("other")
    refused = d.docker("stack", "deploy", "--detach=true", "-c", file, "shop", check=False)
    assert refused.returncode and "only updates to Labels are allowed" in refused.stderr
    # A service that the file no longer has goes with --prune.
    (tmp_path / "password.txt").write_text(CANARY)
    file.write_text(COMPOSE[:COMPOSE.index("  db:\n")] + COMPOSE[COMPOSE.index("networks:\n  front"):])
    d.docker("stack", "deploy", "--detach=true", "--prune", "-c", file, "shop")
    eventually(lambda: not by_service(d, "db"))


def test_stack_is_removed_with_all_that_was_its_own(stack):
    d = stack
    d.docker("stack", "rm", "shop", timeout=60)
    eventually(lambda: running(d) == 0, 20)
    assert not d.json("GET", "/services") and not d.json("GET", "/secrets") and not d.json("GET", "/configs")
    assert not [n for n in d.json("GET", "/networks") if n["Name"].startswith("shop_")]
    assert "shop" not in d.docker("stack", "ls").stdout


def test_buoy_and_docker_read_a_stack_alike(stack, tmp_path):
    """What docker deployed, buoy finds as its file says; what buoy deploys, docker does not replace."""
    d, file = stack, tmp_path / "stack.yml"
    before = set(names(d))
    shown = d.buoy("stack", "plan", "-c", file, "shop").stdout
    assert [line.split(":")[0] for line in shown.splitlines() if "service" in line] == \
        ["= service shop_web", "= service shop_api", "= service shop_db"], shown
    assert "->" not in shown and "Nothing was changed" in shown
    d.buoy("stack", "deploy", "--detach", "-c", file, "shop")
    d.docker("stack", "deploy", "--detach=true", "-c", file, "shop")
    assert set(names(d)) == before
    assert d.buoy("stack", "ls").stdout.split() == ["NAME", "SERVICES", "shop", "3"]
    assert sorted(line.split()[1] for line in d.buoy("stack", "services", "shop").stdout.splitlines()[1:]) == \
        ["shop_api", "shop_db", "shop_web"]
    assert d.buoy("stack", "ps", "shop", "--format", "{{.CurrentState}}").stdout.count("Running") == 4


def test_plan_shows_changes_and_places_and_does_nothing(stack, tmp_path):
    d, file = stack, tmp_path / "next.yml"
    before = set(names(d))
    file.write_text(COMPOSE.replace("STAGE: test", "STAGE: live").replace("replicas: 2", "replicas: 5").replace("  back: {driver", "  more:\n  back: {driver")
                    .replace("  db:\n", "  spare:\n    image: busybox\n    networks: [more]\n  db:\n"))
    plan = json.loads(d.buoy("stack", "plan", "--format", "json", "-c", file, "shop").stdout)
    found = {s["Name"]: s for s in plan["Services"]}
    web, api, spare = found["shop_web"], found["shop_api"], found["shop_spare"]
    assert (web["Kept"], web["Started"], web["Stopped"]) == (2, 3, 0)
    assert web["Changes"] == [{"Key": "Mode.Replicated.Replicas", "Before": 2, "After": 5}]
    assert (api["Kept"], api["Started"], api["Stopped"]) == (0, 1, 1)
    assert api["Changes"] == [{"Key": "TaskTemplate.ContainerSpec.Env", "Before": ["STAGE=test"], "After": ["STAGE=live"]}]
    assert spare["Action"] == "create" and [(n["Hostname"], n["After"]) for n in spare["Nodes"]] == [(d.name, 1)]
    text = d.buoy("stack", "plan", "-c", file, "shop").stdout
    assert "+ network shop_more" in text and '["STAGE=test"] -> ["STAGE=live"]' in text and f"on {d.name}: 2 -> 5" in text
    file.write_text(COMPOSE.replace("limits: {cpus: \"0.50\"", "limits: {cpus: \"0.50\"").replace("reservations: {memory: 16M}", "reservations: {cpus: \"100\"}"))
    waiting = d.buoy("stack", "plan", "-c", file, "shop").stdout
    assert "waiting: no suitable node" in waiting
    assert set(names(d)) == before and len(d.json("GET", "/services")) == 3


def test_buoy_deploys_waits_prunes_and_removes_a_stack(manager, tmp_path):
    d, file = manager, tmp_path / "compose.yaml"
    text = "services:\n  a: {image: busybox, command: sleep 1000, configs: [c], stop_grace_period: 0s, deploy: {replicas: 2}}\n" \
           "  b: {image: busybox, command: sleep 1000, stop_grace_period: 0s, build: .}\nconfigs: {c: {content: hello}}\n"
    file.write_text(text)
    out = d.buoy("stack", "deploy", "-c", file, "two", timeout=60)
    assert "Ignoring what a cluster does not do: build" in out.stderr
    assert running(d) == 3 # it has waited
    assert "Creating network two_default" in out.stdout and "Creating service two_a" in out.stdout
    file.write_text("\n".join(line for line in text.splitlines() if not line.startswith("  b:")))
    assert "- service two_b: 1 stopped" in d.buoy("stack", "plan", "--prune", "-c", file, "two").stdout
    assert "Removing service two_b" in d.buoy("stack", "deploy", "--prune", "-c", file, "two", timeout=60).stdout
    eventually(lambda: running(d) == 2)
    wrong = d.buoy("stack", "deploy", "-c", file, "-bad", check=False)
    assert wrong.returncode == 1
    broken = tmp_path / "broken.yaml"
    broken.write_text("services:\n  a: {image: [}\n")
    said = d.buoy("stack", "deploy", "-c", broken, "two", check=False).stderr
    assert "broken.yaml" in said and "line 2" in said
    d.buoy("stack", "rm", "two", timeout=90)
    for kind in ("services", "configs", "tasks"):
        assert d.json("GET", f"/{kind}") == [], kind
    assert [n for n in d.json("GET", "/networks") if n["Name"].startswith("two_")] == []
    assert "nothing found in stack" in d.buoy("stack", "ps", "two", check=False).stderr


# ---- why a task waits ----

def test_explain_says_per_filter_which_machines_it_rules_out(cluster):
    a, b = cluster
    create(a, "--replicas", "3", "--reserve-memory", "900g", "--constraint", f"node.hostname=={b.name}", command=("sleep", "1000"))
    said = eventually(lambda: a.buoy("service", "explain", "web").stdout)
    assert said.startswith("web: 0 running, 3 waiting\n")
    for slot in (1, 2, 3):
        assert f"web.{slot}: pending: no suitable node (" in said
    rows = [line.split() for line in said.splitlines()]
    assert ["constraints", "1", a.name] in rows and ["resources", "1", b.name] in rows
    a.docker("service", "update", "-d", "--reserve-memory", "0", "web")
    eventually(lambda: a.buoy("service", "explain", "web").stdout == "web: 3 running, 0 waiting\n", 20)
    assert "service none not found" in a.buoy("service", "explain", "none", check=False).stderr


def test_explain_tells_of_a_restart_delay(manager):
    manager.docker("service", "create", "-d", "--name", "web", "--restart-delay", "60s", "busybox", "true")
    eventually(lambda: "web.1: ready: restart delay: " in manager.buoy("service", "explain", "web").stdout, 20)
