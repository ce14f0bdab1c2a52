# SPDX-License-Identifier: Apache-2.0
"""The same command lines for buoy-runtime, runc and crun: the same exit codes, the same JSON.

One scenario goes through all three, step by step; each step is a test per peer. Where we differ on purpose, DIFFERS says
why; a row that is no longer true fails as well.
"""
import json
import os
import shutil
import subprocess
import time

import pytest

from test_runtime import RUNTIME, make_rootfs, pytestmark  # noqa: F401

PEERS = {name: shutil.which(name, path="/usr/sbin:/usr/bin") for name in ("runc", "crun")}

# crun takes no machine that has cgroup versions 1 and 2 side by side: it sees only the first.
WITHOUT_V2 = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
              "if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi; exec \"$@\"", "sh"]

LIVE = [
    ("create", "create", "--bundle", "BUNDLE", "ID"),
    ("state of a created one", "state", "ID"),
    ("exec in a created one", "exec", "ID", "/bin/true"),
    ("start", "start", "ID"),
    ("state", "state", "ID"),
    ("start twice", "start", "ID"),
    ("create twice", "create", "--bundle", "BUNDLE", "ID"),
    ("list as json", "list", "--format", "json"),
    ("list", "list"),
    ("list quietly", "list", "-q"),
    ("list in another format", "list", "--format", "xml"),
    ("ps as json", "ps", "--format", "json", "ID"),
    ("ps", "ps", "ID"),
    ("ps in another format", "ps", "--format", "xml", "ID"),
    ("events --stats", "events", "--stats", "ID"),
    ("exec", "exec", "ID", "/bin/true"),
    ("exec's exit code", "exec", "ID", "/bin/sh", "-c", "exit 7"),
    ("exec killed by a signal", "exec", "ID", "/bin/sh", "-c", "kill -9 $$"),
    ("exec of what is not there", "exec", "ID", "nothere"),
    ("exec of what is no program", "exec", "ID", "/plain"),
    ("exec of nothing", "exec", "ID"),
    ("exec as a user", "exec", "--user", "7:8", "ID", "/bin/sh", "-c", "exit $(id -u)$(id -g)"),
    ("exec in a directory", "exec", "--cwd", "/tmp", "ID", "/bin/sh", "-c", "[ $PWD = /tmp ]"),
    ("exec with a variable", "exec", "--env", "A=5", "ID", "/bin/sh", "-c", "exit $A"),
    ("exec with a wrong user", "exec", "--user", "someone", "ID", "/bin/true"),
    ("update", "update", "--pids-limit", "50", "ID"),
    ("update with a wrong number", "update", "--pids-limit", "many", "ID"),
    ("delete a running one", "delete", "ID"),
    ("pause", "pause", "ID"),
    ("state of a paused one", "state", "ID"),
    ("pause twice", "pause", "ID"),
    ("delete a paused one", "delete", "ID"),
    ("resume", "resume", "ID"),
    ("resume twice", "resume", "ID"),
    ("kill with an unknown signal", "kill", "ID", "NOPE"),
    ("kill by number", "kill", "ID", "0"),
    ("kill", "kill", "ID", "SIGKILL"),
    "STOPPED",
    ("state of a stopped one", "state", "ID"),
    ("kill a stopped one", "kill", "ID", "KILL"),
    ("exec in a stopped one", "exec", "ID", "/bin/true"),
    ("pause a stopped one", "pause", "ID"),
    ("resume a stopped one", "resume", "ID"),
    ("update a stopped one", "update", "--pids-limit", "50", "ID"),
    ("ps of a stopped one", "ps", "ID"),
    ("events of a stopped one", "events", "--stats", "ID"),
    ("start a stopped one", "start", "ID"),
    ("delete", "delete", "ID"),
    ("delete twice", "delete", "ID"),
    ("delete --force of none", "delete", "--force", "ID"),
    ("state of none", "state", "ID"),
    ("kill none", "kill", "ID"),
    ("start none", "start", "ID"),
    ("exec in none", "exec", "ID", "/bin/true"),
    ("pause none", "pause", "ID"),
    ("resume none", "resume", "ID"),
    ("ps of none", "ps", "ID"),
    ("update none", "update", "--pids-limit", "50", "ID"),
    ("no bundle", "run", "--bundle", "/nowhere", "ID"),
    ("no id", "run", "--bundle", "BUNDLE"),
    ("an id with a slash", "run", "--bundle", "BUNDLE", "a/b"),
    ("no command", ),
    ("an unknown command", "nothing"),
    ("an unknown option", "run", "--nothing", "ID"),
    ("an unknown global option", "--nothing", "list"),
    ("state without an id", "state"),
    ("version", "--version"),
    ("help", "--help"),
    ("help of a command", "run", "--help"),
    ("features", "features"),
]

# What the config is changed to, and a run with it.
CONFIGS = {
    "run: exit code": {"process": {"args": ["/bin/sh", "-c", "exit 9"]}},
    "run: killed by a signal": {"process": {"args": ["/bin/sh", "-c", "sh -c 'kill -15 $$'; exit $?"]}},
    "run: no such program": {"process": {"args": ["nothere"]}},
    "run: no program": {"process": {"args": ["/plain"]}},
    "run: no arguments": {"process": {"args": []}},
    "run: relative cwd": {"process": {"cwd": "work"}},
    "run: no root": {"root": {"path": "elsewhere"}},
    "run: unknown namespace": {"linux": {"namespaces": [{"type": "nothing"}]}},
    "run: namespace that is not there": {"linux": {"namespaces": [{"type": "mount"},
                                                                  {"type": "network", "path": "/nowhere"}]}},
    "run: unknown capability": {"process": {"capabilities": {"bounding": ["CAP_NOTHING"]}}},
    "run: unknown rlimit": {"process": {"rlimits": [{"type": "RLIMIT_NOTHING", "soft": 1, "hard": 1}]}},
    "run: unknown seccomp action": {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_NOTHING"}}},
    "run: bind of nothing": {"mounts": [{"destination": "/x", "type": "bind", "source": "/nowhere",
                                         "options": ["bind"]}]},
    "run: a hook that fails": {"hooks": {"prestart": [{"path": "/bin/false"}]}},
    "run: no JSON": "{",
    "run: JSON of another kind": "[]",
    "run: no config": None,
}

SHELL = "127 and 126, as a shell and Docker's users know them"
OURS_255 = "255 from every exec that fails, as runc: engines tell that from the program's own 1"
STRICT = "what is unknown in a config is refused, never left out"
STATE = "what the state does not allow is an error, as with runc"
USAGE = "1, as every other wrong use (and as runc)"
NONE_THERE = "crun has no such command"
DIFFERS = {
    ("runc", "exec of what is not there"): SHELL,
    ("runc", "exec of what is no program"): SHELL,
    ("runc", "run: no such program"): SHELL,
    ("runc", "run: no program"): SHELL,
    ("runc", "run: unknown capability"): STRICT,
    ("runc", "no command"): "nothing was asked for, nothing was done: not a success",
    ("runc", "an unknown command"): "1, as every other wrong use",
    ("crun", "exec of what is not there"): SHELL,
    ("crun", "exec of what is no program"): SHELL,
    ("crun", "run: no such program"): SHELL,
    ("crun", "run: no program"): SHELL,
    ("crun", "run: unknown capability"): STRICT,
    ("crun", "run: relative cwd"): "config.md: cwd must be an absolute path",
    ("crun", "run: a hook that fails"): "1: 255 is for exec",
    ("crun", "exec of nothing"): OURS_255,
    ("crun", "exec with a wrong user"): OURS_255,
    ("crun", "exec in a stopped one"): OURS_255,
    ("crun", "exec in none"): OURS_255,
    ("crun", "pause twice"): STATE,
    ("crun", "resume twice"): STATE,
    ("crun", "update a stopped one"): STATE,
    ("crun", "kill with an unknown signal"): "crun sends nothing and says so to nobody",
    ("crun", "ps of a stopped one"): "crun dies of a signal",
    ("crun", "ps of none"): "1, as all other commands",
    ("crun", "an unknown option"): USAGE,
    ("crun", "an unknown global option"): USAGE,
    ("crun", "events --stats"): NONE_THERE,
    ("crun", "features"): NONE_THERE,
}


class Candidate:
    """One runtime with a bundle and a state directory of its own."""

    def __init__(self, name, program, path):
        self.name, self.path, self.state = name, path, path / "state"
        self.command = (WITHOUT_V2 if name == "crun" else []) + [program, "--root", str(self.state)]
        make_rootfs(path / "rootfs")
        subprocess.run([RUNTIME, "spec", "--bundle", path], check=True)
        self.config = json.loads((path / "config.json").read_text())
        self.config["ociVersion"] = "1.0.2"  # all three know it
        self.config["process"].update(terminal=False, args=["/bin/sleep", "600"])
        self.config["mounts"] = [m for m in self.config["mounts"] if m["type"] != "cgroup"]
        self.config["linux"]["cgroupsPath"] = f"/buoy-sbs-{os.getpid()}-{name}"
        self.id = f"sbs-{os.getpid()}-{name}"
        self.results = {}

    def __call__(self, *words):
        words = [{"BUNDLE": str(self.path), "ID": self.id}.get(word, word) for word in words]
        with open(self.path / "out", "w+b") as out, open(self.path / "err", "w+b") as err:
            status = subprocess.run([*self.command, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                    timeout=60).returncode
            out.seek(0), err.seek(0)
            return status, out.read().decode(errors="replace"), err.read().decode(errors="replace")

    def go(self):
        self.write(self.config)
        for step in LIVE:
            if step == "STOPPED":
                end = time.monotonic() + 10
                while json.loads(self("state", "ID")[1])["status"] != "stopped":
                    assert time.monotonic() < end
                    time.sleep(0.02)
            else:
                self.results[step[0]] = self(*step[1:])
        self.config["process"]["args"] = ["/bin/true"]
        for name, change in CONFIGS.items():
            self.write(change if change is None or isinstance(change, str) else
                       {key: ({**value, **change.get(key, {})} if isinstance(value, dict) else change.get(key, value))
                        for key, value in {**dict.fromkeys(change, {}), **self.config}.items()})
            self.results[name] = self("run", "--bundle", "BUNDLE", "ID")
            self("delete", "--force", "ID")
        return self

    def write(self, config):
        path = self.path / "config.json"
        path.unlink(missing_ok=True)
        if config is not None:
            path.write_text(config if isinstance(config, str) else json.dumps(config))


@pytest.fixture(scope="module")
def candidates(tmp_path_factory):
    made = {"buoy": Candidate("buoy", RUNTIME, tmp_path_factory.mktemp("buoy"))}
    for name, program in PEERS.items():
        if program:
            made[name] = Candidate(name, program, tmp_path_factory.mktemp(name))
    try:
        for candidate in made.values():
            candidate.go()
        yield made
    finally:
        for candidate in made.values():
            candidate("delete", "--force", "ID")


@pytest.fixture
def peer(request, candidates):
    if request.param not in candidates:
        pytest.skip(f"{request.param} is not installed")
    return candidates[request.param]


@pytest.mark.parametrize("step", [s[0] for s in LIVE if s != "STOPPED"] + list(CONFIGS))
@pytest.mark.parametrize("peer", PEERS, indirect=True)
def test_exit_codes_are_the_same(candidates, peer, step):
    ours, theirs = candidates["buoy"].results[step], peer.results[step]
    why = DIFFERS.get((peer.name, step))
    if why:
        assert ours[0] != theirs[0], f"no longer true: {why}"
    else:
        assert ours[0] == theirs[0], f"ours: {ours}\n{peer.name}: {theirs}"
    meant = {"exec's exit code": 7, "exec killed by a signal": 137, "exec as a user": 78, "exec with a variable": 5,
             "run: exit code": 9, "run: killed by a signal": 143}
    assert ours[0] == meant[step] if step in meant else ours[0] == 0 or ours[2], "who fails says why"


def test_every_difference_names_a_step():
    steps = {s[0] for s in LIVE} | set(CONFIGS)
    assert {step for _, step in DIFFERS} <= steps and {name for name, _ in DIFFERS} <= set(PEERS)


# ---- what they print ----

def shape(value):
    """Keys and kinds of values; a list is what its first item is."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def lacks(theirs, ours, at=""):
    """Where ours has not what theirs has. An empty list fits any list."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key, value in theirs.items():
            if key not in ours:
                yield f"{at}.{key}: missing"
            else:
                yield from lacks(value, ours[key], f"{at}.{key}")
    elif isinstance(theirs, list) and isinstance(ours, list):
        if theirs and ours:
            yield from lacks(theirs[0], ours[0], f"{at}[]")
    elif theirs != ours:
        yield f"{at}: {ours}, not {theirs}"


def printed(candidate, step):
    return json.loads(candidate.results[step][1])


@pytest.mark.parametrize("step", ["state of a created one", "state", "state of a paused one", "state of a stopped one",
                                  "list as json", "ps as json"])
@pytest.mark.parametrize("peer", PEERS, indirect=True)
def test_json_has_all_that_theirs_has(candidates, peer, step):
    ours, theirs = printed(candidates["buoy"], step), printed(peer, step)
    crun_only = {".systemd-scope: missing", "[].systemd-scope: missing"} if peer.name == "crun" else set()
    assert set(lacks(shape(theirs), shape(ours))) - crun_only == set()
    if step.startswith("state"):
        same = ("status",) if peer.name == "crun" else ("status", "owner")
        assert [ours[key] for key in same] == [theirs[key] or "root" for key in same]


@pytest.mark.parametrize("step, line", [("list", 0), ("ps", None)])
def test_tables_begin_with_the_columns(candidates, step, line):
    words = candidates["buoy"].results[step][1].splitlines()[0].split()
    if step == "list" and "runc" in candidates:
        assert words == candidates["runc"].results[step][1].splitlines()[0].split()
    assert "PID" in words


@pytest.mark.parametrize("peer", ["runc"], indirect=True)
def test_events_have_all_that_theirs_have(candidates, peer):
    ours, theirs = printed(candidates["buoy"], "events --stats"), printed(peer, "events --stats")
    del theirs["data"]["memory"]["raw"], theirs["id"]
    assert list(lacks(shape(theirs), shape(ours))) == []


@pytest.mark.parametrize("peer", ["runc"], indirect=True)
def test_features_are_at_least_theirs(candidates, peer):
    ours, theirs = printed(candidates["buoy"], "features"), printed(peer, "features")
    assert [x for x in lacks(shape(theirs), shape(ours)) if not x.startswith(".annotations")] == []
    for path in (["hooks"], ["linux", "namespaces"], ["linux", "capabilities"], ["linux", "seccomp", "actions"],
                 ["linux", "seccomp", "operators"], ["linux", "seccomp", "archs"], ["mountOptions"]):
        mine, other = ours, theirs
        for key in path:
            mine, other = mine[key], other[key]
        # acl: a word of file systems that have lists of access rights, all of which switch them on by themselves.
        assert set(other) - set(mine) <= {"acl", "noacl"}, path


# ---- a mount namespace that is there ----

# Who holds it is $1; the rest is the runtime's command line. What is printed last is what the holder sees afterwards.
JOIN = """
unshare --mount --propagation private sleep 60 & holder=$!
while [ "$(readlink /proc/$holder/ns/mnt)" = "$(readlink /proc/self/ns/mnt)" ]; do sleep 0.02; done
sed -i "s|HOLDER|/proc/$holder/ns/mnt|" config.json
"$@"; status=$?
[ "$(cat seen)" = "$(readlink /proc/$holder/ns/mnt)" ] && echo the same namespace
ls /proc/$holder/root; cut -d' ' -f5 /proc/$holder/mountinfo | sort
kill $holder; exit $status
"""


@pytest.mark.parametrize("peer", PEERS)
def test_a_mount_namespace_by_path_gets_root_and_mounts_as_with_the_others(tmp_path, peer):
    if not PEERS[peer]:
        pytest.skip(f"{peer} is not installed")
    told = {}
    for name, program in ("buoy", RUNTIME), (peer, PEERS[peer]):
        (tmp_path / name).mkdir()
        c = Candidate(name, program, tmp_path / name)
        c.config["linux"]["namespaces"] = [{"type": "mount", "path": "HOLDER"}, {"type": "pid"}, {"type": "uts"}]
        c.config["linux"]["maskedPaths"] = ["/proc/kcore"]
        c.config["root"]["readonly"] = False
        c.config["process"]["args"] = ["/bin/sh", "-c", "readlink /proc/self/ns/mnt >/seen"]
        c.write(c.config)
        (c.path / "seen").symlink_to("rootfs/seen")
        done = subprocess.run([*WITHOUT_V2, "sh", "-c", JOIN, "sh", program, "--root", c.state, "run", "--bundle", ".", c.id],
                              cwd=c.path, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        told[name] = done.stdout.splitlines()
    assert told["buoy"][0] == "the same namespace" and "seen" in told["buoy"]
    assert told["buoy"] == told[peer]


def test_the_runtime_s_own_mount_namespace_is_refused(tmp_path):
    c = Candidate("buoy", RUNTIME, tmp_path)
    c.config["linux"]["namespaces"] = [{"type": "mount", "path": "/proc/self/ns/mnt"}, {"type": "uts"}]
    c.write(c.config)
    status, _, err = c("run", "--bundle", "BUNDLE", "ID")
    assert status == 1 and "is the runtime's own mount namespace" in err
