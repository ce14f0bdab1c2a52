# SPDX-License-Identifier: Apache-2.0
"""Ids, capabilities, system calls and devices of a container (docs/security.md, part C)."""
import os

import pytest

import lab as cells

NONE = dict.fromkeys(cells.CAP_SETS, 0)


# ---- five capability sets (row 26) ----

def expected(names):
    bits = 0
    for name in names:
        bits |= 1 << NUMBERS[name]
    return dict(NONE, CapPrm=bits, CapEff=bits, CapBnd=bits)


NUMBERS = {name: number for number, name in enumerate(
    "CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID CAP_SETPCAP "
    "CAP_LINUX_IMMUTABLE CAP_NET_BIND_SERVICE CAP_NET_BROADCAST CAP_NET_ADMIN CAP_NET_RAW CAP_IPC_LOCK CAP_IPC_OWNER "
    "CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_PACCT CAP_SYS_ADMIN CAP_SYS_BOOT CAP_SYS_NICE "
    "CAP_SYS_RESOURCE CAP_SYS_TIME CAP_SYS_TTY_CONFIG CAP_MKNOD CAP_LEASE CAP_AUDIT_WRITE CAP_AUDIT_CONTROL "
    "CAP_SETFCAP".split())}


@pytest.mark.parametrize("names", [[], ["CAP_KILL"], cells.DEFAULT_CAPS])
def test_the_five_capability_sets_are_what_was_asked_for(cell, names):
    """CVE-2022-24769: the inheritable set was not empty."""
    cell.give(names)
    for lines in cell.both("show", "/proc/self/status"):
        assert cells.caps("\n".join(lines)) == expected(names)
    control = cell.unsafe("caps").probe("show", "/proc/self/status")
    assert cells.caps("\n".join(control)) != expected(names)


def test_a_user_that_is_not_root_has_none(cell):
    cell.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    cell.config["process"]["capabilities"] = {"bounding": cells.DEFAULT_CAPS}
    for lines in cell.both("show", "/proc/self/status"):
        assert cells.caps("\n".join(lines)) == dict(NONE, CapBnd=expected(cells.DEFAULT_CAPS)["CapBnd"])


# ---- no_new_privs and seccomp (rows 32, 34) ----

DENY = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["getpid", "add_key", "keyctl", "bpf"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}


def test_no_new_privileges_holds_for_the_first_process_and_exec(cell):
    for lines in cell.both("show", "/proc/self/status"):
        assert cells.status("\n".join(lines))["NoNewPrivs"] == "1"
    assert cells.status("\n".join(cell.unsafe("nnp").probe("show", "/proc/self/status")))["NoNewPrivs"] == "0"


def test_a_filter_is_in_force_for_the_first_process_and_exec(cell):
    cell.seccomp(DENY)
    for lines in cell.both("show", "/proc/self/status"):
        assert cells.status("\n".join(lines))["Seccomp"] == "2"
    for lines in cell.both("calls"):
        assert "add_key Operation not permitted" in lines and "bpf Operation not permitted" in lines
    control = cell.unsafe("seccomp")
    assert cells.status("\n".join(control.probe("show", "/proc/self/status")))["Seccomp"] == "0"


def test_a_foreign_abi_gets_nowhere(cell):
    """CVE-2026-31431: what is denied to x86-64 was open by i386's socketcall."""
    cell.seccomp(DENY)
    for lines in cell.both("calls"):
        text = "\n".join(lines)
        assert "open: x32" not in text and "open: i386" not in text
        assert "x32 killed by 31" in lines  # SIGSYS
        assert "i386 killed by 31" in lines or "i386 killed by 11" in lines  # SIGSEGV: a kernel without it
    control = "\n".join(cell.unsafe("seccomp").probe("calls"))
    assert "x32 killed by 31" not in control, "the control"


@pytest.mark.parametrize("profile", [{}, {"defaultAction": ""}, {"defaultAction": "SCMP_ACT_NONSENSE"},
                                     {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"]}]}])
def test_a_profile_that_says_nothing_is_refused_and_not_unconfined(cell, profile):
    """CVE-2023-2431: an empty profile was none."""
    cell.seccomp(profile)
    done = cell.run("/bin/probe", "true", check=False)
    assert done.returncode != 0 and "seccomp" in done.stderr, done
    cell.seccomp(DENY)
    assert cell.run("/bin/probe", "true").returncode == 0


@pytest.mark.parametrize("where,name", [("process", "noNewPrivilege"), ("linux", "maskedPath"), ("linux", "seccompp"),
                                        ("process", "capabilitiesX"), ("root", "readOnly")])
def test_an_unknown_security_field_is_refused(cell, where, name):
    """containerd 1.6 left out hostUsers: false."""
    cell.config[where][name] = True
    done = cell.run("/bin/probe", "true", check=False)
    assert done.returncode != 0 and name in done.stderr, done
    del cell.config[where][name]
    assert cell.run("/bin/probe", "true").returncode == 0


# ---- groups (row 27) ----

@pytest.mark.parametrize("user,groups", [({"uid": 0, "gid": 0}, []), ({"uid": 0, "gid": 0, "additionalGids": [7, 8]}, [7, 8]),
                                         ({"uid": 1000, "gid": 100, "additionalGids": []}, []),
                                         ({"uid": 1000, "gid": 100, "additionalGids": [100, 4294967294]}, [100, 4294967294])])
def test_groups_are_the_ones_asked_for_and_none_of_the_callers(cell, user, groups):
    """CVE-2022-36109, CVE-2022-2995."""
    cell.config["process"]["user"] = user

    def seen(lines):
        fields = cells.status("\n".join(lines))
        assert set(fields["Uid"].split()) == {str(user["uid"])} and set(fields["Gid"].split()) == {str(user["gid"])}
        return [int(g) for g in fields["Groups"].split()]

    for lines in cell.both("show", "/proc/self/status", extra_groups=[4, 27]):
        assert sorted(seen(lines)) == sorted(groups)
    assert seen(cell.unsafe("groups").probe("show", "/proc/self/status", extra_groups=[4, 27])) == [4, 27]


# ---- ids (rows 28, 29) ----

GOOD_IDS = (0, 1, 99, 100, 65534, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 2)
BAD_IDS = ("4294967295", "4294967296", "4294967297", "18446744073709551616", "100000000000000000000", "+1", " 1", "1 ", "0x0",
           "-1", "-0", "", "1e3", "1.0", "root", "1:", ":1", "1:x", "1:4294967295", "1:1:1", "٣", "1\n")


def exec_user(cell, id, user):
    done = cell.exec(id, "/bin/probe", "show", "/proc/self/status", options=("--user", user), check=False)
    return cells.status(done.stdout)["Uid"].split()[1] if done.returncode == 0 else done.stderr


def test_a_number_is_the_user_of_that_number(cell):
    id = cell.start()
    for uid in GOOD_IDS:
        assert exec_user(cell, id, str(uid)) == str(uid)


@pytest.mark.parametrize("user", BAD_IDS)
def test_what_is_no_id_is_refused_and_never_root(cell, user):
    """CVE-2024-40635, CVE-2026-46680, CVE-2026-30892."""
    assert "buoy-runtime: " in exec_user(cell, cell.start(), user)


def test_a_careless_parser_is_noticed(cell):
    """The control of the two above."""
    control = cell.unsafe("ids")
    id = control.start()
    got = {user: exec_user(control, id, user) for user in ("4294967296", "+1", " 1", "0x0", "root")}
    assert got["4294967296"] == got["root"] == "0" and got["+1"] == got[" 1"] == "1"


@pytest.mark.parametrize("user", [{"uid": -1, "gid": 0}, {"uid": 4294967296, "gid": 0}, {"uid": 4294967295, "gid": 0},
                                  {"uid": 0, "gid": 4294967296}, {"uid": 1.5, "gid": 0}, {"uid": "1", "gid": 0},
                                  {"uid": 0, "gid": 0, "additionalGids": [4294967296]},
                                  {"uid": 0, "gid": 0, "additionalGids": [-1]}])
def test_a_config_with_an_id_out_of_range_is_refused(cell, user):
    cell.config["process"]["user"] = user
    done = cell.run("/bin/probe", "true", check=False)
    assert done.returncode != 0 and "user" in done.stderr, done
    cell.config["process"]["user"] = {"uid": 4294967294, "gid": 4294967294}  # the control: the last good one
    assert cell.run("/bin/probe", "true", check=False).returncode == 0


# ---- devices (row 35) ----

def test_a_device_without_a_rule_cannot_be_opened(cell):
    """GHSA-g54h-m393-cpwq: 10:237 is loop-control, which no rule names; root may open it otherwise."""
    os.mknod(cell.root / "control", 0o20666, os.makedev(10, 237))
    os.mknod(cell.root / "null", 0o20666, os.makedev(1, 3))
    assert cell.run("/bin/probe", "look", "/control").stdout.startswith("/control chr 10:237")
    assert not can_open(cell, "/control") and can_open(cell, "/null")
    assert can_open(cell.unsafe("devices"), "/control"), "the control"


def can_open(cell, path):
    return cell.run("/bin/probe", "open", path, check=False).returncode == 0


# ---- encoders (row 37) ----

@pytest.mark.parametrize("length", [256, 4095, 65535, 65536, 70000])
def test_too_long_a_mount_option_is_refused(cell, length):
    """CVE-2021-43784: a length that does not fit its field."""
    cell.config["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
                                  "options": ["size=" + "0" * (length - 3) + "64k"]})
    done = cell.run("/bin/probe", "true", check=False)
    assert done.returncode == 1 and "mounts" in done.stderr, done
    cell.config["mounts"][-1]["options"] = ["size=0064k"]
    assert cell.run("/bin/probe", "true").returncode == 0, "the control"


# ---- state on disk (row 36) ----

def open_to_others(top):
    found = []
    for parent, folders, files in os.walk(top):
        for name in [*folders, *files]:
            path = os.path.join(parent, name)
            if not os.path.islink(path) and os.lstat(path).st_mode & 0o007:
                found.append(path)
        break  # below a closed directory nothing is reached
    return found


def test_the_state_of_containers_is_closed_to_other_users(cell):
    old = os.umask(0)
    try:
        cell.start()
    finally:
        os.umask(old)
    assert os.stat(cell.state).st_mode & 0o077 == 0
    assert open_to_others(cell.state) == []
    os.chmod(next(cell.state.iterdir()), 0o755)
    assert open_to_others(cell.state) != [], "the control"
