# SPDX-License-Identifier: Apache-2.0
"""buoy-registry: each MUST of the distribution specification as a raw request, the clients that people use, and kills."""
import base64
import hashlib
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading

import pytest
from conftest import BUILD, eventually, sh

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"


def digest(data, algorithm="sha256"):
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    def json(self):
        return json.loads(self.body)

    def code(self):
        return self.json()["errors"][0]["code"]


class Registry:
    def __init__(self, base, *extra, enter=(), env=None):
        self.root, self.log, self.extra, self.enter, self.env = base / "root", base / "log", extra, enter, env
        self.port = None
        self.start()

    def start(self):
        before = self.log.read_text().count("the registry listens") if self.log.exists() else 0
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self.enter, BUILD / "buoy-registry", "--root", self.root, "--listen",
                 f"127.0.0.1:{self.port or 0}", *self.extra], stderr=log, env=dict(os.environ, **(self.env or {})))

        def listens():
            lines = [l for l in self.log.read_text().splitlines() if "the registry listens" in l]
            assert self.process.poll() is None, self.log.read_text()
            return lines[-1] if len(lines) > before else None
        self.port = int(eventually(listens).split("port=")[1].split()[0])
        self.address = f"127.0.0.1:{self.port}"

    def stop(self, sig=signal.SIGTERM):
        self.process.send_signal(sig)
        return self.process.wait(20)

    def __call__(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    # ---- what most tests begin with ----

    def session(self, name, query=""):
        got = self("POST", f"/v2/{name}/blobs/uploads/{query}", Content_Length="0")
        assert got.status == 202
        return got.headers["Location"]

    def push(self, name, data, algorithm="sha256"):
        d = digest(data, algorithm)
        got = self("PUT", f"{self.session(name)}?digest={d}", data)
        assert got.status == 201, got.body
        return d

    def manifest(self, name, config=b"{}", **more):
        d = self.push(name, config)
        return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [],
                           "config": {"mediaType": CONFIG, "digest": d, "size": len(config)}, **more}).encode()

    def put(self, name, reference, text, kind=MANIFEST):
        return self("PUT", f"/v2/{name}/manifests/{reference}", text, Content_Type=kind)


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    r = Registry(tmp_path_factory.mktemp("buoy-registry"))
    yield r
    assert r.stop() == 0


@pytest.fixture
def own(tmp_path):
    """Starts registries with options of their own; all are ended."""
    made = []

    def start(*extra, **kwargs):
        base = tmp_path / f"registry{len(made)}"
        base.mkdir()
        made.append(Registry(base, *extra, **kwargs))
        return made[-1]
    yield start
    for r in made:
        if r.process.poll() is None:
            r.stop()


# ---- the specification ----

def test_the_base_says_what_it_is(registry):
    assert registry("GET", "/v2/").status == 200


def test_a_blob_is_pushed_with_post_and_put(registry):
    data = os.urandom(100000)
    d = registry.push("spec/mono", data)
    got = registry("GET", f"/v2/spec/mono/blobs/{d}")
    assert got.status == 200 and got.body == data and got.headers["Docker-Content-Digest"] == d
    head = registry("HEAD", f"/v2/spec/mono/blobs/{d}")
    assert head.status == 200 and head.headers["Content-Length"] == "100000" and not head.body
    assert head.headers["Docker-Content-Digest"] == d


def test_a_blob_is_pushed_with_one_post(registry):
    data = b"single"
    got = registry("POST", f"/v2/spec/single/blobs/uploads/?digest={digest(data)}", data)
    assert got.status == 201 and registry("GET", got.headers["Location"]).body == data
    wrong = registry("POST", f"/v2/spec/single/blobs/uploads/?digest={digest(b'x')}", data)
    assert wrong.status == 400 and wrong.code() == "DIGEST_INVALID"


def test_an_empty_blob_is_a_blob(registry):
    d = registry.push("spec/empty", b"")
    got = registry("GET", f"/v2/spec/empty/blobs/{d}")
    assert got.status == 200 and got.body == b""


def test_chunks_come_in_order_or_416(registry):
    place = registry.session("spec/chunks")
    first = registry("PATCH", place, b"0123", Content_Range="0-3")
    assert first.status == 202 and first.headers["Range"] == "0-3"
    place = first.headers["Location"]
    assert registry("PATCH", place, b"89", Content_Range="8-9").status == 416, "a gap"
    assert registry("PATCH", place, b"0123", Content_Range="0-3").status == 416, "again"
    state = registry("GET", place)
    assert state.status == 204 and state.headers["Range"] == "0-3" and state.headers["Location"]
    assert registry("PATCH", place, b"4567", Content_Range="4-7").status == 202
    assert registry("PUT", f"{place}?digest={digest(b'0123456789')}", b"89", Content_Range="9-10").status == 416
    last = registry("PUT", f"{place}?digest={digest(b'0123456789')}", b"89", Content_Range="8-9")
    assert last.status == 201 and registry("GET", last.headers["Location"]).body == b"0123456789"


def test_a_broken_chunk_goes_on_where_it_broke(registry):
    place, data = registry.session("spec/resume"), os.urandom(300000)
    connection = http.client.HTTPConnection("127.0.0.1", registry.port)
    connection.putrequest("PATCH", place)
    connection.putheader("Content-Length", str(len(data)))
    connection.endheaders()
    connection.send(data[:100000])
    connection.close()

    def rest():
        got = registry("GET", place)
        end = int(got.headers["Range"].split("-")[1]) if got.status == 204 else 0
        return end and end + 1  # not before the chunk has reached the server at all
    came = eventually(rest)
    assert 1 <= came <= 100000
    got = registry("PATCH", place, data[came:], Content_Range=f"{came}-{len(data) - 1}")
    assert got.status == 202
    assert registry("PUT", f"{place}?digest={digest(data)}").status == 201


def test_a_session_is_cancelled_and_then_unknown(registry):
    place = registry.session("spec/cancel")
    assert registry("DELETE", place).status == 204
    for method in ("GET", "PATCH", "DELETE"):
        got = registry(method, place)
        assert got.status == 404
        assert method == "HEAD" or got.code() == "BLOB_UPLOAD_UNKNOWN"
    assert registry("GET", registry.session("spec/cancel").replace("spec/cancel", "spec/other")).status == 404


@pytest.mark.parametrize("bad", ["sha256:abc", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:" + "G" * 64, "x"])
def test_invalid_digests_are_400(registry, bad):
    assert registry("PUT", f"{registry.session('spec/bad')}?digest={bad}", b"x").code() == "DIGEST_INVALID"
    assert registry("GET", f"/v2/spec/bad/blobs/{bad}").status in (400, 404)
    assert registry("GET", f"/v2/spec/bad/referrers/{bad}").status == 400


def test_a_wrong_digest_leaves_nothing(registry):
    d = digest(b"right")
    assert registry("PUT", f"{registry.session('spec/wrong')}?digest={d}", b"wrong").status == 400
    assert registry("HEAD", f"/v2/spec/wrong/blobs/{d}").status == 404


@pytest.mark.parametrize("query", ["", "?digest-algorithm=sha512"])
def test_sha512_is_an_algorithm_too(registry, query):
    data = b"wide" + query.encode()
    d = digest(data, "sha512")
    assert registry("PUT", f"{registry.session('spec/wide', query)}?digest={d}", data).status == 201
    assert registry("GET", f"/v2/spec/wide/blobs/{d}").body == data
    text = registry.manifest("spec/wide", b"{}", annotations={"q": query})
    m = digest(text, "sha512")
    assert registry.put("spec/wide", m, text).status == 201
    assert registry("GET", f"/v2/spec/wide/manifests/{m}").headers["Docker-Content-Digest"] == m


def test_ranges_of_a_blob(registry):
    d = registry.push("spec/range", b"0123456789")
    for asked, status, body, said in [("bytes=2-4", 206, b"234", "bytes 2-4/10"), ("bytes=7-", 206, b"789", "bytes 7-9/10"),
                                      ("bytes=-2", 206, b"89", "bytes 8-9/10"), ("bytes=5-99", 206, b"56789", "bytes 5-9/10"),
                                      ("bytes=a-b", 200, b"0123456789", None)]:
        got = registry("GET", f"/v2/spec/range/blobs/{d}", Range=asked)
        assert (got.status, got.body, got.headers["Content-Range"]) == (status, body, said)
    got = registry("GET", f"/v2/spec/range/blobs/{d}", Range="bytes=10-")
    assert got.status == 416 and got.headers["Content-Range"] == "bytes */10"


def test_a_blob_is_mounted_from_another_repository(registry):
    d = registry.push("spec/from", b"mounted")
    got = registry("POST", f"/v2/spec/to/blobs/uploads/?mount={d}&from=spec/from")
    assert got.status == 201 and registry("GET", got.headers["Location"]).body == b"mounted"
    assert registry("POST", f"/v2/spec/to2/blobs/uploads/?mount={d}&from=spec/nothing").status == 202
    assert registry("POST", f"/v2/spec/to2/blobs/uploads/?mount={d}").status == 202
    assert registry("HEAD", f"/v2/spec/to2/blobs/{d}").status == 404, "content belongs to who has it"
    files = list((registry.root / "blobs/sha256").glob(d[7:]))
    assert len(files) == 1 and files[0].stat().st_nlink == 3


def test_a_manifest_is_stored_byte_by_byte(registry):
    text = registry.manifest("spec/man").replace(b", ", b" ,\n ")
    got = registry.put("spec/man", "v1", text)
    assert got.status == 201 and got.headers["Docker-Content-Digest"] == digest(text)
    for reference in ("v1", digest(text)):
        back = registry("GET", f"/v2/spec/man/manifests/{reference}")
        assert back.status == 200 and back.body == text and back.headers["Content-Type"] == MANIFEST
        head = registry("HEAD", f"/v2/spec/man/manifests/{reference}")
        assert head.status == 200 and head.headers["Content-Length"] == str(len(text)) and not head.body
    assert registry("GET", got.headers["Location"]).body == text


def test_what_is_not_there_is_404(registry):
    registry.push("spec/there", b"x")
    for path, code in [("spec/there/manifests/none", "MANIFEST_UNKNOWN"), (f"spec/there/manifests/{digest(b'n')}", "MANIFEST_UNKNOWN"),
                       (f"spec/there/blobs/{digest(b'n')}", "BLOB_UNKNOWN"), ("spec/nowhere/manifests/v1", "NAME_UNKNOWN"),
                       ("spec/nowhere/tags/list", "NAME_UNKNOWN")]:
        got = registry("GET", f"/v2/{path}")
        assert (got.status, got.code()) == (404, code)
        assert registry("HEAD", f"/v2/{path}").status == 404


@pytest.mark.parametrize("name", ["Upper", "a..b", "a/../b", "%2e%2e/x", "a//b", "-a", "x" * 256])
def test_bad_names_are_refused(registry, name):
    got = registry("POST", f"/v2/{name}/blobs/uploads/")
    assert got.status in (400, 404)
    assert set(got.json()) == {"errors"}


def test_bad_manifests_are_refused(registry):
    good = json.loads(registry.manifest("spec/badman"))
    for text, kind, code in [
            (b"no json", MANIFEST, "MANIFEST_INVALID"), (b"[]", MANIFEST, "MANIFEST_INVALID"),
            (json.dumps(good).encode(), INDEX, "MANIFEST_INVALID"),
            (json.dumps({**good, "manifests": []}).encode(), MANIFEST, "MANIFEST_INVALID"),
            (json.dumps({**good, "layers": [{"mediaType": "a/b", "digest": digest(b"gone"), "size": 4}]}).encode(),
             MANIFEST, "MANIFEST_BLOB_UNKNOWN")]:
        got = registry.put("spec/badman", "v1", text, kind)
        assert (got.status in (400, 404)) and got.code() == code
    assert registry.put("spec/badman", digest(b"other"), json.dumps(good).encode()).code() == "DIGEST_INVALID"
    assert registry.put("spec/badman", "v1", b"{" + b" " * (5 << 20) + b"}").status == 413
    assert registry.put("spec/badman", "v1", b'{"a":"' + b"x" * (4 << 20 >> 1) + b'"}').status == 400
    assert registry("GET", "/v2/spec/badman/manifests/v1").status == 404


def test_several_tags_in_one_push(registry):
    text = registry.manifest("spec/many")
    got = registry.put("spec/many", f"{digest(text)}?tag=1&tag=1.2&tag=1.2.3", text)
    assert got.status == 201 and sorted(got.headers.get_all("OCI-Tag")) == ["1", "1.2", "1.2.3"]
    assert registry("GET", "/v2/spec/many/tags/list").json() == {"name": "spec/many", "tags": ["1", "1.2", "1.2.3"]}


def test_tags_come_in_pages(registry):
    text = registry.manifest("spec/tags")
    assert registry("GET", "/v2/spec/tags/tags/list").json()["tags"] == []
    for tag in "cabd":
        registry.put("spec/tags", tag, text)
    assert registry("GET", "/v2/spec/tags/tags/list").json()["tags"] == list("abcd")
    page = registry("GET", "/v2/spec/tags/tags/list?n=2")
    assert page.json()["tags"] == ["a", "b"] and 'rel="next"' in page.headers["Link"]
    following = registry("GET", page.headers["Link"].split("<")[1].split(">")[0])
    assert following.json()["tags"] == ["c", "d"] and following.headers["Link"] is None
    none = registry("GET", "/v2/spec/tags/tags/list?n=0")
    assert none.json()["tags"] == [] and none.headers["Link"] is None
    assert registry("GET", "/v2/spec/tags/tags/list?last=b").json()["tags"] == ["c", "d"]
    assert registry("GET", "/v2/spec/tags/tags/list?n=x").status == 400


def test_the_catalog_comes_in_pages(registry):
    for name in ("cat/a", "cat/b", "cat/c"):
        registry.push(name, b"x")
    assert {"cat/a", "cat/b", "cat/c"} <= set(registry("GET", "/v2/_catalog").json()["repositories"])
    page = registry("GET", "/v2/_catalog?n=2&last=cat")
    assert page.json()["repositories"] == ["cat/a", "cat/b"] and page.headers["Link"]


def test_tags_and_manifests_are_deleted(registry):
    text = registry.manifest("spec/del")
    for tag in ("a", "b"):
        registry.put("spec/del", tag, text)
    assert registry("DELETE", "/v2/spec/del/manifests/a").status == 202
    assert registry("GET", "/v2/spec/del/manifests/a").status == 404
    assert registry("GET", "/v2/spec/del/manifests/b").status == 200
    assert registry("DELETE", f"/v2/spec/del/manifests/{digest(text)}").status == 202
    assert registry("GET", f"/v2/spec/del/manifests/{digest(text)}").status == 404
    assert registry("GET", "/v2/spec/del/manifests/b").status == 404, "its tags go with it"
    assert registry("DELETE", "/v2/spec/del/manifests/b").status == 404
    assert registry("DELETE", f"/v2/spec/nowhere/manifests/{digest(text)}").status == 404
    blob = digest(b"{}")
    assert registry("DELETE", f"/v2/spec/del/blobs/{blob}").status == 202
    assert registry("DELETE", f"/v2/spec/del/blobs/{blob}").status == 404
    assert registry("HEAD", f"/v2/spec/del/blobs/{blob}").status == 404


def test_referrers(registry):
    subject = registry.manifest("spec/ref")
    d = digest(subject)
    about = {"mediaType": MANIFEST, "digest": d, "size": len(subject)}
    signature = registry.manifest("spec/ref", subject=about, artifactType="example/signature", annotations={"k": "v"})
    plain = registry.manifest("spec/ref", subject=about)
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "subject": about}).encode()
    for text, kind in [(signature, MANIFEST), (plain, MANIFEST), (index, INDEX)]:
        got = registry.put("spec/ref", digest(text), text, kind)
        assert got.status == 201 and got.headers["OCI-Subject"] == d, "before its subject is there"
    registry.put("spec/ref", "subject", subject)
    got = registry("GET", f"/v2/spec/ref/referrers/{d}")
    assert got.status == 200 and got.headers["Content-Type"] == INDEX
    found = {m["digest"]: m for m in got.json()["manifests"]}
    assert found == {
        digest(signature): {"mediaType": MANIFEST, "digest": digest(signature), "size": len(signature),
                            "artifactType": "example/signature", "annotations": {"k": "v"}},
        digest(plain): {"mediaType": MANIFEST, "digest": digest(plain), "size": len(plain), "artifactType": CONFIG},
        digest(index): {"mediaType": INDEX, "digest": digest(index), "size": len(index)}}
    got = registry("GET", f"/v2/spec/ref/referrers/{d}?artifactType=example/signature")
    assert got.headers["OCI-Filters-Applied"] == "artifactType"
    assert [m["digest"] for m in got.json()["manifests"]] == [digest(signature)]
    for path in (f"spec/ref/referrers/{digest(b'none')}", f"spec/nowhere/referrers/{d}"):
        got = registry("GET", f"/v2/{path}")
        assert got.status == 200 and got.json()["manifests"] == []
    registry("DELETE", f"/v2/spec/ref/manifests/{digest(plain)}")
    assert digest(plain) not in registry("GET", f"/v2/spec/ref/referrers/{d}").body.decode()


def test_every_error_has_the_form_of_the_specification(registry):
    for method, path in [("GET", "/nothing"), ("PUT", "/v2/"), ("GET", "/v2/x/nothing"), ("PATCH", "/v2/x/manifests/y")]:
        got = registry(method, path)
        assert 400 <= got.status < 500 and set(got.json()["errors"][0]) <= {"code", "message", "detail"}
        assert got.code().replace("_", "").isalpha()


def test_read_only(own):
    r = own()
    d = r.push("a", b"x")
    r.stop()
    r.extra = ("--read-only", "yes")
    r.start()
    assert r("GET", f"/v2/a/blobs/{d}").status == 200
    for method, path in [("POST", "/v2/a/blobs/uploads/"), ("DELETE", f"/v2/a/blobs/{d}"), ("PUT", "/v2/a/manifests/x")]:
        assert r(method, path).status == 405
    assert r("POST", f"/v2/b/blobs/uploads/?mount={d}&from=a").status == 405


def test_ceilings(own):
    r = own("--blob-max", "64k", "--uploads-max", "2")
    assert r("PUT", f"{r.session('a')}?digest={digest(bytes(70000))}", bytes(70000)).status == 413
    r.session("a")
    got = r("POST", "/v2/a/blobs/uploads/")
    assert got.status == 429 and got.headers["Retry-After"] and got.code() == "TOOMANYREQUESTS"


# ---- on the disk ----

def test_a_repository_is_an_image_layout(registry, tmp_path):
    if not shutil.which("skopeo"):
        pytest.skip("skopeo is not installed (tools/deps peers)")
    text = registry.manifest("disk/layout", b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}')
    registry.put("disk/layout", "v1", text)
    got = json.loads(sh("skopeo", "inspect", f"oci:{registry.root}/repositories/disk+layout:v1").stdout)
    assert got["Digest"] == digest(text)


def check_whole(r):
    """Every name on the disk is whole: content hashes to its name, manifests have what they refer to."""
    for file in r.root.glob("blobs/*/*"):
        assert digest(file.read_bytes(), file.parent.name) == f"{file.parent.name}:{file.name}"
    for index in r.root.glob("repositories/*/index.json"):
        blobs = index.parent / "blobs"
        for m in json.loads(index.read_text())["manifests"]:
            text = json.loads((blobs / m["digest"].replace(":", "/")).read_text())
            for d in [text["config"], *text["layers"]]:
                assert (blobs / d["digest"].replace(":", "/")).exists()


def test_a_kill_during_pushes_loses_nothing_acknowledged(own):
    r = own()
    for round_ in range(4):
        acknowledged, stop = {}, threading.Event()

        def push(worker, number=0, round_=round_, acknowledged=acknowledged, stop=stop):
            while not stop.is_set():
                try:
                    layer = os.urandom(200000)
                    d = r.push("crash/app", layer)
                    text = r.manifest("crash/app", layers=[{"mediaType": "a/b", "digest": d, "size": len(layer)}])
                    tag = f"{round_}-{worker}-{number}"
                    if r.put("crash/app", tag, text).status == 201:
                        acknowledged[tag] = text
                    number += 1
                except (OSError, http.client.HTTPException, AssertionError):
                    return
        threads = [threading.Thread(target=push, args=(w,)) for w in range(3)]
        for t in threads:
            t.start()
        eventually(lambda a=acknowledged: len(a) >= 3, 30)
        r.stop(signal.SIGKILL)
        stop.set()
        for t in threads:
            t.join()
        r.start()
        assert acknowledged
        for tag, text in acknowledged.items():
            assert r("GET", f"/v2/crash/app/manifests/{tag}").body == text
        check_whole(r)
        assert not list((r.root / "staging").iterdir())


@pytest.mark.parametrize("point", ["registry.publish.before", "registry.publish.linked", "registry.index.before"])
def test_a_kill_at_each_step_of_a_push(own, point):
    listed = sh(BUILD / "buoy-registry", env=dict(os.environ, BUOY_FAILPOINTS="list"), check=False)
    if point not in listed.stdout:
        pytest.skip("built without failpoints")
    r = own(env={"BUOY_FAILPOINTS": f"{point}=exit@2"})
    with pytest.raises((OSError, http.client.HTTPException, AssertionError)):
        for n in range(3):
            text = r.manifest("step", str(n).encode())
            assert r.put("step", "v1", text).status == 201
    r.process.wait(10)
    r.env = None
    r.start()
    check_whole(r)
    text = r.manifest("step", b"again")
    assert r.put("step", "v1", text).status == 201 and r("GET", "/v2/step/manifests/v1").body == text


# ---- clients ----

@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """An image as an OCI layout, made by hand: one layer with one file."""
    import gzip
    import io
    import tarfile
    base = tmp_path_factory.mktemp("layout")
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        info = tarfile.TarInfo("hello")
        info.size = 5
        tar.addfile(info, io.BytesIO(b"ahoy\n"))
    layer = gzip.compress(raw.getvalue(), mtime=0)
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                         "rootfs": {"type": "layers", "diff_ids": [digest(raw.getvalue())]}}).encode()
    manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST,
                           "config": {"mediaType": CONFIG, "digest": digest(config), "size": len(config)},
                           "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                                       "digest": digest(layer), "size": len(layer)}]}).encode()
    (base / "blobs/sha256").mkdir(parents=True)
    for data in (layer, config, manifest):
        (base / "blobs/sha256" / digest(data)[7:]).write_bytes(data)
    (base / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (base / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [
        {"mediaType": MANIFEST, "digest": digest(manifest), "size": len(manifest),
         "annotations": {"org.opencontainers.image.ref.name": "v1"}}]}))
    return base, digest(manifest)


def need(program):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed (tools/deps peers)")


def test_skopeo_copies_inspects_lists_and_deletes(registry, layout, tmp_path):
    need("skopeo")
    base, image = layout
    name = f"docker://{registry.address}/skopeo/app"
    sh("skopeo", "copy", "--dest-tls-verify=false", f"oci:{base}:v1", f"{name}:v1")
    sh("skopeo", "copy", "--dest-tls-verify=false", "--src-tls-verify=false", f"{name}:v1", f"{name}-copy:v2")
    assert json.loads(sh("skopeo", "inspect", "--tls-verify=false", f"{name}:v1").stdout)["Digest"] == image
    assert json.loads(sh("skopeo", "list-tags", "--tls-verify=false", name).stdout)["Tags"] == ["v1"]
    sh("skopeo", "copy", "--src-tls-verify=false", f"{name}:v1", f"oci:{tmp_path}/back:v1")
    assert (tmp_path / "back/blobs/sha256" / image[7:]).exists()
    sh("skopeo", "delete", "--tls-verify=false", f"{name}:v1")
    assert json.loads(sh("skopeo", "list-tags", "--tls-verify=false", name).stdout)["Tags"] == []
    assert sh("skopeo", "inspect", "--tls-verify=false", f"{name}:v1", check=False).returncode != 0


@pytest.fixture
def short(tmp_path):
    """A directory whose path podman takes for its run root: at most 50 bytes."""
    path = tempfile.mkdtemp(prefix="buoy-")
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_podman_pulls_and_pushes(registry, layout, tmp_path, short):
    need("podman")
    base, image = layout
    store = ("podman", "--root", tmp_path / "root", "--runroot", short, "--tmpdir", f"{short}/tmp",
             "--storage-driver", "vfs")
    registry_name = f"{registry.address}/podman/app"
    sh(*store, "pull", f"oci:{base}:v1")
    loaded = sh(*store, "images", "-q").stdout.split()[0]
    sh(*store, "push", "--tls-verify=false", loaded, f"docker://{registry_name}:v1")
    sh(*store, "rmi", "-f", loaded)
    sh(*store, "pull", "--tls-verify=false", f"{registry_name}:v1")
    assert sh(*store, "images", "-q").stdout.split()


def test_buildah_builds_and_pushes(registry, tmp_path):
    need("buildah")
    store = ("buildah", "--root", tmp_path / "root", "--runroot", tmp_path / "run", "--storage-driver", "vfs")
    container = sh(*store, "from", "scratch").stdout.strip()
    (tmp_path / "file").write_text("built")
    sh(*store, "copy", container, tmp_path / "file", "/file")
    sh(*store, "commit", "--tls-verify=false", container, f"docker://{registry.address}/buildah/app:v1")
    sh(*store, "rm", container)
    sh(*store, "pull", "--tls-verify=false", f"{registry.address}/buildah/app:v1")
    assert registry("GET", "/v2/buildah/app/tags/list").json()["tags"] == ["v1"]


def test_docker_and_buoy_push_and_pull(cli, daemon, own, tmp_path):
    r = own(enter=("nsenter", f"--net=/run/netns/{daemon.netns}"))
    name = f"{r.address}/some/thing:{cli.which}"
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN echo pushed > /layer\nCMD [\"cat\", \"/layer\"]\n")
    cli("build", "-t", name, tmp_path)
    image = cli.inspect(name)[0]["Id"]
    assert "digest: sha256:" in cli.out("push", name)
    cli("rmi", name)
    cli("pull", name)
    assert cli.inspect(name)[0]["Id"] == image and cli.out("run", "--rm", name) == "pushed"
    cli("rmi", name)
    assert cli("pull", f"{r.address}/no/such:1", check=False).returncode == 1


# ---- users, TLS, collecting ----

def bcrypt(password):
    import crypt
    return crypt.crypt(password, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=1 << 5))


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_users_and_rules(own, tmp_path, layout):
    (tmp_path / "users").write_text(f"alice:{bcrypt('secret')}\nbob:{bcrypt('hidden')}\n")
    (tmp_path / "config").write_text(
        f"htpasswd = {tmp_path}/users\nrule = team/* alice pull,push,delete\n"
        "rule = team/* bob pull\nrule = public/* anonymous pull\nrule = public/* alice push\n")
    r = own("--config", tmp_path / "config")
    alice, bob = basic("alice", "secret"), basic("bob", "hidden")
    got = r("GET", "/v2/")
    assert got.status == 401 and got.code() == "UNAUTHORIZED" and got.headers["WWW-Authenticate"].startswith("Basic ")
    for wrong in (basic("alice", "hidden"), basic("eve", "x"), "Basic !", "Bearer x", basic("alice", "")):
        assert r("GET", "/v2/", Authorization=wrong).status == 401
    assert r("GET", "/v2/", Authorization=alice).status == 200
    assert r("POST", "/v2/team/a/blobs/uploads/", Authorization=alice).status == 202
    assert r("POST", "/v2/team/a/blobs/uploads/", Authorization=bob).code() == "DENIED"
    assert r("POST", "/v2/team/a/blobs/uploads/").status == 401
    assert r("POST", "/v2/other/blobs/uploads/", Authorization=alice).status == 403
    assert r("GET", "/v2/_catalog", Authorization=alice).status == 403, "no rule names the catalog"
    data = b"private"
    assert r("POST", f"/v2/team/a/blobs/uploads/?digest={digest(data)}", data, Authorization=alice).status == 201
    assert r("GET", f"/v2/team/a/blobs/{digest(data)}", Authorization=bob).status == 200
    got = r("POST", f"/v2/public/a/blobs/uploads/?digest={digest(b'open')}", b"open", Authorization=alice)
    assert got.status == 201 and r("GET", f"/v2/public/a/blobs/{digest(b'open')}").status == 200
    # A mount needs the right to read its source: here nobody may read secret/, though alice may write public/.
    got = r("POST", f"/v2/public/b/blobs/uploads/?mount={digest(data)}&from=secret/a", Authorization=alice)
    assert got.status == 202
    (tmp_path / "users").write_text(f"alice:{bcrypt('renewed')}\n")
    r.process.send_signal(signal.SIGHUP)
    eventually(lambda: r("GET", "/v2/", Authorization=basic("alice", "renewed")).status == 200)
    assert r("GET", "/v2/", Authorization=alice).status == 401
    if shutil.which("skopeo"):
        sh("skopeo", "copy", "--dest-tls-verify=false", "--dest-creds", "alice:renewed", f"oci:{layout[0]}:v1",
           f"docker://{r.address}/team/app:v1")


@pytest.mark.parametrize("text", ["alice:{SHA}abc", "alice", ":x"])
def test_a_password_file_that_is_not_understood_is_refused(tmp_path, text):
    (tmp_path / "users").write_text(text + "\n")
    got = sh(BUILD / "buoy-registry", "--root", tmp_path / "root", "--listen", "127.0.0.1:0", "--htpasswd",
             tmp_path / "users", check=False)
    assert got.returncode == 1 and "line 1" in got.stderr


def certificate(base, name):
    sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
       f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", base / "key.pem", "-out", base / "cert.pem")
    return (base / "cert.pem").read_text()


def test_tls_and_a_certificate_that_is_renewed(own, tmp_path):
    need("openssl")

    def get(r, ca):
        connection = http.client.HTTPSConnection("127.0.0.1", r.port, timeout=10,
                                                 context=ssl.create_default_context(cadata=ca))
        try:
            connection.request("GET", "/v2/")
            return connection.getresponse().status
        finally:
            connection.close()
    first = certificate(tmp_path, "first")
    r = own("--tls-cert", tmp_path / "cert.pem", "--tls-key", tmp_path / "key.pem")
    assert get(r, first) == 200
    second = certificate(tmp_path, "second")
    with pytest.raises(ssl.SSLError):
        get(r, second)
    r.process.send_signal(signal.SIGHUP)
    eventually(lambda: "read again" in r.log.read_text())
    assert get(r, second) == 200
    (tmp_path / "cert.pem").write_text("damaged")
    r.process.send_signal(signal.SIGHUP)
    eventually(lambda: "the old stays" in r.log.read_text())
    assert get(r, second) == 200


def test_what_nothing_refers_to_is_collected_while_pushes_go_on(own):
    r = own("--gc-interval", "1s", "--gc-grace", "3s")
    orphan = r.push("gc/app", b"orphan")
    text = r.manifest("gc/app", b"kept")
    assert r.put("gc/app", "v1", text).status == 201
    gone = r.manifest("gc/app", b"gone")
    assert r.put("gc/app", "v2", gone).status == 201
    assert r("DELETE", f"/v2/gc/app/manifests/{digest(gone)}").status == 202
    files = r.root / "blobs/sha256"

    def collected():
        assert r.put("gc/app", "v3", r.manifest("gc/app", b"new")).status == 201
        return not any((files / d[7:]).exists() for d in (orphan, digest(b"gone"), digest(gone)))
    eventually(collected, 30, 0.3)
    assert r("HEAD", f"/v2/gc/app/blobs/{orphan}").status == 404
    for tag, config in (("v1", b"kept"), ("v3", b"new")):
        assert r("GET", f"/v2/gc/app/manifests/{tag}").status == 200
        assert r("GET", f"/v2/gc/app/blobs/{digest(config)}").body == config
    check_whole(r)


def test_an_idle_upload_expires(own):
    r = own("--upload-expiry", "1s")
    place = r.session("idle")
    eventually(lambda: r("PATCH", place, b"").status == 404 or None, 20, 3)


def test_metrics_count_what_was_answered(own):
    r = own()
    r.push("m", b"x")
    r("GET", "/v2/none/tags/list")
    got = r("GET", "/metrics")
    assert got.status == 200 and got.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = got.body.decode().splitlines()
    assert 'buoy_registry_requests_total{method="PUT",class="2xx"} 1' in lines
    assert 'buoy_registry_requests_total{method="GET",class="4xx"} 1' in lines
    assert "buoy_registry_repositories 1" in lines and "buoy_registry_uploads 0" in lines
