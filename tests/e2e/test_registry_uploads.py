# SPDX-License-Identifier: Apache-2.0
"""Uploads that outlive buoy-registry: restarts, kills, and what is left lying."""
import http.client
import os
import signal

import pytest
from conftest import eventually
from test_registry import check_whole, digest, own  # noqa: F401 (a fixture)


def offset(r, place):
    """How many bytes the registry says it has; None: it knows of no such upload."""
    got = r("GET", place)
    if got.status == 404:
        return None
    assert got.status == 204
    end = int(got.headers["Range"].split("-")[1])
    return end + 1 if end else 0


def left(r):
    return list((r.root / "uploads").iterdir())


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL])
def test_an_upload_goes_on_after_a_restart(own, sig):
    r, data = own(), os.urandom(500000)
    place = r.session("up/app")
    assert r("PATCH", place, data[:200000]).status == 202
    empty = r.session("up/app", "?digest-algorithm=sha512")
    r.stop(sig)
    r.start()
    assert offset(r, place) == 200000 and offset(r, empty) == 0
    assert r("GET", place.replace("up/app", "up/other")).status == 404, "it belongs to its repository"
    assert r("PATCH", place, data[300000:], Content_Range="300000-499999").status == 416
    assert r("PATCH", place, data[200000:300000], Content_Range="200000-299999").status == 202
    r.stop(sig)
    r.start()
    got = r("PUT", f"{place}?digest={digest(data)}", data[300000:], Content_Range="300000-499999")
    assert got.status == 201 and r("GET", got.headers["Location"]).body == data
    wide = digest(data, "sha512")
    assert r("PUT", f"{empty}?digest={wide}", data).status == 201 and r("GET", f"/v2/up/app/blobs/{wide}").body == data
    assert not left(r) and offset(r, place) is None
    check_whole(r)


def test_a_kill_in_the_middle_of_a_chunk_keeps_what_came(own):
    r, data = own(), os.urandom(3000000)
    place, came = r.session("kill/app"), 0
    for _ in range(3):
        connection = http.client.HTTPConnection("127.0.0.1", r.port)
        connection.putrequest("PATCH", place)
        connection.putheader("Content-Length", str(len(data) - came))
        connection.endheaders()
        connection.send(data[came:came + 700000])
        file, = left(r)
        eventually(lambda f=file, before=came: f.stat().st_size > before)
        r.stop(signal.SIGKILL)
        connection.close()
        r.start()
        now = offset(r, place)
        assert came < now <= came + 700000 and now == file.stat().st_size
        came = now
    assert r("PUT", f"{place}?digest={digest(data)}", data[came:], Content_Range=f"{came}-{len(data) - 1}").status == 201
    assert r("GET", f"/v2/kill/app/blobs/{digest(data)}").body == data


def test_damage_of_a_waiting_upload_is_found(own):
    r, data = own(), os.urandom(100000)
    place = r.session("bad/app")
    assert r("PATCH", place, data).status == 202
    r.stop()
    file, = left(r)
    file.write_bytes(b"x" + data[1:])
    r.start()
    assert r("PUT", f"{place}?digest={digest(data)}").code() == "DIGEST_INVALID"
    assert r("HEAD", f"/v2/bad/app/blobs/{digest(data)}").status == 404 and not left(r)


def test_a_file_that_is_content_already_is_no_upload(own):
    """A kill between the two: what was published must not be written to."""
    r, data = own(env={"BUOY_FAILPOINTS": "registry.publish.linked=exit"}), os.urandom(1000)
    place = r.session("linked/app")
    with pytest.raises((OSError, http.client.HTTPException)):
        r("PUT", f"{place}?digest={digest(data)}", data)
    if r.process.wait(10) == 0:
        pytest.skip("built without failpoints")
    file, = left(r)
    assert file.stat().st_nlink > 1
    r.env = None
    r.start()
    assert offset(r, place) is None and not left(r)
    assert r("PATCH", place, b"more").status == 404
    assert r("GET", f"/v2/linked/app/blobs/{digest(data)}").body == data


def test_what_nobody_goes_on_with_expires_also_after_a_restart(own):
    r = own("--upload-expiry", "2s")
    places = [r.session("idle/app") for _ in range(3)]
    assert r("PATCH", places[0], b"bytes").status == 202
    r.stop(signal.SIGKILL)
    assert len(left(r)) == 3
    (r.root / "uploads/not-a-session").write_text("stays")
    r.start()
    eventually(lambda: [f.name for f in left(r)] == ["not-a-session"], 20, 0.2)
    assert all(offset(r, p) is None for p in places)
    assert "uploads expired" in r.log.read_text()
