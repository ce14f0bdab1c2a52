# SPDX-License-Identifier: Apache-2.0
"""/proc, /sys, /dev, cgroups and descriptors as a hostile program sees them (docs/security.md, part B)."""
import array
import errno
import json
import os
import pathlib
import shutil
import socket

import pytest

import lab as cells

HELD = 79  # a directory of the host, open in the caller
GOLDEN = cells.TOP / "tests/security/golden"


def looks(lines):
    """probe look: {path: (kind, rdev, entries, writable)}."""
    return {line.split()[0]: (*line.split()[1:4], line.split()[4]) for line in lines}


# ---- masks (rows 16, 24) ----

def unmasked(cell, lines):
    seen = looks(lines)
    bad = []
    for path, (kind, rdev, entries, write) in seen.items():
        if not (kind == "chr" and rdev == "1:3" or kind == "dir" and entries == "0" and write != "w"):
            bad.append(path)
    assert len(seen) >= 3, "the kernel has none of the masked paths"
    return bad


def test_masked_paths_are_the_null_device_or_empty(cell):
    for lines in cell.both("look", *cell.config["linux"]["maskedPaths"]):
        assert unmasked(cell, lines) == []
    control = cell.unsafe("masks")
    assert len(unmasked(cell, control.probe("look", *cell.config["linux"]["maskedPaths"]))) > 2


def test_a_mask_is_not_made_from_the_containers_null_device(cell):
    """CVE-2025-31133: the image's /dev/null is a link to what a mask must hide, and /dev stays the image's."""
    cell.config["mounts"] = [m for m in cell.config["mounts"] if not m["destination"].startswith("/dev")]
    (cell.root / "dev/null").symlink_to("/proc/sysrq-trigger")
    done = cell.run("/bin/probe", "look", *cell.config["linux"]["maskedPaths"], check=False)
    assert done.returncode != 0 and "/dev/null" in done.stderr  # refused: it is no null device
    (cell.root / "dev/null").unlink()
    assert unmasked(cell, cell.probe("look", *cell.config["linux"]["maskedPaths"])) == []


# ---- what can be written and read (row 24) ----

def reviewed(name):
    lines = (GOLDEN / name).read_text().splitlines()
    return [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]


def surprises(lines, kind, patterns):
    found = sorted({line[2:] for line in lines if line.startswith(kind + " ")})
    return [path for path in found if not any(pathlib.PurePath(path).match(p) for p in patterns)]


def test_what_can_be_written_or_read_below_proc_and_sys_was_reviewed(cell):
    writable, readable = reviewed("proc_writable.txt"), reviewed("proc_readable.txt")
    for lines in cell.both("audit"):
        assert surprises(lines, "w", writable) == []
        assert surprises(lines, "r", readable) == []
        assert len(lines) > 20, "the walk saw next to nothing"
    assert len(surprises(cell.unsafe("masks").probe("audit"), "w", writable)) > 20


# ---- a false /proc (row 18) ----

@pytest.mark.parametrize("target", ["/proc", "/proc/sys"])
def test_a_sysctl_never_lands_in_a_volumes_file(cell, tmp_path, target):
    """CVE-2019-19921, -2023-27561, -2025-52881: a volume stands where /proc is."""
    volume = tmp_path / "volume"
    name = volume / ("sys/kernel" if target == "/proc" else "kernel")
    name.mkdir(parents=True)
    (name / "domainname").write_text("untouched")
    cell.bind(volume, target)
    cell.config["linux"]["sysctl"] = {"kernel.domainname": "written"}
    cell.config["linux"]["maskedPaths"] = cell.config["linux"]["readonlyPaths"] = []
    done = cell.run("/bin/probe", "true", check=False)
    assert (name / "domainname").read_text() == "untouched", done.stderr
    # The control: the same sysctl with nothing in the way is seen in the container.
    cell.config["mounts"] = [m for m in cell.config["mounts"] if m["source"] != str(volume)]
    assert cell.probe("show", "/proc/sys/kernel/domainname") == ["written"]


# ---- the program file of the runtime (row 19) ----

def attack_program(cell, tmp_path, runtime, off):
    """What a watcher in a container got of a copy of `runtime` that execs into it."""
    target = tmp_path / f"program-runtime-{off}"
    shutil.copy(runtime, target)
    one = cells.Cell(cell.path, str(target), off)
    cell.others.append(one)
    out = tmp_path / f"watch-{off}"
    with open(out, "wb") as f:
        id = one.start("/bin/probe", "watch", stdout=f)
    cells.eventually(lambda: b"watching" in out.read_bytes())
    for _ in range(cells.count("EXECS", 15)):
        try:
            one.exec(id, "/proc/self/exe", "features", check=False)
        except OSError as problem:
            if not off or problem.errno != errno.ETXTBSY:  # the watcher writes it at this moment
                raise
    one.runtime = cells.RUNTIME
    one.call("kill", id, "TERM")
    cells.eventually(lambda: json.loads(one.call("state", id).stdout)["status"] == "stopped")
    return out.read_text()


def test_the_runtimes_program_file_cannot_be_written_from_inside(cell, tmp_path):
    """CVE-2019-5736: the container executes /proc/self/exe of the runtime and writes to it."""
    found = attack_program(cell, tmp_path, cells.RUNTIME, None)
    assert "exe " in found, "the attacker never saw the runtime: no attack"
    assert "writable" not in found
    assert "writable" in attack_program(cell, tmp_path, cells.UNSAFE, "selfexe"), "the control"


# ---- descriptors and directories (row 20) ----

def test_a_program_has_three_descriptors(cell, tmp_path):
    extra = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(extra, True)
    os.dup2(extra, 77, inheritable=True)
    try:
        for lines in cell.both("fds", pass_fds=(77,)):
            assert [line.split()[0] for line in lines] == ["0", "1", "2"], lines
        leaked = cell.unsafe("fds").probe("fds", pass_fds=(77,))
        assert f"77 {tmp_path}" in leaked or any(line.startswith("77 ") for line in leaked), leaked
    finally:
        os.close(extra)
        os.close(77)


def test_a_working_directory_is_not_reached_by_a_descriptor(cell, tmp_path):
    """CVE-2024-21626: process.cwd is /proc/self/fd/N, a directory of the host."""
    held = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    os.dup2(held, HELD, inheritable=True)
    try:
        for cwd in (*(f"/proc/self/fd/{n}" for n in range(3, 24)), f"/proc/self/fd/{HELD}", f"/proc/self/fd/{HELD}/etc", "/proc/1/cwd", "/proc/self/cwd"):
            cell.config["process"]["cwd"] = cwd
            done = cell.run("/bin/probe", "show", "etc/shadow", check=False, pass_fds=(HELD,))
            assert done.stdout == "", cwd
        cell.config["process"]["cwd"] = "/"
        id = cell.start()
        for cwd in (*(f"/proc/self/fd/{n}" for n in range(3, 24)), f"/proc/self/fd/{HELD}", f"/proc/self/fd/{HELD}/etc"):
            done = cell.exec(id, "/bin/probe", "show", "etc/shadow", options=("--cwd", cwd), check=False, pass_fds=(HELD,))
            assert done.stdout == "", cwd
        control = cell.unsafe("cwd")
        control.config["process"]["cwd"] = f"/proc/self/fd/{HELD}"
        assert "root:" in control.run("/bin/probe", "show", "etc/shadow", pass_fds=(HELD,)).stdout, "the control"
    finally:
        os.close(held)
        os.close(HELD)


# ---- exec under a debugger (row 21) ----

def in_user_namespace(cell):
    """Root of a user namespace with all capabilities: what could look into a newcomer, if anything can."""
    cell.config["linux"]["namespaces"].append({"type": "user"})
    cell.config["linux"]["uidMappings"] = cell.config["linux"]["gidMappings"] = \
        [{"containerID": 0, "hostID": 0, "size": 65536}]
    cell.give(["CAP_SYS_PTRACE", "CAP_SYS_ADMIN", *cells.DEFAULT_CAPS])


def robbed(cell, tmp_path):
    out = tmp_path / f"watch-{cell.off}"
    with open(out, "wb") as f:
        id = cell.start("/bin/probe", "watch", stdout=f)
    cells.eventually(lambda: b"watching" in out.read_bytes())
    for _ in range(cells.count("EXECS", 15)):
        cell.exec(id, "/bin/probe", "true")
    cell.call("kill", id, "TERM")
    cells.eventually(lambda: json.loads(cell.call("state", id).stdout)["status"] == "stopped")
    return [line for line in out.read_text().splitlines() if line.startswith("open:")]


def test_a_process_that_joins_cannot_be_looked_into(cell, tmp_path):
    """CVE-2016-9962."""
    in_user_namespace(cell)
    assert robbed(cell, tmp_path) == []
    assert robbed(cell.unsafe("dumpable"), tmp_path) != [], "the control"


# ---- release_agent (row 22) ----

def test_no_release_agent_can_be_opened_for_writing(cell):
    """CVE-2022-0492."""
    for lines in cell.both("release-agent"):
        assert lines and not [line for line in lines if line.startswith("open:")], lines
    # The control: with CAP_SYS_ADMIN the same probe mounts the hierarchy and gets there.
    if any(line.split()[2:3] == ["cgroup"] for line in pathlib.Path("/proc/mounts").read_text().splitlines()):
        cell.give([*cells.DEFAULT_CAPS, "CAP_SYS_ADMIN"])
        cell.config["linux"]["namespaces"] = [n for n in cell.config["linux"]["namespaces"] if n["type"] != "cgroup"]
        assert [line for line in cell.probe("release-agent") if line.startswith("open:")], "the control"


# ---- the right cgroup (row 23) ----

def test_a_container_in_the_wrong_cgroup_is_not_started(cell):
    id = cell.start()
    assert f"/buoy/{id}" in pathlib.Path(f"/proc/{cell.pid(id)}/cgroup").read_text()
    strayed = cell.unsafe("strayed").run("/bin/probe", "true", check=False)
    assert strayed.returncode != 0 and "cgroup" in strayed.stderr, strayed
    assert cell.unsafe("placement").run("/bin/probe", "true", check=False).returncode == 0, "the control"


# ---- the terminal (row 17) ----

def console(cell):
    """Starts with a console socket; (what the runtime said, the terminal's master or None)."""
    path = str(cell.path / "console")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    listener.settimeout(5)
    cell.config["process"]["terminal"] = True
    cell.save(["/bin/probe", "look", "/dev/console", "/dev/pts/ptmx", "/proc/self/fd/0"])
    id = cell.id()
    done = cell.call("create", "--bundle", cell.path, "--console-socket", path, id, check=False)
    master = None
    if done.returncode == 0:
        connection = listener.accept()[0]
        data = connection.recvmsg(4096, socket.CMSG_SPACE(4))[1][0][2]
        master = array.array("i", data)[0]
        cell.call("start", id)
    listener.close()
    os.unlink(path)
    return done, master


def read_all(fd):
    text = b""
    while True:
        try:
            part = os.read(fd, 4096)
        except OSError:
            break
        if not part:
            break
        text += part
    os.close(fd)
    return text.decode()


def test_the_console_is_the_terminal_itself(cell):
    done, master = console(cell)
    seen = looks(read_all(master).splitlines())
    assert seen["/dev/console"][1].startswith("136:") and seen["/dev/console"][1] == seen["/proc/self/fd/0"][1]
    assert seen["/dev/pts/ptmx"][1] == "5:2"


def false_pts(cell, tmp_path):
    """A volume over /dev/pts with a multiplexer of its own, as CVE-2025-52565 needs one."""
    volume = tmp_path / "pts"
    (volume / "pts").mkdir(parents=True)
    os.mknod(volume / "ptmx", 0o20666, os.makedev(5, 2))
    cell.config["mounts"] = [m for m in cell.config["mounts"] if m["destination"] != "/dev/pts"]
    cell.bind(volume, "/dev/pts")
    cell.config["mounts"].append({"destination": "/dev/pts/pts", "type": "devpts", "source": "devpts",
                                  "options": ["newinstance", "ptmxmode=0666"]})
    cell.config["linux"]["resources"] = {"devices": [{"allow": True, "access": "rwm"}]}


def test_a_terminal_from_a_volume_is_refused(cell, tmp_path):
    false_pts(cell, tmp_path)
    done, master = console(cell)
    assert done.returncode != 0 and master is None and "terminal" in done.stderr, done
    done, master = console(cell.unsafe("terminal"))
    assert done.returncode == 0, ("the control", done)
    os.close(master)


# ---- other grammars (row 25) ----

@pytest.mark.parametrize("name,value", [("kernel.shm_rmid_forced\nkernel.core_pattern", "1"), ("kernel/../core_pattern", "x"),
                                        ("kernel.core_pattern", "|/bin/x"), ("net.ipv4.ip_forward=1 kernel.core_pattern", "1"),
                                        ("", "1"), ("fs.mqueue.msg_max/../../../kernel/core_pattern", "1")])
def test_a_sysctl_outside_its_namespaces_is_refused(cell, name, value):
    """CVE-2022-0811."""
    before = pathlib.Path("/proc/sys/kernel/core_pattern").read_text()
    cell.config["linux"]["sysctl"] = {name: value}
    done = cell.run("/bin/probe", "true", check=False)
    assert done.returncode != 0 and "sysctl" in done.stderr, done
    assert pathlib.Path("/proc/sys/kernel/core_pattern").read_text() == before
    cell.config["linux"]["sysctl"] = {"kernel.shm_rmid_forced": "1"}  # the control: a good one is taken
    assert cell.probe("show", "/proc/sys/kernel/shm_rmid_forced") == ["1"]


def test_every_byte_of_a_variable_arrives_or_is_refused(cell):
    values = [bytes([b]).decode("latin-1") for b in range(1, 256)]
    cell.config["process"]["env"] = [f"V{i}=a{v}b" for i, v in enumerate(values)]
    text = cell.run("/bin/probe", "show", "/proc/self/environ").stdout
    # Read as text: a carriage return is a newline then.
    assert text.split("\0")[:-1] == [v.replace("\r", "\n") for v in cell.config["process"]["env"]]
    cell.config["process"]["env"] = ["A\nB=c", "=x", "nothing"]
    assert cell.run("/bin/probe", "show", "/proc/self/environ", check=False).returncode in (0, 1)


@pytest.mark.parametrize("path", ["/../../escape", "/a/../../b", "a\nb", "/a//../b"])
def test_a_cgroup_path_stays_below_the_hierarchies(cell, path):
    def groups():
        return {str(p) for p in pathlib.Path("/sys/fs/cgroup").glob("*/*") if p.name in ("escape", "b")} | \
               {str(p) for p in pathlib.Path("/sys/fs/cgroup").glob("*") if p.name in ("escape", "b")}
    before = groups()
    cell.config["linux"]["cgroupsPath"] = path
    cell.run("/bin/probe", "true", check=False)
    assert groups() == before
    cell.config["linux"]["cgroupsPath"] = "/buoy/sec-control"  # the control: a good one is used
    assert "/" in cell.probe("show", "/proc/self/cgroup")[0]
