# SPDX-License-Identifier: Apache-2.0
"""Nothing that is removed takes somebody else's data along: volumes, host directories, and what is mounted in them.

Canary files stand in named volumes, in host directories that are bound, and on file systems that are mounted
inside of both and inside of a container's own directory, busy and stacked. Then containers, volumes and all that
is unused are removed, with the daemon killed in between, and the canaries are looked after.
"""
import os
import pathlib
import random
import time

from conftest import sh

SECONDS = float(os.environ.get("SOAK_MINUTES", "8")) * 60 / 2
SEED = int(os.environ.get("BUOY_SEED", "3"))


class Canaries:
    def __init__(self):
        self.paths, self.mounts = [], []
        self.busy = open(os.devnull, encoding="ascii") # a file on a mount that is in the way

    def put(self, directory):
        path = pathlib.Path(directory) / "canary"
        path.write_text(str(path))
        self.paths.append(path)

    def mount(self, directory, source=None):
        """A tmpfs, or a bind of source."""
        pathlib.Path(directory).mkdir(exist_ok=True)
        sh("mount", *(["--bind", source] if source else ["-t", "tmpfs", "tmpfs"]), directory)
        self.mounts.append(directory)

    def check(self, what):
        for path in self.paths:
            assert path.exists(), f"{what}: {path} is gone"
            assert path.read_text().endswith("canary"), f"{what}: {path} was changed"

    def close(self):
        self.busy.close()
        for directory in reversed(self.mounts):
            sh("umount", directory, check=False)


def host_tree(canaries, path):
    """A directory with a mount in it, one more on top of that, and a bind of a directory elsewhere."""
    path.mkdir()
    canaries.put(path)
    canaries.mount(path / "inner")
    canaries.put(path / "inner")
    (path / "elsewhere").mkdir()
    canaries.put(path / "elsewhere")
    canaries.mount(path / "bound", path / "elsewhere")
    canaries.mount(path / "inner" / "deeper")
    canaries.mount(path / "inner" / "deeper") # stacked
    canaries.put(path / "inner" / "deeper")


def volume(daemon, canaries, name, mounted):
    daemon.json("POST", "/volumes/create", {"Name": name})
    data = pathlib.Path(daemon.json("GET", f"/volumes/{name}")["Mountpoint"])
    if mounted:
        canaries.mount(data / "sub")
        canaries.put(data / "sub")
    return data


def create(daemon, name, binds, command="exec sleep 60"):
    status, text = daemon.api("POST", f"/containers/create?name={name}",
                              {"Image": "busybox", "Cmd": ["sh", "-c", command], "HostConfig": {"Binds": binds}})
    assert status == 201, text


def test_canaries_survive_whatever_is_removed(machines, tmp_path, capsys):
    daemon, = machines(1)
    rng, canaries, end, removals = random.Random(SEED), Canaries(), time.monotonic() + SECONDS, 0
    try:
        host_tree(canaries, tmp_path / "host")
        kept = volume(daemon, canaries, "kept", False)
        canaries.put(kept)
        create(daemon, "holder", ["kept:/v"]) # runs, so that no prune may take it
        assert daemon.api("POST", "/containers/holder/start")[0] == 204
        while time.monotonic() < end:
            name, vol = f"c{removals}", f"v{removals}"
            data = volume(daemon, canaries, vol, rng.random() < 0.3)
            (data / "own").write_text("goes with the volume")
            create(daemon, name, [f"{tmp_path}/host:/host:rslave", "kept:/kept", f"{vol}:/v"],
                   "echo x > /tmp/x; exec sleep 60")
            if rng.random() < 0.8:
                assert daemon.api("POST", f"/containers/{name}/start")[0] == 204
            if rng.random() < 0.5:
                canaries.busy = open(tmp_path / "host/inner/canary", encoding="ascii")
            inside = next(p for p in (daemon.root / "containers").iterdir()
                          if p.name == daemon.json("GET", f"/containers/{name}/json")["Id"])
            if rng.random() < 0.3: # as if an unmount had failed
                canaries.mount(inside / "left")
                canaries.put(inside / "left")
            if rng.random() < 0.3:
                daemon.kill9()
                daemon.start()
            for method, path in (("DELETE", f"/containers/{name}?force=1&v=1"), ("DELETE", f"/volumes/{vol}?force=1"),
                                 ("POST", "/containers/prune"), ("POST", '/volumes/prune?filters={"all":["1"]}')):
                if path != "/containers/prune" or rng.random() < 0.2:
                    daemon.api(method, path)
                    canaries.check(f"seed {SEED}, {method} {path}")
                    removals += 1
            canaries.busy.close()
            if len(canaries.mounts) > 40: # what holds removed things up is taken away: then they go
                release(daemon, canaries)
        canaries.check("at the end")
    finally:
        release(daemon, canaries)
        canaries.close()
    with capsys.disabled():
        print(f"\n[canaries: {removals} removals, {len(canaries.paths)} canaries left, seed {SEED}]", flush=True)
    assert removals > 20


def release(daemon, canaries):
    """Unmounts what stands in the daemon's own directories; it may then remove them."""
    own = [d for d in canaries.mounts if str(d).startswith(f"{daemon.root}/")]
    canaries.paths = [p for p in canaries.paths if p.parent not in own]
    for directory in reversed(own):
        sh("umount", directory)
        canaries.mounts.remove(directory)
