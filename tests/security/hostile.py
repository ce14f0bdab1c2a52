#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hostile root file systems, and what running them does to the machine.

    unshare --mount --propagation private tests/security/hostile.py images RUNTIME PROBE DIR COUNT [SEED]
    unshare --mount --propagation private tests/security/hostile.py swaps  RUNTIME PROBE DIR COUNT [SEED]

`images` makes COUNT roots in which what a runtime touches is a link, a fifo, a device, a file or a
loop, and runs and execs in each. `swaps` starts COUNT containers that mount below a volume while a
neighbour exchanges a directory of it for a symlink. Both print one JSON object: what started, what
was refused, what hung, which files outside of the roots changed, which mounts are left.

The mount namespace of its own makes the mount table comparable while others work on the machine.
"""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import socket
import stat
import subprocess
import sys

PLACES = ("dev", "dev/null", "dev/pts", "dev/shm", "dev/mqueue", "dev/console", "dev/ptmx", "dev/fd", "dev/stdout",
          "proc", "proc/sys", "proc/self", "sys", "sys/fs", "sys/fs/cgroup", "etc", "etc/passwd", "etc/group",
          "etc/hosts", "etc/hostname", "etc/resolv.conf", "run", "run/secrets", "tmp", "work", "work/deep", "home",
          "home/user", "data", "data/in")
# Links that lead out of the root; the control build is only ever given those to the canary.
TO_CANARY = ("absolute", "climbing", "dangling", "through")
KINDS = TO_CANARY + ("magic", "magic_fd", "loop", "pair", "long_chain", "dot", "fifo", "zero_device", "block_device",
                     "overlay_mark", "file", "closed_file", "setuid_file", "socket", "closed_directory", "empty")
HANG_SECONDS = 20


# ---- the outside ----

def entry(path):
    """What must not change of one file: all but the access time."""
    st = os.lstat(path)
    text = os.readlink(path) if stat.S_ISLNK(st.st_mode) else ""
    if stat.S_ISREG(st.st_mode) and st.st_size < 1 << 20:
        with open(path, "rb") as f:
            text = hashlib.sha256(f.read()).hexdigest()
    return [st.st_mode, st.st_uid, st.st_gid, st.st_rdev, st.st_mtime_ns, st.st_ctime_ns, text]


def snapshot(top, leave_out=(), whole=True):
    found = {}
    for parent, folders, files in os.walk(top):
        folders[:] = [f for f in folders if os.path.join(parent, f) not in leave_out]
        for name in [*folders, *files, "."]:
            path = os.path.join(parent, name)
            try:
                found[path] = entry(path) if whole else os.lstat(path).st_mode
            except FileNotFoundError:
                pass
    return found


def outside(base):
    """The canary in full; of the machine, names and modes where a runtime would slip to."""
    found = snapshot(base / "canary")
    found.update(snapshot("/etc"))
    for top in ("/", "/dev", "/root", "/home"):
        found.update((os.path.join(top, name), "there") for name in os.listdir(top) if not name.startswith("loop"))
    return found


def mounts():
    with open("/proc/self/mountinfo") as f:
        return sorted(" ".join(line.split()[2:6]) for line in f)


def private_etc(base):
    """A copy of /etc over /etc, in this mount namespace: what others install meanwhile does not count."""
    shutil.copytree("/etc", base / "etc", symlinks=True)
    subprocess.run(["mount", "--bind", base / "etc", "/etc"], check=True)


def make_canary(base):
    canary = base / "canary"
    for place in PLACES:
        path = canary / place
        path.parent.mkdir(parents=True, exist_ok=True)
        if any(other.startswith(place + "/") for other in PLACES):
            path.mkdir(exist_ok=True)
        elif place.startswith("etc/"):
            path.write_text("of the host\n")
        else:
            path.mkdir(exist_ok=True)
    (canary / "in").mkdir()
    return canary


# ---- a hostile root ----

def put(root, place, kind, canary):
    """Makes `place` what `kind` says; False where something above it is no directory any more."""
    path = root / place
    if any(not stat.S_ISDIR(os.lstat(p).st_mode) for p in reversed(path.parents)
           if p.is_relative_to(root) and p != root and os.path.lexists(p)):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(path):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    climb = "../" * 40 + str(canary)[1:]
    links = {"absolute": canary / place, "climbing": f"{climb}/{place}", "dangling": canary / "new" / place,
             "through": f"{canary}/new-{path.name}", "magic": f"/proc/self/root{canary}/{place}",
             "magic_fd": f"/proc/self/fd/{random.choice((3, 5, 7, 9))}", "loop": path.name, "dot": "."}
    if kind in links:
        path.symlink_to(links[kind])
    elif kind == "pair":
        path.symlink_to(path.name + ".pair")
        (path.parent / (path.name + ".pair")).symlink_to(path.name)
    elif kind == "long_chain":
        for i in range(45):
            (path.parent / f".chain-{path.name}-{i}").symlink_to(f".chain-{path.name}-{i + 1}")
        path.symlink_to(f".chain-{path.name}-0")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind in ("zero_device", "block_device", "overlay_mark"):
        mode, number = {"zero_device": (stat.S_IFCHR, (1, 5)), "block_device": (stat.S_IFBLK, (7, 0)),
                        "overlay_mark": (stat.S_IFCHR, (0, 0))}[kind]
        os.mknod(path, mode | 0o666, os.makedev(*number))
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(f"/proc/self/fd/{(fd := os.open(path.parent, os.O_PATH))}/{path.name}")
            os.close(fd)
    elif kind == "closed_directory":
        path.mkdir(0)
    elif kind != "empty":
        path.write_text("of the image\n")
        path.chmod({"file": 0o644, "closed_file": 0, "setuid_file": 0o4755}[kind])
    return True


def make_root(root, probe, canary, number, rng, kinds):
    """Image `number`: one place and kind each in turn, and up to three more by chance."""
    for place in ("bin", "dev", "etc", "proc", "sys", "run", "tmp", "work", "home/user", "data"):
        (root / place).mkdir(parents=True)
    os.link(probe, root / "bin/probe")
    wanted = [(PLACES[number % len(PLACES)], kinds[number // len(PLACES) % len(kinds)])]
    wanted += [(rng.choice(PLACES), rng.choice(kinds)) for _ in range(rng.randrange(4))]
    return [f"{place}={kind}" for place, kind in wanted if put(root, place, kind, canary)]


# ---- running ----

def bundle_config(args):
    config = json.loads(args.spec)
    config["root"]["readonly"] = False
    config["process"].update(terminal=False, args=["/bin/probe", "hold"])
    return config


def bind(source, destination):
    return {"destination": destination, "type": "bind", "source": str(source), "options": ["rbind", "rw"]}


def image_config(args):
    """What an engine asks for: files below /etc, a volume, a filled tmpfs, a directory to work in, a device."""
    config, files = bundle_config(args), args.base / "files"
    config["process"].update(cwd="/work/deep/er", env=["PATH=/bin", "HOME=/home/user"])
    config["mounts"] += [bind(files / "file", f"/etc/{name}") for name in ("resolv.conf", "hostname", "hosts")]
    config["mounts"] += [bind(files / "volume", "/data/in/volume"), bind(files / "file", "/run/secrets/one"),
                         {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}]
    config["linux"]["devices"] = [{"type": "c", "path": "/dev/extra", "major": 1, "minor": 3},
                                  {"type": "c", "path": "/home/user/null", "major": 1, "minor": 3}]
    return config


class Runtime:
    def __init__(self, program, state):
        self.program, self.state = program, state

    def __call__(self, *words):
        """(exit code, words of the error); (None, ...) if it hung."""
        # To a file: a container keeps its output open, and a pipe would never end.
        with open(self.state.with_suffix(".err"), "wb+") as err:
            try:
                done = subprocess.run([self.program, "--root", self.state, *words], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.DEVNULL, stderr=err, timeout=HANG_SECONDS)
            except subprocess.TimeoutExpired:
                return None, "hung"
            err.seek(0)
            return done.returncode, err.read().decode(errors="replace")


def one_image(number, args):
    base, canary, kinds = args.base, args.base / "canary", TO_CANARY if args.control else KINDS
    bundle = base / f"image-{number}"
    root = bundle / "rootfs"
    root.mkdir(parents=True)
    rng = random.Random(args.seed * 1000003 + number)
    made = make_root(root, args.probe, canary, number, rng, kinds)
    (bundle / "config.json").write_text(json.dumps(image_config(args)))
    runtime, name = Runtime(args.runtime, bundle / "state"), f"hostile-{os.getpid()}-{number}"
    result = {"number": number, "made": made, "hung": [], "started": False, "words": "", "state": []}
    for verb, *words in (("create", "--bundle", bundle, name), ("start", name), ("exec", name, "/bin/probe", "true")):
        code, text = runtime(verb, *words)
        if code is None:
            result["hung"].append(verb)
        if code != 0:
            result["words"] = text.strip()[-200:]
            break
    else:
        result["started"] = True
    state = bundle / "state"
    if state.exists() and os.listdir(state):
        if verb == "create":
            result["state"] = os.listdir(state)
        runtime("delete", "--force", name)
        result["state"] += os.listdir(state)
    shutil.rmtree(bundle)
    return result


def images(args):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda n: one_image(n, args), range(args.count)))


def swaps(args):
    """Mounts onto /vol/a/in and /vol/a/new, where a is exchanged for a link to the canary all the time."""
    base, canary = args.base, args.base / "canary"
    bundle, volume = base / "swap", base / "swap/volume"
    for path in (bundle / "rootfs/bin", bundle / "rootfs/dev", bundle / "rootfs/proc", bundle / "rootfs/sys",
                 bundle / "rootfs/vol", volume / "a/in"):
        path.mkdir(parents=True)
    os.link(args.probe, bundle / "rootfs/bin/probe")
    (volume / "b").symlink_to(canary)
    config = bundle_config(args)
    config["mounts"] += [bind(volume, "/vol"), bind(base / "files/volume", "/vol/a/in"),
                         bind(base / "files/file", "/vol/a/made"),
                         {"destination": "/vol/a/tmp", "type": "tmpfs", "source": "tmpfs", "options": []}]
    config["process"].update(args=["/bin/probe", "true"], cwd="/vol/a/cwd")
    (bundle / "config.json").write_text(json.dumps(config))
    runtime, results = Runtime(args.runtime, bundle / "state"), []
    neighbour = subprocess.Popen([args.probe, "exchange", volume / "a", volume / "b"])
    try:
        for number in range(args.count):
            code, text = runtime("run", "--bundle", bundle, f"swap-{os.getpid()}-{number}")
            results.append({"number": number, "started": code == 0, "hung": ["run"] if code is None else [],
                            "words": text.strip()[-200:], "state": os.listdir(bundle / "state")})
            if args.control and outside(base) != args.before:
                break
    finally:
        neighbour.kill()
        neighbour.wait()
    return results


class Args:
    def __init__(self, mode, runtime, probe, base, count, seed="1"):
        self.mode, self.runtime, self.probe = mode, runtime, probe
        self.base, self.count, self.seed = pathlib.Path(base), int(count), int(seed)
        self.spec, self.before = "", {}
        self.control = "BUOY_UNSAFE" in os.environ


def changed(before, after):
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def main(words):
    args = Args(*words)
    private_etc(args.base)
    make_canary(args.base)
    (args.base / "files/volume").mkdir(parents=True)
    (args.base / "files/file").write_text("given\n")
    subprocess.run([args.runtime, "spec", "--bundle", args.base], check=True)
    args.spec = (args.base / "config.json").read_text()
    args.before, mounted = outside(args.base), mounts()
    results = {"images": images, "swaps": swaps}[args.mode](args)
    after = outside(args.base)
    refused = [r for r in results if not r["started"]]
    reasons = {re.sub(r"\d+", "N", r["words"])[:90] for r in refused}
    print(json.dumps({
        "count": len(results), "started": sum(r["started"] for r in results), "refused": len(refused),
        "hung": [r for r in results if r["hung"]], "changed": changed(args.before, after),
        "mounts": sorted(set(mounts()) - set(mounted)), "state": sum(len(r["state"]) for r in results),
        "bare": [r for r in refused if "buoy-runtime: " not in r["words"]], "reasons": sorted(reasons)[:40]}))


if __name__ == "__main__":
    main(sys.argv[1:])
