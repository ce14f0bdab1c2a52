# SPDX-License-Identifier: Apache-2.0
"""What buoy-registry does by itself: reading content again, telling others of it, showing it to people, and running in a container."""
import hashlib
import hmac
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
import time

import pytest
from conftest import BUILD, TOP, eventually, sh
from test_registry import CONFIG, INDEX, MANIFEST, basic, bcrypt, digest, layout, need, own  # noqa: F401 (a fixture)
from test_registry_proxy import upstream  # noqa: F401 (a fixture)


# ---- scrubbing ----

def damage(r, d, at=3):
    """One bit changes on the disk, in the file that the repositories share."""
    with open(r.root / "blobs" / d.replace(":", "/"), "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 1]))


def metric(r, name):
    return int(re.search(rf"^buoy_registry_{name} (\d+)$", r("GET", "/metrics").body.decode(), re.M)[1])


def test_damaged_content_is_found_taken_out_and_pushed_again(own):
    r = own()
    data, wide = os.urandom(100000), os.urandom(1000)
    bad, sound, wide_bad = r.push("scrub/a", data), r.push("scrub/a", b"sound"), r.push("scrub/a", wide, "sha512")
    assert r("POST", f"/v2/scrub/b/blobs/uploads/?mount={bad}&from=scrub/a").status == 201
    for d in (bad, wide_bad):
        damage(r, d)
    assert r("GET", f"/v2/scrub/a/blobs/{bad}").body != data, "the control: nobody notices by himself"
    r.stop()
    r.extra = ("--scrub-interval", "1s", "--scrub-rate", "100m")
    r.start()
    for name, d in (("a", bad), ("b", bad), ("a", wide_bad)):
        eventually(lambda n=name, x=d: r("HEAD", f"/v2/scrub/{n}/blobs/{x}").status == 404, 20)
    assert r("GET", f"/v2/scrub/a/blobs/{sound}").body == b"sound"
    eventually(lambda: metric(r, "scrub_rounds_total") >= 1)
    assert metric(r, "scrub_damaged_total") == 2 and metric(r, "scrub_mended_total") == 0
    log = r.log.read_text()
    assert "repository=scrub/a" in log and "repository=scrub/b" in log and bad in log
    kept = {f.name.split(".")[0] for f in (r.root / "quarantine").iterdir()}
    assert kept == {bad.replace(":", "-"), wide_bad.replace(":", "-")}
    assert r.push("scrub/a", data) == bad and r("GET", f"/v2/scrub/a/blobs/{bad}").body == data
    rounds = metric(r, "scrub_rounds_total")
    eventually(lambda: metric(r, "scrub_rounds_total") > rounds + 1)
    assert metric(r, "scrub_damaged_total") == 2 and r("GET", f"/v2/scrub/a/blobs/{bad}").body == data


def test_damage_of_what_an_upstream_has_is_mended(own, upstream):
    layer = os.urandom(50000)
    text = upstream.add("v1", layer)
    r = own("--upstream", f"hub/ {upstream.url}")
    assert r("GET", "/v2/hub/app/manifests/v1").status == 200
    assert r("GET", f"/v2/hub/app/blobs/{digest(layer)}").body == layer
    damage(r, digest(layer))
    damage(r, digest(text))
    r.stop()
    r.extra = (*r.extra, "--scrub-interval", "1s")
    r.start()
    eventually(lambda: metric(r, "scrub_mended_total") >= 1 and metric(r, "scrub_damaged_total") == 2, 20)
    asked = upstream.count("blobs")
    assert r("GET", f"/v2/hub/app/blobs/{digest(layer)}").body == layer and upstream.count("blobs") == asked
    assert r("GET", f"/v2/hub/app/manifests/{digest(text)}").body == text


def test_scrubbing_keeps_to_its_rate(own):
    r = own("--scrub-interval", "1s", "--scrub-rate", "256k")
    r.push("slow", os.urandom(4 << 20))
    start = time.monotonic()
    eventually(lambda: metric(r, "scrub_bytes_total") > 300000, 30)
    while time.monotonic() < start + 5:
        assert metric(r, "scrub_bytes_total") <= (time.monotonic() - start) * 262144 + (1 << 20)
        time.sleep(0.2)
    assert metric(r, "scrub_rounds_total") == 0
    assert r.stop() == 0, "and does not hold up the end"


# ---- webhooks ----

class Receiver:
    def __init__(self):
        self.got, self.status, self.gate = [], 200, None
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((self.headers, body))
                if outer.gate:
                    outer.gate.wait(30)
                self.send_response(outer.status)
                self.end_headers()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/events"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def events(self):
        return [json.loads(body)["events"][0] for _, body in self.got]


@pytest.fixture
def receiver():
    r = Receiver()
    yield r
    r.server.shutdown()
    r.server.server_close()


def test_pushes_and_deletions_are_told_and_signed(own, receiver, tmp_path):
    (tmp_path / "secret").write_text("key\n")
    (tmp_path / "users").write_text(f"ann:{bcrypt('secret')}\n")
    r = own("--webhook", f"{receiver.url} {tmp_path}/secret", "--webhook", receiver.url + "2", "--htpasswd", tmp_path / "users",
            "--token-serve", "yes")
    ann = basic("ann", "secret")
    config = b"{}"
    assert r("POST", f"/v2/hook/app/blobs/uploads/?digest={digest(config)}", config, Authorization=ann).status == 201
    text = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [],
                       "config": {"mediaType": CONFIG, "digest": digest(config), "size": len(config)}}).encode()
    token = r("GET", "/token?scope=repository:hook/app:pull,push", Authorization=ann).json()["token"]
    assert r("PUT", f"/v2/hook/app/manifests/{digest(text)}?tag=v1&tag=v2", text, Content_Type=MANIFEST,
             Authorization=f"Bearer {token}").status == 201
    for path in ("manifests/v2", f"manifests/{digest(text)}", f"blobs/{digest(config)}"):
        assert r("DELETE", f"/v2/hook/app/{path}", Authorization=ann).status == 202
    assert r("DELETE", "/v2/hook/app/manifests/v2", Authorization=ann).status == 404
    eventually(lambda: len(receiver.got) == 10)
    signed = [(h, b) for h, b in receiver.got if "X-Hub-Signature-256" in h]
    assert len(signed) == 5
    for headers, body in signed:
        assert headers["X-Hub-Signature-256"] == "sha256=" + hmac.new(b"key", body, hashlib.sha256).hexdigest()
        assert headers["Content-Type"] == "application/vnd.docker.distribution.events.v1+json"
    events = [json.loads(b)["events"][0] for _, b in signed]
    assert [(e["action"], e["target"].get("tag"), e["target"]["digest"]) for e in events] == [
        ("push", "v1", digest(text)), ("push", "v2", digest(text)), ("delete", "v2", digest(text)),
        ("delete", None, digest(text)), ("delete", None, digest(config))]
    first = events[0]
    assert first["target"]["repository"] == "hook/app" and first["target"]["mediaType"] == MANIFEST
    assert first["target"]["size"] == len(text) and first["target"]["url"] == f"http://{r.address}/v2/hook/app/manifests/{digest(text)}"
    assert first["actor"] == {"name": "ann"} and first["request"]["method"] == "PUT" and first["request"]["addr"] == "127.0.0.1"
    assert len({e["id"] for e in events}) == 5 and re.match(r"\d{4}-\d\d-\d\dT", first["timestamp"])


def test_events_are_sent_again_in_order_and_hold_up_no_push(own, receiver):
    receiver.status = 503
    r = own("--webhook", receiver.url)
    text = r.manifest("again")
    for tag in "abc":
        assert r.put("again", tag, text).status == 201
    eventually(lambda: len(receiver.got) >= 2)
    receiver.status = 200
    eventually(lambda: [e["target"]["tag"] for e in receiver.events()][-3:] == list("abc"), 20)
    assert {e["target"]["tag"] for e in receiver.events()[:-3]} == {"a"}
    receiver.status = 400
    assert r.put("again", "unwanted", text).status == 201
    eventually(lambda: 'events_total{result="lost"} 1' in r("GET", "/metrics").body.decode(), 10)
    assert [e["target"]["tag"] for e in receiver.events()].count("unwanted") == 1, "a 4xx is an answer"
    # One that hangs, and one that is not there: pushes do not notice, and what is too much is dropped and counted.
    receiver.status, receiver.gate = 200, threading.Event()
    start = time.monotonic()
    tags = "&".join(f"tag=t{n}" for n in range(60))
    for _ in range(20):
        assert r.put("again", f"{digest(text)}?{tags}", text).status == 201
    assert time.monotonic() - start < 20
    lost = int(re.search(r'events_total\{result="lost"\} (\d+)', r("GET", "/metrics").body.decode())[1])
    assert 1 + 20 * 60 - 1024 - 1 <= lost < 1200
    assert r.stop() == 0
    receiver.gate.set()
    assert "events were lost" in r.log.read_text()


@pytest.mark.parametrize("line", ["ftp://x", "http://x secret more", "http://x /nonexistent", ""])
def test_a_webhook_that_is_not_understood_is_refused(tmp_path, line):
    got = sh(BUILD / "buoy-registry", "--root", tmp_path / "root", "--listen", "127.0.0.1:0", "--webhook", line, check=False)
    assert got.returncode == 1 and "webhook" in got.stderr


# ---- the page ----

def test_the_page_brings_all_it_needs(own):
    r = own()
    page = r("GET", "/")
    assert page.status == 200 and page.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    text = page.body.decode()
    wanted = re.findall(r'(?:src|href)="([^"#]+)"', text)
    assert sorted(wanted) == ["/ui/page.css", "/ui/page.js"]
    assert "<style" not in text and not re.search(r"<script(?! src)", text) and not re.search(r"\son\w+=", text)
    for path in wanted:
        got = r("GET", path)
        assert got.status == 200 and got.headers["X-Content-Type-Options"] == "nosniff"
        assert got.body == (TOP / "src/registry" / path.split("/")[-1]).read_bytes(), "nothing is lost on the way in"
        assert b"http://" not in got.body and b"https://" not in got.body and b"innerHTML" not in got.body


BROWSER = """
// As much of a browser as the page wants: elements that remember their text, and fetch.
const fs = require("fs"), [, , script, base, ...steps] = process.argv;
class Node {
	constructor(name) { Object.assign(this, { name, children: [], attributes: {}, rows: [], text: "", hidden: false }); }
	set textContent(t) { this.text = String(t); this.children = []; }
	get textContent() { return this.text + this.children.map((c) => c.textContent ?? c).join(""); }
	append(...c) { this.children.push(...c); if (this.name === "tbody" || this.name === "thead") this.rows.push(...c); }
	replaceChildren(...c) { this.children = []; this.rows = []; this.text = ""; this.append(...c); }
	setAttribute(k, v) { this.attributes[k] = v; }
	addEventListener(k, f) { this["on" + k] = f; }
}
const all = {};
for (const id of ["login", "user", "password", "message", "list", "more", "path"]) all[id] = new Node(id);
all.list.tHead = new Node("thead");
all.list.tBodies = [new Node("tbody")];
const listeners = {}, location = { hash: "", href: base + "/", origin: base };
const inner = fetch;
Object.assign(globalThis, { Node, location, document: { getElementById: (id) => all[id], createElement: (n) => new Node(n) },
	window: { addEventListener: (k, f) => { listeners[k] = f; } }, fetch: (u, o) => inner(new URL(u, base), o) });
(0, eval)(fs.readFileSync(script, "utf8"));
const settled = () => new Promise((done) => setTimeout(done, 400));
(async () => {
	const out = [];
	for (const step of ["", ...steps]) {
		if (step.startsWith("login ")) {
			[, all.user.value, all.password.value] = step.split(" ");
			all.login.onsubmit({ preventDefault() {} });
		} else if (step === "more") all.more.onclick();
		else if (step) { location.hash = step; listeners.hashchange(); }
		await settled();
		out.push({ rows: all.list.hidden ? null : all.list.tBodies[0].rows.map((r) => r.children.map((c) => c.textContent)),
			message: all.message.textContent, login: !all.login.hidden, more: !all.more.hidden });
	}
	console.log(JSON.stringify(out));
})();
"""


def browse(r, tmp_path, *steps):
    node = shutil.which("node")
    if not node:
        pytest.skip("nodejs is not installed (tools/deps peers)")
    (tmp_path / "browser.js").write_text(BROWSER)
    (tmp_path / "page.js").write_bytes(r("GET", "/ui/page.js").body)
    got = subprocess.run([node, tmp_path / "browser.js", tmp_path / "page.js", f"http://{r.address}", *steps], capture_output=True,
                         text=True, timeout=60, check=True)
    return json.loads(got.stdout)


def test_the_page_shows_repositories_tags_layers_and_sizes(own, tmp_path):
    r = own()
    layer = os.urandom(2048)
    text = r.manifest("shown/app", b"{}", layers=[{"mediaType": "<b>layer</b>", "digest": r.push("shown/app", layer), "size": 2048}])
    assert r.put("shown/app", "v1", text).status == 201
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": MANIFEST, "digest": digest(text), "size": len(text), "platform": {"os": "linux", "architecture": "arm64"}}]}).encode()
    assert r.put("shown/app", "many", index, INDEX).status == 201
    for n in range(120):
        r.push(f"page/{n:03}", b"x")
    first, more, tags, one, many, none = browse(r, tmp_path, "more", "#shown%2Fapp", "#shown%2Fapp/v1", "#shown%2Fapp/many", "#not%2Fthere")
    assert len(first["rows"]) == 100 and first["more"] and len(more["rows"]) == 121 and not more["more"]
    assert ["shown/app"] in more["rows"]
    assert tags["rows"] == [["many"], ["v1"]]
    assert one["rows"] == [["config", digest(b"{}"), CONFIG, "2 B"], ["layer 1", digest(layer), "<b>layer</b>", "2.0 KiB"]]
    assert one["message"] == f"1 layers, 2.0 KiB, {digest(text)}"
    assert many["rows"] == [["linux/arm64", digest(text), MANIFEST, f"{len(text)} B"]]
    assert none["rows"] is None and "no such repository" in none["message"]


def test_the_page_signs_in_where_there_are_tokens(own, tmp_path):
    (tmp_path / "users").write_text(f"ann:{bcrypt('secret')}\n")
    r = own("--htpasswd", tmp_path / "users", "--token-serve", "yes")
    ann = basic("ann", "secret")
    assert r("POST", f"/v2/mine/blobs/uploads/?digest={digest(b'x')}", b"x", Authorization=ann).status == 201
    nobody, wrong, right, tags = browse(r, tmp_path, "login ann guess", "login ann secret", "#mine")
    assert nobody["rows"] is None and nobody["login"]
    assert wrong["rows"] is None and "wrong user" in wrong["message"]
    assert right["rows"] == [["mine"]] and not right["login"] and tags["rows"] == []


# ---- in a container ----

def test_the_registry_runs_in_a_container_of_the_example(cli, daemon, tmp_path, layout):
    """What is pushed to it is there when another container takes over the volume."""
    need("skopeo")
    shutil.copytree(TOP / "examples/registry", tmp_path / "context")
    sh(tmp_path / "context/collect", BUILD / "buoy-registry")
    cli("build", "-t", "buoy-registry", tmp_path / "context")
    enter, name = ("nsenter", f"--net=/run/netns/{daemon.netns}"), "docker://127.0.0.1:5055/app:v1"
    try:
        for turn in range(2):
            cli("run", "-d", "--name", "registry", "-p", "5055:5000", "-v", "registry:/var/lib/buoy-registry", "buoy-registry")
            eventually(lambda: sh(*enter, "curl", "-sf", "http://127.0.0.1:5055/v2/").returncode == 0, 20, 0.3)
            if turn == 0:
                sh(*enter, "skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout[0]}:v1", name)
            assert json.loads(sh(*enter, "skopeo", "inspect", "--tls-verify=false", name).stdout)["Digest"] == layout[1]
            assert cli("stop", "registry").returncode == 0
            assert cli.inspect("registry")[0]["State"]["ExitCode"] == 0
            cli("rm", "registry")
    finally:
        cli("rm", "-f", "registry", check=False)
        cli("volume", "rm", "registry", check=False)
        cli("rmi", "buoy-registry", check=False)
