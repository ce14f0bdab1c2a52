# SPDX-License-Identifier: Apache-2.0
"""Each verb of the engine, driven by docker and by buoy."""
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from conftest import eventually, sh


def state(cli, name):
    return cli.inspect(name)[0]["State"]


def curl(daemon, where, **kwargs):
    return daemon.inside("curl", "-s", "-S", "-m", "3", where, **kwargs)


def cgroup_value(container_id, *names):
    """The first of the files (version 1 or 2 name) in a cgroup of the container."""
    for name in names:
        for path in glob.glob(f"/sys/fs/cgroup/**/*{container_id}*/{name}", recursive=True):
            with open(path) as f:
                return f.read().strip()
    raise AssertionError(f"container {container_id:.12} has no {names}")


# ---- version, info ----

def test_version_names_client_and_server(cli):
    text = cli.out("version")
    assert "Client" in text and "Server" in text
    assert re.fullmatch(r"\d+\.\d+", cli.out("version", "--format", "{{.Server.APIVersion}}"))


def test_info_counts_what_is_there(cli):
    cli("run", "-d", "busybox", "sleep", "60")
    cli("create", "busybox", "true") if cli.which == "docker" else cli("run", "busybox", "true")
    text = cli.out("info")
    assert re.search(r"Containers: 2\b", text) and re.search(r"Running: 1\b", text)
    assert re.search(r"Images: [1-9]", text)


# ---- run ----

def test_run_shows_both_streams_and_passes_the_exit_code_on(cli):
    got = cli("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 42", check=False)
    assert (got.stdout, got.stderr, got.returncode) == ("out\n", "err\n", 42)
    assert not cli.daemon.json("GET", "/containers/json?all=1"), "--rm left a container"


def test_run_i_feeds_standard_input(cli):
    text = "".join(f"line {i}\n" for i in range(20000))
    got = cli("run", "-i", "--rm", "busybox", "wc", "-l", input=text)
    assert got.stdout.strip() == "20000"


def test_run_of_many_bytes_loses_none(cli):
    got = cli("run", "--rm", "busybox", "sh", "-c", "yes 0123456789abcde | head -c 4000000 | tee /proc/self/fd/2 ",
              check=False)
    assert (len(got.stdout), len(got.stderr)) == (4000000, 4000000)


def test_run_it_is_a_terminal(cli):
    code, screen = cli.on_terminal("run", "-it", "--rm", "busybox", "sh", typed=b"test -t 0 && echo is$((40+2)) ; exit 7\r")
    assert code == 7 and "is42" in screen


def test_run_it_takes_the_size_of_the_window(cli):
    code, screen = cli.on_terminal("run", "-it", "--rm", "busybox", "sh", "-c",
                                   "i=0; while [ $i -lt 40 ]; do stty size; sleep 0.05; i=$((i+1)); "
                                   "[ \"$(stty size)\" = '33 77' ] && break; done; stty size",
                                   size=(33, 77))
    assert code == 0 and "33 77" in screen


def test_ctrl_c_reaches_the_program_on_the_terminal(cli):
    code, screen = cli.on_terminal("run", "-it", "--rm", "busybox", "sh", "-c",
                                   "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done",
                                   typed=b"\x03")
    assert code == 9 and "caught" in screen


def test_run_d_prints_the_id_and_the_container_lives_on(cli):
    container = cli.out("run", "-d", "--name", "quiet", "busybox", "sleep", "60")
    assert re.fullmatch("[0-9a-f]{64}", container)
    assert state(cli, "quiet")["Status"] == "running"


def test_published_port_answers_here_and_by_localhost(cli):
    cli("run", "-d", "--name", "web", "-p", "8081:80", "busybox", "httpd", "-f", "-p", "80", "-h", "/etc")
    for host in ("127.0.0.1", cli.daemon.ip):
        eventually(lambda host=host: curl(cli.daemon, f"http://{host}:8081/group").stdout.startswith("root:"))
    assert "8081->80/tcp" in cli.out("ps")
    cli("rm", "-f", "web")
    assert curl(cli.daemon, "http://127.0.0.1:8081/group", check=False).returncode == 7


def test_a_port_of_the_machines_choice(cli):
    cli("run", "-d", "--name", "web", "-p", "80", "busybox", "httpd", "-f", "-p", "80", "-h", "/etc")
    port = cli.inspect("web")[0]["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"]
    assert curl(cli.daemon, f"http://127.0.0.1:{port}/group").stdout.startswith("root:")


def test_bind_mounts_and_volumes(cli, tmp_path):
    (tmp_path / "in").write_text("from outside\n")
    got = cli("run", "--rm", "-v", f"{tmp_path}:/data", "-v", "kept:/kept", "busybox", "sh", "-c",
              "cat /data/in; echo back > /data/out; echo stays > /kept/file")
    assert got.stdout == "from outside\n" and (tmp_path / "out").read_text() == "back\n"
    assert cli.out("run", "--rm", "-v", "kept:/kept", "busybox", "cat", "/kept/file") == "stays"
    refused = cli("run", "--rm", "-v", f"{tmp_path}:/data:ro", "busybox", "touch", "/data/x", check=False)
    assert refused.returncode == 1 and "Read-only" in refused.stderr


def test_environment_and_name(cli):
    got = cli.out("run", "--name", "called", "-e", "WHO=you", "-e", "EMPTY=", "busybox", "sh", "-c",
                  "echo $WHO ${EMPTY-unset}.")
    assert got == "you ." and cli.inspect("called")[0]["Name"] == "/called"


def test_memory_limit_is_set_and_kills(cli):
    container = cli.out("run", "-d", "--memory", "24m", "busybox", "sleep", "60")
    assert cgroup_value(container, "memory.max", "memory.limit_in_bytes") == str(24 << 20)
    got = cli("run", "--name", "greedy", "--memory", "24m", "busybox", "sh", "-c",
              "exec 2>/dev/null; a=x; while :; do a=$a$a$a$a; done", check=False)
    assert got.returncode == 137
    assert state(cli, "greedy")["OOMKilled"] is True


def test_cpus_limit_is_set(cli):
    container = cli.out("run", "-d", "--cpus", "0.5", "busybox", "sleep", "60")
    quota = cgroup_value(container, "cpu.max", "cpu.cfs_quota_us")
    assert quota in ("50000 100000", "50000")


def test_network_none_host_and_own(cli):
    assert cli.out("run", "--rm", "--network", "none", "busybox", "ls", "/sys/class/net") == "lo"
    assert cli.daemon.ip in cli.out("run", "--rm", "--network", "host", "busybox", "ip", "addr")
    cli.daemon.docker("network", "create", "cosy")
    cli("run", "-d", "--network", "cosy", "--name", "other", "busybox", "sleep", "60")
    got = cli.out("run", "--rm", "--network", "cosy", "--cap-add", "NET_RAW", "busybox", "ping", "-c", "1", "-W",
                  "2", "other")
    assert "1 packets received" in got


def test_restart_always_and_on_failure(cli):
    cli("run", "-d", "--name", "again", "--restart", "always", "busybox", "sh", "-c", "sleep 0.1; exit 3")
    eventually(lambda: cli.inspect("again")[0]["RestartCount"] >= 2, 15)
    cli("rm", "-f", "again")
    cli("run", "-d", "--name", "twice", "--restart", "on-failure:2", "busybox", "sh", "-c", "exit 5")
    eventually(lambda: state(cli, "twice")["Status"] == "exited" and cli.inspect("twice")[0]["RestartCount"] == 2, 15)
    assert state(cli, "twice")["ExitCode"] == 5


def test_a_stopped_container_with_restart_always_stays_down(cli):
    cli("run", "-d", "--name", "down", "--restart", "always", "busybox", "sleep", "60")
    cli("stop", "-t", "0", "down")
    time.sleep(0.5)
    assert state(cli, "down")["Status"] == "exited"


def test_a_command_that_is_not_there_is_127(cli):
    got = cli("run", "--rm", "busybox", "/no/such/program", check=False)
    assert got.returncode == 127 and "/no/such/program" in got.stderr
    got = cli("run", "--rm", "busybox", "/etc/passwd", check=False)
    assert got.returncode == 126
    assert not cli.daemon.json("GET", "/containers/json?all=1")


# ---- ps, logs, exec ----

def test_ps_lists_running_ones_and_with_a_all(cli):
    cli("run", "-d", "--name", "up", "--label", "tier=front", "busybox", "sleep", "60")
    cli("run", "--name", "gone", "busybox", "sh", "-c", "exit 3", check=False)
    assert cli.out("ps", "--format", "{{.Names}}") == "up"
    table = cli.out("ps", "-a").splitlines()
    assert table[0].split()[0:2] == ["CONTAINER", "ID"] and len(table) == 3
    assert any("gone" in line and "Exited (3)" in line for line in table)
    assert cli.out("ps", "-a", "--filter", "label=tier=front", "--format", "{{.Names}}") == "up"
    assert cli.out("ps", "-q", "--no-trunc") == cli.inspect("up")[0]["Id"]


def test_logs_keep_streams_apart_and_take_a_tail(cli):
    cli("run", "-d", "--name", "talker", "busybox", "sh", "-c", "for i in 1 2 3; do echo out$i; echo err$i >&2; done")
    cli("wait", "talker")
    got = cli("logs", "talker")
    assert got.stdout.split() == ["out1", "out2", "out3"] and got.stderr.split() == ["err1", "err2", "err3"]
    assert (cli("logs", "--tail", "1", "talker").stderr.split() or cli("logs", "--tail", "1", "talker").stdout.split()) == ["err3"]
    stamped = cli("logs", "-t", "talker").stdout.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z out\d", line) for line in stamped)


def test_logs_f_follows_until_the_end(cli):
    cli("run", "-d", "--name", "slow", "busybox", "sh", "-c", "for i in 1 2 3 4; do echo tick$i; sleep 0.2; done")
    got = cli("logs", "-f", "slow", timeout=20)
    assert got.stdout.split() == ["tick1", "tick2", "tick3", "tick4"]


def test_exec_runs_inside_with_its_exit_code(cli):
    cli("run", "-d", "--name", "host", "--hostname", "inner", "busybox", "sleep", "60")
    assert cli.out("exec", "host", "hostname") == "inner"
    assert cli("exec", "host", "sh", "-c", "exit 17", check=False).returncode == 17
    assert cli.out("exec", "-e", "A=b", "-w", "/etc", "-u", "app", "host", "sh", "-c", "echo $A $PWD $(id -u)") == "b /etc 1000"
    assert cli("exec", "-i", "host", "cat", input="through\n").stdout == "through\n"
    assert cli("exec", "host", "nonesuch", check=False).returncode in (126, 127)


def test_exec_it_is_a_terminal_and_exec_d_returns_at_once(cli):
    cli("run", "-d", "--name", "host", "busybox", "sleep", "60")
    code, screen = cli.on_terminal("exec", "-it", "host", "sh", typed=b"test -t 1 && echo is$((40+2)); exit 4\r")
    assert code == 4 and "is42" in screen
    cli("exec", "-d", "host", "sh", "-c", "sleep 0.1; echo done > /tmp/mark")
    eventually(lambda: cli("exec", "host", "cat", "/tmp/mark", check=False).stdout == "done\n")


# ---- stop, start, restart, kill, rm, wait ----

def test_stop_asks_first_and_kills_after_its_time(cli):
    cli("run", "-d", "--name", "polite", "busybox", "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done")
    cli("run", "-d", "--name", "deaf", "busybox", "sh", "-c", "trap '' TERM; while :; do sleep 0.05; done")
    assert cli.out("stop", "polite") == "polite"
    assert state(cli, "polite")["ExitCode"] == 0
    begin = time.monotonic()
    cli("stop", "-t", "1", "deaf")
    assert 0.9 < time.monotonic() - begin < 4
    assert state(cli, "deaf")["ExitCode"] == 137


def test_start_and_restart_keep_the_file_system(cli):
    cli("run", "-d", "--name", "box", "busybox", "sh", "-c", "echo x >> /count; exec sleep 60")
    eventually(lambda: cli.out("exec", "box", "cat", "/count") == "x")
    cli("restart", "-t", "0", "box")
    eventually(lambda: cli.out("exec", "box", "cat", "/count").split() == ["x", "x"])
    cli("stop", "-t", "0", "box")
    cli("start", "box")
    eventually(lambda: cli.out("exec", "box", "cat", "/count").split() == ["x"] * 3)


def test_start_a_shows_the_output(cli):
    cli("run", "--name", "said", "busybox", "sh", "-c", "echo hello; exit 6", check=False)
    got = cli("start", "-a", "said", check=False)
    assert got.stdout == "hello\n" and got.returncode == 6


def test_kill_sends_the_signal_named(cli):
    cli("run", "-d", "--name", "trapper", "busybox", "sh", "-c", "trap 'exit 33' USR1; echo on; while :; do sleep 0.05; done")
    eventually(lambda: cli.out("logs", "trapper") == "on")
    cli("kill", "-s", "USR1", "trapper")
    assert cli.out("wait", "trapper") == "33"
    cli("run", "-d", "--name", "victim", "busybox", "sleep", "60")
    cli("kill", "victim")
    assert cli.out("wait", "victim") == "137"


def test_wait_blocks_until_the_end(cli):
    cli("run", "-d", "--name", "brief", "busybox", "sh", "-c", "sleep 0.6; exit 12")
    begin = time.monotonic()
    assert cli.out("wait", "brief") == "12" and time.monotonic() - begin > 0.2


def test_rm_wants_force_for_a_running_one(cli):
    cli("run", "-d", "--name", "busy", "busybox", "sleep", "60")
    refused = cli("rm", "busy", check=False)
    assert refused.returncode == 1 and "running" in refused.stderr
    cli("rm", "-f", "busy")
    gone = cli("inspect", "busy", check=False)
    assert gone.returncode == 1 and "busy" in gone.stderr


# ---- inspect, images, tag, rmi, import ----

def test_inspect_of_containers_and_images(cli):
    cli("run", "-d", "--name", "seen", "-e", "A=1", "busybox", "sleep", "60")
    seen = cli.inspect("seen")[0]
    assert seen["Config"]["Env"][0] == "A=1" and seen["Path"] == "sleep" and seen["Args"] == ["60"]
    assert cli.out("inspect", "--format", "{{.State.Status}} {{.Config.Image}}", "seen") == "running busybox"
    assert cli.inspect("busybox")[0]["RepoTags"] == ["busybox:latest"]


def test_tag_images_and_rmi(cli):
    cli("tag", "busybox", "mine.example/box:v1")
    lines = cli.out("images").splitlines()
    assert lines[0].split()[:2] == ["REPOSITORY", "TAG"]
    assert any(line.split()[:2] == ["mine.example/box", "v1"] for line in lines)
    assert "Untagged: mine.example/box:v1" in cli.out("rmi", "mine.example/box:v1")
    assert "mine.example/box" not in cli.out("images")
    assert cli.out("run", "--rm", "busybox", "echo", "still here") == "still here"


def test_rmi_of_an_image_in_use_is_refused(cli):
    cli("tag", "busybox", "used:1")
    cli("run", "-d", "--name", "user", "used:1", "sleep", "60")
    image = cli.inspect("used:1")[0]["Id"]
    refused = cli("rmi", image, check=False)
    assert refused.returncode == 1 and "onflict" in refused.stderr
    cli("rmi", "used:1")


def test_import_makes_an_image_of_a_tar(cli, busybox_tar):
    got = cli.out("import", "--change", "CMD echo hello from import", busybox_tar, "imported:1")
    assert re.fullmatch("sha256:[0-9a-f]{64}", got.splitlines()[-1])
    assert cli.out("run", "--rm", "imported:1") == "hello from import"
    with open(busybox_tar, "rb") as tar:
        cli("import", "-", "imported:2", stdin=tar)
    assert "imported:2" in cli.inspect("imported:2")[0]["RepoTags"]
    cli("rmi", "imported:1", "imported:2")


def test_save_and_load_bring_an_image_back(cli, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN echo layer > /layer\nCMD [\"cat\", \"/layer\"]\n")
    cli("build", "-t", "moved:1", tmp_path)
    image = cli.inspect("moved:1")[0]["Id"]
    cli("save", "-o", tmp_path / "moved.tar", "moved:1")
    assert "manifest.json" in sh("tar", "-tf", tmp_path / "moved.tar").stdout.split()
    cli("rmi", "moved:1")
    assert cli("inspect", "moved:1", check=False).returncode == 1
    assert "moved:1" in cli.out("load", "-i", tmp_path / "moved.tar")
    assert cli.inspect("moved:1")[0]["Id"] == image and cli.out("run", "--rm", "moved:1") == "layer"
    cli("rmi", "moved:1")
    with open(tmp_path / "moved.tar", "rb") as tar:
        cli("load", stdin=tar)
    assert cli.out("run", "--rm", "moved:1") == "layer"
    with open(tmp_path / "again.tar", "wb") as tar:
        subprocess.run([str(cli.program()), "save", "moved:1"], stdout=tar, env=cli.env(), check=True, timeout=60)
    assert "manifest.json" in sh("tar", "-tf", tmp_path / "again.tar").stdout.split()
    cli("rmi", "moved:1")


@pytest.fixture
def registry(daemon, tmp_path):
    """Debian's registry on the daemon's machine; its address."""
    program = shutil.which("docker-registry")
    if not program:
        pytest.skip("docker-registry is not installed")
    (tmp_path / "registry.yml").write_text(f"""\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {tmp_path}/registry}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:5000"}}
""")
    with open(tmp_path / "registry.log", "w") as log:
        process = subprocess.Popen(["nsenter", f"--net=/run/netns/{daemon.netns}", program, "serve",
                                    str(tmp_path / "registry.yml")], stdout=log, stderr=log)
    try:
        eventually(lambda: curl(daemon, "http://127.0.0.1:5000/v2/", check=False).returncode == 0)
        yield "127.0.0.1:5000"
    finally:
        process.terminate()
        process.wait(10)


def test_push_and_pull(cli, registry, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN echo pushed > /layer\nCMD [\"cat\", \"/layer\"]\n")
    name = f"{registry}/some/thing:1"
    cli("build", "-t", name, tmp_path)
    image = cli.inspect(name)[0]["Id"]
    assert "digest: sha256:" in cli.out("push", name)
    cli("rmi", name)
    got = cli.out("pull", name)
    assert "Downloaded newer image" in got
    assert cli.inspect(name)[0]["Id"] == image and cli.out("run", "--rm", name) == "pushed"
    assert "up to date" in cli.out("pull", name)
    digest = cli.inspect(name)[0]["RepoDigests"][0]
    assert digest.startswith(f"{registry}/some/thing@sha256:")
    cli("rmi", name)
    assert cli.out("run", "--rm", name) == "pushed", "run pulls what is missing"
    cli("rmi", name)
    missing = cli("pull", f"{registry}/no/such:1", check=False)
    assert missing.returncode == 1 and "no/such" in missing.stderr


def test_build_and_run_what_was_built(cli, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY greeting /greeting\nCMD [\"cat\", \"/greeting\"]\n")
    (tmp_path / "greeting").write_text("built\n")
    got = cli("build", "-t", "built:1", tmp_path)
    assert "Step 1/3 : FROM busybox" in got.stdout
    assert cli.out("run", "--rm", "built:1") == "built"
    cli("rmi", "built:1")


# ---- events ----

def test_events_tell_the_life_of_a_container(cli):
    watcher = cli.start("events", "--format", "{{json .}}", stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(0.5)
        cli("run", "--rm", "--name", "short", "busybox", "sh", "-c", "exit 3", check=False)
        seen = []
        while "destroy" not in seen:
            line = watcher.stdout.readline()
            assert line, f"the stream ended after {seen}"
            event = json.loads(line)
            if event["Type"] == "container":
                assert event["Actor"]["Attributes"]["name"] == "short"
                seen.append(event["Action"])
                if event["Action"] == "die":
                    assert event["Actor"]["Attributes"]["exitCode"] == "3"
    finally:
        watcher.send_signal(signal.SIGTERM)
        watcher.wait(10)
        watcher.stdout.close()
    order = [a for a in seen if a in ("create", "start", "die", "destroy")]
    assert order == ["create", "start", "die", "destroy"]


def test_events_since_and_until_end_by_themselves(cli):
    begin = f"{time.time():.3f}"
    cli("run", "--rm", "busybox", "true")
    text = cli.out("events", "--since", begin, "--until", f"{time.time():.3f}")
    assert "container create" in text and "container die" in text


# ---- swarm, node, service ----

@pytest.fixture
def swarm(cli):
    cli("swarm", "init", "--advertise-addr", cli.daemon.ip)
    yield cli
    cli("swarm", "leave", "--force", check=False)
    eventually(lambda: not cli.daemon.json("GET", "/containers/json?all=1"), 15)


def test_swarm_and_node_verbs(swarm):
    cli = swarm
    assert re.search(r"SWMTKN-1-\w+-\w+", cli.out("swarm", "join-token", "worker"))
    lines = cli.out("node", "ls").splitlines()
    assert "HOSTNAME" in lines[0] and len(lines) == 2 and "Leader" in lines[1]
    node = json.loads(cli.out("node", "inspect", "self"))[0]
    cli("node", "update", "--label-add", "disk=fast", "--availability", "drain", node["ID"])
    spec = json.loads(cli.out("node", "inspect", node["ID"]))[0]["Spec"]
    assert spec["Labels"] == {"disk": "fast"} and spec["Availability"] == "drain"
    again = cli("swarm", "init", check=False)
    assert again.returncode == 1 and "already" in again.stderr


def test_service_verbs(swarm):
    cli = swarm
    service = cli.out("service", "create", "-d", "--name", "web", "--replicas", "2", "-e", "A=1", "-p", "8070:80", "--stop-grace-period", "1s",
                      "busybox", "sh", "-c", "echo from $A; exec httpd -f -p 80 -h /etc").split()[-1]

    def running(count):
        tasks = cli.out("service", "ps", "web", "--filter", "desired-state=running",
                        "--format", "{{.CurrentState}}").splitlines()
        return len(tasks) == count and all(t.startswith("Running") for t in tasks)

    eventually(lambda: running(2), 15, 0.2)
    assert curl(cli.daemon, "http://127.0.0.1:8070/group").stdout.startswith("root:")
    assert re.search(r"web\s+replicated\s+2/2\s+busybox", cli.out("service", "ls"))
    assert json.loads(cli.out("service", "inspect", "web"))[0]["Spec"]["Mode"]["Replicated"]["Replicas"] == 2
    cli("service", "scale", "-d", "web=4")
    eventually(lambda: running(4), 15, 0.2)
    cli("service", "update", "-d", "--env-add", "A=2", "--replicas", "1", "web")
    eventually(lambda: running(1) and "from 2" in cli.out("service", "logs", "web"), 20, 0.3)
    cli("service", "rm", "web")
    gone = cli("service", "inspect", "web", check=False)
    assert gone.returncode == 1 and "web" in gone.stderr and service not in cli.out("service", "ls", "-q")


# ---- other clients ----

def test_the_python_sdk(daemon):
    docker = pytest.importorskip("docker")
    client = docker.DockerClient(base_url=daemon.host)
    try:
        assert client.ping() and client.version()["ApiVersion"]
        assert client.containers.run("busybox", ["echo", "sdk"], remove=True) == b"sdk\n"
        with pytest.raises(docker.errors.ContainerError):
            client.containers.run("busybox", ["false"], remove=True)
        with pytest.raises(docker.errors.NotFound):
            client.containers.get("nonesuch")
        container = client.containers.run("busybox", ["sleep", "60"], detach=True, name="by-sdk",
                                          labels={"k": "v"}, environment={"A": "b"})
        assert [c.name for c in client.containers.list(filters={"label": "k=v"})] == ["by-sdk"]
        code, output = container.exec_run(["sh", "-c", "echo $A; exit 3"])
        assert (code, output) == (3, b"b\n")
        container.stop(timeout=0)
        assert container.wait()["StatusCode"] == 137
        container.remove()
        network = client.networks.create("by-sdk-net")
        network.remove()
    finally:
        client.close()


COMPOSE = """
version: "3.7"
services:
  web:
    image: busybox
    command: sh -c "echo web is up; exec httpd -f -p 80 -h /etc"
    ports: ["8099:80"]
    environment: {A: b}
  asks:
    image: busybox
    command: sh -c "until ping -c 1 -W 1 web; do sleep 0.1; done; echo reached; exec sleep 60"
    cap_add: [NET_RAW]  # busybox has no other ping
    depends_on: [web]
    volumes: ["data:/data"]
volumes: {data: {}}
"""


def test_compose_up_ps_logs_down(daemon, tmp_path):
    if sh("which", "docker-compose", check=False).returncode:
        pytest.skip("docker-compose is not installed")
    (tmp_path / "docker-compose.yml").write_text(COMPOSE)

    def compose(*args, **kwargs):
        return sh("docker-compose", "--no-ansi", "-p", "deck", *args, cwd=tmp_path, timeout=60,
                  env=dict(os.environ, DOCKER_HOST=daemon.host, HOME=str(tmp_path)), **kwargs)

    compose("up", "-d")
    try:
        assert curl(daemon, "http://127.0.0.1:8099/group").stdout.startswith("root:")
        eventually(lambda: "reached" in compose("logs").stdout, 15, 0.3)
        listed = compose("ps").stdout
        assert "deck_web_1" in listed and "Up" in listed and "8099->80" in listed
        assert "web is up" in compose("logs", "web").stdout
        assert compose("exec", "-T", "web", "sh", "-c", "echo $A").stdout.strip() == "b"
        compose("up", "-d")
    finally:
        compose("down", "-v", "-t", "0")
    assert not daemon.json("GET", "/containers/json?all=1")
    assert "deck_default" not in [n["Name"] for n in daemon.json("GET", "/networks")]
