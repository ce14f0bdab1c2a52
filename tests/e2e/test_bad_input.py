# SPDX-License-Identifier: Apache-2.0
"""Bad input at each door: a status and a sentence that helps, nothing half-made, and the daemon goes on."""
import json
import socket
import time
from urllib.parse import quote

import pytest

from conftest import Daemon, eventually, load_busybox, sh


def refused(daemon, method, path, body=None, headers=None, status=None):
    """The message of a refusal, after it was checked to be one."""
    got, text = daemon.api(method, path, body, headers)
    assert got == status if status else 400 <= got < 600, f"{got} {text!r}"
    message = json.loads(text)["message"]
    assert len(message) > 10 and "\n" not in message.strip(), message
    assert daemon.api("GET", "/_ping")[0] == 200
    return message


def nothing_half_made(daemon):
    assert daemon.json("GET", "/containers/json?all=1") == []
    for place in (daemon.root / "containers", daemon.run_dir / "containers", daemon.run_dir / "netns"):
        eventually(lambda place=place: not place.exists() or not list(place.iterdir()))


@pytest.fixture(autouse=True)
def still_well(request):
    """Afterwards the shared daemon is the same process, does its work, and holds nothing of the failed attempt."""
    if "daemon" not in request.fixturenames:
        yield
        return
    daemon = request.getfixturevalue("daemon")
    pid = daemon.process.pid
    yield
    assert daemon.process.poll() is None and daemon.process.pid == pid, "the daemon died"
    daemon.clean()
    nothing_half_made(daemon)


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("path", ["/containers/create", "/networks/create", "/volumes/create"])
@pytest.mark.parametrize("body", ["{", '{"Image": "busybox",}', "[]", "null", '"text"', "", '{"Image": "\\ud800"}',
                                  "[" * 5000, '{"Labels": {"a": 1}}', "\x00\x01\x02"])
def test_malformed_json(daemon, path, body):
    if path == "/volumes/create" and body == "":
        return # no document is an anonymous volume
    refused(daemon, "POST", path, body, JSON, 400)


def test_a_body_without_end_or_of_another_kind(daemon):
    refused(daemon, "POST", "/containers/create", '{"Image": "busybox"}', {"Content-Type": "text/plain"}, 400)
    refused(daemon, "POST", "/containers/create", '{"Image": "busybox", "Cmd": ["' + "x" * (20 << 20) + '"]}', JSON)


@pytest.mark.parametrize("wrong, word", [
    ({"Image": "busybox", "HostConfig": {"Nonesuch": True}}, "Nonesuch"),
    ({"Image": "busybox", "HostConfig": {"Memory": "much"}}, "Memory"),
    ({"Image": "busybox", "HostConfig": {"Memory": -5}}, "emory"),
    ({"Image": "busybox", "HostConfig": {"Memory": 1000}}, "emory"),
    ({"Image": "busybox", "HostConfig": {"CapAdd": ["CAP_NONESUCH"]}}, "NONESUCH"),
    ({"Image": "busybox", "HostConfig": {"NetworkMode": "nonesuch"}}, "nonesuch"),
    ({"Image": "busybox", "HostConfig": {"RestartPolicy": {"Name": "sometimes"}}}, "sometimes"),
    ({"Image": "busybox", "HostConfig": {"Binds": ["relative:/x"], "VolumeDriver": "nonesuch"}}, "VolumeDriver"),
    ({"Image": "busybox", "HostConfig": {"Binds": ["/tmp:not-absolute"]}}, "not-absolute"),
    ({"Image": "busybox", "HostConfig": {"PortBindings": {"80/nonesuch": [{"HostPort": "1"}]}}}, "nonesuch"),
    ({"Image": "busybox", "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "70000"}]}}}, "70000"),
    ({"Image": "busybox", "HostConfig": {"SecurityOpt": ["nonesuch=1"]}}, "nonesuch"),
    ({"Image": "busybox", "WorkingDir": "relative"}, "relative"),
    ({"Image": "busybox", "Cmd": "not a list of words", "Env": [7]}, "Env"),
    ({"Image": "busybox", "StopSignal": "SIGNONESUCH"}, "SIGNONESUCH"),
    ({"Image": ""}, "mage"),
    ({}, "mage"),
], ids=lambda v: v if isinstance(v, str) else None)
def test_a_container_that_cannot_be(daemon, wrong, word):
    status, text = daemon.api("POST", "/containers/create?name=wrong", {"Cmd": ["true"], **wrong})
    if status == 201: # some are known only when it starts
        text = refused(daemon, "POST", "/containers/wrong/start")
        assert daemon.json("GET", "/containers/wrong/json")["State"]["Status"] == "created"
    else:
        assert 400 <= status < 500 or status == 501, f"{status} {text!r}"
        text = json.loads(text)["message"]
        assert daemon.api("GET", "/containers/wrong/json")[0] == 404
    assert word in text, text


def test_unknown_things_are_404_by_name(daemon):
    for path in ("/containers/nonesuch/json", "/images/nonesuch/json", "/networks/nonesuch", "/volumes/nonesuch",
                 "/exec/nonesuch/json", "/containers/nonesuch/logs?stdout=1"):
        assert "nonesuch" in refused(daemon, "GET", path, status=404)
    for path in ("/containers/nonesuch/start", "/containers/nonesuch/stop", "/containers/nonesuch/kill",
                 "/containers/nonesuch/wait", "/images/nonesuch/tag?repo=a"):
        assert "nonesuch" in refused(daemon, "POST", path, status=404)
    assert "nonesuch" in refused(daemon, "POST", "/containers/create", {"Image": "nonesuch"}, status=404)
    refused(daemon, "GET", "/no/such/page", status=404)
    refused(daemon, "PATCH", "/containers/json")
    refused(daemon, "GET", "/v9.99/info", status=400)


@pytest.mark.parametrize("name", ["", "-dash", "with space", "sl/ash", "..", "x" * 300, "%0a", "\u00fc"])
def test_names_that_cannot_be(daemon, name):
    if name:
        refused(daemon, "POST", f"/containers/create?name={quote(name)}", {"Image": "busybox", "Cmd": ["true"]}, status=400)
    refused(daemon, "POST", "/networks/create", {"Name": name}, status=400)
    if name != "sl/ash":
        refused(daemon, "POST", "/images/busybox/tag?repo=" + quote(name or " "), status=400)


def test_a_taken_name_says_whose_it_is(daemon):
    first = daemon.json("POST", "/containers/create?name=taken", {"Image": "busybox", "Cmd": ["true"]})["Id"]
    message = refused(daemon, "POST", "/containers/create?name=taken", {"Image": "busybox", "Cmd": ["true"]}, status=409)
    assert "taken" in message and first[:12] in message
    daemon.json("POST", "/networks/create", {"Name": "twice"})
    assert "twice" in refused(daemon, "POST", "/networks/create", {"Name": "twice"}, status=409)


def test_a_taken_port_stops_the_start_and_leaves_nothing(daemon):
    host = {"PortBindings": {"80/tcp": [{"HostPort": "8123"}]}}
    for name in ("first", "second"):
        daemon.json("POST", f"/containers/create?name={name}", {"Image": "busybox", "Cmd": ["sleep", "60"], "HostConfig": host})
    assert daemon.api("POST", "/containers/first/start")[0] == 204
    message = refused(daemon, "POST", "/containers/second/start")
    assert "8123" in message and "already allocated" in message
    state = daemon.json("GET", "/containers/second/json")["State"]
    assert not state["Running"] and state["Status"] == "created"
    second = daemon.json("GET", "/containers/second/json")["Id"]
    assert not (daemon.run_dir / "netns" / second).exists() and not (daemon.run_dir / "containers" / second).exists()
    assert daemon.json("GET", "/containers/first/json")["State"]["Running"]
    assert daemon.api("DELETE", "/containers/first?force=1")[0] == 204
    assert daemon.api("POST", "/containers/second/start")[0] == 204, "the port is not free again"


def test_a_port_that_another_program_has(daemon):
    with_port = daemon.inside("sh", "-c", "exec timeout 20 busybox nc -l -p 8124 >/dev/null 2>&1 & echo $!").stdout.strip()
    try:
        eventually(lambda: ":8124" in daemon.inside("ss", "-ltn").stdout)
        host = {"PortBindings": {"80/tcp": [{"HostPort": "8124"}]}}
        daemon.json("POST", "/containers/create?name=c", {"Image": "busybox", "Cmd": ["true"], "HostConfig": host})
        assert "8124" in refused(daemon, "POST", "/containers/c/start")
    finally:
        sh("kill", with_port, check=False)


def test_states_that_do_not_fit(daemon):
    daemon.json("POST", "/containers/create?name=c", {"Image": "busybox", "Cmd": ["sleep", "60"]})
    refused(daemon, "POST", "/containers/c/exec", {"Cmd": ["true"]}, status=409)
    refused(daemon, "POST", "/containers/c/kill", status=409)
    refused(daemon, "POST", "/containers/c/pause", status=409)
    assert daemon.api("POST", "/containers/c/start")[0] == 204
    assert daemon.api("POST", "/containers/c/start")[0] == 304
    refused(daemon, "DELETE", "/containers/c", status=409)
    refused(daemon, "POST", "/containers/c/exec", {"Cmd": []}, status=400)
    refused(daemon, "POST", "/containers/c/kill?signal=NONESUCH", status=400)
    refused(daemon, "POST", "/containers/c/unpause")
    refused(daemon, "DELETE", "/networks/bridge", status=403)


def test_builds_of_rubbish(daemon):
    tar = {"Content-Type": "application/x-tar"}
    for body in (b"", b"not a tar at all" * 64, b"\x1f\x8b rubbish" * 100):
        status, text = daemon.api("POST", "/build?t=rubbish:1", body, tar)
        assert status >= 400 or b"errorDetail" in text, (status, text)
    status, text = daemon.api("POST", "/build?buildargs={", b"", tar)
    assert status == 400 or b"errorDetail" in text
    assert daemon.api("GET", "/images/rubbish:1/json")[0] == 404


def test_imports_of_rubbish(daemon):
    before = daemon.json("GET", "/images/json?all=1")
    for body in (b"not a tar at all" * 64, b"\x1f\x8b rubbish" * 100):
        status, text = daemon.api("POST", "/images/create?fromSrc=-&repo=rubbish&tag=1", body,
                                  {"Content-Type": "application/x-tar"})
        assert status >= 400 or b"errorDetail" in text, (status, text)
        status, text = daemon.api("POST", "/images/load", body, {"Content-Type": "application/x-tar"})
        assert status >= 400 or b"errorDetail" in text, (status, text)
    assert daemon.json("GET", "/images/json?all=1") == before


@pytest.mark.parametrize("raw", [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"GET /_ping HTTP/9.9\r\n\r\n",
    b"GET /_ping HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n", b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n",
    b"POST /containers/create HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"POST /containers/create HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /containers/create HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
], ids=["tls", "short", "version", "headers", "path", "negative", "two-lengths", "chunk"])
def test_bytes_that_are_no_request(daemon, raw):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(daemon.socket)
        try:
            client.sendall(raw)
            client.shutdown(socket.SHUT_WR)
            answer = client.recv(65536)
        except (BrokenPipeError, ConnectionResetError):
            answer = b""
        assert not answer or answer.split()[1].startswith(b"4") or answer.split()[1] in (b"505", b"501")
    assert daemon.api("GET", "/_ping")[0] == 200


def test_a_client_that_hangs_up_in_the_middle(daemon):
    for raw in (b"POST /containers/create?name=half HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                b"Content-Length: 1000\r\n\r\n{\"Image\": \"bus", b"POST /images/create?fromSrc=-&repo=half HTTP/1.1\r\n"
                b"Host: a\r\nTransfer-Encoding: chunked\r\n\r\n400\r\nabc"):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(daemon.socket)
            client.sendall(raw)
    eventually(lambda: daemon.api("GET", "/_ping")[0] == 200)
    assert daemon.api("GET", "/containers/half/json")[0] == 404
    assert daemon.api("GET", "/images/half/json")[0] == 404


# ---- a full disk ----

@pytest.fixture
def cramped(lab, busybox_tar):
    """A machine whose root is on a file system of 24 MiB."""
    daemon = Daemon(f"cramped{time.monotonic_ns() % 100000}", *lab)
    daemon.root.mkdir()
    sh("mount", "-t", "tmpfs", "-o", "size=24m", "buoytest", daemon.root)
    try:
        yield load_busybox(daemon.start(), busybox_tar)
    finally:
        daemon.remove()
        sh("umount", "-l", daemon.root, check=False)


def fill(daemon):
    with open(daemon.root / "filler", "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"x" * 65536)
        except OSError:
            pass
        try:
            while True:
                f.write(b"x")
        except OSError:
            pass


def test_a_full_disk_is_told_and_survived(cramped, busybox_tar, tmp_path):
    d = cramped
    d.json("POST", "/containers/create?name=before", {"Image": "busybox", "Cmd": ["sh", "-c", "echo fine; sleep 60"]})
    assert d.api("POST", "/containers/before/start")[0] == 204
    eventually(lambda: d.docker("logs", "before").stdout == "fine\n") # said while there was room for it
    fill(d)
    seen = []
    for i in range(3): # a few rows may still fit; what does not must be told (a name that no ID begins with)
        status, text = d.api("POST", f"/containers/create?name=full{i}", {"Image": "busybox", "Cmd": ["true"]})
        seen.append(status)
        if status != 201:
            assert status >= 500 and len(json.loads(text)["message"]) > 10, text
            assert d.api("GET", f"/containers/full{i}/json")[0] == 404
    status, text = d.api("POST", "/images/create?fromSrc=-&repo=big&tag=1", open(busybox_tar, "rb").read() + b"",
                         {"Content-Type": "application/x-tar"})
    assert status >= 400 or b"errorDetail" in text, text
    assert b"space" in text, text
    assert d.api("GET", "/images/big:1/json")[0] == 404
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN head -c 3000000 /dev/zero > /zero\n")
    built = d.docker("build", "-t", "big:2", tmp_path, check=False)
    assert built.returncode != 0 and d.api("GET", "/images/big:2/json")[0] == 404
    assert d.process.poll() is None and d.json("GET", "/containers/before/json")["State"]["Running"]
    (d.root / "filler").unlink()
    for i, status in enumerate(seen):
        if status == 201:
            assert d.api("DELETE", f"/containers/full{i}?force=1")[0] == 204
    assert d.docker("run", "--rm", "busybox", "echo", "room again").stdout == "room again\n"
    assert d.docker("logs", "before").stdout == "fine\n"
    d.docker("build", "-t", "big:3", tmp_path)
    d.clean()
    nothing_half_made(d)


def test_a_daemon_that_starts_on_a_full_disk_says_so_or_works(cramped):
    d = cramped
    d.docker("run", "-d", "--name", "kept", "busybox", "sleep", "60")
    d.stop()
    fill(d)
    d.start(wait=False)
    try:
        eventually(d.ready, 5)
    except AssertionError:
        assert "space" in d.log.read_text()[-2000:]
    d.stop()
    (d.root / "filler").unlink()
    d.start()
    assert d.json("GET", "/containers/kept/json")["State"]["Running"]
