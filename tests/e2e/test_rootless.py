# SPDX-License-Identifier: Apache-2.0
"""buoy-runtime for an ordinary user: alone, and with subordinate ids by newuidmap. The user is nobody; the files with
subordinate ids are bind-mounted over those of the machine in a mount namespace of each call."""
import json
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile

import pytest

from test_runtime import RUNTIME, bundle, eventually, make_rootfs, pytestmark  # noqa: F401

NOBODY = pwd.getpwnam("nobody")
SUBORDINATE = 1_600_000_000  # nobody else's

AS_USER = f"""for f in subuid subgid; do [ -e $1/$f ] && mount --bind $1/$f /etc/$f; done; shift
exec setpriv --reuid={NOBODY.pw_uid} --regid={NOBODY.pw_gid} --clear-groups --inh-caps=-all "$@" """


class User:
    def __init__(self, subordinate):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="buoy-rootless-"))
        self.env = {"PATH": os.environ["PATH"], "HOME": "/", "XDG_RUNTIME_DIR": str(self.path / "run")}
        self.state = self.path / "run/buoy-runtime"
        self.runtime = self.path / "buoy-runtime"
        shutil.copy(RUNTIME, self.runtime)
        for name in ("subuid", "subgid"):
            (self.path / name).write_text(f"nobody:{SUBORDINATE}:65536\n" if subordinate else "")
        (self.path / "run").mkdir()
        make_rootfs(self.path / "rootfs")
        for parent, dirs, files in os.walk(self.path):
            for each in [parent, *(f"{parent}/{name}" for name in dirs + files)]:
                os.chown(each, NOBODY.pw_uid, NOBODY.pw_gid, follow_symlinks=False)
        self.path.chmod(0o755)
        self("spec", "--rootless", "--bundle", self.path)
        self.config = json.loads((self.path / "config.json").read_text())
        self.config["process"]["terminal"] = False
        self.ids = []

    def __call__(self, *words, check=True, **kwargs):
        kwargs.setdefault("capture_output", True)
        done = subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", AS_USER, "sh", self.path,
                               self.runtime, *map(str, words)], text=True, timeout=30, env=self.env, cwd="/",
                              stdin=subprocess.DEVNULL, **kwargs)
        assert not check or done.returncode == 0, f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def words(self, *args):
        self.config["process"]["args"] = list(args)
        (self.path / "config.json").write_text(json.dumps(self.config))
        self.ids.append(f"user-{os.getpid()}-{len(self.ids)}")
        return ["--bundle", self.path, self.ids[-1]]

    def run(self, *args, **kwargs):
        return self("run", *self.words(*args), **kwargs)

    def start(self, *args):
        words = self.words(*args)
        self("run", "--detach", *words, capture_output=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return words[-1]

    def close(self):
        for id in self.ids:
            self("delete", "--force", id, check=False)
        left = os.listdir(self.state) if self.state.exists() else []
        shutil.rmtree(self.path)
        assert not left


@pytest.fixture(params=["alone", "with subordinate ids"])
def user(request):
    made = User(request.param != "alone")
    made.subordinate = request.param != "alone"
    yield made
    made.close()


def test_the_user_is_root_in_there_and_himself_out_here(user):
    done = user.run("/bin/sh", "-c", "id -u; id -g; hostname; ls /dev; echo mine > /tmp/made; cat /proc/self/uid_map; "
                    "mount | grep -c ' / '")
    assert "no cgroup, no limits" in done.stderr
    lines = done.stdout.splitlines()
    assert lines[:3] == ["0", "0", "buoy"] and "null" in lines
    assert (user.path / "rootfs/tmp/made").stat().st_uid == NOBODY.pw_uid if not user.config["root"]["readonly"] else True
    user.config["root"]["readonly"] = False
    user.run("/bin/sh", "-c", "echo mine > /tmp/made")
    assert (user.path / "rootfs/tmp/made").stat().st_uid == NOBODY.pw_uid


def test_exit_codes_errors_and_keep(user):
    assert user.run("/bin/sh", "-c", "exit 42", check=False).returncode == 42
    assert user.run("nothere", check=False).returncode == 127
    assert user("list", "-q").stdout == ""
    missing = user("state", "nobodys", check=False)
    assert missing.returncode == 1 and "does not exist" in missing.stderr


def test_all_verbs_work_for_the_user(user):
    id = user.start("/bin/sleep", "61")
    state = json.loads(user("state", id).stdout)
    assert state["status"] == "running"
    assert os.stat(f"/proc/{state['pid']}").st_uid == NOBODY.pw_uid
    assert user("exec", id, "/bin/sh", "-c", "echo $(id -u) $(hostname); exit 3", check=False).returncode == 3
    assert user("exec", id, "/bin/readlink", "/proc/1/ns/pid").stdout == user("exec", id, "/bin/readlink",
                                                                              "/proc/self/ns/pid").stdout
    refused = user("pause", id, check=False)
    assert refused.returncode == 1 and "has no cgroup" in refused.stderr
    assert [c["id"] for c in json.loads(user("list", "--format", "json").stdout)] == [id]
    user("kill", id, "KILL")
    eventually(lambda: json.loads(user("state", id).stdout)["status"] == "stopped")
    user("delete", id)
    assert user("state", id, check=False).returncode == 1


def test_create_and_start(user):
    words = user.words("/bin/sleep", "61")
    user("create", *words, capture_output=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert json.loads(user("state", words[-1]).stdout)["status"] == "created"
    user("start", words[-1])
    assert json.loads(user("state", words[-1]).stdout)["status"] == "running"


def test_subordinate_ids_are_mapped_or_told_not_to_be_his(user):
    both = [{"containerID": 0, "hostID": NOBODY.pw_uid, "size": 1}, {"containerID": 1, "hostID": SUBORDINATE, "size": 1000}]
    user.config["linux"].update(uidMappings=both, gidMappings=both)
    user.config["process"]["user"] = {"uid": 7, "gid": 8}
    user.config["root"]["readonly"] = False
    (user.path / "rootfs/tmp").chmod(0o1777)
    done = user.run("/bin/sh", "-c", "id -u; id -g; echo > /tmp/seven", check=False)
    if user.subordinate:
        assert done.stdout.split() == ["7", "8"]
        made = (user.path / "rootfs/tmp/seven").stat()
        assert (made.st_uid, made.st_gid) == (SUBORDINATE + 6, SUBORDINATE + 7)
    else:
        assert done.returncode == 1 and "are not yours" in done.stderr


def test_another_users_ids_are_refused(user):
    user.config["linux"]["uidMappings"] = [{"containerID": 0, "hostID": 0, "size": 1}]
    done = user.run("/bin/true", check=False)
    assert done.returncode == 1 and "uidMappings[0]" in done.stderr and "not yours" in done.stderr


def test_without_a_user_namespace_in_the_config_it_runs_in_the_users_own(user):
    user.config["linux"]["namespaces"] = [n for n in user.config["linux"]["namespaces"] if n["type"] != "user"]
    del user.config["linux"]["uidMappings"], user.config["linux"]["gidMappings"]
    id = user.start("/bin/sleep", "61")
    out = user("exec", id, "/bin/sh", "-c", "id -u; echo > /dev/null; cat /proc/self/uid_map").stdout.split()
    assert out[:3] == ["0", "0", str(NOBODY.pw_uid)]


def test_rootless_false_does_without_the_namespace_and_fails(user):
    done = user("--rootless", "false", "--root", user.state, "run", *user.words("/bin/true"), check=False)
    assert done.returncode == 1 and done.stderr


READ_ONLY = """
for place in $(grep -E ' - cgroup2? ' /proc/self/mountinfo | cut -d' ' -f5); do mount -o remount,bind,ro $place || exit 99; done
exec "$@"
"""


def test_rootless_true_does_without_cgroups_also_as_root(bundle):
    """As runc has it: root of a machine, or of a container, in which no cgroup can be made."""
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["type"] != "cgroup"]
    bundle.save(["/bin/echo", "ran"])
    done = {}
    for rootless in "auto", "true":
        done[rootless] = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", READ_ONLY, "sh", RUNTIME, "--root", bundle.state,
             "--rootless", rootless, "run", "--bundle", bundle.path, bundle.id()],
            capture_output=True, text=True, timeout=30, check=False)
    assert done["auto"].returncode == 1 and "ead-only" in done["auto"].stderr
    assert done["true"].returncode == 0 and done["true"].stdout == "ran\n", done["true"].stderr
    assert "warning: no cgroup, no limits" in done["true"].stderr


def test_the_state_is_below_the_users_runtime_directory(user):
    id = user.start("/bin/sleep", "61")
    assert os.listdir(user.state) == [id]
    del user.env["XDG_RUNTIME_DIR"]
    other = user("--root", user.state, "list", "-q")
    assert other.stdout.split() == [id]
    user.env["XDG_RUNTIME_DIR"] = str(user.path / "run")


# ---- under podman ----

@pytest.mark.skipif(not shutil.which("podman") or not shutil.which("newuidmap"), reason="no podman or newuidmap")
def test_podman_of_an_ordinary_user_runs_on_it():
    user = User(subordinate=True)
    try:
        home = user.path / "home"
        home.mkdir()
        os.chown(home, NOBODY.pw_uid, NOBODY.pw_gid)
        env = dict(user.env, HOME=str(home))

        def podman(*words, **kwargs):
            return subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", AS_USER, "sh", user.path,
                                   "podman", "--storage-driver", "vfs", "--runtime", user.runtime, "--cgroup-manager",
                                   "cgroupfs", "--events-backend", "file", *words], text=True, timeout=120, env=env,
                                  cwd="/", stdin=subprocess.DEVNULL, **kwargs)

        common = ["--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--rootfs",
                  user.path / "rootfs"]
        done = podman("run", "--rm", *common, "/bin/sh", "-c", "id -u; cat /proc/self/uid_map; echo > /dev/null; exit 5",
                      capture_output=True)
        assert done.returncode == 5, done.stderr
        assert done.stdout.split() == ["0", "0", str(NOBODY.pw_uid), "1", "1", str(SUBORDINATE), "65536"]
        podman("run", "--detach", "--name", "web", *common, "/bin/sleep", "300", check=True, stdout=subprocess.DEVNULL)
        assert podman("exec", "web", "/bin/sh", "-c", "exit 6").returncode == 6
        podman("rm", "--force", "--time", "0", "web", check=True, stdout=subprocess.DEVNULL)
        assert "web" not in podman("ps", "--all", capture_output=True, check=True).stdout
        podman("system", "reset", "--force", capture_output=True)
    finally:
        for left in user.path.glob("run/**/pause.pid"):  # what keeps podman's namespaces
            os.kill(int(left.read_text()), signal.SIGKILL)
        user.close()
