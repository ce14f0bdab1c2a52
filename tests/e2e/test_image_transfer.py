# SPDX-License-Identifier: Apache-2.0
"""Pulling over bad lines, from busy registries, and the same thing twice at once."""
import os
import threading
import time

import pytest

from test_image_store import Fake, Handler, digest, make_tar, store, tool, verify  # noqa: F401 (a fixture)

PIECE = 200_000


class Line(Handler):
    """Handler with ranges, and with what server.trouble makes of each request for a blob."""

    def do_GET(self):
        server = self.server
        if self.path in server.busy:
            status, after = server.busy[self.path].pop(0)
            if not server.busy[self.path]:
                del server.busy[self.path]
            return self.answer(status, b"{}", **({} if after is None else {"Retry_After": after}))
        if "/blobs/" not in self.path or self.path not in server.objects:
            return super().do_GET()
        with server.lock:
            server.seen.append((self.path, self.headers.get("Range")))
            server.open += 1
            server.most = max(server.most, server.open)
        try:
            return self.blob(server.objects[self.path][1])
        finally:
            with server.lock:
                server.open -= 1

    def blob(self, body):
        server, start, status = self.server, 0, 200
        wanted = self.headers.get("Range")
        if wanted and server.ranges:
            start, status = int(wanted.removeprefix("bytes=").removesuffix("-")), 206
        rest = body[start:]
        self.send_response(status)
        self.send_header("Content-Length", str(len(rest)))
        if status == 206:
            said = start + server.shift
            self.send_header("Content-Range", f"bytes {said}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        time.sleep(server.delay)
        cut = server.cuts.pop(0) if server.cuts and len(body) > PIECE else None
        self.wfile.write(rest[:cut])
        server.sent += len(rest[:cut])
        if cut is not None:
            self.close_connection = True


@pytest.fixture
def fake():
    server = Fake()
    server.RequestHandlerClass = Line
    server.lock, server.open, server.most, server.sent = threading.Lock(), 0, 0, 0
    server.busy, server.cuts, server.ranges, server.shift, server.delay = {}, [], True, 0, 0
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def big(tmp_path):
    return make_tar(tmp_path / "big.tar", {"big": os.urandom(5 * PIECE)}).read_bytes()


def blob_gets(server, body):
    return [r for path, r in server.seen if path.endswith(digest(body))]


def test_a_broken_transfer_goes_on_where_it_broke(store, fake, big):
    fake.add_image("app", "1", big)
    fake.cuts = [PIECE, PIECE, 10]
    done = tool(store, "pull", f"{fake.address}/app:1")
    gets = blob_gets(fake, big)
    assert gets[0] is None and len(gets) == 4
    assert [int(r[6:-1]) for r in gets[1:]] == [PIECE, 2 * PIECE, 2 * PIECE + 10]
    config = next(len(b) for p, (_, b) in fake.objects.items() if p.startswith("/v2/app/blobs/") and b[:1] == b"{")
    assert fake.sent == len(big) + config, "no byte was sent twice"
    assert "Retrying in 1 second" in done.stderr
    verify(store)


def test_a_registry_without_ranges_sends_all_again(store, fake, big):
    fake.add_image("app", "1", big)
    fake.cuts, fake.ranges = [PIECE, 2 * PIECE], False
    tool(store, "pull", f"{fake.address}/app:1")
    assert len(blob_gets(fake, big)) == 3
    verify(store)


@pytest.mark.parametrize("shift,good", [(1, False), (-7, False)])
def test_another_range_than_asked_for_is_no_content(store, fake, big, shift, good):
    """One that begins later leaves a hole; one that says it begins earlier, and does not, is caught by the digest."""
    fake.add_image("app", "1", big)
    fake.cuts, fake.shift = [PIECE], shift
    failed = tool(store, "pull", f"{fake.address}/app:1", check=False)
    assert failed.returncode == 1 and not good
    assert ("another range" in failed.stderr) == (shift > 0), failed.stderr
    assert verify(store) == []


def test_a_busy_registry_is_asked_again(store, fake, big):
    fake.add_image("app", "1", big)
    blob = f"/v2/app/blobs/{digest(big)}"
    fake.busy = {"/v2/app/manifests/1": [(429, "1"), (503, "0")], blob: [(503, "0"), (502, None)]}
    start = time.monotonic()
    tool(store, "pull", f"{fake.address}/app:1")
    assert time.monotonic() - start >= 1.4, "Retry-After and the back-off were waited for"
    verify(store)


@pytest.mark.parametrize("path", ["/v2/app/manifests/1", "blob"])
def test_a_rate_limit_says_when_to_come_back(store, fake, big, path):
    fake.add_image("app", "1", big)
    path = path if path != "blob" else f"/v2/app/blobs/{digest(big)}"
    fake.busy = {path: [(429, "3600")]}
    failed = tool(store, "pull", f"{fake.address}/app:1", check=False)
    assert "toomanyrequests: " in failed.stderr
    assert f"(rate limit: try again in 3600 s, or `buoy login {fake.address}`" in failed.stderr
    fake.busy = {path: [(503, "0")] * 20}
    failed = tool(store, "pull", f"{fake.address}/app:1", check=False)
    assert "after 5 tries" in failed.stderr
    assert len(fake.busy[path]) == 15


def give_up_half_way(store, fake, big):
    fake.add_image("app", "1", big)
    fake.cuts = [2 * PIECE]

    def later():  # the cut comes first, then the limit
        while fake.cuts:
            time.sleep(0.01)
        fake.busy = {f"/v2/app/blobs/{digest(big)}": [(429, "3600")]}
    watcher = threading.Thread(target=later)
    watcher.start()
    failed = tool(store, "pull", f"{fake.address}/app:1", check=False)
    watcher.join()
    assert "rate limit" in failed.stderr
    fake.seen.clear()
    return store / "partial" / digest(big)[7:]


def test_the_next_pull_goes_on_from_what_the_last_one_left(store, fake, big):
    part = give_up_half_way(store, fake, big)
    assert part.stat().st_size == 2 * PIECE
    tool(store, "pull", f"{fake.address}/app:1")
    assert blob_gets(fake, big) == [f"bytes={2 * PIECE}-"]
    assert not part.exists()
    verify(store)


def test_what_was_left_is_not_trusted(store, fake, big):
    part = give_up_half_way(store, fake, big)
    part.chmod(0o600)
    with part.open("r+b") as f:
        f.seek(PIECE)
        f.write(b"another")
    tool(store, "pull", f"{fake.address}/app:1")
    assert blob_gets(fake, big) == [f"bytes={2 * PIECE}-", None]
    verify(store)


def test_what_nobody_came_back_for_is_thrown_away(store, fake, big):
    part = give_up_half_way(store, fake, big)
    old = time.time() - 25 * 3600
    os.utime(part, (old, old))
    tool(store, "list")
    assert not part.exists()


def test_one_blob_on_two_parents_is_fetched_once(tmp_path, store, fake, big):
    """By pulls at the same time, twice in one image, and when it has been here for long."""
    other, third = (make_tar(tmp_path / f"{i}.tar", {f"f{i}": os.urandom(1000)}).read_bytes() for i in range(2))
    fake.delay = 0.3
    fake.add_image("a", "1", big, other, big)
    fake.add_image("b", "1", third, big)
    fake.add_image("c", "1", other, third, big)
    tool(store, "pulls", *(f"{fake.address}/{name}:1" for name in "abb"))
    assert len(blob_gets(fake, big)) == len(blob_gets(fake, other)) == len(blob_gets(fake, third)) == 1
    fake.seen.clear()
    tool(store, "pull", f"{fake.address}/c:1")
    assert not blob_gets(fake, big) + blob_gets(fake, other) + blob_gets(fake, third)
    assert len(verify(store)) == 3


def test_one_of_two_fails_and_the_other_fetches(store, fake, big):
    """The fetcher's failure is not the failure of who waits for it."""
    fake.delay = 0.3
    fake.add_image("bad", "1", big, config=b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers",'
                   b'"diff_ids":["sha256:' + b"0" * 64 + b'"]}}')
    fake.add_image("good", "1", big)
    failed = tool(store, "pulls", f"{fake.address}/bad:1", f"{fake.address}/good:1", check=False)
    assert "the config says" in failed.stderr
    assert [line.split()[1] for line in verify(store)] == [f"{fake.address}/good:1"]


def test_three_layers_at_once_in_all_pulls_together(tmp_path, store, fake):
    fake.delay = 0.1
    for i in range(3):
        layers = [make_tar(tmp_path / f"{i}.{j}.tar", {f"f{i}.{j}": os.urandom(900)}).read_bytes() for j in range(5)]
        fake.add_image(f"i{i}", "1", *layers)
        for layer in layers:
            fake.objects[f"/v2/i{i}/blobs/{digest(layer)}"] = ("layer", layer)
    done = tool(store, "pulls", *(f"{fake.address}/i{i}:1" for i in range(3)))
    assert 2 <= fake.most <= 3 + 3, "three layers, beside the configs"
    assert done.stderr.count(": Waiting") >= 6
    assert len(verify(store)) == 3


def test_a_damaged_blob_is_replaced_by_the_next_pull(tmp_path, store, fake, big):
    other = make_tar(tmp_path / "o.tar", {"o": b"o"}).read_bytes()
    fake.add_image("a", "1", big)
    fake.add_image("b", "1", other, big)
    tool(store, "pull", f"{fake.address}/a:1")
    blob = store / "blobs/sha256" / digest(big)[7:]
    blob.chmod(0o600)
    with blob.open("r+b") as f:
        f.seek(PIECE)
        f.write(b"rot")
    fake.seen.clear()
    tool(store, "pull", f"{fake.address}/b:1")
    assert len(blob_gets(fake, big)) == 1
    verify(store)
