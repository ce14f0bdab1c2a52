# SPDX-License-Identifier: Apache-2.0
"""What a container sees of an image is what `tar -x` makes of its layers, in order: contents, modes, owners, times, links,
attributes. The same tests for both forms of a layer: a mounted tar with its index, and an unpacked directory.
"""
import hashlib
import io
import os
import shutil
import stat
import struct
import subprocess
import tarfile

import pytest

from conftest import sh
from test_image_store import TOOL, Fake, digest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

FORMS = ("tars", "directories")
ENTRIES = int(os.environ.get("BUOY_ENTRIES", "30000"))
NOW = 1700000000


def tool(form, store, *args, check=True):
    done = subprocess.run([TOOL, store, *map(str, args)], capture_output=True, text=True, timeout=600,
                          env={**os.environ, "IMAGE_FORM": form})
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module", autouse=True)
def mountable(tmp_path_factory):
    done = tool("tars", tmp_path_factory.mktemp("probe") / "s", "list", check=False)
    if "cannot be mounted here" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr


class Archive:
    """Entries in Python's words, for what no tar program would write."""

    def __init__(self, path, format=tarfile.PAX_FORMAT):
        self.path = path
        self.tar = tarfile.open(path, "w", format=format, errors="surrogateescape")

    def add(self, name, content=b"", kind=tarfile.REGTYPE, mode=0o644, mtime=NOW, **rest):
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.mtime, info.size = kind, mode, mtime, len(content)
        for key, value in rest.items():
            setattr(info, key, value)
        self.tar.addfile(info, io.BytesIO(content) if content else None)
        return self

    def dir(self, name, mode=0o755, **rest):
        return self.add(name, kind=tarfile.DIRTYPE, mode=mode, **rest)

    def link(self, name, target, **rest):
        return self.add(name, kind=tarfile.SYMTYPE, linkname=target, mode=0o777, **rest)

    def hard(self, name, target):
        return self.add(name, kind=tarfile.LNKTYPE, linkname=target)

    def end(self):
        self.tar.close()
        return self.path


# ---- the two trees ----

def attributes(path):
    found = {}
    for name in os.listxattr(path, follow_symlinks=False):
        if not name.startswith("trusted.overlay"):
            found[name] = os.getxattr(path, name, follow_symlinks=False)
    return found


def content(path, size):
    if size > 1 << 30: # a hole with something at its ends
        with open(path, "rb") as f:
            head = f.read(65536)
            f.seek(-65536, os.SEEK_END)
            return digest(head + f.read())
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def tree(root):
    """path -> all that a program could see; names of one file are told by the first of them."""
    found, inodes = {}, {}
    for parent, dirs, files in os.walk(root):
        for name in [*dirs, *files]:
            path = os.path.join(parent, name)
            st = os.lstat(path)
            what = {"mode": oct(st.st_mode), "owner": (st.st_uid, st.st_gid), "mtime": st.st_mtime_ns,
                    "attributes": attributes(path)}
            if not stat.S_ISDIR(st.st_mode):
                what["links"] = st.st_nlink
                inodes.setdefault(st.st_ino, []).append(os.path.relpath(path, root))
                what["names"] = inodes[st.st_ino]
            if stat.S_ISREG(st.st_mode):
                what["size"], what["content"] = st.st_size, content(path, st.st_size)
            if stat.S_ISLNK(st.st_mode):
                what["target"] = os.readlink(path)
            if stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
                what["device"] = st.st_rdev
            found[os.path.relpath(path, root)] = what
    for what in found.values():
        if "names" in what:
            what["names"] = sorted(what["names"])
    return found


def extract(tar, into):
    sh("tar", "-x", "-p", "-f", str(tar), "-C", str(into), "--numeric-owner", "--same-owner", "--delay-directory-restore",
       "--xattrs", "--xattrs-include=*", "--exclude=.wh.*")


def reference(layers, base):
    """The layers one over the other; a whiteout takes away what the layers below brought, never its own."""
    root = base / "reference"
    root.mkdir()
    for layer in layers:
        with tarfile.open(layer, errors="surrogateescape") as tar:
            names = [n for n in tar.getnames() if os.path.basename(n).startswith(".wh.")]
        for name in names:
            parent, base_name = os.path.split(name)
            if base_name == ".wh..wh..opq":
                for child in (root / parent).iterdir():
                    remove(child)
            else:
                remove(root / parent / base_name[4:])
        extract(layer, root)
    return root


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.is_symlink() or path.exists():
        path.unlink()


class Seen:
    """The image of these layers, mounted as a container has it."""

    def __init__(self, form, base, layers):
        self.base, self.at, store = base, base / f"seen-{form}", base / f"store-{form}"
        self.at.mkdir()
        (base / "empty").mkdir(exist_ok=True)
        registry = Fake()
        try:
            registry.add_image("app", "1", *[layer.read_bytes() for layer in layers])
            name = f"{registry.address}/app:1"
            tool(form, store, "pull", name)
        finally:
            registry.shutdown()
            registry.server_close()
        kinds = {p.name for p in store.glob("layers/*/*")}
        assert kinds == ({"diff", "tar", "index"} if form == "tars" else {"diff"})
        tool(form, store, "mount", name, self.at, base / "empty")

    def __enter__(self):
        return self.at

    def __exit__(self, *args):
        sh("umount", str(self.at))


def compare(form, base, layers, implicit=()):
    """`implicit`: directories that no entry made, so that their times are those of the making."""
    with Seen(form, base, layers) as at:
        ours = tree(at)
    theirs = tree(reference(layers, base))
    for path in implicit:
        for found in (ours, theirs):
            found[path].pop("mtime")
    assert sorted(ours) == sorted(theirs)
    for path, what in theirs.items():
        assert ours[path] == what, path
    return ours


# ---- archives ----

def capability():
    return b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"


def plain(base, format=tarfile.PAX_FORMAT):
    a = Archive(base / "plain.tar", format)
    a.dir("d", 0o1777).dir("d/e", 0o700).add("d/e/f", b"content").add("empty").add("d/big", os.urandom(300_001))
    a.add("exact", b"x" * 4096).add("odd", b"x" * 4097, mode=0o4755, uid=1000, gid=50).add("none", mode=0)
    a.link("l", "d/e/f").link("nowhere", "/no/such").link("up", "../../..").link("long", "t" * 447)
    a.link("longer", "/".join(["component"] * 90)).link("longest", "t/" * 2000 + "end")
    a.hard("h", "d/e/f").hard("d/h2", "h").hard("l2", "l")
    a.add("fifo", kind=tarfile.FIFOTYPE, mode=0o600).add("null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
    a.add("disk", kind=tarfile.BLKTYPE, devmajor=259, devminor=70000)
    a.add("n" * 255, b"n").add("/".join(["deep" * 20] * 30), b"deep").add("prefix/" * 20 + "f", b"p")
    return a.end(), ["/".join(["deep" * 20] * i) for i in range(1, 30)] + ["prefix" + "/prefix" * i for i in range(20)]


def pax(base):
    a = Archive(base / "pax.tar")
    a.add("ns", b"1", mtime=NOW + 0.125).add("old", b"1", mtime=-12345).add("wide", b"1", uid=4_000_000_000, gid=3_000_000)
    a.add("grüße-\u65e5\u672c", b"name").dir("attributes", pax_headers={"SCHILY.xattr.user.on": "a directory"})
    a.add("attributes/f", b"x", pax_headers={f"SCHILY.xattr.user.n{i}": "v" * i * 3 for i in range(1, 25)})
    # Values of which the sum crosses several blocks of the index.
    a.add("attributes/long", b"x", pax_headers={"SCHILY.xattr.user.long": "v" * 3000})
    a.add("after", b"the long ones")
    return a.end(), []


def duplicates(base):
    a = Archive(base / "duplicates.tar")
    a.add("f", b"first").add("f", b"second, longer").dir("d", 0o700).dir("d", 0o755, uid=7).add("d/x", b"x")
    a.add("was-file", b"1").dir("was-dir").add("was-dir/child", b"1").add("was-link", b"1")
    a.add("kept", b"kept").hard("name1", "kept").add("kept", b"another")
    a.hard("name1", "name1").add("name2", b"2").hard("name2", "kept").link("s", "a").link("s", "b")
    return a.end(), []


def names(base):
    a = Archive(base / "names.tar", tarfile.GNU_FORMAT)
    a.add("./dot/./x//y", b"1").dir("dir/").add("-minus", b"1").add("!", b"1").add(".hidden", b"1").add("..two", b"1")
    a.add("a b\tc\nd", b"1").add("~", b"1").add("\u00ff", b"1").dir("many")
    for i in range(700):
        a.add(f"many/{'x' * (i % 250)}{i}", b"%d" % i)
    return a.end(), ["dot", "dot/x"]


def sparse(base):
    source = base / "source"
    source.mkdir()
    with open(source / "holes", "wb") as f:
        f.seek(1_000_000)
        f.write(b"in the middle")
        f.seek(5_000_000)
        f.write(b"later" * 1000)
        f.truncate(9_999_999)
    with open(source / "claims", "wb") as f:
        f.write(b"start")
        f.truncate(100 << 30)
    (source / "small").write_bytes(b"s")
    sh("touch", "-d", "@1600000000", *map(str, source.iterdir()))
    return source


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("make", [plain, pax, duplicates, names])
def test_a_layer_is_what_tar_makes_of_it(tmp_path, form, make):
    layer, implicit = make(tmp_path)
    compare(form, tmp_path, [layer], implicit)


@pytest.mark.parametrize("form", FORMS)
def test_old_formats_and_numbers_in_base_256(tmp_path, form):
    a = Archive(tmp_path / "gnu.tar", tarfile.GNU_FORMAT)
    a.add("big-owner", b"1", uid=4_000_000_000, gid=(1 << 31) + 5).add("long" * 60, b"1").link("l" * 120, "t" * 300)
    a.hard("hard" * 40, "long" * 60)
    compare(form, tmp_path, [a.end()])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["gnu", "posix"])
def test_sparse_files_and_what_claims_to_be_large(tmp_path, form, kind):
    source = sparse(tmp_path)
    layer = tmp_path / "sparse.tar"
    sh("tar", "-c", "--sparse", f"--format={kind}", "-f", str(layer), "-C", str(source), "holes", "claims", "small")
    assert layer.stat().st_size < 1 << 20
    seen = compare(form, tmp_path, [layer])
    assert seen["claims"]["size"] == 100 << 30


@pytest.mark.parametrize("form", FORMS)
def test_layers_over_layers(tmp_path, form):
    low = Archive(tmp_path / "0.tar").dir("d").add("d/gone", b"1").add("d/stays", b"1").dir("opaque").add("opaque/old", b"1")
    low.add("f", b"low").dir("again").add("again/old", b"1").add("replaced", b"1").dir("dir-gone").add("dir-gone/x", b"1")
    low.dir("both").add("both/x", b"1")
    high = Archive(tmp_path / "1.tar").dir("d", 0o700).add("d/.wh.gone").dir("opaque").add("opaque/.wh..wh..opq")
    high.add("opaque/new", b"2").add("f", b"high").add(".wh.dir-gone").add(".wh.replaced").dir("replaced")
    high.add("replaced/inside", b"2").add(".wh.again").dir("again").add("again/new", b"2").add("both/.wh.x").add("both/x", b"2")
    top = Archive(tmp_path / "2.tar").add(".wh.f").dir("dir-gone").add("dir-gone/y", b"3").hard("dir-gone/h", "dir-gone/y")
    seen = compare(form, tmp_path, [low.end(), high.end(), top.end()], implicit=["both"])
    assert "d/gone" not in seen and "opaque/old" not in seen and "f" not in seen
    assert "dir-gone/x" not in seen and seen["dir-gone/h"]["links"] == 2


@pytest.mark.parametrize("form", FORMS)
def test_attributes_that_count_and_those_that_may_not_come(tmp_path, form):
    """File capabilities and ACLs travel; what overlayfs would read does not."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "ping").write_bytes(b"#!")
    os.setxattr(source / "ping", "security.capability", capability())
    acl = bytes.fromhex("02000000" "01000600ffffffff" "02000400e8030000" "04000400ffffffff" "10000600ffffffff" "20000400ffffffff")
    os.setxattr(source / "ping", "system.posix_acl_access", acl)
    os.setxattr(source / "ping", "user.mine", b"\0\1binary")
    layer = tmp_path / "x.tar"
    sh("tar", "-c", "--xattrs", "--xattrs-include=*", "-f", str(layer), "-C", str(source), "ping")
    evil = Archive(tmp_path / "evil.tar").dir("e", pax_headers={"SCHILY.xattr.trusted.overlay.opaque": "y"})
    evil.add("e/f", b"1", pax_headers={"SCHILY.xattr.trusted.overlay.redirect": "/etc", "SCHILY.xattr.user.overlay.opaque": "y"})
    with Seen(form, tmp_path, [layer, evil.end()]) as at:
        assert os.getxattr(at / "ping", "security.capability") == capability()
        assert os.getxattr(at / "ping", "user.mine") == b"\0\1binary"
        assert os.getxattr(at / "ping", "system.posix_acl_access") == acl
        assert attributes(at / "e/f") == {} == attributes(at / "e")


BAD = {
    "up": lambda a: a.add("../f", b"1"),
    "up inside": lambda a: a.add("d/../../f", b"1"),
    "hard link to nothing": lambda a: a.hard("h", "none"),
    "hard link up": lambda a: a.hard("h", "../x"),
    "hard link to a directory": lambda a: a.dir("d").hard("h", "d"),
    "through a link": lambda a: a.link("l", "/tmp").add("l/f", b"1"),
    "through a file": lambda a: a.add("f", b"1").add("f/g", b"1"),
    "a name too long": lambda a: a.add("n" * 256, b"1"),
    "too deep": lambda a: a.add("d/" * 201 + "f", b"1"),
    "whiteout of nothing": lambda a: a.add("d/.wh.", b""),
    "root is a file": lambda a: a.add(".", b"1"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("what", BAD)
def test_what_no_layer_may_hold_is_refused(tmp_path, form, what):
    a = Archive(tmp_path / "bad.tar")
    BAD[what](a)
    store = tmp_path / "store"
    failed = tool(form, store, "import", a.end(), "bad:1", check=False)
    assert failed.returncode == 1 and failed.stderr
    assert not list((store / "staging").iterdir()) and not list((store / "layers").iterdir())


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_that_ends_in_the_middle_is_refused(tmp_path, form):
    a = Archive(tmp_path / "cut.tar")
    a.add("f", b"x" * 100_000)
    whole = a.end().read_bytes()
    claims = bytearray(whole[:512])
    claims[124:136] = b"\x80" + (100 << 30).to_bytes(11, "big")
    claims[148:156] = b"        "
    claims[148:156] = b"%06o\0 " % sum(claims)
    for name, data in (("half", whole[:50_000]), ("claims", bytes(claims) + whole[512:])):
        (tmp_path / name).write_bytes(data)
        failed = tool(form, tmp_path / "store", "import", tmp_path / name, "bad:1", check=False)
        assert failed.returncode == 1, name
        assert not list((tmp_path / "store/staging").iterdir())


def acl(*entries):
    """system.posix_acl_*: (tag, permissions, id) each."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries)


@pytest.mark.parametrize("form", FORMS)
def test_access_control_lists_as_tar_writes_them(tmp_path, form):
    """`tar --acls` writes them as text, with names where this machine has some: only root is the same on all. With a list, the group bits of a mode are the list's mask, not what the group may do."""
    nobody = 0xffffffff
    wide = acl((1, 6, nobody), (2, 4, 0), (2, 7, 4012345), (4, 4, nobody), (8, 5, 4000077), (16, 7, nobody), (32, 0, nobody))
    narrow = acl((1, 7, nobody), (2, 7, 4001000), (4, 7, nobody), (16, 4, nobody), (32, 4, nobody))
    source = tmp_path / "source"
    (source / "dir").mkdir(parents=True)
    for name, value in {"wide": wide, "narrow": narrow}.items():
        (source / name).write_text(name)
        os.setxattr(source / name, "system.posix_acl_access", value)
    os.setxattr(source / "dir", "system.posix_acl_access", narrow)
    os.setxattr(source / "dir", "system.posix_acl_default", wide)
    layer, want = tmp_path / "acls.tar", tmp_path / "want"
    sh("tar", "-c", "--acls", "--numeric-owner", "--format=posix", "-f", str(layer), "-C", str(source), "wide", "narrow", "dir")
    want.mkdir()
    sh("tar", "-x", "--acls", "-p", "-f", str(layer), "-C", str(want), "--numeric-owner")
    assert b"SCHILY.acl.access" in layer.read_bytes() and attributes(want / "wide")["system.posix_acl_access"] == wide
    unknown = Archive(tmp_path / "unknown.tar").add(
        "unknown", b"x", mode=0o670, pax_headers={"SCHILY.acl.access": "user::rw-,user:nosuchuser:rwx,group::r--,mask::rwx,other::---"})
    with Seen(form, tmp_path, [layer]) as at:
        seen = tree(at)
        assert seen == tree(want)
        assert seen["wide"]["mode"] == oct(stat.S_IFREG | 0o670) and seen["narrow"]["mode"] == oct(stat.S_IFREG | 0o744)
    (tmp_path / "second").mkdir()
    with Seen(form, tmp_path / "second", [unknown.end()]) as at:
        # A name is nobody here: the group gets no more than its own.
        assert tree(at)["unknown"]["mode"] == oct(stat.S_IFREG | 0o640) and attributes(at / "unknown") == {}


@pytest.mark.parametrize("form", FORMS)
def test_the_machines_own_files_as_a_layer(tmp_path, form):
    layer = tmp_path / "real.tar"
    places = [p for p in ("etc", "usr/share/zoneinfo", "usr/lib/python3", "usr/sbin") if os.path.isdir(f"/{p}")]
    sh("tar", "-c", "--xattrs", "--xattrs-include=*", "--format=posix", "-f", str(layer), "-C", "/", *places, check=False)
    compare(form, tmp_path, [layer], implicit=[p for p in ("usr", "usr/share", "usr/lib")])


@pytest.mark.parametrize("form", FORMS)
def test_many_entries(tmp_path, form):
    a = Archive(tmp_path / "many.tar", tarfile.USTAR_FORMAT)
    for i in range(ENTRIES):
        a.add(f"d{i % 100}/f{i}", b"%d" % i if i % 10 == 0 else b"")
    with Seen(form, tmp_path, [a.end()]) as at:
        assert sum(len(files) for _, _, files in os.walk(at)) == ENTRIES
        for i in range(0, ENTRIES, ENTRIES // 50):
            assert (at / f"d{i % 100}/f{i}").read_bytes() == (b"%d" % i if i % 10 == 0 else b"")


@pytest.mark.parametrize("form", FORMS)
def test_more_layers_than_a_mount_option_holds(tmp_path, form):
    layers = [Archive(tmp_path / f"{i}.tar").add("n", b"%d" % i).add(f"f{i}", b"%d" % i).end() for i in range(120)]
    with Seen(form, tmp_path, layers) as at:
        assert (at / "n").read_bytes() == b"119"
        assert all((at / f"f{i}").read_bytes() == b"%d" % i for i in range(120))


def test_both_forms_stand_beside_each_other(tmp_path):
    """A store may have been filled by another kernel."""
    store, at, empty = tmp_path / "store", tmp_path / "at", tmp_path / "empty"
    at.mkdir(), empty.mkdir()
    for form in FORMS:
        tool(form, store, "import", Archive(tmp_path / f"{form}.tar").add("f", form.encode()).end(), f"{form}:1")
    for reader in FORMS:
        for form in FORMS:
            tool(reader, store, "mount", f"{form}:1", at, empty)
            try:
                assert (at / "f").read_text() == form
            finally:
                sh("umount", str(at))
        tool(reader, store, "save", tmp_path / "saved.tar", "tars:1")
    tool("directories", store, "remove", "tars:1")
    assert len(list((store / "layers").iterdir())) == 1
