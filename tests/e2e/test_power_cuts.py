# SPDX-License-Identifier: Apache-2.0
"""Power cuts under the image store: what was acknowledged is there afterwards, whole.

The store lies on a journaled ext4 of its own, on a loop device. At a random moment of a pull, load, import or commit the
file system is shut down as by a power cut (EXT4_IOC_SHUTDOWN without flushing the log: what is not on the device by then
is lost), mounted again and looked at. All in a mount namespace of its own: a copy of the mount in somebody else's would
keep the old file system alive. BUOY_CUTS says how many cuts, BUOY_SEED which. The control does the same without
the store's sync, and must lose something: else the test would see nothing.
"""
import ctypes
import fcntl
import multiprocessing
import os
import random
import shutil
import struct
import subprocess
import tarfile
import threading
import time

import pytest

from conftest import sh
from test_image_store import TOOL, Fake, digest, make_tar, tool

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

CUTS = int(os.environ.get("BUOY_CUTS", "8"))
SEED = int(os.environ.get("BUOY_SEED", "1"))
SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2
CONTROL = {"BUOY_FAILPOINTS": "image.sync.off=errno:5"}
FORMS = ("tars", "directories")
KEPT = 5 # images at once in the store


class Disk:
    """A journaled ext4 whose power can be cut."""

    def __init__(self, base):
        self.image, self.at = base / "disk.img", base / "disk"
        self.at.mkdir()
        self.is_cut = False
        with self.image.open("wb") as f:
            f.truncate(512 << 20)
        sh("mkfs.ext4", "-q", "-F", "-O", "has_journal", "-E", "lazy_itable_init=1,nodiscard", str(self.image))
        self.mount()

    def mount(self):
        sh("mount", "-o", "loop", str(self.image), str(self.at))

    def cut(self):
        self.is_cut = True
        fd = os.open(self.at, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def unmount(self):
        for _ in range(100): # a process that was killed may still be going
            if sh("umount", str(self.at), check=False).returncode == 0:
                return
            time.sleep(0.05)
        raise AssertionError(f"cannot unmount {self.at}")

    def power_on(self):
        self.unmount()
        self.is_cut = False
        self.mount()
        with open("/proc/self/mounts") as f:
            line, = [line for line in f if line.split()[1] == str(self.at)]
        assert "shutdown" not in line, "somebody holds the old file system"


def files_of(number):
    """Small ones and some of many pages, the same for the same number."""
    rng = random.Random(number)
    sizes = [rng.randrange(1, 5000) for _ in range(30)] + [rng.randrange(1, 400_000) for _ in range(3)]
    return {f"dir{i % 4}/file{i}": rng.randbytes(size) for i, size in enumerate(sizes)}


class Work:
    """Makes images on the disk, one after another, each in its own way; knows what was acknowledged."""

    WAYS = ("pull", "load", "import", "commit")

    def __init__(self, disk, base, env):
        self.disk, self.base, self.env, self.next = disk, base, env, 0
        self.store = disk.at / "store"
        self.registry = Fake()
        self.kept = {}     # name -> number of its files, acknowledged
        self.uncertain = set() # names whose removal or making was under way at the cut

    def tool(self, *args, store=None):
        """Was it acknowledged, and before the cut? A program on a machine without power says nothing, but this one lives on, and
        fsync(2) may tell it that all is well when the journal was shut in the middle of it."""
        env = {**os.environ, **self.env} if store is None else dict(os.environ)
        return subprocess.run([TOOL, store or self.store, *map(str, args)], capture_output=True, text=True,
                              timeout=120, env=env).returncode == 0 and (store is not None or not self.disk.is_cut)

    def source(self, number, way):
        """Prepared on another file system; gives what to call."""
        name = f"{self.registry.address}/w:{number}"
        tar = make_tar(self.base / "work.tar", {**{f"dir{i}": ("dir",) for i in range(4)}, **files_of(number)})
        if way == "pull":
            self.registry.add_image("w", str(number), tar.read_bytes())
            return name, ("pull", name)
        if way == "load":
            other = self.base / "other"
            assert self.tool("import", tar, name, store=other)
            assert self.tool("save", self.base / "saved.tar", name, store=other)
            shutil.rmtree(other)
            return name, ("load", self.base / "saved.tar")
        if way == "import":
            return name, ("import", tar, name)
        upper = self.disk.at / f"upper{number}"
        return name, ("commit", upper, name)

    def step(self, number, ready=lambda: None):
        """False when the power went. What is made of the source is not made on the disk: ready() follows it."""
        way = self.WAYS[number % len(self.WAYS)]
        name, call = self.source(number, way)
        ready()
        try:
            if way == "commit":
                with tarfile.open(self.base / "work.tar") as tar:
                    tar.extractall(call[1])
            if len(self.kept) >= KEPT:
                old = next(iter(self.kept))
                self.uncertain.add(old)
                if not self.tool("remove", old):
                    return False
                self.uncertain.discard(old)
                del self.kept[old]
        except OSError:
            return False
        self.uncertain.add(name)
        if not self.tool(*call):
            return False
        self.uncertain.discard(name)
        self.kept[name] = number
        return True

    def warm_up(self):
        """One of each way without a cut. Gives what they took in the middle: a busy machine is cut as often in the midst of work."""
        begin, spent = 0.0, []

        def ready():
            nonlocal begin
            begin = time.monotonic()
        for self.next in range(len(self.WAYS)):
            assert self.step(self.next, ready), "it works without a cut"
            spent.append(time.monotonic() - begin)
        self.begin_anew()
        return sorted(spent)[len(spent) // 2]

    def begin_anew(self):
        """No store any more: the next image makes it, with its directories and its database."""
        shutil.rmtree(self.store)
        self.kept.clear()
        sh("sync", "-f", str(self.disk.at)) # else a cut brings the old one back

    def until_the_cut(self, seconds):
        timer = threading.Timer(seconds, self.disk.cut)

        def ready():
            if timer.ident is None:
                timer.start()
        try:
            while True:
                self.next += 1
                if not self.step(self.next, ready):
                    break
        finally:
            ready()
            timer.join()


def read(path):
    try:
        return path.read_bytes()
    except OSError:
        return None


def damage(work):
    """What the store lost or holds in pieces."""
    wrong = []
    listed = tool(work.store, "list", check=False)
    if listed.returncode != 0:
        return [listed.stderr]
    names = {line.split()[1] for line in listed.stdout.splitlines()}
    wrong += [f"{name} was acknowledged and is gone" for name in set(work.kept) - names - work.uncertain]
    wrong += [f"{name} is back or came from nowhere" for name in names - set(work.kept) - work.uncertain - {"-"}]
    for name in names - {"-"}:
        at, empty = work.base / "at", work.base / "empty"
        at.mkdir(exist_ok=True), empty.mkdir(exist_ok=True)
        mounted = tool(work.store, "mount", name, at, empty, check=False)
        if mounted.returncode != 0:
            wrong.append(f"{name}: {mounted.stderr}")
            continue
        for path, data in files_of(int(name.rpartition(":")[2])).items():
            if (got := read(at / path)) != data:
                wrong.append(f"{name}: {path} has {'no' if got is None else len(got)} of {len(data)} bytes, or others")
        sh("umount", str(at))
    for blob in (work.store / "blobs/sha256").iterdir():
        if digest(blob.read_bytes()) != "sha256:" + blob.name:
            wrong.append(f"blob {blob.name} is damaged ({blob.stat().st_size} bytes)")
    return wrong


def cut_again_and_again(base, cuts, env, enough):
    """The list of damage; ends early when enough(list)."""
    rng, wrong = random.Random(SEED), []
    disk = Disk(base)
    work = Work(disk, base, env)
    try:
        usual = work.warm_up()
        for _ in range(cuts):
            work.until_the_cut(rng.uniform(0.1, 2.5) * usual)
            disk.power_on()
            found = damage(work)
            wrong += found
            if enough(wrong):
                break
            # What was uncertain is settled by what is there.
            names = {line.split()[1] for line in tool(work.store, "list").stdout.splitlines()}
            work.kept = {n: int(n.rpartition(":")[2]) for n in names if n != "-"}
            work.uncertain.clear()
            for left in disk.at.glob("upper*"):
                shutil.rmtree(left)
    finally:
        work.registry.shutdown()
        work.registry.server_close()
        disk.unmount()
    return wrong


def cut_behind_the_first(base, cuts, env, enough):
    """A store is made by its first image, and the power goes right behind the acknowledgement."""
    wrong = []
    disk = Disk(base)
    work = Work(disk, base, env)
    try:
        for number in range(cuts):
            assert work.step(number), "it works without a cut"
            disk.cut()
            disk.power_on()
            wrong += damage(work)
            if enough(wrong):
                break
            work.begin_anew()
            for left in disk.at.glob("upper*"):
                shutil.rmtree(left)
    finally:
        work.registry.shutdown()
        work.registry.server_close()
        disk.unmount()
    return wrong


def apart(base, cuts, env, work=cut_again_and_again):
    """The above in a process and a mount namespace of its own."""
    results = multiprocessing.get_context("fork").SimpleQueue()

    def run():
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(0x00020000): # CLONE_NEWNS
                raise OSError(ctypes.get_errno(), "unshare")
            sh("mount", "--make-rprivate", "/")
            results.put((None, work(base, cuts, env, enough=bool)))
        except BaseException as problem: # of any kind: it is the parent's to raise
            results.put((repr(problem), []))
    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    problem, wrong = results.get()
    process.join()
    assert problem is None, problem
    return wrong


@pytest.mark.parametrize("form", FORMS)
def test_a_power_cut_loses_nothing_acknowledged(tmp_path, form):
    assert apart(tmp_path, CUTS, {"IMAGE_FORM": form}) == []


@pytest.mark.parametrize("form", FORMS)
def test_the_first_image_of_a_store_is_as_durable_as_others(tmp_path, form):
    assert apart(tmp_path, CUTS, {"IMAGE_FORM": form}, cut_behind_the_first) == []


@pytest.mark.parametrize("form", FORMS)
def test_without_the_sync_something_is_lost(tmp_path, form):
    """The positive control."""
    names = subprocess.run([TOOL, tmp_path, "list"], env={**os.environ, "BUOY_FAILPOINTS": "list"},
                           capture_output=True, text=True).stdout.split()
    if "image.sync.off" not in names:
        pytest.skip("built without failpoints")
    assert apart(tmp_path, max(CUTS, 8), {**CONTROL, "IMAGE_FORM": form})
