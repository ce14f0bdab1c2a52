#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A CRIU for tests: speaks its RPC, writes down what it is asked, and acts on processes without knowing their memory.

`fake_criu.py swrk FD`, as the runtime calls the real one. A dump writes an image (command line and mounts of the first
process) and kills the container; a restore starts the command line again in new namespaces, in the root, with the mounts
and descriptors that it is given. What it was asked stands in requests.json of its work directory. FAKE_CRIU in the
environment makes it fail: old, die, dump, restore, killed.
"""
import array
import ctypes
import json
import os
import pathlib
import pty
import re
import signal
import socket
import struct
import sys

DUMP, RESTORE, PRE_DUMP, NOTIFY, VERSION = 1, 2, 4, 6, 10
# images/rpc.proto: number -> name, and what it holds.
TEXT, PAIR, NAMED = "text", "pair", "named"
FIELDS = {2: "pid", 3: "leave_running", 4: "ext_unix_sk", 5: "tcp_established", 6: "evasive_devices", 7: "shell_job",
          8: "file_locks", 9: "log_level", 10: "log_file", 1: "images_dir_fd", 11: "ps", 12: "notify_scripts", 13: "root",
          14: "parent_img", 15: "track_mem", 16: "auto_dedup", 17: "work_dir_fd", 24: "manage_cgroups", 25: "cg_root",
          26: "rst_sibling", 27: "inherit_fd", 34: "manage_cgroups_mode", 37: "external", 38: "empty_ns", 39: "join_ns",
          44: "freeze_cgroup", 48: "lazy_pages", 49: "status_fd", 50: "orphan_pts_master", 53: "lsm_profile",
          64: "lsm_mount_context"}
MESSAGES = {"ps", "cg_root", "inherit_fd", "join_ns"}
REPEATED = {"cg_root", "inherit_fd", "external", "join_ns"}
MODE = os.environ.get("FAKE_CRIU", "")
CLONE_PARENT, SYS_CLONE = 0x8000, 56
SYS_KEYCTL, KEYCTL_DESCRIBE, KEY_SPEC_SESSION_KEYRING = 250, 6, -3
KINDS = {"mnt": 0x20000, "uts": 0x4000000, "ipc": 0x8000000, "pid": 0x20000000, "net": 0x40000000, "cgroup": 0x2000000}
libc = ctypes.CDLL(None, use_errno=True)


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7f) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def parse(data):
    """[(number, value)]: a number or bytes."""
    found, at = [], 0
    while at < len(data):
        key, at = varint(data, at)
        value, at = varint(data, at)
        assert key & 7 in (0, 2), key
        if key & 7 == 2:
            value, at = data[at:at + value], at + value
            assert len(value) == 0 or at <= len(data)
        found.append((key >> 3, value))
    return found


def number(value):
    out = b""
    while value > 0x7f:
        out, value = out + bytes([value & 0x7f | 0x80]), value >> 7
    return out + bytes([value])


def field(key, value):
    if isinstance(value, int):
        return number(key << 3) + number(value)
    value = value.encode() if isinstance(value, str) else value
    return number(key << 3 | 2) + number(len(value)) + value


def plain(value):
    return value.decode() if isinstance(value, bytes) else value


def options(data):
    made = {}
    for key, value in parse(data):
        name = FIELDS[key]
        value = [plain(v) for _, v in parse(value)] if name in MESSAGES else plain(value)
        if name in REPEATED:
            made.setdefault(name, []).append(value)
        else:
            made[name] = value
    return made


def keyring():
    """Of the session: "keyring;0;0;3f130000;NAME"."""
    text = ctypes.create_string_buffer(256)
    libc.syscall(SYS_KEYCTL, KEYCTL_DESCRIBE, KEY_SPEC_SESSION_KEYRING, text, len(text))
    return text.value.decode()


class Criu:
    def __init__(self, fd):
        self.socket = socket.socket(fileno=fd)
        request = dict(parse(self.socket.recv(1 << 18)))
        self.type, self.o = request[1], options(request.get(2, b""))
        if self.type == VERSION:
            return
        peer, *_ = struct.unpack("3i", self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        self.images, self.work = (pathlib.Path(os.readlink(f"/proc/{peer}/fd/{self.o[k]}"))
                                  for k in ("images_dir_fd", "work_dir_fd"))
        os.chdir(f"/proc/{peer}/fd/{self.o['work_dir_fd']}")
        if self.type == RESTORE: # it mounts there, for cgroups
            os.mkdir("yard")
            assert libc.mount(b"none", b"yard", b"tmpfs", 0, None) == 0, "the work directory is of another namespace"
            assert libc.umount(b"yard") == 0
            os.rmdir("yard")
        with open(self.work / "requests.json", "a") as f:
            print(json.dumps(dict(self.o, type=self.type, keyring=keyring(), cgroup=pathlib.Path("/proc/self/cgroup").read_text())), file=f)

    def answer(self, success=True, extra=b"", kind=None, fd=None):
        data = field(1, kind or self.type) + field(2, int(success)) + extra
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))] if fd is not None else []
        self.socket.sendmsg([data], control)

    def fail(self):
        (self.work / self.o["log_file"]).write_text("(00.0) begin\nError (fake.c:7): the first reason\n"
                                                    "Error (fake.c:9): the last reason\n(00.1) end\n")
        self.answer(False, field(7, 22) + field(9, "it is a fake"))
        sys.exit(1)

    def notice(self, what, pid=0, fd=None):
        self.answer(True, field(5, field(1, what) + field(2, pid)), NOTIFY, fd)
        reply = dict(parse(self.socket.recv(4096)))
        assert reply[1] == NOTIFY
        return bool(reply[3])

    # ---- dump ----

    def members(self):
        found = []
        for parent, _, _ in os.walk(self.o["freeze_cgroup"]):
            found += map(int, pathlib.Path(parent, "cgroup.procs").read_text().split())
        return found

    def name_fd(self, proc, fd):
        """A file that is handed over goes by mount and inode, as the real one has it."""
        mount = re.search(r"mnt_id:\s*(\d+)", (proc / f"fdinfo/{fd}").read_text()).group(1)
        key = f"file[{int(mount):x}:{os.stat(proc / f'fd/{fd}').st_ino:x}]"
        return key if key in self.o.get("external", []) else os.readlink(proc / f"fd/{fd}")

    def dump(self):
        pid = self.o["pid"]
        (self.work / self.o["log_file"]).write_text("(00.0) fine\n")
        self.notice("pre-dump", pid)
        if MODE == "dump":
            self.fail()
        proc = pathlib.Path(f"/proc/{pid}")
        own = [k for k in KINDS if os.stat(proc / f"ns/{k}").st_ino != os.stat(f"/proc/self/ns/{k}").st_ino]
        image = {"args": (proc / "cmdline").read_bytes().decode().split("\0")[:-1],
                 "mounts": [line.split()[4] for line in (proc / "mountinfo").read_text().splitlines()],
                 "stdio": [self.name_fd(proc, i) for i in range(3)], "namespaces": own,
                 "external": self.o.get("external", [])}
        (self.images / ("pages.img" if self.type == PRE_DUMP else "inventory.img")).write_text(json.dumps(image))
        self.notice("post-dump", pid)
        if not self.o.get("leave_running"):
            for member in self.members():
                os.kill(member, signal.SIGKILL)
        self.answer()
        if self.type == PRE_DUMP: # it waits for the next one
            self.socket.recv(1)

    # ---- restore ----

    def enter(self, image):
        """In the restored process: what the image and the request say of it."""
        handed = {k: int(fd) for k, fd in self.o.get("inherit_fd", [])}
        sources = dict(re.fullmatch(r"mnt\[(.*)\]:(.*)", e).groups() for e in self.o["external"])
        if "extRootNetNS" in handed:
            assert libc.setns(handed["extRootNetNS"], 0x40000000) == 0
        root, null = self.o["root"], os.open("/dev/null", os.O_RDWR)
        assert f" {root} " in pathlib.Path("/proc/self/mountinfo").read_text(), root
        libc.mount(None, b"/", None, 1 << 18 | 16384, None)
        for where in image["mounts"]:
            if where == "/proc":
                assert libc.mount(b"proc", f"{root}/proc".encode(), b"proc", 0, None) == 0
            elif (where in sources and os.path.exists(root + where)
                  and os.path.isdir(root + where) == os.path.isdir(sources[where])):
                assert libc.mount(sources[where].encode(), (root + where).encode(), None, 4096, None) == 0, where
        os.chroot(root)
        os.chdir("/")
        os.setsid()
        for i, key in enumerate(image["stdio"]):
            os.dup2(handed[key] if key in handed else null, i)
        os.environ.clear()
        os.environ["PATH"] = "/bin"
        os.execvp(image["args"][0], image["args"])

    def restore(self):
        image = json.loads((self.images / "inventory.img").read_text())
        (self.work / self.o["log_file"]).write_text("(00.0) fine\n")
        go_reader, go_writer = os.pipe()
        flags = CLONE_PARENT | signal.SIGCHLD
        external = any(e.startswith("net[") for e in image["external"])
        for kind in image["namespaces"]:
            flags |= 0 if kind == "net" and external else KINDS[kind]
        assert self.o["rst_sibling"] == 1
        pid = libc.syscall(SYS_CLONE, flags, 0, 0, 0, 0)
        if pid == 0:
            os.close(go_writer)
            errors = os.open(self.work / "errors", os.O_WRONLY | os.O_CREAT)
            if os.read(go_reader, 1) != b"g":
                os._exit(9)
            try:
                self.enter(image)
            except BaseException as e: # nobody hears of it but by this
                os.write(errors, f"{e!r}\n".encode())
            os._exit(8)
        if not self.notice("setup-namespaces", pid):
            self.fail()
        if MODE == "restore":
            os.kill(pid, signal.SIGKILL)
            self.fail()
        if any(s.startswith("/dev/pts") for s in image["stdio"]):
            master, _ = pty.openpty()
            assert self.notice("orphan-pts-master", pid, master)
        if not self.notice("post-restore", pid):
            self.fail()
        if MODE == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(go_writer, b"g")
        self.answer(True, field(4, field(1, pid)))


def main():
    if MODE == "die":
        sys.exit("Error (fake.c:1): vdso: this kernel is not for me\nError (fake.c:2): could not start")
    assert sys.argv[1] == "swrk"
    criu = Criu(int(sys.argv[2]))
    if criu.type == VERSION:
        minor = 10 if MODE == "old" else 18
        criu.answer(True, field(10, field(1, 3) + field(2, minor)))
    elif criu.type == RESTORE:
        criu.restore()
    else:
        criu.dump()


main()
