# SPDX-License-Identifier: Apache-2.0
"""What a container may do when nobody says otherwise; docs/design/011-defaults.md."""
import json
import os
import pathlib
import tarfile
import io

from conftest import sh

MAP = "cat /proc/self/uid_map"


def uid_map(daemon, *options):
    return [int(n) for n in daemon.docker("run", "--rm", *options, "busybox", "sh", "-c", MAP).stdout.split()]


def test_containers_have_ranges_of_their_own_that_never_overlap(daemon):
    for name in "abc":
        daemon.docker("run", "-d", "--name", name, "busybox", "sleep", "1000")
    maps = [[int(n) for n in daemon.docker("exec", name, "sh", "-c", MAP).stdout.split()] for name in "abc"]
    assert all(m[0] == 0 and m[2] == 65536 for m in maps)
    firsts = sorted(m[1] for m in maps)
    assert firsts[0] >= 1 << 30 and all(b - a >= 65536 for a, b in zip(firsts, firsts[1:]))
    daemon.docker("rm", "-f", "a", "b", "c")


def test_the_range_survives_a_stop_and_a_daemon(machines):
    m, = machines(1)
    m.docker("run", "-d", "--name", "c", "busybox", "sleep", "1000")
    before = m.docker("exec", "c", "sh", "-c", MAP + "; touch /mine").stdout
    m.stop()
    m.start()
    assert m.docker("exec", "c", "sh", "-c", MAP).stdout == before
    assert uid_map(m)[1] != int(before.split()[1])
    m.docker("restart", "-t", "0", "c")
    assert m.docker("exec", "c", "sh", "-c", MAP + "; stat -c %u /mine").stdout == before + "0\n"


def test_who_keeps_the_hosts_ids(daemon):
    for options in (["--userns", "host"], ["--privileged"], ["--network", "host"], ["--pid", "host"], ["--ipc", "host"]):
        assert uid_map(daemon, *options)[1] == 0, options
    failed = daemon.buoy("run", "--rm", "--userns", "auto", "--privileged", "busybox", "true", check=False)
    assert failed.returncode and "--privileged exclude each other" in failed.stderr
    failed = daemon.docker("run", "--rm", "--user", "70000", "busybox", "true", check=False)
    assert failed.returncode and "--userns host has all" in failed.stderr


def test_joined_namespaces_share_the_ids(daemon):
    daemon.docker("run", "-d", "--name", "a", "busybox", "sleep", "1000")
    daemon.docker("run", "-d", "--name", "h", "--userns", "host", "busybox", "sleep", "1000")
    first = int(daemon.docker("exec", "a", "sh", "-c", MAP).stdout.split()[1])
    for kind in ("network", "pid", "ipc"):
        assert uid_map(daemon, f"--{kind}", "container:a")[1] == first
        assert uid_map(daemon, f"--{kind}", "container:h")[1] == 0
    failed = daemon.docker("run", "--rm", "--pid", "container:a", "--ipc", "container:h", "busybox", "true", check=False)
    assert failed.returncode and "different user namespaces" in failed.stderr
    daemon.docker("rm", "-f", "a", "h")


def test_data_keeps_the_hosts_ids(daemon, tmp_path):
    os.chown(tmp_path, 1000, 1000)
    daemon.docker("run", "--rm", "-v", f"{tmp_path}:/d", "-v", "vol:/v", "busybox", "sh", "-c",
                  "test $(stat -c %u /d) = 1000 && touch /d/root /v/f && chown 1000:7 /v/f")
    assert (tmp_path / "root").stat().st_uid == 0
    path = pathlib.Path(json.loads(daemon.docker("volume", "inspect", "vol").stdout)[0]["Mountpoint"])
    assert ((path / "f").stat().st_uid, (path / "f").stat().st_gid) == (1000, 7)
    daemon.docker("volume", "rm", "vol")


def owners(tar):
    return {e.name.strip("/"): (e.uid, e.gid, e.mode & 0o7777) for e in tarfile.open(fileobj=io.BytesIO(tar))}


def test_commit_export_and_cp_know_no_shift(daemon, tmp_path):
    daemon.docker("run", "-d", "--name", "c", "busybox", "sh", "-c",
                  "mkdir /made; touch /made/f; chown 1000:7 /made/f; chmod 4755 /made/f; sleep 1000")
    daemon.docker("exec", "c", "sh", "-c", "until test -u /made/f; do sleep 0.1; done")
    for state in ("running", "stopped"):
        if state == "stopped":
            daemon.docker("stop", "-t", "0", "c")
        status, tar = daemon.api("GET", "/containers/c/export")
        assert owners(tar)["made/f"] == (1000, 7, 0o4755), state
        status, tar = daemon.api("GET", "/containers/c/archive?path=/made")
        assert owners(tar)["made/f"] == (1000, 7, 0o4755) and owners(tar)["made"][:2] == (0, 0), state
    daemon.docker("commit", "c", "image")
    out = daemon.docker("run", "--rm", "image", "stat", "-c", "%u %g %a", "/made", "/made/f").stdout
    assert out == "0 0 755\n1000 7 4755\n"
    daemon.docker("rm", "-f", "c")


def test_cp_into_a_container_gives_it_to_its_root(daemon, tmp_path):
    (tmp_path / "f").write_text("x")
    daemon.docker("run", "-d", "--name", "c", "-v", "vol:/v", "busybox", "sleep", "1000")
    daemon.docker("cp", tmp_path / "f", "c:/v/f")
    daemon.docker("cp", tmp_path / "f", "c:/f")
    daemon.docker("stop", "-t", "0", "c")
    daemon.docker("cp", tmp_path / "f", "c:/g")
    daemon.docker("cp", tmp_path / "f", "c:/v/g")
    daemon.docker("start", "c")
    assert daemon.docker("exec", "c", "stat", "-c", "%u", "/f", "/g", "/v/f", "/v/g").stdout == "0\n" * 4
    daemon.docker("rm", "-f", "c")
    daemon.docker("volume", "rm", "vol")


def test_layers_of_a_build_know_no_shift(daemon, tmp_path):
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nRUN touch /a && chown 1000:7 /a && chmod 4711 /a && ln /a /b && mkdir -m 1777 /d && ln -s a /l\n"
        "RUN cat /proc/self/uid_map > /map\n")
    daemon.docker("build", "-t", "built", tmp_path)
    out = daemon.docker("run", "--rm", "--userns", "host", "built", "sh", "-c",
                        "stat -c '%u %g %a' /a /b /d; stat -c %u /l /map; cat /map").stdout.split("\n")
    assert out[:5] == ["1000 7 4711", "1000 7 4711", "0 0 1777", "0", "0"]
    assert int(out[5].split()[1]) >= 1 << 30


def test_programs_find_what_they_are_used_to(daemon):
    out = daemon.docker("run", "--rm", "--user", "1000", "-m", "32m", "busybox", "sh", "-c",
                        "echo hi > /dev/stdout; cat /sys/fs/cgroup/memory/memory.limit_in_bytes "
                        "/sys/fs/cgroup/memory.max 2>/dev/null; head -c1 /dev/zero | wc -c").stdout
    assert out.split() == ["hi", "33554432", "1"]
    out = daemon.docker("run", "--rm", "--device", "/dev/null:/dev/mine", "--ulimit", "nofile=77", "--tmpfs", "/t:uid=5",
                        "busybox", "sh", "-c", "ulimit -n; echo x > /dev/mine; stat -c '%u %t:%T' /dev/mine; stat -c %u /t; "
                        "echo 10.0.0.1 me >> /etc/hosts; tail -n1 /etc/hosts").stdout
    assert out.split("\n")[:4] == ["77", "0 1:3", "5", "10.0.0.1 me"]


def test_an_exec_has_the_container_s_ulimits(daemon):
    daemon.docker("run", "-d", "--name", "limited", "--ulimit", "nofile=77:78", "--oom-score-adj", "9", "busybox", "sleep", "60")
    out = daemon.docker("exec", "limited", "sh", "-c", "ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj").stdout
    assert out.split() == ["77", "78", "9"]
    daemon.docker("rm", "-f", "limited")


def test_capabilities_and_no_new_privileges(daemon):
    def status(*options):
        out = daemon.docker("run", "--rm", *options, "busybox", "grep", "-E", "^(CapBnd|NoNewPrivs)", "/proc/self/status").stdout
        return tuple(line.split()[1] for line in out.splitlines())

    assert status() == ("00000000000405fb", "1")
    assert status("--security-opt", "caps=docker", "--security-opt", "no-new-privileges=false") == ("00000000a80425fb", "0")
    assert status("--cap-add", "NET_RAW", "--cap-drop", "KILL")[0] == "00000000000425db"


def test_posture_says_what_the_kernel_has(daemon):
    daemon.docker("run", "-d", "--name", "c", "-m", "32m", "--read-only", "busybox", "sleep", "1000")
    seen = json.loads(daemon.buoy("posture", "--format", "json", "c").stdout)
    assert seen["Differs"] == [] and seen["NoNewPrivileges"] and seen["ReadonlyRootfs"]
    assert len(seen["Capabilities"]["Bounding"]) == 10 and seen["Capabilities"]["Ambient"] == []
    assert seen["Seccomp"] == {"Mode": "filter", "Filters": 1}
    assert not any(ns["Host"] for ns in seen["Namespaces"].values()) and len(seen["Namespaces"]) == 7
    assert seen["UidMap"][0]["Count"] == 65536 and seen["Limits"]["MemoryLimit"] == 32 << 20
    assert "/proc/keys" in seen["MaskedPaths"] and "/proc/sys" in seen["ReadonlyPaths"]
    # The control: somebody else changes a limit behind the engine's back.
    for path in seen["Cgroup"]:
        kinds, where = path.split(":")[1:]
        if "memory" in kinds.split(","):
            limit = pathlib.Path(f"/sys/fs/cgroup/memory{where}/memory.limit_in_bytes")
            limit.write_text(str(64 << 20))
            changed = daemon.buoy("posture", "c", check=False)
            assert changed.returncode == 1 and "DIFFERS            MemoryLimit" in changed.stdout
    daemon.docker("rm", "-f", "c")
    assert daemon.buoy("posture", "c", check=False).returncode


def test_a_program_with_file_capabilities_starts_without_them(daemon):
    """As Debian's ping: the kernel refuses it where the bounding set lacks what the file has, unless that is not looked at."""
    out, program = io.BytesIO(), pathlib.Path("/bin/busybox").read_bytes()
    header = {"SCHILY.xattr.security.capability": "\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0"}  # cap_net_raw=ep
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, pax in (("busybox", {}), ("ping", header)):
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.pax_headers = len(program), 0o755, pax
            tar.addfile(info, io.BytesIO(program))
    status, text = daemon.api("POST", "/images/create?fromSrc=-&repo=with-capability&tag=latest", out.getvalue(),
                              {"Content-Type": "application/x-tar"})
    assert status == 200 and b"errorDetail" not in text, text
    for user in ("0", "1000"):
        for userns in ((), ("--userns", "host")):
            run = ("run", "--rm", "--user", user, *userns)
            assert daemon.docker(*run, "with-capability", "/ping", "echo", "x", check=False).returncode in (0, 1)
            # The control: where new privileges are allowed the kernel does look.
            refused = daemon.docker(*run, "--security-opt", "no-new-privileges=false", "with-capability", "/ping", check=False)
            assert refused.returncode == 126 and "--cap-add" in refused.stderr, refused
            allowed = daemon.docker(*run, "--security-opt", "no-new-privileges=false", "--cap-add", "NET_RAW", "with-capability",
                                    "/busybox", "true", check=False)
            assert allowed.returncode == 0, allowed
    daemon.docker("rmi", "with-capability")


def test_files_of_the_engine_go_where_the_images_links_lead(daemon, tmp_path):
    """An image of a machine has links to what its boot makes; as with Docker they stay, and lead to our files."""
    links = {"resolv.conf": "../run/systemd/resolve/stub-resolv.conf", "hosts": "/run/deep/er/hosts", "hostname": "one", "one": "/etc/two",
             "two": "../../../../../../run/name"}
    (tmp_path / "etc").mkdir()
    for name, target in links.items():
        (tmp_path / "etc" / name).symlink_to(target)
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY etc/ /etc/\n")
    daemon.docker("build", "-t", "linked", tmp_path)
    out = daemon.docker("run", "--rm", "--hostname", "me", "linked", "sh", "-c",
                        "for n in resolv.conf hosts hostname; do readlink /etc/$n; done; cat /run/name; grep me /run/deep/er/hosts; "
                        "cat /etc/resolv.conf").stdout
    assert out.splitlines()[:4] == [links["resolv.conf"], links["hosts"], links["hostname"], "me"], out
    assert "\tme" in out and "nameserver" in out
    (tmp_path / "etc/hosts").unlink()
    (tmp_path / "etc/hosts").symlink_to("hosts")  # the control: this one leads nowhere at all
    daemon.docker("build", "-t", "linked", tmp_path)
    refused = daemon.docker("run", "--rm", "linked", "true", check=False)
    assert refused.returncode and "/etc/hosts" in refused.stderr
    daemon.docker("rmi", "linked")


def test_what_is_opted_out_of_is_seen(daemon):
    asked = {"a": [], "b": ["--userns", "host", "--cap-add", "NET_ADMIN"], "c": ["--privileged"],
             "d": ["--security-opt", "no-new-privileges=false", "--security-opt", "caps=docker", "--security-opt", "seccomp=unconfined"]}
    expected = {"a": [], "b": ["userns=host", "cap-add=NET_ADMIN"], "c": ["privileged", "userns=host"],
                "d": ["no-new-privileges=false", "caps=docker", "seccomp=unconfined"]}
    daemon.docker("run", "-d", "--name", "a", "busybox", "sleep", "100")
    assert "OPT-OUTS" not in daemon.buoy("ps").stdout
    for name in "bcd":
        daemon.docker("run", "-d", "--name", name, *asked[name], "busybox", "sleep", "100")
    listed = {c["Names"][0][1:]: [o.replace("CAP_", "") for o in c["OptOuts"]] for c in daemon.json("GET", "/containers/json")}
    assert listed == expected
    assert all(daemon.json("GET", f"/containers/{name}/json")["OptOuts"] for name in "bcd")
    lines = daemon.buoy("ps", "--format", "table {{.Names}} {{.OptOuts}}").stdout.splitlines()
    assert "c privileged,userns=host" in [" ".join(line.split()) for line in lines]
    shown = daemon.buoy("ps").stdout.splitlines()
    assert "OPT-OUTS" in shown[0] and sum("userns=host" in line for line in shown) == 2


def test_a_program_that_lives_by_new_privileges_is_warned_of(daemon, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN cp /bin/busybox /bin/gains && chmod 4755 /bin/gains\n")
    daemon.docker("build", "-t", "gains", tmp_path)
    create = ("create", "--user", "1000")
    warned = daemon.docker(*create, "gains", "gains", "id")
    assert "gains is set-user-ID" in warned.stderr and "no-new-privileges=false" in warned.stderr
    # The controls: nothing to gain, or nothing in the way.
    for quiet in ((*create, "gains", "id"), ("create", "gains", "gains", "id"),
                  (*create, "--security-opt", "no-new-privileges=false", "gains", "/bin/gains", "id")):
        assert "set-user-ID" not in daemon.docker(*quiet).stderr, quiet
    daemon.docker("run", "-d", "--name", "c", "gains", "sleep", "100")
    assert "/bin/gains is set-user-ID" in daemon.buoy("exec", "--user", "app", "c", "/bin/gains", "id", check=False).stderr
    assert "warning" not in daemon.buoy("exec", "c", "/bin/gains", "id", check=False).stderr
    daemon.clean()
    daemon.docker("rmi", "gains")
