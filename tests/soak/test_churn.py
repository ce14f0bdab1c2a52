# SPDX-License-Identifier: Apache-2.0
"""Containers, execs and networks come and go for SOAK_MINUTES: memory, descriptors and the machine stay as they were."""
import json
import os
import pathlib
import random
import threading
import time

from conftest import eventually

SECONDS = float(os.environ.get("SOAK_MINUTES", "8")) * 60
SEED = int(os.environ.get("BUOY_SEED", "3"))
SLOPE_MAX = 1.0 # KiB of resident memory an operation; the allocator's noise is far below with this many
WARM = 0.4      # of the time: pools and caches fill


def rss(pid):
    """Anonymous memory: pages of files that are looked at again are no leak."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    raise AssertionError(f"no RssAnon of {pid}")


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def launcher(daemon):
    for pid in daemon.pids():
        if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "buoy-launcher":
            return pid
    raise AssertionError("no launcher")


def slope(points):
    """Least squares: KiB an operation."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    over = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / over if over else 0.0


class Churn(threading.Thread):
    """One client; each round is one or more operations of the daemon."""

    def __init__(self, daemon, number, end):
        super().__init__()
        self.daemon_, self.number, self.end = daemon, number, end
        self.rng, self.operations, self.wrong = random.Random(SEED + number), 0, []

    def ask(self, method, path, body=None, good=(200, 201, 204)):
        status, text = self.daemon_.api(method, path, body)
        assert status in good, f"{method} {path}: {status} {text!r}"
        return json.loads(text) if text.strip().startswith(b"{") else text

    def container(self, network=None, command="exec sleep 60"):
        host = {"NetworkMode": network} if network else {}
        name = f"churn{self.number}-{self.rng.randrange(10 ** 9)}"
        self.ask("POST", f"/containers/create?name={name}",
                 {"Image": "busybox", "Cmd": ["sh", "-c", command], "HostConfig": host})
        self.ask("POST", f"/containers/{name}/start")
        return name

    def short(self):
        code = self.rng.randrange(0, 100)
        name = self.container(command=f"echo hello; exit {code}")
        assert self.ask("POST", f"/containers/{name}/wait")["StatusCode"] == code
        assert b"hello" in self.ask("GET", f"/containers/{name}/logs?stdout=1")
        self.ask("DELETE", f"/containers/{name}")

    def stopped(self):
        name = self.container(command="trap 'exit 3' TERM; while :; do sleep 0.01; done")
        self.ask("POST", f"/containers/{name}/stop?t=1")
        self.ask("POST", f"/containers/{name}/start")
        self.ask("DELETE", f"/containers/{name}?force=1")

    def execs(self):
        name = self.container()
        for _ in range(3):
            exec_id = self.ask("POST", f"/containers/{name}/exec", {"Cmd": ["echo", "x"], "AttachStdout": True})["Id"]
            assert b"x\n" in self.ask("POST", f"/exec/{exec_id}/start", {"Detach": False})
        self.ask("DELETE", f"/containers/{name}?force=1")

    def network(self):
        network = f"net{self.number}-{self.rng.randrange(10 ** 9)}"
        self.ask("POST", "/networks/create", {"Name": network})
        name = self.container(network)
        self.ask("DELETE", f"/containers/{name}?force=1")
        self.ask("DELETE", f"/networks/{network}")

    def volume(self):
        volume = f"vol{self.number}-{self.rng.randrange(10 ** 9)}"
        self.ask("POST", "/volumes/create", {"Name": volume})
        self.ask("DELETE", f"/volumes/{volume}")

    def run(self):
        rounds = (self.short, self.short, self.stopped, self.execs, self.network, self.volume)
        while time.monotonic() < self.end and not self.wrong:
            try:
                self.rng.choice(rounds)()
            except Exception as problem: # pylint: disable=broad-except
                self.wrong.append(repr(problem))
            self.operations += 1


def churn(daemon, end, points):
    clients = [Churn(daemon, n, end) for n in range(3)]
    for client in clients:
        client.start()
    while any(client.is_alive() for client in clients):
        time.sleep(min(1, SECONDS / 120))
        points.append((sum(client.operations for client in clients), rss(daemon.process.pid)))
    wrong = [text for client in clients for text in client.wrong]
    assert not wrong, f"seed {SEED}: {wrong}"
    return sum(client.operations for client in clients)


def settled(daemon):
    """How the daemon stands when nothing is going on: pools are full, workers have gone."""
    daemon.clean()
    last = None
    for _ in range(40):
        now = (descriptors(daemon.process.pid), descriptors(launcher(daemon)))
        if now == last:
            return now
        last = now
        time.sleep(1)
    return last


def test_churn_leaves_memory_and_descriptors_as_they_were(machines, capsys):
    daemon, = machines(1)
    begin, points = time.monotonic(), []
    warm = churn(daemon, begin + SECONDS * WARM, points)
    before, launcher_before, points = settled(daemon), rss(launcher(daemon)), []
    count = churn(daemon, time.monotonic() + SECONDS * (1 - WARM), points)
    after, grown = settled(daemon), rss(launcher(daemon)) - launcher_before
    per_operation = slope(points)
    with capsys.disabled():
        print(f"\n[churn: {warm} + {count} operations, daemon {points[0][1]} to {points[-1][1]} KiB, {per_operation:+.3f} KiB "
              f"an operation, launcher {grown:+d} KiB, descriptors {before} to {after}, seed {SEED}]", flush=True)
    assert count > 20 and len(points) > 10
    assert per_operation < SLOPE_MAX
    assert grown / count < SLOPE_MAX
    assert after[0] <= before[0] and after[1] <= before[1]
    eventually(lambda: not [p for place in (daemon.root / "containers", daemon.run_dir / "containers", daemon.run_dir / "netns")
                            for p in place.iterdir() if not p.name.startswith("pool")], 10)
