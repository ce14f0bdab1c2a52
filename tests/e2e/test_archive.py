# SPDX-License-Identifier: Apache-2.0
"""cp and diff: files into and out of containers, by docker and by buoy."""
import io
import os
import subprocess
import tarfile
import threading

import pytest

from conftest import BUILD, DOCKER, eventually


@pytest.fixture(params=["running", "stopped"])
def web(request, daemon, cli):
    """A container with a volume, in both states: paths are looked up in different ways."""
    cli("run", "-d", "--name", "web", "-v", "data:/data", "busybox", "sleep", "1000")
    cli("exec", "web", "sh", "-c", "mkdir -p /srv/a/b && echo one >/srv/a/b/one && ln -s b /srv/a/l && ln -s /srv/a /abs"
        " && echo v >/data/v")
    if request.param == "stopped":
        cli("stop", "-t", "0", "web")
    yield cli
    cli("rm", "-f", "web")
    cli("volume", "rm", "data")


def shown(cli, path):
    """What the file in the container holds, by way of a tar on standard output."""
    command = subprocess.run([cli.program(), "cp", f"web:{path}", "-"], capture_output=True, env=cli.env(),
                             timeout=30, check=True)
    with tarfile.open(fileobj=io.BytesIO(command.stdout)) as tar:
        return tar.extractfile(tar.getmembers()[0]).read().decode()


def tree(top):
    return sorted(str(p.relative_to(top)) for p in top.rglob("*"))


def test_a_file_goes_in_under_its_own_or_a_new_name(web, tmp_path):
    (tmp_path / "f").write_text("hello\n")
    web("cp", tmp_path / "f", "web:/srv")
    web("cp", tmp_path / "f", "web:/srv/new")
    web("cp", tmp_path / "f", "web:/srv/new")  # over itself
    web("cp", tmp_path / "f", "web:/data/")
    assert [shown(web, p) for p in ("/srv/f", "/srv/new", "/data/f", "/srv/../srv/f")] == ["hello\n"] * 4


def test_a_directory_goes_in_whole_or_by_content(web, tmp_path):
    source = tmp_path / "d"
    (source / "sub").mkdir(parents=True)
    (source / "sub/x").write_text("x\n")
    (source / "link").symlink_to("sub/x")
    web("cp", source, "web:/srv")
    web("cp", source, "web:/srv/other")
    web("cp", f"{source}/.", "web:/data")
    assert [shown(web, p) for p in ("/srv/d/sub/x", "/srv/other/sub/x", "/data/sub/x")] == ["x\n"] * 3
    web("cp", "web:/srv/d", tmp_path / "back")
    assert tree(tmp_path / "back") == ["link", "sub", "sub/x"]
    assert os.readlink(tmp_path / "back/link") == "sub/x"


def test_a_directory_comes_out_whole_or_by_content(web, tmp_path):
    (tmp_path / "there").mkdir()
    web("cp", "web:/srv/a", tmp_path / "new")
    web("cp", "web:/srv/a", tmp_path / "there")
    web("cp", "web:/srv/a/.", tmp_path / "content")
    assert tree(tmp_path / "new") == tree(tmp_path / "there/a") == tree(tmp_path / "content") == ["b", "b/one", "l"]


def test_a_link_is_copied_itself_unless_it_is_followed(web, tmp_path):
    web("cp", "web:/srv/a/l", tmp_path / "link")
    web("cp", "-L", "web:/srv/a/l", tmp_path / "followed")
    web("cp", "web:/abs/b/one", tmp_path / "one")
    assert os.readlink(tmp_path / "link") == "b"
    assert (tmp_path / "followed/one").read_text() == (tmp_path / "one").read_text() == "one\n"


def test_a_volume_is_seen_in_either_state(web, tmp_path):
    web("cp", "web:/data/v", tmp_path / "v")
    assert (tmp_path / "v").read_text() == "v\n"


def test_what_cannot_be_copied_is_said(web, tmp_path):
    (tmp_path / "f").write_text("x")
    (tmp_path / "d").mkdir()
    for words, said in ((("web:/nope", tmp_path / "x"), "Could not find the file /nope"),
                        ((tmp_path / "f", "web:/no/such"), "Could not find the file"),
                        ((tmp_path / "d", "web:/srv/a/b/one"), "directory"),
                        ((tmp_path / "f", "nobody:/x"), "nobody"),
                        ((tmp_path / "f", tmp_path / "g"), "container")):
        result = web("cp", *words, check=False)
        assert result.returncode != 0 and said in result.stderr + result.stdout, words


@pytest.mark.skipif(not DOCKER, reason="the docker CLI is not installed")
def test_read_only_places_stay_so(daemon, tmp_path):
    (tmp_path / "f").write_text("x")
    daemon.docker("run", "-d", "--name", "ro", "--read-only", "-v", "vr:/data:ro", "busybox", "sleep", "1000")
    for _ in range(2):  # running, then stopped
        for target, said in (("/x", "rootfs is marked read-only"), ("/data/x", "volume is marked read-only")):
            result = daemon.docker("cp", tmp_path / "f", f"ro:{target}", check=False)
            assert result.returncode != 0 and said in result.stderr
        daemon.docker("stop", "-t", "0", "ro")


def test_diff_tells_what_the_container_did(daemon, cli):
    cli("run", "--name", "d", "busybox", "sh", "-c", "rm /bin/vi; echo x >/new; mkdir -p /srv/a && touch /srv/a/f")
    lines = cli("diff", "d").stdout.split("\n")
    assert {"D /bin/vi", "A /new", "A /srv", "A /srv/a", "A /srv/a/f", "C /bin"} <= set(lines)
    assert not any(line[2:].startswith(("/proc", "/sys", "/dev", "/etc/host")) for line in lines)


def test_an_export_holds_neither_volumes_nor_kernel_files(daemon, tmp_path):
    daemon.docker("run", "-d", "--name", "e", "-v", "ve:/data", "busybox", "sh", "-c", "echo v >/data/v; sleep 1000")
    eventually(lambda: daemon.docker("exec", "e", "cat", "/data/v", check=False).stdout == "v\n")
    daemon.docker("export", "-o", tmp_path / "e.tar", "e")
    with tarfile.open(tmp_path / "e.tar") as tar:
        names = tar.getnames()
    assert "bin/busybox" in names and "data" in names
    assert not [n for n in names if n.startswith(("proc/", "sys/", "data/"))]


def test_a_path_that_is_exchanged_for_a_link_never_leads_out(daemon, tmp_path):
    """The container swaps a directory for a link to the outside as fast as it can, while files go in and out."""
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "secret").write_text("host\n")
    (tmp_path / "payload").write_text("mine\n")
    daemon.docker("run", "-d", "--name", "race", "busybox", "sh", "-c",
                  f"mkdir /real && echo own >/real/secret; while :; do mv /real /x; ln -s {canary} /real; rm /real;"
                  " mv /x /real; done")
    host = {"DOCKER_HOST": daemon.host, "HOME": str(daemon.dir), "PATH": "/usr/bin:/bin"}
    seen = []

    def read():
        for _ in range(60):
            out = subprocess.run([BUILD / "buoy", "cp", "race:/real/secret", "-"], capture_output=True, env=host).stdout
            if out:
                with tarfile.open(fileobj=io.BytesIO(out)) as tar:
                    seen.append(tar.extractfile("secret").read())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(60):
        subprocess.run([BUILD / "buoy", "cp", tmp_path / "payload", "race:/real/secret"], capture_output=True, env=host)
    reader.join()
    assert seen and set(seen) <= {b"own\n", b"mine\n"}
    assert tree(canary) == ["secret"] and (canary / "secret").read_text() == "host\n"


def test_a_tar_that_cannot_be_finished_is_seen_to_be_cut(machines, tmp_path):
    """A layer's blob that lost its end: whoever saves it is told, and does not take a part for the whole."""
    daemon, = machines(1)
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY big /big\n")
    (tmp_path / "big").write_bytes(os.urandom(3 << 20))
    daemon.docker("build", "-t", "hurt", tmp_path)
    whole = daemon.docker("save", "-o", tmp_path / "whole.tar", "hurt")
    blob, = (p for p in daemon.root.rglob("blobs/sha256/*") if p.is_file() and p.stat().st_size > 3 << 20)
    os.truncate(blob, 2 << 20)
    for cli in (daemon.docker, daemon.buoy):
        cut = cli("save", "-o", tmp_path / "cut.tar", "hurt", check=False)
        assert whole.returncode == 0 and cut.returncode != 0 and cut.stderr
    assert daemon.docker("run", "--rm", "busybox", "echo", "on").stdout == "on\n"
