# SPDX-License-Identifier: Apache-2.0
"""buoy-runtime's command line: each option that engines use does what it says, each wrong value is told."""
import glob
import json
import os
import pathlib
import re
import subprocess

import pytest

from test_runtime import RUNTIME, bundle, eventually, pytestmark  # noqa: F401

COMMANDS = ["create", "start", "run", "exec", "state", "kill", "delete", "list", "ps", "pause", "resume", "update",
            "events", "features", "spec"]


def runtime(*words, **kwargs):
    return subprocess.run([RUNTIME, *map(str, words)], capture_output=True, text=True, timeout=30,
                          stdin=subprocess.DEVNULL, **kwargs)


# ---- help, man page, completion ----

def options_of(text):
    return re.findall(r"^ +(?:-\w, )?--([\w-]+)", text, re.M)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    done = runtime(command, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith(f"Usage: buoy-runtime {command}")
    assert "help" in options_of(done.stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_names_a_wrong_option(command):
    done = runtime(command, "--no-such-thing")
    assert done.returncode in (1, 255) and done.stdout == ""
    assert "--no-such-thing" in done.stderr and "--help" in done.stderr


def test_help_of_the_program_names_every_command_and_the_man_page_every_option():
    done = runtime("--help")
    assert done.returncode == 0
    page = runtime("manpage").stdout.replace("\\-", "-")
    for command in COMMANDS:
        assert f"\n  {command} " in done.stdout
        assert f'.SS "{command} ' in page
        for option in options_of(runtime(command, "--help").stdout):
            assert f"\\fB--{option}\\fR" in page
    for option in options_of(done.stdout):
        assert f"\\fB--{option}\\fR" in page


def complete(*words):
    """What bash would offer for the last word."""
    script = runtime("completion", "bash").stdout + """
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_buoy_runtime buoy-runtime "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
    return subprocess.run(["bash", "-c", script, "bash", "buoy-runtime", *words], capture_output=True, text=True,
                          check=True, timeout=30).stdout.split()


def test_completion_knows_commands_options_and_words():
    assert set(complete("")) >= set(COMMANDS)
    assert complete("upd") == ["update"]
    assert complete("kill", "--a") == ["--all"]
    assert complete("--root", "/x", "list", "--format", "") == ["table", "json"]
    assert complete("--log-format", "j") == ["json"]


# ---- wrong values ----

@pytest.mark.parametrize("words, says", [
    (["--log-format", "xml", "list"], "--log-format: 'xml' is not text or json"),
    (["list", "--format", "xml"], "--format: 'xml' is not table or json"),
    (["ps", "--format", "csv", "x"], "--format: 'csv' is not table or json"),
    (["run", "--preserve-fds", "many", "x"], "--preserve-fds"),
    (["run", "--bundle"], "--bundle needs a value"),
    (["kill"], "takes a container id"),
    (["kill", "x", "SIGNOTHING"], "unknown signal 'SIGNOTHING'"),
    (["state"], "no container id given"),
    (["state", "a", "b"], "'b' is there, too"),
    (["list", "a"], "'a' is there"),
    (["delete", "--regex", "(", ], "--regex: '('"),
    (["nothing"], "unknown command 'nothing'"),
])
def test_wrong_words_are_told(words, says, tmp_path):
    done = runtime("--root", tmp_path, *words)
    assert done.returncode == 1
    assert says in done.stderr


def test_debug_writes_what_was_asked_for(tmp_path):
    log = tmp_path / "log"
    runtime("--root", tmp_path / "state", "--debug", "--log", log, "--log-format", "json", "list", "-q")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines[-1]["level"] == "debug" and "list -q" in lines[-1]["msg"]


# ---- options that do something ----

def test_another_config_than_config_json(bundle, tmp_path_factory):
    bundle.save(["/bin/echo", "from the bundle"])
    other = tmp_path_factory.mktemp("other") / "some.json"
    other.write_text(json.dumps(dict(bundle.config, process=dict(bundle.config["process"],
                                                                 args=["/bin/echo", "from elsewhere"]))))
    assert bundle("run", "--bundle", bundle.path, bundle.id()).stdout == "from the bundle\n"
    assert bundle("run", "--bundle", bundle.path, "--config", other, bundle.id()).stdout == "from elsewhere\n"
    assert bundle("run", "--bundle", bundle.path, "-f", "some.json", bundle.id(),
                  cwd=other.parent).stdout == "from elsewhere\n"
    missing = bundle("run", "--bundle", bundle.path, "--config", "/no/such.json", bundle.id(), check=False)
    assert missing.returncode == 1 and "/no/such.json" in missing.stderr


def test_keep_leaves_the_container_for_state_and_delete(bundle):
    bundle.save(["/bin/true"])
    id = bundle.id()
    bundle("run", "--keep", "--bundle", bundle.path, id)
    assert bundle.status(id) == "stopped"
    bundle("delete", id)
    assert bundle("state", id, check=False).returncode == 1


def test_kill_and_delete_take_a_pattern(bundle):
    ids = [bundle.start("/bin/sleep", "61") for _ in range(3)]
    one = ids[0]
    bundle("kill", "--regex", f"^{one[:8]}.*{one[-2:]}$", "KILL")
    eventually(lambda: bundle.status(one) == "stopped")
    assert [bundle.status(id) for id in ids[1:]] == ["running", "running"]
    refused = bundle("delete", "--regex", "^rt-", check=False)  # two run: the third goes all the same
    assert refused.returncode == 1 and "is running" in refused.stderr
    assert one not in bundle("list", "-q").stdout and ids[1] in bundle("list", "-q").stdout
    bundle("delete", "--force", "--regex", "^rt-")
    assert bundle("list", "-q").stdout == ""
    bundle("delete", "--regex", "nothing matches this")


def test_ps_passes_options_on_to_ps(bundle):
    id = bundle.start("/bin/sh", "-c", "sleep 61 & sleep 62 & wait")
    eventually(lambda: len(json.loads(bundle("ps", "-f", "json", id).stdout)) == 3)
    pids = json.loads(bundle("ps", "--format", "json", id).stdout)
    lines = bundle("ps", id, "-e", "-o", "ppid,pid,args").stdout.splitlines()
    assert lines[0].split() == ["PPID", "PID", "COMMAND"]
    assert sorted(int(line.split()[1]) for line in lines[1:]) == sorted(pids)
    assert any("sleep 62" in line for line in lines)
    assert "no PID column" in bundle("ps", id, "-e", "-o", "args", check=False).stderr
    assert "ps:" in bundle("ps", id, "--no-such-option", check=False).stderr


def test_exec_takes_labels_only_where_their_module_is(bundle):
    id = bundle.start("/bin/sleep", "61")
    for option, words in (("--apparmor", "AppArmor"), ("--process-label", "SELinux")):
        done = bundle("exec", option, "some", id, "/bin/true", check=False)
        assert done.returncode == 255 and words.lower() in done.stderr.lower()


def test_exec_flags_go_over_the_config(bundle):
    bundle.config["process"]["noNewPrivileges"] = False
    id = bundle.start("/bin/sleep", "61")
    show = "id -u; id -g; id -G; pwd; echo $A; grep -E 'NoNewPrivs|CapBnd' /proc/self/status"
    out = bundle("exec", "--user", "1000:100", "-g", "7", "-g", "8", "--cwd", "/tmp", "-e", "A=one two",
                 "--no-new-privs", "--cap", "CAP_SYS_PTRACE", id, "/bin/sh", "-c", show).stdout.splitlines()
    assert out[:5] == ["1000", "100", "100 7 8", "/tmp", "one two"]
    flags = dict(line.split(":\t") for line in out[5:])
    assert flags["NoNewPrivs"] == "1"
    assert int(flags["CapBnd"], 16) >> 19 & 1  # CAP_SYS_PTRACE


def test_spec_has_a_file_name_and_a_rootless_form(tmp_path):
    runtime("spec", "--bundle", tmp_path, "-f", "other.json").check_returncode()
    assert os.listdir(tmp_path) == ["other.json"]
    again = runtime("spec", "--bundle", tmp_path, "--file", "other.json")
    assert again.returncode == 1 and "exists already" in again.stderr
    runtime("spec", "--bundle", tmp_path, "--rootless").check_returncode()
    config = json.loads((tmp_path / "config.json").read_text())
    assert {"type": "user"} in config["linux"]["namespaces"]
    assert config["linux"]["uidMappings"] == [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
    assert not [m for m in config["mounts"] if m["type"] == "cgroup" or "gid=5" in m["options"]]


def test_exec_goes_into_a_cgroup_below_the_containers(bundle):
    id = bundle.start("/bin/sleep", "61")
    below = [pathlib.Path(p) / "part" for p in glob.glob(f"/sys/fs/cgroup/*/buoy/{id}")]
    assert below
    for path in below:
        path.mkdir()
    cpuset = next((p for p in below if p.parts[4] == "cpuset"), None)
    for name in ("cpus", "mems") if cpuset else ():
        (cpuset / f"cpuset.{name}").write_text((cpuset.parent / f"cpuset.{name}").read_text())

    def detach(where, *program):  # it keeps its stdio: nothing of ours may wait for that
        subprocess.run([RUNTIME, "--root", bundle.state, "exec", "--detach", "--cgroup", where, id, *program],
                       check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=30)

    detach("part", "/bin/sleep", "62")
    for path in below:
        (pid,) = (path / "cgroup.procs").read_text().split()
        assert (path.parent / "cgroup.procs").read_text().split() != [pid]
    memory = [p for p in below if p.parts[4] == "memory"]
    if memory:
        detach("memory:part", "/bin/sleep", "63")
        assert {p.parts[4] for p in below if len((p / "cgroup.procs").read_text().split()) == 2} == {"memory"}
    for wrong, says in (("nothere", "nothere"), ("nonsense:part", "nonsense"), ("../..", ".."), (":", "names no cgroup")):
        done = bundle("exec", "--cgroup", wrong, id, "/bin/true", check=False)
        assert done.returncode == 255 and says in done.stderr, done.stderr


# ---- events ----

def test_events_tell_of_oom_kills_as_they_happen(bundle):
    bundle.config["linux"]["resources"]["memory"] = {"limit": 24 << 20, "swap": 24 << 20}
    hog = "while [ ! -e /tmp/go ]; do sleep 0.05; done; dd if=/dev/zero of=/dev/null bs=200M count=1; sleep 60"
    bundle.config["root"]["readonly"] = False
    id = bundle.start("/bin/sh", "-c", f"({hog}); sleep 60")
    with subprocess.Popen([RUNTIME, "--root", bundle.state, "events", "--interval", "100ms", id], text=True,
                          stdout=subprocess.PIPE) as events:
        first = json.loads(events.stdout.readline())
        assert first["type"] == "stats" and first["id"] == id
        (bundle.path / "rootfs/tmp/go").touch()
        for line in events.stdout:
            event = json.loads(line)
            if event["type"] == "oom":
                break
        assert event == {"type": "oom", "id": id}
        bundle("kill", id, "KILL")
        assert events.wait(10) == 0  # it ends with the container
