# SPDX-License-Identifier: Apache-2.0
"""The image room on its own: image_tool drives the store against real and hostile registries."""
import base64
import hashlib
import http.server
import io
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tarfile
import tempfile
import threading
import urllib.parse

import pytest

from conftest import BUILD, eventually

TOOL = BUILD / "tests/image/image_tool"


def tool(store, *args, check=True, env=None, **kwargs):
    done = subprocess.run([TOOL, store, *map(str, args)], capture_output=True, text=True, timeout=120,
                          env={**os.environ, **(env or {})}, **kwargs)
    if check:
        assert done.returncode == 0, done.stderr
    return done


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def make_tar(path, entries):
    """entries: name -> bytes, ('link', target), ('dir',)"""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, what in entries.items():
            info = tarfile.TarInfo(name)
            if isinstance(what, bytes):
                info.size = len(what)
                tar.addfile(info, io.BytesIO(what))
            else:
                info.type = {"link": tarfile.SYMTYPE, "dir": tarfile.DIRTYPE}[what[0]]
                info.mode = 0o755
                info.linkname = what[1] if len(what) > 1 else ""
                tar.addfile(info)
    return path


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def root_tar(tmp_path):
    return make_tar(tmp_path / "root.tar", {"etc": ("dir",), "etc/motd": b"ahoy\n",
                                            "big": os.urandom(300000), "l": ("link", "etc/motd")})


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Debian's docker-registry on a free port of loopback."""
    if not shutil.which("docker-registry"):
        pytest.skip("docker-registry is not installed")
    base = tmp_path_factory.mktemp("registry")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    config = base / "config.yml"
    config.write_text(f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
                      f"storage: {{filesystem: {{rootdirectory: {base}/data}}}}\n"
                      f"http: {{addr: '127.0.0.1:{port}'}}\n")
    process = subprocess.Popen(["docker-registry", "serve", config], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)

    def answers():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0
    eventually(answers)
    yield f"127.0.0.1:{port}"
    process.terminate()
    process.wait()


def verify(store):
    """Each blob has the digest of its name; each image's layers are there; nothing is left in staging."""
    images = tool(store, "list").stdout.split("\n")[:-1]
    for blob in (store / "blobs/sha256").iterdir():
        assert digest(blob.read_bytes()) == "sha256:" + blob.name
    for line in images:
        for layer in tool(store, "layers", line.split()[0]).stdout.split():
            assert (store / layer).is_dir()
    assert not list((store / "staging").iterdir())
    return images


def test_push_and_pull_carry_an_image_unchanged(tmp_path, store, root_tar, registry):
    name = f"{registry}/team/app:1"
    image = tool(store, "import", root_tar, name).stdout.strip()
    pushed = tool(store, "push", name).stdout.strip()
    other = tmp_path / "other"
    assert tool(other, "pull", name).stdout.split() == [image, pushed]
    layer = tool(other, "layers", name).stdout.strip()
    assert (other / layer / "etc/motd").read_text() == "ahoy\n"
    assert os.readlink(other / layer / "l") == "etc/motd"
    again = tool(other, "pull", f"{registry}/team/app@{pushed}")
    assert "Already exists" in again.stderr
    # Pushing what was pulled gives the same manifest.
    tool(other, "tag", image, f"{registry}/copy:2")
    assert tool(other, "push", f"{registry}/copy:2").stdout.strip() == pushed
    verify(other)


def test_what_the_registry_lacks_is_said_in_dockers_words(store, registry):
    failed = tool(store, "pull", f"{registry}/none:x", check=False)
    assert f"manifest for {registry}/none:x not found: manifest unknown" in failed.stderr
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
        assert tool(store, "pull", f"127.0.0.1:{port}/x", check=False).returncode == 1


def test_save_and_load_round_trip(tmp_path, store, root_tar):
    image = tool(store, "import", root_tar, "a:1").stdout.strip()
    tool(store, "tag", image, "b:2")
    saved = tmp_path / "saved.tar"
    tool(store, "save", saved, "a:1", "b:2")
    with tarfile.open(saved) as tar:
        manifest = json.load(tar.extractfile("manifest.json"))
        assert len(manifest) == 1 and manifest[0]["RepoTags"] == ["a:1", "b:2"]
        index = json.load(tar.extractfile("index.json"))
        for entry in index["manifests"]:
            text = tar.extractfile("blobs/sha256/" + entry["digest"][7:]).read()
            assert digest(text) == entry["digest"]
    other = tmp_path / "other"
    assert tool(other, "load", saved).stdout.split() == ["a:1", "b:2"]
    assert tool(other, "list").stdout.split()[0] == image
    verify(other)


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_podman_understands_our_archives_and_we_its(tmp_path, store, root_tar, kind):
    if not shutil.which("podman"):
        pytest.skip("podman is not installed")
    run = tempfile.mkdtemp(prefix="podman-")  # podman takes no runroot of over 50 characters
    podman = ["podman", "--root", tmp_path / "podman", "--runroot", run, "--storage-driver", "vfs"]
    image = tool(store, "import", root_tar, "localhost/app:1").stdout.strip()
    tool(store, "save", tmp_path / "ours.tar", "localhost/app:1")
    subprocess.run([*podman, "load", "-i", tmp_path / "ours.tar"], check=True, capture_output=True)
    subprocess.run([*podman, "save", "--format", kind, "-o", tmp_path / "theirs.tar", "localhost/app:1"],
                   check=True, capture_output=True)
    other = tmp_path / "other"
    tool(other, "load", tmp_path / "theirs.tar")
    assert tool(other, "list").stdout.split()[0] == image
    shutil.rmtree(run)


@pytest.mark.parametrize("point", ["image.blob.write", "image.sync.before", "image.sync.after",
                                   "image.row.before", "image.row.after"])
@pytest.mark.parametrize("action", ["exit", "errno:28"])
def test_a_crash_or_a_full_disk_while_making_a_layer_leaves_a_good_store(store, root_tar, point, action):
    tool(store, "import", make_tar(store.parent / "first.tar", {"f": b"first"}), "first:1")
    failed = tool(store, "import", root_tar, "app:1", check=False,
                  env={"BUOY_FAILPOINTS": f"{point}={action}"})
    assert failed.returncode != 0
    assert any("first:1" in line for line in verify(store))
    tool(store, "import", root_tar, "app:1")
    assert len(verify(store)) == 2
    tool(store, "remove", "app:1")
    tool(store, "remove", "first:1")
    assert not list((store / "layers").iterdir()) and not list((store / "blobs/sha256").iterdir())


@pytest.mark.parametrize("point", ["image.pull.write", "image.sync.after", "image.row.before",
                                   "image.row.after"])
def test_a_crash_while_pulling_leaves_a_good_store(tmp_path, store, root_tar, registry, point):
    name = f"{registry}/crash:1"
    tool(store, "import", root_tar, name)
    tool(store, "push", name)
    other = tmp_path / "other"
    tool(other, "pull", name, check=False, env={"BUOY_FAILPOINTS": f"{point}=exit"})
    verify(other)
    tool(other, "pull", name)
    assert len(verify(other)) == 1


@pytest.mark.parametrize("point", ["image.delete.after", "image.collect.after"])
def test_a_crash_while_removing_leaves_a_good_store(store, root_tar, point):
    tool(store, "import", root_tar, "app:1")
    tool(store, "remove", "app:1", check=False, env={"BUOY_FAILPOINTS": f"{point}=exit"})
    assert verify(store) == []
    assert not list((store / "layers").iterdir()) and not list((store / "blobs/sha256").iterdir())


def test_archives_of_every_compression_give_the_same_layer(tmp_path, store, root_tar):
    data = root_tar.read_bytes()
    made = {tool(store, "layer", root_tar).stdout}
    for command in (["gzip", "-c"], ["xz", "-c"], ["bzip2", "-c"], ["zstd", "-c"]):
        if shutil.which(command[0]):
            packed = tmp_path / command[0]
            packed.write_bytes(subprocess.run(command, input=data, capture_output=True, check=True).stdout)
            made.add(tool(tmp_path / ("store-" + command[0]), "layer", packed).stdout)
    assert len(made) == 1
    assert made.pop().split()[1] == digest(data)


def test_a_bomb_is_refused_and_the_disk_given_back(tmp_path, store):
    bomb = tmp_path / "bomb.gz"
    head = tarfile.TarInfo("zeros")
    head.size = 8 << 30
    make = subprocess.Popen(f"(cat; head -c {head.size} /dev/zero) | gzip -1 >{bomb}", shell=True,
                            stdin=subprocess.PIPE)
    # gzip cannot go beyond about 1000 to 1, so a gigabyte is enough to see the ratio.
    make.stdin.write(head.tobuf(tarfile.GNU_FORMAT))
    make.stdin.close()
    try:
        eventually(lambda: bomb.stat().st_size > 7 << 20 or make.poll() is not None, timeout=60)
    finally:
        make.kill()
        make.wait()
    failed = tool(store, "layer", bomb, check=False)
    assert "times its size" in failed.stderr or "more than" in failed.stderr, failed.stderr
    assert not list((store / "staging").iterdir())


def test_hostile_archives_change_nothing_outside(tmp_path, store):
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "file").write_text("alive")
    target = tmp_path / "target"
    target.mkdir()
    for follow in ([], ["follow"]):
        for name, entries in {
            "symlink": {"out": ("link", str(canary)), "out/file": b"dead", "out/new": b"dead"},
            "relative": {"out": ("link", "../canary"), "out/file": b"dead"},
            "dots": {"../canary/file": b"dead"},
            "absolute": {str(canary / "new"): b"dead"},
        }.items():
            tar = make_tar(tmp_path / (name + ".tar"), entries)
            tool(store, "unpack", tar, target, *follow, check=False)
            assert [p.name for p in canary.iterdir()] == ["file"], name
            assert (canary / "file").read_text() == "alive", name


def test_eight_unpackers_at_once(tmp_path, store):
    tars = [make_tar(tmp_path / f"{i}.tar", {"n": str(i).encode(), "big": os.urandom(1 << 20)})
            for i in range(8)]
    for i in range(8):
        (tmp_path / f"to{i}").mkdir()
    tool(store, "list")
    jobs = [subprocess.Popen([TOOL, tmp_path / f"store{i}", "unpack", tars[i], tmp_path / f"to{i}"])
            for i in range(8)]
    assert [job.wait(60) for job in jobs] == [0] * 8
    assert [(tmp_path / f"to{i}/n").read_text() for i in range(8)] == [str(i) for i in range(8)]


# ---- a registry made to measure ----

class Fake(http.server.ThreadingHTTPServer):
    """Serves what is in `objects` (path -> (type, bytes)), behind a token or not."""
    daemon_threads = True

    def __init__(self, token=None, realm=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects, self.token, self.realm, self.seen = {"/v2/": ("text/plain", b"")}, token, realm, []
        self.redirect = None
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self):
        return f"127.0.0.1:{self.server_port}"

    def add_image(self, name, tag, *layers, config=None, **changes):
        config = config or json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {
            "type": "layers", "diff_ids": [digest(layer) for layer in layers]}}).encode()
        doc = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
               "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                          "digest": digest(config), "size": len(config)},
               "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar",
                           "digest": digest(layer), "size": len(layer)} for layer in layers]}
        doc.update(changes)
        self.objects[f"/v2/{name}/blobs/{digest(config)}"] = ("application/octet-stream", config)
        for layer in layers:
            self.objects[f"/v2/{name}/blobs/{digest(layer)}"] = ("application/octet-stream", layer)
        self.objects[f"/v2/{name}/manifests/{tag}"] = (doc["mediaType"], json.dumps(doc).encode())
        return doc


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD": # two bytes too many would be the next answer's beginning
            self.wfile.write(body)

    def do_GET(self):
        server = self.server
        url = urllib.parse.urlsplit(self.path)
        auth = self.headers.get("Authorization", "")
        server.seen.append((url.path, auth))
        if url.path == "/token":
            wanted = "Basic " + base64.b64encode(b"user:secret").decode()
            if auth and auth != wanted:
                return self.answer(401)
            return self.answer(200, json.dumps({"token": server.token}).encode())
        if server.token and auth != "Bearer " + server.token:
            realm = server.realm or f"http://{server.address}/token"
            return self.answer(401, b"{}", WWW_Authenticate=f'Bearer realm="{realm}",service="fake"')
        if server.redirect and "/blobs/" in url.path:
            return self.answer(307, b"", Location=server.redirect + self.path)
        if url.path not in server.objects:
            return self.answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no"}]}')
        kind, body = server.objects[url.path]
        return self.answer(200, body, Content_Type=kind)

    def log_message(self, *args):
        pass


@pytest.fixture
def layer_tar(tmp_path):
    return make_tar(tmp_path / "layer.tar", {"f": b"content"}).read_bytes()


def test_a_token_is_fetched_and_used(store, layer_tar):
    fake = Fake(token="t0ken")
    fake.add_image("app", "1", layer_tar)
    tool(store, "pull", f"{fake.address}/app:1")
    asked = [auth for path, auth in fake.seen if path == "/token"]
    assert asked == [""]
    tool(store, "login", fake.address, env={"IMAGE_USER": "user", "IMAGE_PASSWORD": "secret"})
    failed = tool(store, "login", fake.address, check=False,
                  env={"IMAGE_USER": "user", "IMAGE_PASSWORD": "wrong"})
    assert failed.stderr.startswith("2: "), failed.stderr


def test_a_password_is_not_sent_to_a_strange_token_server(store, layer_tar):
    thief = Fake(token="x")
    realm = f"http://localhost:{thief.server_port}/token"
    fake = Fake(token="t0ken", realm=realm)
    fake.add_image("app", "1", layer_tar)
    failed = tool(store, "pull", f"{fake.address}/app:1", check=False,
                  env={"IMAGE_USER": "user", "IMAGE_PASSWORD": "secret"})
    assert "refusing" in failed.stderr
    assert not [auth for _, auth in thief.seen if auth]


def test_a_redirected_blob_takes_no_credentials_along(store, layer_tar):
    storage = Fake()
    fake = Fake(token="t0ken")
    doc = fake.add_image("app", "1", layer_tar)
    storage.objects = fake.objects
    fake.redirect = f"http://{storage.address}"
    tool(store, "pull", f"{fake.address}/app:1")
    assert len(storage.seen) == 2 and not [auth for _, auth in storage.seen if auth]
    assert doc


@pytest.mark.parametrize("name,damage", [
    ("wrong layer bytes", lambda f, d: f.objects.update({
        "/v2/app/blobs/" + d["layers"][0]["digest"]: ("x", b"\0" * d["layers"][0]["size"])})),
    ("short layer", lambda f, d: f.objects.update({
        "/v2/app/blobs/" + d["layers"][0]["digest"]: ("x", b"\0" * 512)})),
    ("endless layer", lambda f, d: f.objects.update({
        "/v2/app/blobs/" + d["layers"][0]["digest"]: ("x", b"\0" * 5000000)})),
    ("wrong config", lambda f, d: f.objects.update({
        "/v2/app/blobs/" + d["config"]["digest"]: ("x", b"{}")})),
    ("manifest with a list inside", lambda f, d: f.objects.update({
        "/v2/app/manifests/1": (d["mediaType"], json.dumps({**d, "manifests": []}).encode())})),
    ("manifest of another type", lambda f, d: f.objects.update({
        "/v2/app/manifests/1": ("application/vnd.oci.image.index.v1+json", json.dumps(d).encode())})),
    ("digest with a path", lambda f, d: f.objects.update({
        "/v2/app/manifests/1": (d["mediaType"], json.dumps({**d, "config": {
            **d["config"], "digest": "sha256:../../../etc/passwd"}}).encode())})),
])
def test_a_lying_registry_is_refused(store, layer_tar, name, damage):
    fake = Fake()
    doc = fake.add_image("app", "1", layer_tar)
    damage(fake, doc)
    failed = tool(store, "pull", f"{fake.address}/app:1", check=False)
    assert failed.returncode == 1 and failed.stderr, name
    assert verify(store) == []
    assert not list((store / "layers").iterdir()) and not list((store / "blobs/sha256").iterdir())


def test_a_layer_that_is_not_what_the_config_says_is_refused(store, layer_tar):
    fake = Fake()
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {
        "type": "layers", "diff_ids": [digest(b"another")]}}).encode()
    fake.add_image("app", "1", layer_tar, config=config)
    failed = tool(store, "pull", f"{fake.address}/app:1", check=False)
    assert re.search("it unpacks to sha256:.*, the config says", failed.stderr)
    assert verify(store) == []


def make_layers(tmp_path, count):
    return [make_tar(tmp_path / f"layer{i}.tar", {"n": str(i).encode(), f"f{i}": os.urandom(200000)}).read_bytes()
            for i in range(count)]


def test_many_layers_come_at_once_and_in_order(tmp_path, store):
    fake = Fake()
    layers = make_layers(tmp_path, 8)
    fake.add_image("app", "1", *layers)
    tool(store, "pull", f"{fake.address}/app:1")
    opened = tool(store, "layers", f"{fake.address}/app:1").stdout.split()
    assert [(store / layer / "n").read_text() for layer in opened] == list("76543210")
    # A second image shares the lower half.
    fake.add_image("app", "2", *layers[:4], *make_layers(tmp_path, 1))
    again = tool(store, "pull", f"{fake.address}/app:2")
    assert again.stderr.count("Already exists") == 4
    tool(store, "remove", f"{fake.address}/app:1")
    assert len(tool(store, "layers", f"{fake.address}/app:2").stdout.split()) == 5
    assert len(list((store / "layers").iterdir())) == 5
    verify(store)


def test_one_bad_layer_among_many_spoils_all(tmp_path, store):
    fake = Fake()
    layers = make_layers(tmp_path, 8)
    fake.add_image("app", "1", *layers)
    fake.objects[f"/v2/app/blobs/{digest(layers[5])}"] = ("x", bytes(len(layers[5])))
    assert tool(store, "pull", f"{fake.address}/app:1", check=False).returncode == 1
    assert verify(store) == []
    assert not list((store / "layers").iterdir())


def test_an_index_gives_the_entry_of_the_platform(store, layer_tar):
    fake = Fake()
    doc = fake.add_image("app", "1", layer_tar)
    text = fake.objects["/v2/app/manifests/1"][1]
    fake.objects["/v2/app/manifests/" + digest(text)] = (doc["mediaType"], text)
    index = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                        "manifests": [
                            {"mediaType": doc["mediaType"], "digest": digest(b"no"), "size": 2,
                             "platform": {"os": "linux", "architecture": "s390x"}},
                            {"mediaType": doc["mediaType"], "digest": digest(text), "size": len(text),
                             "platform": {"os": "linux", "architecture": "amd64"}}]}).encode()
    fake.objects["/v2/app/manifests/1"] = ("application/vnd.oci.image.index.v1+json", index)
    pulled = tool(store, "pull", f"{fake.address}/app:1", "linux/amd64").stdout.split()
    assert pulled[1] == digest(index)
    assert "s390x" in tool(store, "pull", f"{fake.address}/app:1", "linux/riscv64", check=False).stderr


def test_an_overlays_upper_becomes_a_layer_and_comes_back(tmp_path, store):
    """Whiteouts, opaque directories, hard links and attributes, through the kernel's own overlay."""
    for d in ("lower", "upper", "work", "merged"):
        (tmp_path / d).mkdir()
    lower, merged = tmp_path / "lower", tmp_path / "merged"
    (lower / "d").mkdir()
    (lower / "d/old").write_text("old")
    (lower / "gone").write_text("gone")
    script = (f"mount -t overlay o -o lowerdir={lower},upperdir={tmp_path}/upper,workdir={tmp_path}/work "
              f"{merged} && cd {merged} && rm gone && rm -r d && mkdir d && echo new >d/new && "
              f"ln d/new hard && chown 12:34 d/new && chmod 4755 d/new && ln -s d/new soft")
    subprocess.run(["unshare", "-m", "sh", "-ec", script], check=True)
    layer = tool(store, "upper", tmp_path / "upper").stdout.split()[0]
    (tmp_path / "work2").mkdir()
    check = (f"mount -t overlay o -o lowerdir={store / layer}:{lower} {merged} && cd {merged} && "
             f"find . -printf '%P %y %m %U:%G %n\\n' | sort")
    found = subprocess.run(["unshare", "-m", "sh", "-ec", check], check=True, capture_output=True,
                           text=True).stdout
    assert "gone" not in found and "old" not in found
    assert "d/new f 4755 12:34 2\n" in found and "hard f 4755 12:34 2\n" in found and "soft l" in found
