# SPDX-License-Identifier: Apache-2.0
"""What the engine makes of hostile images and requests (docs/security.md)."""
import io
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import tarfile

import pytest

import hostile
import lab as cells
from test_identity import BAD_IDS, NUMBERS

SRC = cells.TOP / "src"
LIMIT = sum(1 << NUMBERS[name] for name in cells.DEFAULT_CAPS)  # Docker's set; ours may be smaller


@pytest.fixture
def canary(tmp_path):
    (tmp_path / "canary").mkdir()
    return hostile.make_canary(tmp_path)


def load(daemon, name, tar):
    status, text = daemon.api("POST", f"/images/create?fromSrc=-&repo={name}&tag=latest", tar,
                              {"Content-Type": "application/x-tar"})
    return status, text


def pack(root):
    return subprocess.run(["tar", "-C", root, "--numeric-owner", "--ignore-failed-read", "-cf", "-", "."],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout


def with_probe(*words):
    cells.programs()
    return ("-v", f"{cells.PROBE}:/probe:ro", *words)


# ---- the effective sandbox (rows 22, 24, 26, 32, 34) ----

def sandbox(text):
    fields = cells.status(text)
    return {key: fields[key] for key in (*cells.CAP_SETS, "NoNewPrivs", "Seccomp", "Uid", "Gid", "Groups")}


def test_a_default_container_is_confined_and_stays_so(machines):
    """The same after exec, a restart of the container, a killed daemon, and its start again (CVE-2019-11245)."""
    machine, = machines(1)
    machine.docker("run", "-d", "--name", "a", "busybox", "sh", "-c", "cat /proc/self/status; exec sleep 1000")

    def first():
        pid = machine.json("GET", "/containers/a/json")["State"]["Pid"]
        return sandbox(pathlib.Path(f"/proc/{pid}/status").read_text())

    def by_exec():
        return sandbox(machine.docker("exec", "a", "cat", "/proc/self/status").stdout)

    inside = {key: value for key, value in by_exec().items()}
    assert inside["Seccomp"] == "2" and inside["Uid"].split() == ["0"] * 4
    assert int(inside["CapInh"], 16) == int(inside["CapAmb"], 16) == 0
    for kind in ("CapPrm", "CapEff", "CapBnd"):
        assert int(inside[kind], 16) & ~LIMIT == 0, f"more than Docker gives: {inside}"
    outside = first()
    machine.docker("restart", "-t", "0", "a")
    assert by_exec() == inside
    machine.kill9()
    machine.start()
    assert by_exec() == inside
    restarted = first()
    same = [key for key in outside if key not in ("Uid", "Gid", "Groups")]  # ids of a user namespace may be others
    assert [restarted[key] for key in same] == [outside[key] for key in same]
    # The control: an opt-out is seen by the same look.
    machine.docker("run", "-d", "--name", "b", "--privileged", "busybox", "sleep", "1000")
    open_one = sandbox(machine.docker("exec", "b", "cat", "/proc/self/status").stdout)
    assert open_one["Seccomp"] == "0" and int(open_one["CapBnd"], 16) & ~LIMIT


def test_system_calls_of_a_default_container(daemon):
    """AF_ALG, user namespaces, keys, foreign ABIs and kin: CVE-2026-31431, CVE-2022-0492."""
    lines = daemon.docker("run", "--rm", *with_probe(), "busybox", "/probe", "calls").stdout.splitlines()
    assert {line.split()[1] for line in lines if line.startswith("open:")} <= {"raw"}, lines
    assert "x32 killed by 31" in lines
    assert any(line.startswith("AF_ALG ") for line in lines) and any(line.startswith("AF_VSOCK ") for line in lines)
    agents = daemon.docker("run", "--rm", *with_probe(), "busybox", "/probe", "release-agent").stdout
    assert agents and "open:" not in agents
    control = daemon.docker("run", "--rm", "--privileged", *with_probe(), "busybox", "/probe", "calls").stdout
    assert len([line for line in control.splitlines() if line.startswith("open:")]) > 4, "the control"


def test_proc_and_sys_of_a_default_container_were_reviewed(daemon):
    from test_mounts import reviewed, surprises
    lines = daemon.docker("run", "--rm", *with_probe(), "busybox", "/probe", "audit").stdout.splitlines()
    assert len(lines) > 20
    assert surprises(lines, "w", reviewed("proc_writable.txt")) == []
    assert surprises(lines, "r", reviewed("proc_readable.txt")) == []
    control = daemon.docker("run", "--rm", "--privileged", *with_probe(), "busybox", "/probe", "audit").stdout.splitlines()
    assert len(surprises(control, "w", reviewed("proc_writable.txt"))) > 20


def test_descriptors_of_a_default_container(daemon):
    for run in (("run", "--rm"), ("run", "--rm", "-i")):
        lines = daemon.docker(*run, *with_probe(), "busybox", "/probe", "fds").stdout.splitlines()
        assert [line.split()[0] for line in lines] == ["0", "1", "2"]
    daemon.docker("run", "-d", "--name", "a", *with_probe(), "busybox", "sleep", "100")
    lines = daemon.docker("exec", "a", "/probe", "fds").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1", "2"]
    # The control: the probe sees one more where there is one.
    more = daemon.docker("exec", "a", "sh", "-c", "exec 5</proc; exec /probe fds").stdout.splitlines()
    assert [line.split()[0] for line in more] == ["0", "1", "2", "5"]


# ---- our own processes, should they be taken over ----

REACHES = ("read", "list", "write", "make", "remove", "execute", "connect")


def supervisor_report(machine, tmp_path, off=""):
    """What a supervisor could do once its container "c" was made."""
    cells.programs()
    report = tmp_path / f"report-{off}"
    report.with_name(report.name + ".gone").touch()
    machine.stop()
    machine.start("--runtime", cells.UNSAFE, env={"BUOY_UNSAFE_REPORT": str(report), "BUOY_UNSAFE": off})
    machine.docker("run", "-d", "--name", "c", "busybox", "sleep", "1000")
    cells.eventually(lambda: report.exists() and "connect" in report.read_text())
    return report.read_text().splitlines()[:len(REACHES)]


def test_a_supervisor_reaches_no_file_but_its_own(machines, tmp_path):
    machine, = machines(1)
    assert supervisor_report(machine, tmp_path) == [f"{what}: refused" for what in REACHES]
    machine.docker("exec", "c", "true")  # it does its work all the same
    for verb in ("pause", "unpause"):
        machine.docker(verb, "c")
    machine.docker("update", "-m", "64m", "--memory-swap", "64m", "c")
    machine.docker("stats", "--no-stream", "c")
    machine.docker("restart", "-t", "0", "c")
    machine.docker("rm", "-f", "c")
    assert supervisor_report(machine, tmp_path, "landlock") == [f"{what}: open" for what in REACHES], "the control"


# ---- hostile images (rows 1-3, 9, 15) ----

def test_hostile_images_by_way_of_the_engine(daemon, canary, tmp_path):
    before, worked = hostile.snapshot(canary), 0
    for number in range(cells.count("ENGINE_IMAGES", 12)):
        root = tmp_path / f"root-{number}"
        root.mkdir()
        cells.programs()
        probe = tmp_path / "probe"
        probe.exists() or shutil.copy(cells.PROBE, probe)
        place = number * 37 + 11  # spread over places and kinds
        made = hostile.make_root(root, probe, canary, place, random.Random(place), hostile.KINDS)
        status, text = load(daemon, f"hostile{number}", pack(root))
        assert status == 200, (made, text)
        if b"errorDetail" in text:
            continue
        done = daemon.docker("run", "-d", "--name", f"h{number}", "-v", f"hv{number}:/data/in/volume", "-w", "/work/deep/er",
                             "-e", "HOME=/home/user", "--tmpfs", "/run/secrets", f"hostile{number}", "/bin/probe", "hold",
                             check=False, timeout=60)
        assert "Internal" not in done.stderr and "panic" not in done.stderr, made
        if done.returncode == 0:
            worked += daemon.docker("exec", f"h{number}", "/bin/probe", "true", check=False, timeout=60).returncode == 0
        daemon.docker("commit", f"h{number}", f"committed{number}", check=False, timeout=60)
        daemon.docker("diff", f"h{number}", check=False, timeout=60)
        daemon.docker("rm", "-f", f"h{number}", check=False, timeout=60)
    assert hostile.changed(before, hostile.snapshot(canary)) == []
    assert worked > 0
    # The control: the snapshot sees what a runtime that follows links would do.
    (canary / "etc/passwd").chmod(0o600)
    assert hostile.changed(before, hostile.snapshot(canary)) != []


def test_a_volume_of_an_image_is_not_filled_from_outside(daemon, canary, tmp_path):
    """CVE-2022-23648: VOLUME names a link that leads to the host's files."""
    secret = canary / "etc/passwd"
    secret.write_text("a secret of the host\n")
    daemon.docker("run", "--name", "a", "busybox", "sh", "-c", f"ln -s {canary}/etc /data; ln -s ../../../../../..{canary}/etc /more")
    daemon.docker("commit", "--change", "VOLUME /data", "--change", "VOLUME /more", "a", "linked")
    out = daemon.docker("run", "--rm", "linked", "sh", "-c", "cat /data/passwd /more/passwd", check=False)
    assert "a secret" not in out.stdout
    assert secret.read_text() == "a secret of the host\n"
    # The control: a bind that is asked for does show it.
    assert "a secret" in daemon.docker("run", "--rm", "-v", f"{canary}/etc:/data", "busybox", "cat", "/data/passwd").stdout


# ---- copies (rows 4, 5), builds (rows 11-13) ----

def test_no_file_is_copied_by_a_path_of_a_live_container(daemon, canary):
    """CVE-2018-15664, CVE-2026-41568: an exchanged directory leads nowhere."""
    (canary / "in").joinpath("secret").write_text("of the host")
    daemon.docker("run", "-d", "--name", "a", *with_probe(), "busybox", "sh", "-c",
                  f"mkdir -p /vol/a/in; echo inside > /vol/a/in/secret; ln -s {canary} /vol/b; exec /probe exchange /vol/a /vol/b")
    got = set()
    for _ in range(cells.count("COPIES", 200)):
        status, text = daemon.api("GET", "/containers/a/archive?path=/vol/a/in/secret")
        if status == 200:
            archive = tarfile.open(fileobj=io.BytesIO(text))
            got.add(archive.extractfile(archive.next()).read())
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("put"), io.BytesIO())
        daemon.api("PUT", "/containers/a/archive?path=/vol/a/in", out.getvalue(), {"Content-Type": "application/x-tar"})
    assert b"of the host" not in got and os.listdir(canary / "in") == ["secret"]
    assert b"inside\n" in got, "the control: the file itself is copied"


@pytest.mark.parametrize("mount", ["type=bind,source=/etc,target=/x", "type=cache,target=/x,id=../../x", "type=secret,id=x"])
def test_a_mount_of_a_build_step_is_refused_or_stays_inside(daemon, tmp_path, canary, mount):
    """CVE-2024-23651, CVE-2024-1753, CVE-2024-9675."""
    (tmp_path / "context").mkdir()
    dockerfile = tmp_path / "context/Dockerfile"
    dockerfile.write_text(f"FROM busybox\nRUN --mount={mount} cat /x/shadow /x\n")
    done = daemon.docker("build", tmp_path / "context", check=False)
    assert done.returncode != 0 and "root:" not in done.stdout
    dockerfile.write_text("FROM busybox\nRUN cat /etc/passwd\n")  # the control
    assert "root:" in daemon.docker("build", "--no-cache", tmp_path / "context").stdout


@pytest.mark.parametrize("query", ["remote=git://127.0.0.1/x.git", "remote=file:///etc", "remote=https://127.0.0.1/x.git%23:../..",
                                   "dockerfile=../../../../etc/passwd", "dockerfile=/etc/passwd"])
def test_a_build_reads_nothing_but_its_context(daemon, query):
    """CVE-2026-33747, CVE-2026-33748, CVE-2026-44517."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        data = b"FROM busybox\nRUN echo good\n"
        info = tarfile.TarInfo("Dockerfile")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    status, text = daemon.api("POST", f"/build?{query}", out.getvalue(), {"Content-Type": "application/x-tar"})
    assert (status >= 400 or b"errorDetail" in text) and b"root:" not in text and b"good" not in text, text
    status, text = daemon.api("POST", "/build", out.getvalue(), {"Content-Type": "application/x-tar"})
    assert status == 200 and b"good" in text, "the control"


# ---- users (rows 28, 30) ----

@pytest.mark.parametrize("user", [u for u in BAD_IDS if u not in ("", "root", ":1", "1:")])
def test_a_user_out_of_range_is_never_root(daemon, user):
    done = daemon.docker("run", "--rm", "-u", user, "busybox", "id", "-u", check=False)
    assert done.returncode != 0 and done.stdout == "", done


def test_a_name_of_digits_is_a_number(daemon):
    """CVE-2024-40635, CVE-2026-46680: too big a number was looked up as a name that the image maps to root."""
    entries = ["2147483648", "4294967295", "4294967296", "1000", "+1", "-1"]
    text = "".join(f"{name}:x:0:0::/root:/bin/sh\\n" for name in entries)
    daemon.docker("run", "--name", "a", "busybox", "sh", "-c", f"printf '{text}' > /etc/passwd; echo 'app:x:1000:1000::/:' >> /etc/passwd")
    daemon.docker("commit", "a", "digits")

    def user(name):
        done = daemon.docker("run", "--rm", "-u", name, "digits", "id", "-u", check=False)
        return done.stdout.strip() or "refused"

    assert user("1000") == "1000" and user("app") == "1000"
    for name in ("4294967295", "4294967296", "+1", "-1"):
        assert user(name) == "refused", name
    assert user("2147483648") in ("2147483648", "refused")  # outside of a user namespace's range
    assert user("0") == "0"  # the control: root is what is asked for by 0


@pytest.mark.parametrize("kind", ["mkfifo", "mknod-zero", "sparse", "link", "directory", "garbage"])
def test_a_password_file_that_is_none_does_no_harm(daemon, canary, kind):
    """CVE-2016-3697, CVE-2026-47262."""
    (canary / "etc/passwd").write_text("app:x:0:0::/:/bin/sh\n")
    script = {"mkfifo": "mkfifo /etc/passwd", "mknod-zero": "mknod /etc/passwd c 1 5",
              "sparse": "dd if=/dev/zero of=/etc/passwd bs=1 count=1 seek=99999999 2>/dev/null",
              "link": f"ln -s {canary}/etc/passwd /etc/passwd", "directory": "mkdir /etc/passwd",
              "garbage": "head -c 2000000 /dev/urandom > /etc/passwd"}[kind]
    # An image can hold a device though a container cannot make one by default.
    daemon.docker("run", "--name", "a", "--userns", "host", "--security-opt", "caps=docker", "busybox", "sh", "-c",
                  f"rm /etc/passwd; {script}")
    daemon.docker("commit", "a", "odd")
    named = daemon.docker("run", "--rm", "-u", "app", "odd", "id", "-u", check=False, timeout=30)
    assert named.returncode != 0 and named.stdout == ""
    by_number = daemon.docker("run", "--rm", "-u", "7", *with_probe(), "odd", "/probe", "show", "/proc/self/status", timeout=30)
    assert cells.status(by_number.stdout)["Uid"].split()[0] == "7"  # the control


# ---- nothing of an image is executed (row 31) ----

def test_programs_and_libraries_of_an_image_are_not_used(daemon, tmp_path):
    """CVE-2019-14271, CVE-2026-41567, CVE-2022-1227."""
    marker = tmp_path / "marker"
    names = ("xz", "unxz", "gzip", "unpigz", "pigz", "tar", "zstd", "ps", "top", "getent", "newuidmap", "nsenter")
    trojan = f"#!/bin/busybox sh\necho was here > /marker\necho was here > {marker}\n"
    daemon.docker("run", "--name", "a", "busybox", "sh", "-c",
                  "for n in " + " ".join(names) + "; do rm -f /bin/$n; printf '%s' \"$0\" > /bin/$n; chmod 755 /bin/$n; "
                  "mkdir -p /usr/bin /sbin /lib; cp /bin/$n /usr/bin/$n; done; echo 'passwd: files evil' > /etc/nsswitch.conf; "
                  "cp /bin/xz /lib/libnss_evil.so.2; cp /bin/xz /lib/libnss_files.so.2; echo /lib/libnss_evil.so.2 > /etc/ld.so.preload", trojan)
    daemon.docker("commit", "a", "trojan")
    daemon.docker("run", "-d", "--name", "b", "trojan", "busybox", "sleep", "1000")
    daemon.docker("top", "b")
    daemon.docker("exec", "-u", "app", "b", "busybox", "true")
    daemon.docker("commit", "b", "again")
    daemon.docker("export", "b", "-o", tmp_path / "b.tar", check=False)
    daemon.docker("stats", "--no-stream", "b")
    context = tmp_path / "context"
    context.mkdir()
    with tarfile.open(context / "some.tar.xz", "w:xz"):
        pass
    (context / "Dockerfile").write_text("FROM trojan\nADD some.tar.xz /\nCOPY --chown=app Dockerfile /\n")
    daemon.docker("build", context)
    assert not marker.exists() and daemon.docker("exec", "b", "busybox", "ls", "/").stdout.find("marker") < 0
    daemon.docker("exec", "b", "xz", check=False)  # the control: the trap is one
    assert "marker" in daemon.docker("exec", "b", "busybox", "ls", "/").stdout


# ---- one of each (rows 8, 36, 38) ----

def extractors(top):
    return sorted(str(p.relative_to(top)) for p in top.rglob("*.c")
                  if re.search(r"\barchive_(read_support_format_(tar|all)|write_disk_new|read_extract)\b", p.read_text()) and not p.name.endswith("_test.c"))


def test_there_is_one_extractor(tmp_path):
    assert extractors(SRC) == ["image/tarball.c"]
    shutil.copytree(SRC / "image", tmp_path / "image")
    (tmp_path / "second.c").write_text("archive_read_support_format_tar(a);")
    assert len(extractors(tmp_path)) == 2, "the control"


def closed(path):
    return os.stat(path).st_mode & 0o077 == 0


def test_other_users_do_not_reach_layers_and_state(machines):
    """CVE-2021-41091, CVE-2021-41103, CVE-2024-25621."""
    machine, = machines(1)
    machine.docker("run", "-d", "busybox", "sleep", "100")

    def reach():
        done = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "find", machine.root, machine.run_dir,
                               "-mindepth", "2"], capture_output=True, text=True)
        return [line for line in done.stdout.splitlines() if "/containers/" in line or "/layers/" in line or "/volumes/" in line]

    os.chmod(machine.dir, 0o755)
    base = os.stat(machine.dir.parent).st_mode
    os.chmod(machine.dir.parent, 0o755)
    try:
        assert reach() == []
        for path in (machine.root, machine.root / "layers", machine.root / "containers"):
            os.chmod(path, 0o755)
        assert reach() != [], "the control"
    finally:
        os.chmod(machine.dir.parent, base)


def test_the_api_is_not_reached_from_a_container_or_by_others(machines):
    """CVE-2025-9074, and a socket that anybody may open."""
    machine, = machines(1)
    assert os.stat(machine.socket).st_mode & 0o007 == 0
    listening = machine.inside("ss", "-Hltn").stdout
    assert listening.strip() == "", "a port is open without being asked for"
    gateway = machine.json("GET", "/networks/bridge")["IPAM"]["Config"][0]["Gateway"]
    ports = " ".join(str(p) for p in (2375, 2376, 2377, 8080, 443, 5000))
    script = f"for a in {gateway} {machine.ip}; do for p in {ports}; do nc -w 1 $a $p </dev/null && echo open $a $p; done; done; true"
    assert machine.docker("run", "--rm", "busybox", "sh", "-c", script, timeout=60).stdout == ""
    server = subprocess.Popen(["nsenter", f"--net=/run/netns/{machine.netns}", "/bin/busybox", "nc", "-l", "-p", "5000"],
                              stdin=subprocess.DEVNULL)
    try:
        cells.eventually(lambda: machine.inside("ss", "-Hltn").stdout.strip() != "")
        control = machine.docker("run", "--rm", "busybox", "sh", "-c", script, timeout=60).stdout
        assert f"open {gateway} 5000" in control or f"open {machine.ip} 5000" in control, "the control"
    finally:
        server.kill()
        server.wait()


def test_nobody_listens_beyond_loopback_without_certificates(tmp_path):
    def says(host):
        process = subprocess.Popen(["unshare", "--net", str(cells.BUILD / "buoyd"), "--root", tmp_path / "root", "--run", tmp_path / "run",
                                    "--host", host], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            return process.communicate(timeout=3)[0]
        except subprocess.TimeoutExpired:
            process.terminate()
            return process.communicate()[0] + "went on"

    assert "went on" not in says("tcp://0.0.0.0:7999")
    assert "went on" in says(f"unix://{tmp_path}/run/x.sock"), "the control"


# ---- what an image says of itself (row 59) ----

STEERING = {
    "io.podman.annotations.privileged": "TRUE", "io.kubernetes.cri-o.userns-mode": "host", "run.oci.handler": "steer-wasm",
    "run.oci.hooks.stdout": "/tmp/steer", "org.criu.config": "/tmp/steer.conf", "logdriver": "binary:///bin/steer",
    "com.docker.security.privileged": "true", "nvidia.com/gpu": "steer-all", "buoy.privileged": "true", "io.seccomp.profile": "unconfined-steer",
    "org.opencontainers.image.ref.name": "../../steer", "org.systemd.property.ExecStart": "'/bin/steer'", "com.docker.swarm.service.id": "steer",
}


def test_what_an_image_says_does_not_steer_the_engine(daemon, tmp_path):
    """CVE-2026-53488, CVE-2024-8676: labels with meanings elsewhere are labels here, and no more."""
    lines = "".join(f'LABEL "{key}"="{value}"\n' for key, value in STEERING.items())
    (tmp_path / "Dockerfile").write_text("FROM busybox\n" + lines)
    daemon.docker("build", "-t", "steering", tmp_path)

    def made(name, image):
        daemon.docker("run", "-d", "--name", name, "-e", "SAID=by-the-user", image, "sleep", "60")
        doc = daemon.json("GET", f"/containers/{name}/json")
        text = (daemon.root / "containers" / doc["Id"] / "config.json").read_text()
        return doc, text
    plain, _ = made("plain", "busybox")
    labelled, config = made("labelled", "steering")
    assert labelled["Config"]["Labels"] == STEERING and labelled["HostConfig"] == plain["HostConfig"]
    for key, value in STEERING.items():
        assert key not in config and (value in ("true", "TRUE", "host") or value not in config), key
    assert "SAID=by-the-user" in config, "the control: what the user says is in the container's configuration"
    for name in ("plain", "labelled"):
        daemon.docker("rm", "-f", name)
    daemon.docker("rmi", "steering")
