# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the engine's containers: docker and buoy checkpoint, start --checkpoint.

CRIU is a stand-in here (fake_criu.py), which begins the command line again; test_checkpoint.py has what we ask of it, and the
real one. This is about what becomes of the container.
"""
import json
import os
import pathlib
import shutil

import pytest

from conftest import TOP, Client, Daemon, eventually, load_busybox

SLEEP = "trap 'exit 3' TERM; echo begin; while :; do sleep 0.1; done"


@pytest.fixture(scope="module")
def machine(lab, busybox_tar):
    """A daemon whose PATH has the stand-in; what that does is in the file `mode`."""
    daemon = Daemon("checkpoints", *lab)
    place = daemon.dir / "bin"
    place.mkdir()
    daemon.mode = place / "mode"
    daemon.mode.write_text("")
    (place / "criu").write_text(f'#!/bin/sh\nFAKE_CRIU=$(cat {daemon.mode}) exec {TOP}/tests/e2e/fake_criu.py "$@"\n')
    (place / "criu").chmod(0o755)
    daemon.start(env={"PATH": f"{place}:{os.environ['PATH']}"})
    yield load_busybox(daemon, busybox_tar)
    daemon.remove()


@pytest.fixture
def engine(machine):
    machine.mode.write_text("")
    yield machine
    machine.clean()


def run(engine, *options, name="c"):
    engine.buoy("run", "-d", "--name", name, "--userns", "host", *options, "busybox", "sh", "-c", SLEEP)
    eventually(lambda: "begin" in engine.buoy("logs", name).stdout)


def state(engine, name="c"):
    return engine.json("GET", f"/containers/{name}/json")["State"]


def directory(engine, name="c"):
    return engine.root / "containers" / engine.json("GET", f"/containers/{name}/json")["Id"]


@pytest.mark.parametrize("which", ["docker", "buoy"])
def test_a_container_ends_with_a_checkpoint_and_goes_on_from_it(engine, which):
    cli = Client(engine, which)
    run(engine, "-p", "127.0.0.1::80", "--restart", "always")
    assert cli.out("checkpoint", "create", "c", "first") == "first"
    seen = state(engine)
    assert (seen["Status"], seen["ExitCode"], seen["OOMKilled"]) == ("exited", 137, False)
    assert cli.out("checkpoint", "ls", "c").split() == ["CHECKPOINT", "NAME", "first"]
    cli("start", "--checkpoint", "first", "c")
    asked = [json.loads(line) for line in (directory(engine) / "criu/requests.json").read_text().splitlines()]
    assert [a["type"] for a in asked] == [1, 2]
    assert state(engine)["Running"] and engine.buoy("exec", "c", "cat", "/proc/1/comm").stdout == "sh\n"
    assert "eth0" in engine.buoy("exec", "c", "ip", "link").stdout # its network is a new one of the same kind
    eventually(lambda: engine.buoy("logs", "c").stdout == "begin\nbegin\n") # its output is heard
    cli("checkpoint", "create", "--leave-running", "c", "second")
    assert state(engine)["Running"]
    assert cli.out("checkpoint", "rm", "c", "first") in ("", "first")
    assert engine.json("GET", "/containers/c/checkpoints") == [{"Name": "second"}]
    engine.buoy("stop", "c")
    assert state(engine)["ExitCode"] == 3
    files = directory(engine)
    cli("rm", "c")
    assert not files.exists()


def test_its_end_is_told_however_early_it_comes(engine):
    run(engine)
    engine.buoy("checkpoint", "create", "c", "one")
    image = directory(engine) / "checkpoints/one/inventory.img"
    image.write_text(json.dumps(dict(json.loads(image.read_text()), args=["/bin/sh", "-c", "echo short; exit 7"])))
    done = engine.buoy("start", "--attach", "--checkpoint", "one", "c", check=False)
    assert (done.returncode, done.stdout) == (7, "short\n"), done.stderr


def test_a_directory_of_ones_own_outlives_the_container(engine, tmp_path):
    place = tmp_path / "kept"
    run(engine, "--rm")
    failed = engine.buoy("checkpoint", "create", "c", "one", check=False)
    assert failed.returncode and "is removed when it ends" in failed.stderr
    engine.buoy("checkpoint", "create", "--checkpoint-dir", place, "c", "one")
    eventually(lambda: engine.api("GET", "/containers/c/json")[0] == 404)
    run(engine)
    assert engine.buoy("checkpoint", "ls", "-q", "--checkpoint-dir", place, "c").stdout == "one\n"
    engine.buoy("kill", "c")
    engine.buoy("wait", "c")
    engine.buoy("start", "--checkpoint", "one", "--checkpoint-dir", place, "c")
    assert state(engine)["Running"]
    engine.buoy("checkpoint", "rm", "--checkpoint-dir", place, "c", "one")
    assert not os.listdir(place)


def test_what_cannot_be_is_refused_and_the_container_runs_on(engine):
    run(engine)
    engine.buoy("run", "-d", "--name", "own", "busybox", "sleep", "60")
    for path, body, status, says in [
            ("c", {"CheckpointID": "../../x"}, 400, "checkpoint name"),
            ("c", {"CheckpointID": ""}, 400, "missing"),
            ("c", {"CheckpointID": "x", "CheckpointDir": "/tmp/../etc"}, 400, "without .."),
            ("c", {"CheckpointID": "x", "CheckpointDir": "tmp"}, 400, "absolute"),
            ("c", {"CheckpointID": "x", "CheckpointDir": "/" + "x" * 3072}, 400, "at most 3072"),
            ("own", {"CheckpointID": "x", "Exit": True}, 501, "--userns host"),
            ("nobody", {"CheckpointID": "x"}, 404, "No such container")]:
        got, text = engine.api("POST", f"/containers/{path}/checkpoints", dict({"Exit": True}, **body))
        assert got == status and says in json.loads(text)["message"], (body, got, text)
    for mode, status, says in [("dump", 500, "the last reason"), ("die", 501, "this kernel is not for me")]:
        engine.mode.write_text(mode)
        got, text = engine.api("POST", "/containers/c/checkpoints", {"CheckpointID": "x", "Exit": True})
        assert got == status and says in json.loads(text)["message"], (mode, got, text)
    engine.mode.write_text("")
    assert engine.json("GET", "/containers/c/checkpoints") == [] and state(engine)["Running"]
    assert engine.api("DELETE", "/containers/c/checkpoints/x")[0] == 404
    engine.json("POST", "/containers/c/checkpoints", {"CheckpointID": "x", "Exit": False}, status=201)
    assert engine.api("POST", "/containers/c/checkpoints", {"CheckpointID": "x", "Exit": False})[0] == 409
    engine.buoy("kill", "c")
    engine.buoy("wait", "c")
    assert engine.api("POST", "/containers/c/checkpoints", {"CheckpointID": "y"})[0] == 409
    assert engine.api("POST", "/containers/c/start?checkpoint=y")[0] == 404
    engine.mode.write_text("restore")
    got, text = engine.api("POST", "/containers/c/start?checkpoint=x")
    assert got == 500 and "the last reason" in json.loads(text)["message"]
    assert state(engine)["Status"] == "exited"
    engine.mode.write_text("")
    engine.buoy("start", "--checkpoint", "x", "c")
    assert state(engine)["Running"]


def test_without_criu_it_says_what_is_needed(engine):
    run(engine)
    criu = engine.mode.parent / "criu"
    away = shutil.move(criu, engine.mode.parent / "away")
    if shutil.which("criu"):
        (engine.mode.parent / "criu").symlink_to("/nowhere/criu")
    try:
        got, text = engine.api("POST", "/containers/c/checkpoints", {"CheckpointID": "x", "Exit": True})
    finally:
        criu.unlink(missing_ok=True)
        shutil.move(away, pathlib.Path(criu))
    assert got == 501 and "checkpoints need CRIU" in json.loads(text)["message"]
    assert state(engine)["Running"]
