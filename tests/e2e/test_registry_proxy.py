# SPDX-License-Identifier: Apache-2.0
"""buoy-registry as a cache of other registries: of one of its own kind with users and tokens, and of one that misbehaves."""
import http.client
import http.server
import json
import os
import re
import signal
import threading
import time

import pytest
from conftest import eventually, sh
from test_registry import MANIFEST, basic, bcrypt, check_whole, digest, layout, need, own  # noqa: F401 (fixtures)


class Upstream:
    """A registry that counts what it is asked for, and does with blobs what a test says."""

    def __init__(self):
        self.blobs, self.manifests, self.asked, self.down, self.act = {}, {}, [], False, None
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def answer(self, status, body=b"", **headers):
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def do_GET(self):
                outer.asked.append(f"{self.command} {self.path}")
                if outer.down:
                    return self.answer(outer.down)
                kind, what = re.search(r"/(blobs|manifests)/([^/]+)$", self.path).groups()
                data = (outer.blobs if kind == "blobs" else outer.manifests).get(what)
                if data is None:
                    return self.answer(404)
                if kind == "manifests":
                    return self.answer(200, data, Content_Type=MANIFEST, Docker_Content_Digest=digest(data))
                if outer.act and self.command == "GET":
                    return outer.act(self, data)
                return self.answer(200, data)
            do_HEAD = do_GET
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, tag, layer):
        config = b'{"architecture":"amd64"}' + tag.encode()
        text = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST,
                           "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config), "size": len(config)},
                           "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(layer), "size": len(layer)}]}).encode()
        self.blobs.update({digest(config): config, digest(layer): layer})
        self.manifests.update({tag: text, digest(text): text})
        return text

    def count(self, what):
        return sum(what in line for line in self.asked)


@pytest.fixture
def upstream():
    u = Upstream()
    yield u
    u.server.shutdown()
    u.server.server_close()


def test_content_is_fetched_once_and_served_when_the_upstream_is_away(own, upstream):
    layer = os.urandom(300000)
    text = upstream.add("v1", layer)
    r = own("--upstream", f"hub/ {upstream.url}", "--upstream-ttl", "1s")
    for _ in range(3):
        got = r("GET", "/v2/hub/some/app/manifests/v1")
        assert got.status == 200 and got.body == text and got.headers["Docker-Content-Digest"] == digest(text)
        assert r("GET", f"/v2/hub/some/app/blobs/{digest(layer)}").body == layer
    assert upstream.asked[0] == "GET /v2/some/app/manifests/v1", "the prefix is ours"
    assert upstream.count("manifests") == 1 and upstream.count("blobs") == 1
    assert r("GET", f"/v2/hub/some/app/manifests/{digest(text)}").body == text and upstream.count("manifests") == 1
    time.sleep(1.1)
    assert r("GET", "/v2/hub/some/app/manifests/v1").status == 200
    assert upstream.asked[-1] == "HEAD /v2/some/app/manifests/v1", "a tag that has not moved costs a HEAD"
    newer = upstream.add("v1", layer + b"newer")
    time.sleep(1.1)
    assert r("GET", "/v2/hub/some/app/manifests/v1").body == newer
    # Away: what is here is served, and says that it may be old; what is not is an error that says why.
    upstream.down = 503
    time.sleep(1.1)
    got = r("GET", "/v2/hub/some/app/manifests/v1")
    assert got.status == 200 and got.body == newer and got.headers["Warning"].startswith("110")
    got = r("GET", "/v2/hub/some/app/manifests/other")
    assert got.status == 503 and upstream.url in got.json()["errors"][0]["message"]
    upstream.server.shutdown()
    upstream.server.server_close()
    assert r("GET", "/v2/hub/some/app/manifests/v1").body == newer
    assert r("GET", f"/v2/hub/some/app/blobs/{digest(layer)}").body == layer
    assert r("GET", f"/v2/hub/some/app/blobs/{digest(b'none')}").status == 503
    r.stop()
    r.start()
    assert r("GET", "/v2/hub/some/app/manifests/v1").body == newer, "also after a restart"
    check_whole_blobs(r)
    metrics = r("GET", "/metrics").body.decode()
    assert 'upstream_requests_total{result="stale"} 1' in metrics


def check_whole_blobs(r):
    for file in r.root.glob("blobs/*/*"):
        assert digest(file.read_bytes(), file.parent.name) == f"{file.parent.name}:{file.name}"


def test_names_of_the_upstream_and_our_own(own, upstream):
    layer = b"layer"
    upstream.add("v1", layer)
    r = own("--upstream", f"hub/ {upstream.url}")
    got = r("POST", "/v2/hub/app/blobs/uploads/")
    assert got.status == 405 and upstream.url in got.json()["errors"][0]["message"]
    assert r("POST", "/v2/hubble/blobs/uploads/").status == 202
    assert r("GET", "/v2/own/app/manifests/v1").status == 404 and not upstream.asked
    assert r("GET", "/v2/hub/app/manifests/none").status == 404
    assert r("GET", f"/v2/hub/app/blobs/{digest(b'none')}").status == 404
    head = r("HEAD", f"/v2/hub/app/blobs/{digest(layer)}")
    assert head.status == 200 and head.headers["Content-Length"] == "5" and upstream.count("GET /v2/app/blobs") == 1
    assert r("GET", "/v2/_catalog").json()["repositories"] == [], "what failed leaves no repository"
    assert r("GET", "/v2/hub/app/manifests/v1").status == 200
    del upstream.manifests["v1"]
    r.stop()
    r.start()
    assert r("GET", "/v2/hub/app/manifests/v1").status == 404, "a tag that is gone there is gone here"
    assert r("GET", "/v2/hub/app/tags/list").json()["tags"] == []


def test_one_fetch_for_all_who_ask_and_they_read_along(own, upstream):
    data, gate = os.urandom(4000000), threading.Event()

    def slowly(handler, body):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[:2000000])
        gate.wait(20)
        handler.wfile.write(body[2000000:])
    upstream.blobs[digest(data)], upstream.act = data, slowly
    r = own("--upstream", f"hub/ {upstream.url}")
    path, got = f"/v2/hub/app/blobs/{digest(data)}", []
    first = http.client.HTTPConnection("127.0.0.1", r.port, timeout=20)
    first.request("GET", path)
    response = first.getresponse()
    assert response.status == 200 and response.headers["Content-Length"] == "4000000"
    assert response.read(1500000) == data[:1500000], "the bytes come before the upstream has sent the last"
    threads = [threading.Thread(target=lambda n=n: got.append(r("GET", f"/v2/hub/app{n % 2}/blobs/{digest(data)}").body)) for n in range(6)]
    for t in threads:
        t.start()
    part = http.client.HTTPConnection("127.0.0.1", r.port, timeout=20)
    part.request("GET", path, headers={"Range": "bytes=100-299"})
    assert part.getresponse().read() == data[100:300]
    first.close()  # who asked first leaves; the fetch goes on
    time.sleep(0.3)
    gate.set()
    for t in threads:
        t.join(20)
    assert got == [data] * 6 and upstream.count("blobs") == 1
    eventually(lambda: all(r("GET", f"/v2/hub/app{n}/blobs/{digest(data)}").body == data for n in range(2)))
    assert upstream.count("blobs") == 1


def test_what_breaks_in_the_middle_goes_on(own, upstream):
    data, ranges = os.urandom(1000000), []

    def breaks(handler, body):
        asked = handler.headers["Range"]
        ranges.append(asked)
        start = int(asked.split("=")[1].rstrip("-")) if asked else 0
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(body) - start))
        handler.end_headers()
        handler.wfile.write(body[start:start + 400000])
        handler.close_connection = True
    upstream.blobs[digest(data)], upstream.act = data, breaks
    r = own("--upstream", f"hub/ {upstream.url}")
    assert r("GET", f"/v2/hub/app/blobs/{digest(data)}").body == data
    assert len(ranges) == 3 and ranges[0] is None


@pytest.mark.parametrize("lie", ["other bytes", "too short", "no length"])
def test_bytes_that_are_not_the_digest_never_arrive_whole(own, upstream, lie):
    data = os.urandom(100000)

    def lies(handler, body):
        handler.send_response(200)
        if lie != "no length":
            handler.send_header("Content-Length", str(len(body)))
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(b"x" + body[1:] if lie != "too short" else body[:50000])
        handler.close_connection = True
    upstream.blobs[digest(data)], upstream.act = data, lies
    r = own("--upstream", f"hub/ {upstream.url}")
    path = f"/v2/hub/app/blobs/{digest(data)}"
    if lie == "no length":
        assert r("GET", path).status == 503
    else:
        with pytest.raises(http.client.IncompleteRead):
            r("GET", path)
    assert not list(r.root.glob("blobs/*/*"))
    upstream.act = None  # the control: honest, and it arrives
    assert r("GET", path).body == data
    text = upstream.add("v1", data)
    upstream.manifests[digest(b"other")] = text
    assert r("GET", f"/v2/hub/app/manifests/{digest(b'other')}").status == 503
    upstream.manifests["bad"] = b"{}"
    assert r("GET", "/v2/hub/app/manifests/bad").status == 503


def test_a_kill_while_fetching_leaves_nothing_half(own, upstream):
    data, gate = os.urandom(500000), threading.Event()

    def stuck(handler, body):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[:300000])
        gate.wait(20)
    upstream.blobs[digest(data)], upstream.act = data, stuck
    r = own("--upstream", f"hub/ {upstream.url}")
    for sig in (signal.SIGKILL, signal.SIGTERM):
        connection = http.client.HTTPConnection("127.0.0.1", r.port, timeout=20)
        connection.request("GET", f"/v2/hub/app/blobs/{digest(data)}")
        assert connection.getresponse().read(1000) == data[:1000]
        r.stop(sig)
        connection.close()
        assert not list(r.root.glob("blobs/*/*")) and not list((r.root / "staging").iterdir())
        r.start()
    gate.set()
    upstream.act = None
    assert r("GET", f"/v2/hub/app/blobs/{digest(data)}").body == data


def test_room_is_made_by_age_and_by_size(own, upstream):
    layers = [os.urandom(50000) for _ in range(4)]
    for n, layer in enumerate(layers):
        upstream.add(f"v{n}", layer)
    r = own("--upstream", f"hub/ {upstream.url}", "--upstream-max", "150k", "--gc-interval", "1s")
    for layer in layers:
        assert r("GET", f"/v2/hub/app/blobs/{digest(layer)}").body == layer
        time.sleep(1.1)

    def size():
        return sum(f.stat().st_size for f in r.root.glob("blobs/*/*"))
    eventually(lambda: size() <= 150 * 1024, 20, 0.2)
    files = {f.name for f in r.root.glob("blobs/*/*")}
    assert digest(layers[0])[7:] not in files and digest(layers[3])[7:] in files
    assert r("GET", f"/v2/hub/app/blobs/{digest(layers[0])}").body == layers[0], "it comes again"
    r.stop()
    r.extra = (*r.extra, "--upstream-keep", "2s")
    r.start()
    assert r("GET", "/v2/hub/app/manifests/v1").status == 200
    eventually(lambda: size() == 0, 20, 0.2)
    assert r("GET", "/v2/hub/app/manifests/v1").status == 200


def test_credentials_for_an_upstream_with_tokens_and_with_passwords(own, tmp_path, layout):
    need("skopeo")
    (tmp_path / "users").write_text(f"ann:{bcrypt('secret')}\n")
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "wrong").write_text("guess\n")
    for extra in (("--token-serve", "yes"), ()):
        up = own("--htpasswd", tmp_path / "users", *extra)
        sh("skopeo", "copy", "--dest-tls-verify=false", "--dest-creds", "ann:secret", f"oci:{layout[0]}:v1", f"docker://{up.address}/team/app:v1")
        r = own("--upstream", f"up/ http://{up.address} ann {tmp_path}/password", "--upstream", f"bad/ http://{up.address} ann {tmp_path}/wrong",
                "--upstream", f"none/ http://{up.address}")
        target = tmp_path / f"back{len(extra)}"
        sh("skopeo", "copy", "--src-tls-verify=false", f"docker://{r.address}/up/team/app:v1", f"oci:{target}:v1")
        assert (target / "blobs/sha256" / layout[1][7:]).exists()
        for prefix in ("bad", "none"):
            got = r("GET", f"/v2/{prefix}/team/app/manifests/v1")
            assert (got.status, got.code()) == (403, "DENIED")
        assert "secret" not in r.log.read_text()


def test_a_mirror_for_docker(own, upstream, layout):
    """Every name is the upstream's, as dockerd's registry-mirrors asks for them."""
    text = upstream.add("latest", b"l")
    r = own("--upstream", f"/ {upstream.url}")
    assert r("GET", "/v2/").status == 200
    assert r("GET", "/v2/library/busybox/manifests/latest?ns=docker.io").body == text
    assert upstream.asked == ["GET /v2/library/busybox/manifests/latest"]
    assert r("POST", "/v2/own/blobs/uploads/").status == 405


@pytest.mark.parametrize("line", ["hub http://x", "hub/ ftp://x", "hub/ http://x/path", "hub/ http://u@x", "Hub/ http://x", "hub/",
                                  "hub/ http://x user", "hub/ http://x user /nonexistent"])
def test_an_upstream_that_is_not_understood_is_refused(tmp_path, line):
    from conftest import BUILD
    got = sh(BUILD / "buoy-registry", "--root", tmp_path / "root", "--listen", "127.0.0.1:0", "--upstream", line, check=False)
    assert got.returncode == 1 and "upstream" in got.stderr


def test_docker_and_buoy_pull_through(cli, daemon, own, layout, tmp_path):
    need("skopeo")
    enter = ("nsenter", f"--net=/run/netns/{daemon.netns}")
    up = own(enter=enter)
    sh(*enter, "skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout[0]}:v1", f"docker://{up.address}/team/app:v1")
    r = own("--upstream", f"up/ http://{up.address}", enter=enter)
    name = f"{r.address}/up/team/app:v1"
    for away in (False, True):
        if away:
            up.stop()
        cli("pull", name)
        assert cli.inspect(name)
        cli("rmi", name)
