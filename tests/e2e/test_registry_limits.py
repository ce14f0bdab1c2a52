# SPDX-License-Identifier: Apache-2.0
"""buoy-registry's quotas, and what it says and keeps when its disk is full."""
import http.client
import os
import threading

from conftest import eventually, sh
from test_registry import check_whole, digest, need, layout, own  # noqa: F401 (fixtures)

KIB = 1024


def test_quotas_by_repository_and_by_prefix(own, layout):
    r = own("--quota", "team/* 200k", "--quota", "solo/* 100k each")
    first = r.push("team/a", os.urandom(120 * KIB))
    place = r.session("team/b")
    got = r("PATCH", place, os.urandom(120 * KIB))
    assert (got.status, got.code()) == (403, "DENIED")
    message = got.json()["errors"][0]["message"]
    assert f"team/* has used {120 * KIB} of {200 * KIB} bytes" in message
    assert r("GET", place).status == 204, "the session stays"
    r.push("team/a", r("GET", f"/v2/team/a/blobs/{first}").body[:50 * KIB])
    got = r("POST", f"/v2/team/c/blobs/uploads/?mount={first}&from=team/a")
    assert got.status == 202, "a mount counts too: it becomes an upload"
    assert r("POST", f"/v2/free/blobs/uploads/?mount={first}&from=team/a").status == 201
    for name in ("solo/a", "solo/b"):
        r.push(name, os.urandom(90 * KIB))
    assert r("PUT", f"{r.session('solo/a')}?digest={digest(bytes(20 * KIB))}", bytes(20 * KIB)).code() == "DENIED"
    chunked = http.client.HTTPConnection("127.0.0.1", r.port)
    chunked.request("PATCH", r.session("solo/b"), iter([bytes(8 * KIB)] * 4), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    assert chunked.getresponse().status == 403, "without a length it ends where the limit is"
    chunked.close()
    text = r.manifest("solo/b", b"{}")
    assert r.put("solo/b", "v1", text).status == 201
    assert r.put("solo/b", "v2", text + b" " * 20 * KIB).code() == "DENIED"
    metrics = r("GET", "/metrics").body.decode()
    assert f'quota_bytes{{pattern="team/*",kind="limit"}} {200 * KIB}' in metrics
    assert f'quota_bytes{{pattern="team/*",kind="used"}} {170 * KIB}' in metrics
    # Deleting makes room, and a restart counts the same.
    assert r("DELETE", f"/v2/team/a/blobs/{first}").status == 202
    r.stop()
    r.start()
    assert f'quota_bytes{{pattern="team/*",kind="used"}} {50 * KIB}' in r("GET", "/metrics").body.decode()
    r.push("team/b", os.urandom(140 * KIB))
    got = r("POST", f"/v2/team/b/blobs/uploads/?digest={digest(bytes(20 * KIB))}", bytes(20 * KIB))
    assert got.code() == "DENIED"


def test_pushes_beside_each_other_stay_below_the_quota(own):
    r = own("--quota", "race 100k")
    statuses = []

    def push():
        data = os.urandom(30 * KIB)
        statuses.append(r("PUT", f"{r.session('race')}?digest={digest(data)}", data).status)
    threads = [threading.Thread(target=push) for _ in range(10)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(statuses) == [201] * 3 + [403] * 7
    assert sum(f.stat().st_size for f in r.root.glob("repositories/race/blobs/*/*")) == 90 * KIB


def test_what_is_collected_makes_room(own):
    r = own("--quota", "gc 100k", "--gc-interval", "1s", "--gc-grace", "1s")
    r.push("gc", os.urandom(90 * KIB))

    def room():
        data = os.urandom(90 * KIB)
        return r("PUT", f"{r.session('gc')}?digest={digest(data)}", data).status == 201
    assert not room()
    eventually(room, 20, 0.5)


def test_skopeo_shows_the_quota(own, layout):
    need("skopeo")
    r = own("--quota", "* 100")
    got = sh("skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout[0]}:v1", f"docker://{r.address}/full/app:v1", check=False)
    assert got.returncode != 0 and "of 100 bytes" in got.stderr


def test_a_full_disk_is_named_and_nothing_is_lost(own, tmp_path):
    """The root is a tmpfs of 4 MiB in a mount namespace of its own."""
    r = own(enter=("unshare", "-m", "sh", "-c", 'mkdir -p "$0" && mount -t tmpfs -o size=4m tmpfs "$0" && exec "$@"',
                   tmp_path / "registry0/root"))
    kept = os.urandom(1000 * KIB)
    text = r.manifest("disk/app", b"{}", layers=[{"mediaType": "a/b", "digest": r.push("disk/app", kept), "size": len(kept)}])
    assert r.put("disk/app", "v1", text).status == 201
    place, data = r.session("disk/app"), os.urandom(2000 * KIB)
    assert r("PATCH", place, data).status == 202
    other = r.session("disk/app")
    got = r("PATCH", other, os.urandom(3000 * KIB))
    assert got.status == 507 and "disk is full" in got.json()["errors"][0]["message"]
    assert r("GET", f"/v2/disk/app/blobs/{digest(kept)}").body == kept and r("GET", "/v2/disk/app/manifests/v1").body == text
    for n in range(20):  # no room for an index either: the old one stays
        if r.put("disk/app", f"t{n}", text + b" " * 20 * KIB * n).status == 507:
            break
    assert r("GET", "/v2/disk/app/manifests/v1").body == text
    assert r("DELETE", other).status == 204, "this makes room"
    assert r("PUT", f"{place}?digest={digest(data)}").status == 201, "the first goes on"
    assert r("GET", f"/v2/disk/app/blobs/{digest(data)}").body == data
    assert r.put("disk/app", "v2", text).status == 201
    inside = type("Inside", (), {"root": tmp_path / f"proc{r.process.pid}"})
    inside.root.symlink_to(f"/proc/{r.process.pid}/root{r.root}")
    check_whole(inside)
