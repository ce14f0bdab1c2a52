# SPDX-License-Identifier: Apache-2.0
"""Containers through the docker CLI: from create to removal, and what they are shut into."""
import concurrent.futures
import json
import subprocess
import time

import pytest

from conftest import DOCKER, eventually

pytestmark = pytest.mark.skipif(not DOCKER, reason="the docker CLI is not installed")


def inspect(daemon, name, template):
    return daemon.docker("inspect", name, "-f", template).stdout.strip()


def status(daemon, name):
    return inspect(daemon, name, "{{.State.Status}}")


# ---- run ----

def test_run_gives_output_and_exit_code(daemon):
    result = daemon.docker("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (result.returncode, result.stdout) == (7, "out\n")
    assert "err\n" in result.stderr


def test_run_rm_leaves_nothing(daemon):
    daemon.docker("run", "--rm", "-p", "18080:80", "-v", "/data", "busybox", "true")
    assert daemon.json("GET", "/containers/json?all=1") == []
    assert not list((daemon.root / "containers").iterdir())
    assert not list((daemon.run_dir / "containers").iterdir())
    assert not (daemon.json("GET", "/volumes")["Volumes"] or [])


def test_stdin_reaches_the_program_and_its_end_too(daemon):
    assert daemon.docker("run", "--rm", "-i", "busybox", "cat", input="abc\n").stdout == "abc\n"


def test_a_terminal_is_one(daemon):
    result = subprocess.run(["script", "-qec", f"{DOCKER} run --rm -it busybox sh -c 'tty; exit 3'", "/dev/null"],
                            capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL,
                            env={"DOCKER_HOST": daemon.host, "HOME": str(daemon.dir), "PATH": "/usr/bin:/bin"})
    assert "/dev/pts/0" in result.stdout and result.returncode == 3


@pytest.mark.parametrize("command,code", [("nosuch", 127), ("/etc/passwd", 126)])
def test_a_program_that_cannot_run_says_so(daemon, command, code):
    result = daemon.docker("run", "--rm", "busybox", command, check=False)
    assert result.returncode == code
    assert command in result.stderr
    assert daemon.json("GET", "/containers/json?all=1") == []


def test_a_working_directory_is_made(daemon):
    assert daemon.docker("run", "--rm", "-w", "/new/dir", "busybox", "pwd").stdout == "/new/dir\n"


def test_an_unknown_image_is_not_found(daemon):
    status_code, text = daemon.api("POST", "/containers/create", {"Image": "nosuch:1"})
    assert status_code == 404 and "No such image" in json.loads(text)["message"]


def test_a_name_in_use_is_a_conflict(daemon):
    daemon.docker("create", "--name", "dup", "busybox", "true")
    result = daemon.docker("create", "--name", "dup", "busybox", "true", check=False)
    assert result.returncode != 0 and "is already in use by container" in result.stderr


@pytest.mark.parametrize("host", [{"Nonsense": 1}, {"Memory": 1}, {"NetworkMode": "nosuchnet"}, {"Init": True},
                                  {"CapAdd": ["NOSUCH"]}, {"SecurityOpt": ["nosuch"]}, {"Binds": ["/a:b:c:d"]},
                                  {"RestartPolicy": {"Name": "sometimes"}}, {"LogConfig": {"Type": "syslog"}}])
def test_what_is_not_understood_is_refused(daemon, host):
    created, text = daemon.api("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"], "HostConfig": host})
    if created == 201:  # some are only checked when the config is written
        created, text = daemon.api("POST", f"/containers/{json.loads(text)['Id']}/start")
    assert 400 <= created < 600 and created != 500, text
    assert json.loads(text)["message"]


# ---- life ----

def test_stop_is_a_signal_then_a_kill(daemon):
    daemon.docker("run", "-d", "--name", "polite", "busybox", "sh", "-c",
                  "trap 'exit 5' TERM; while :; do sleep 0.1; done")
    daemon.docker("run", "-d", "--name", "rude", "busybox", "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
    time.sleep(0.3)
    daemon.docker("stop", "polite")
    daemon.docker("stop", "-t", "1", "rude")
    assert inspect(daemon, "polite", "{{.State.ExitCode}}") == "5"
    assert inspect(daemon, "rude", "{{.State.ExitCode}}") == "137"


def test_start_kill_wait_rm(daemon):
    daemon.docker("create", "--name", "c", "busybox", "sleep", "100")
    assert status(daemon, "c") == "created"
    daemon.docker("start", "c")
    assert status(daemon, "c") == "running"
    assert daemon.docker("rm", "c", check=False).returncode != 0
    with subprocess.Popen([DOCKER, "-H", daemon.host, "wait", "c"], stdout=subprocess.PIPE, text=True) as waiting:
        time.sleep(0.3)
        daemon.docker("kill", "c")
        assert waiting.communicate(timeout=10)[0] == "137\n"
    daemon.docker("rm", "c")


def test_restart_runs_it_again_with_its_files(daemon):
    daemon.docker("run", "-d", "--name", "c", "busybox", "sh", "-c", "echo x >>/f; cat /f; sleep 100")
    daemon.docker("restart", "-t", "0", "c")
    assert eventually(lambda: daemon.docker("logs", "c").stdout == "x\nx\nx\n")


def test_pause_stops_time(daemon):
    daemon.docker("run", "-d", "--name", "c", "busybox", "sh", "-c", "while :; do echo x; sleep 0.05; done")
    daemon.docker("pause", "c")
    assert status(daemon, "c") == "paused"
    before = daemon.docker("logs", "c").stdout
    time.sleep(0.4)
    assert daemon.docker("logs", "c").stdout == before
    daemon.docker("unpause", "c")
    assert eventually(lambda: daemon.docker("logs", "c").stdout != before)


def test_rename_and_ps_filters(daemon):
    daemon.docker("run", "-d", "--name", "a", "--label", "tier=web", "busybox", "sleep", "100")
    daemon.docker("run", "--name", "b", "busybox", "false", check=False)
    daemon.docker("rename", "a", "front")

    def names(*filters):
        return daemon.docker("ps", "-a", "--format", "{{.Names}}", *filters).stdout.split()

    assert names("-f", "label=tier=web") == ["front"]
    assert names("-f", "status=exited") == ["b"]
    assert names("-f", "exited=1") == ["b"]
    assert names("-f", "name=^/front$") == ["front"]
    assert names("-f", "ancestor=busybox") == ["b", "front"]
    assert daemon.docker("ps", "-q", check=False).stdout.count("\n") == 1


def test_restart_policies(daemon):
    daemon.docker("run", "-d", "--name", "fails", "--restart", "on-failure:2", "busybox", "sh", "-c", "echo x; exit 3")
    daemon.docker("run", "-d", "--name", "always", "--restart", "always", "busybox", "sh", "-c", "echo y; sleep 0.05")
    eventually(lambda: status(daemon, "fails") == "exited" and inspect(daemon, "fails", "{{.RestartCount}}") == "2")
    assert daemon.docker("logs", "fails").stdout == "x\n" * 3
    eventually(lambda: daemon.docker("logs", "always").stdout.count("y") >= 3)
    daemon.docker("stop", "always")
    assert status(daemon, "always") == "exited"


def test_health_is_watched(daemon):
    daemon.docker("run", "-d", "--name", "h", "--health-cmd", "test -f /ok", "--health-interval", "200ms",
                  "--health-retries", "2", "busybox", "sleep", "100")
    eventually(lambda: inspect(daemon, "h", "{{.State.Health.Status}}") == "unhealthy")
    daemon.docker("exec", "h", "touch", "/ok")
    eventually(lambda: inspect(daemon, "h", "{{.State.Health.Status}}") == "healthy")


# ---- logs, exec, events ----

def test_logs_tail_since_and_follow(daemon):
    daemon.docker("run", "-d", "--name", "c", "busybox", "sh", "-c", "for i in 1 2 3; do echo $i; done; sleep 0.5; echo 4")
    eventually(lambda: daemon.docker("logs", "c").stdout.startswith("1\n2\n3\n"))
    assert daemon.docker("logs", "--tail", "1", "c").stdout in ("3\n", "4\n")
    assert daemon.docker("logs", "-f", "c", timeout=20).stdout == "1\n2\n3\n4\n"
    stamp = daemon.docker("logs", "-t", "--tail", "1", "c").stdout.split()[0]
    assert daemon.docker("logs", "--since", stamp, "c").stdout == "4\n"


def test_logs_are_rotated(daemon):
    daemon.docker("run", "--name", "c", "--log-opt", "max-size=20k", "--log-opt", "max-file=3", "busybox", "sh", "-c",
                  "seq 1 2000")
    lines = daemon.docker("logs", "c").stdout.split()
    assert lines[-1] == "2000" and len(lines) < 2000
    assert lines == [str(n) for n in range(2001 - len(lines), 2001)]


def test_exec(daemon):
    daemon.docker("run", "-d", "--name", "c", "-e", "A=1", "busybox", "sleep", "100")
    assert daemon.docker("exec", "-e", "B=2", "-w", "/tmp", "c", "sh", "-c", "echo $A$B; pwd").stdout == "12\n/tmp\n"
    assert daemon.docker("exec", "-i", "c", "cat", input="in").stdout == "in"
    assert daemon.docker("exec", "-u", "app", "c", "id").stdout.startswith("uid=1000(app) gid=1000(app)")
    for code in (0, 3, 42):
        assert daemon.docker("exec", "c", "sh", "-c", f"exit {code}", check=False).returncode == code
    assert daemon.docker("exec", "c", "nosuch", check=False).returncode == 127


def test_only_the_latest_execs_that_ended_are_remembered(daemon):
    """A daemon that is asked for many neither grows with each nor runs out of them."""
    daemon.docker("run", "-d", "--name", "c", "busybox", "sleep", "1000")

    def run_one(_):
        id = daemon.json("POST", "/containers/c/exec", {"Cmd": ["true"], "AttachStdout": True})["Id"]
        assert daemon.api("POST", f"/exec/{id}/start", {"Detach": False})[0] == 200
        eventually(lambda: not daemon.json("GET", f"/exec/{id}/json")["Running"])
        return id

    first = run_one(0)
    assert daemon.json("GET", f"/exec/{first}/json")["ExitCode"] == 0
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        rest = list(pool.map(run_one, range(270)))
    assert daemon.api("GET", f"/exec/{first}/json")[0] == 404
    assert daemon.json("GET", f"/exec/{rest[-1]}/json")["ExitCode"] == 0


@pytest.mark.parametrize("user", ["4294967295", "4294967296", "99999999999999999999", "+1", " 1", "0x0", "-1", "nobody"])
def test_a_user_that_is_none_is_refused(daemon, user):
    result = daemon.docker("run", "--rm", f"--user={user}", "busybox", "id", "-u", check=False)
    assert result.returncode != 0 and result.stdout == ""


@pytest.mark.parametrize("user,uid,gid", [("", "0", "0"), ("1000", "1000", "1000"), ("app", "1000", "1000"),
                                          ("7", "7", "0"), ("app:0", "1000", "0"), ("65535:extra", "65535", "2000")])
def test_users(daemon, user, uid, gid):
    out = daemon.docker("run", "--rm", f"--user={user}", "busybox", "sh", "-c", "id -u; id -g").stdout.split()
    assert out == [uid, gid]


def test_events_tell_a_life(daemon):
    since = str(time.time())
    daemon.docker("run", "--rm", "--name", "c", "busybox", "sh", "-c", "exit 2", check=False)
    until = str(time.time() + 0.5)
    lines = daemon.docker("events", "--since", since, "--until", until, "-f", "type=container", "--format",
                          "{{.Action}} {{.Actor.Attributes.exitCode}}").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["create", "attach", "start", "die", "destroy"]
    assert "die 2" in lines


# ---- what a container is shut into ----

def test_defaults_inside(daemon):
    out = daemon.docker("run", "--rm", "busybox", "sh", "-c",
                        "grep -E '^(CapEff|Seccomp):' /proc/self/status; echo $$; ls /sys/firmware | wc -l; "
                        "echo x >/proc/sys/kernel/hostname || echo locked").stdout
    assert "00000000000405fb" in out  # ten
    assert "Seccomp:\t2" in out
    assert "\n1\n0\nlocked\n" in out


def test_limits(daemon):
    out = daemon.docker("run", "--rm", "-m", "32m", "--cpus", "0.5", "--pids-limit", "50", "busybox", "sh", "-c",
                        "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us pids/pids.max "
                        "2>/dev/null || cat memory.max cpu.max pids.max").stdout.split()
    assert out[:2] == ["33554432", "50000"] and out[-1] == "50"


def test_oom_is_told_apart(daemon):
    result = daemon.docker("run", "--name", "c", "-m", "16m", "busybox", "sh", "-c", "exec tail /dev/zero", check=False)
    assert result.returncode == 137
    assert inspect(daemon, "c", "{{.State.OOMKilled}}") == "true"
    daemon.docker("run", "--name", "d", "busybox", "sh", "-c", "kill -9 $$", check=False)
    assert inspect(daemon, "d", "{{.State.OOMKilled}}") == "false"


def test_read_only_root_and_tmpfs(daemon):
    out = daemon.docker("run", "--rm", "--read-only", "--tmpfs", "/t", "busybox", "sh", "-c",
                        "touch /t/ok && ls /t; touch /no 2>/dev/null || echo refused").stdout
    assert out == "ok\nrefused\n"


def test_capabilities(daemon):
    def effective(*options):
        return daemon.docker("run", "--rm", *options, "busybox", "grep", "CapEff", "/proc/self/status").stdout.split()[1]

    assert effective("--cap-drop", "ALL") == "0" * 16
    assert effective("--cap-drop", "ALL", "--cap-add", "NET_ADMIN") == "0000000000001000"
    assert int(effective("--privileged"), 16) > int("a80425fb", 16)


def test_names_hosts_and_environment(daemon):
    out = daemon.docker("run", "--rm", "--hostname", "hh", "--add-host", "db:10.1.2.3", "--dns", "1.1.1.1", "-e", "X=y",
                        "busybox", "sh", "-c", "hostname; cat /etc/hosts /etc/resolv.conf; echo $X $HOME").stdout
    assert out.startswith("hh\n") and "10.1.2.3\tdb" in out and "nameserver 1.1.1.1" in out and out.endswith("y /root\n")


# ---- volumes ----

def test_volumes_and_binds(daemon, tmp_path):
    (tmp_path / "f").write_text("host\n")
    daemon.docker("run", "--rm", "-v", "vol:/data", "busybox", "sh", "-c", "echo kept >/data/x")
    assert daemon.docker("run", "--rm", "-v", "vol:/data:ro", "-v", f"{tmp_path}:/host", "busybox", "sh", "-c",
                         "cat /data/x /host/f; touch /host/made; touch /data/no 2>/dev/null || echo ro").stdout == \
        "kept\nhost\nro\n"
    assert (tmp_path / "made").exists()
    daemon.docker("create", "--name", "c", "-v", "vol:/data", "busybox", "true")
    assert "volume is in use" in daemon.docker("volume", "rm", "vol", check=False).stderr
    daemon.docker("rm", "c")
    daemon.docker("volume", "rm", "vol")


def test_a_new_volume_shows_the_images_files(daemon):
    assert "passwd" in daemon.docker("run", "--rm", "-v", "etc:/etc", "busybox", "ls", "/etc").stdout
    assert "passwd" in daemon.docker("run", "--rm", "-v", "etc:/x", "busybox", "ls", "/x").stdout


# ---- networks ----

def test_network_modes(daemon):
    def interfaces(mode):
        return daemon.docker("run", "--rm", "--network", mode, "busybox", "ls", "/sys/class/net").stdout.split()

    assert interfaces("none") == ["lo"]
    assert "eth0" in interfaces("bridge")
    assert "buoy0" in interfaces("host")


def test_a_published_port_answers(daemon):
    daemon.docker("run", "-d", "--name", "web", "-p", "18081:80", "busybox", "httpd", "-f", "-p", "80", "-h", "/etc")
    eventually(lambda: "root" in daemon.inside("curl", "-s", "http://127.0.0.1:18081/passwd", check=False).stdout)
    result = daemon.docker("run", "--rm", "-p", "18081:80", "busybox", "true", check=False)
    assert result.returncode == 125 and "port is already allocated" in result.stderr
    assert "0.0.0.0:18081" in daemon.docker("port", "web").stdout
    daemon.docker("stop", "-t", "0", "web")
    daemon.docker("run", "--rm", "-p", "18081:80", "busybox", "true")


def test_networks_give_names(daemon):
    daemon.docker("network", "create", "n1")
    daemon.docker("run", "-d", "--name", "srv", "--network", "n1", "--network-alias", "db", "busybox", "sleep", "100")
    out = daemon.docker("run", "--rm", "--network", "n1", "--cap-add", "NET_RAW", "busybox", "sh", "-c",
                        "ping -c1 -W2 srv; ping -c1 -W2 db").stdout
    assert out.count("1 packets received") == 2
    daemon.docker("network", "disconnect", "n1", "srv")
    daemon.docker("network", "connect", "--alias", "other", "n1", "srv")
    daemon.docker("run", "--rm", "--network", "n1", "--cap-add", "NET_RAW", "busybox", "ping", "-c1",
                  "-W2", "other")
    assert "bridge" not in inspect(daemon, "srv", "{{json .NetworkSettings.Networks}}")


# ---- commit, update ----

def test_commit_keeps_what_changed(daemon):
    daemon.docker("run", "--name", "c", "busybox", "sh", "-c", "echo changed >/f")
    daemon.docker("commit", "-c", "CMD cat /f", "c", "made:1")
    assert daemon.docker("run", "--rm", "made:1").stdout == "changed\n"
    daemon.docker("rmi", "made:1")


def test_update_changes_a_running_one(daemon):
    daemon.docker("run", "-d", "--name", "c", "busybox", "sleep", "100")
    daemon.docker("update", "--memory", "64m", "--memory-swap", "128m", "--restart", "always", "c")
    assert inspect(daemon, "c", "{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}") == "67108864 always"
