# SPDX-License-Identifier: Apache-2.0
"""The daemon is killed at any moment: nothing is lost, nothing is told wrong, nothing is left behind."""
import json
import os
import random
import threading
import time

import pytest

from conftest import eventually

ROUNDS = int(os.environ.get("BUOY_KILLS", "15"))
SEED = int(os.environ.get("BUOY_SEED", "7"))


def create(daemon, name, command, **host):
    status, text = daemon.api("POST", f"/containers/create?name={name}",
                              {"Image": "busybox", "Cmd": ["sh", "-c", command], "HostConfig": host})
    assert status == 201, text
    return json.loads(text)["Id"]


def state(daemon, name):
    return daemon.json("GET", f"/containers/{name}/json")["State"]


def test_running_containers_live_on_and_ends_are_told_truly(machines):
    daemon, = machines(1)
    create(daemon, "lives", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done")
    create(daemon, "ends", "sleep 0.5; exit 9")
    create(daemon, "goes", "sleep 0.5; exit 4", AutoRemove=True)
    create(daemon, "again", "sleep 0.3", RestartPolicy={"Name": "always"})
    for name in ("lives", "ends", "goes", "again"):
        assert daemon.api("POST", f"/containers/{name}/start")[0] == 204
    pid = state(daemon, "lives")["Pid"]
    daemon.kill9()
    time.sleep(1)
    daemon.start()
    assert state(daemon, "lives")["Pid"] == pid and state(daemon, "lives")["Running"]
    assert state(daemon, "ends")["ExitCode"] == 9 and not state(daemon, "ends")["Running"]
    eventually(lambda: daemon.api("GET", "/containers/goes/json")[0] == 404)
    eventually(lambda: state(daemon, "again")["Running"])
    out = daemon.docker("logs", "lives").stdout.split()
    assert out == [str(n) for n in range(len(out))] and len(out) > 20
    assert daemon.docker("exec", "lives", "echo", "hi").stdout == "hi\n"
    assert daemon.api("POST", "/containers/lives/stop?t=0")[0] == 204


@pytest.mark.parametrize("point", ["create.dirs", "create.lease", "state.insert", "start.launch", "start.saved",
                                   "settle.saved", "remove.files", "state.delete"])
def test_killed_at_each_step_it_recovers(machines, point):
    daemon, = machines(1)
    daemon.stop()
    daemon.start(env={"BUOY_FAILPOINTS": f"{point}=exit"})
    acknowledged = {}
    try:
        acknowledged["id"] = create(daemon, "c", "exit 6")
        acknowledged["started"] = daemon.api("POST", "/containers/c/start")[0] == 204
        daemon.api("POST", "/containers/c/wait")
        acknowledged["removed"] = daemon.api("DELETE", "/containers/c")[0] == 204
    except (OSError, ValueError, AssertionError, Exception):  # pylint: disable=broad-except
        pass
    daemon.process.wait(10)
    daemon.start()
    names = [c["Names"][0] for c in daemon.json("GET", "/containers/json?all=1")]
    if acknowledged.get("removed"):
        assert not names
    elif "id" in acknowledged and point not in ("remove.files", "state.delete"):
        assert names == ["/c"]
        if acknowledged.get("started"):
            eventually(lambda: state(daemon, "c")["Status"] == "exited")
            assert state(daemon, "c")["ExitCode"] == 6
    if names:
        assert daemon.api("DELETE", "/containers/c?force=1")[0] == 204
    create(daemon, "c", "exit 0")
    assert daemon.api("POST", "/containers/c/start")[0] == 204
    daemon.clean()
    for place in (daemon.root / "containers", daemon.run_dir / "containers", daemon.run_dir / "netns"):
        assert not list(place.iterdir()), place


def worker(daemon, number, stop, wrong):
    """Runs containers with known exit codes until told to stop; a killed daemon is no failure."""
    rng = random.Random(number)
    while not stop.is_set():
        name, code = f"w{number}-{rng.randrange(10 ** 9)}", rng.randrange(1, 120)
        try:
            create(daemon, name, f"exit {code}")
            if daemon.api("POST", f"/containers/{name}/start")[0] != 204:
                continue
            status, text = daemon.api("POST", f"/containers/{name}/wait")
            if status == 200 and text and json.loads(text)["StatusCode"] != code:
                wrong.append((name, code, text))
            daemon.api("DELETE", f"/containers/{name}?force=1")
        except Exception:  # pylint: disable=broad-except
            time.sleep(0.02)


def test_killed_again_and_again_it_loses_nothing(machines):
    daemon, = machines(1)
    rng = random.Random(SEED)
    create(daemon, "rock", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done")
    daemon.api("POST", "/containers/rock/start")
    pid, stop, wrong = state(daemon, "rock")["Pid"], threading.Event(), []
    threads = [threading.Thread(target=worker, args=(daemon, n, stop, wrong)) for n in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(ROUNDS):
            time.sleep(rng.uniform(0.02, 0.5))
            daemon.kill9()
            daemon.start()
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert not wrong
    assert state(daemon, "rock")["Pid"] == pid
    out = daemon.docker("logs", "rock").stdout.split()
    assert out == [str(n) for n in range(len(out))]
    for c in daemon.json("GET", "/containers/json?all=1"):
        assert c["State"] != "running" or c["Names"] == ["/rock"], c
    daemon.clean()
    for place in (daemon.root / "containers", daemon.run_dir / "containers", daemon.run_dir / "netns"):
        assert not list(place.iterdir()), place
