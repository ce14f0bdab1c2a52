# SPDX-License-Identifier: Apache-2.0
"""What is told of an end is true: the code, and OOMKilled if and only if the main process died of it.

BUOY_TRIALS of them (200 in `make soak`), drawn from all the ways to end that are below; a third of the rounds
end while the daemon is down.
"""
import os
import random
import threading
import time

from conftest import eventually

TRIALS = int(os.environ.get("BUOY_TRIALS", "60"))
SEED = int(os.environ.get("BUOY_SEED", "5"))
MEMORY = 16 << 20
HOG = "dd if=/dev/zero of=/dev/null bs=100M count=1 2>/dev/null"


class Trial:
    """One container: how it is made to end, and what must be told of it."""

    def __init__(self, number, rng):
        self.name = f"t{number}"
        self.signal, self.code, self.oom, self.host = None, 0, False, {"Memory": MEMORY, "MemorySwap": MEMORY}
        self.hogs = 0
        self.kind = rng.choice(sorted(KINDS))
        self.script = KINDS[self.kind](self, rng)

    def main_is_oom_killed(self, _):
        self.code, self.oom, self.hogs = 137, True, 1
        return f"exec {HOG}"

    def main_is_oom_killed_after_children(self, _):
        self.code, self.oom, self.hogs = 137, True, 3
        return f"{HOG}; {HOG}; exec {HOG}"

    def child_is_oom_killed(self, rng):
        self.code, self.hogs = rng.randrange(1, 100), 1
        return f"{HOG}; exit {self.code}"

    def status_of_an_oom_killed_child(self, _):
        self.code, self.hogs = 137, 1
        return f"{HOG}; exit $?"

    def killed_after_a_child_was_oom_killed(self, _):
        self.code, self.signal, self.hogs = 137, "KILL", 1
        return f"{HOG}; echo ready; exec sleep 60"

    def killed_at_once(self, _):
        self.code, self.signal = 137, "KILL"
        return None

    def signal_ends_it(self, rng):
        self.signal, number = rng.choice([("HUP", 1), ("INT", 2), ("ABRT", 6), ("USR1", 10), ("SEGV", 11), ("TERM", 15)])
        self.code = 128 + number
        self.host["PidMode"] = "host" # where it is not the first process, whom nothing ends
        return "echo ready; exec sleep 60"

    def handler_ends_it(self, rng):
        self.code, self.signal = rng.randrange(1, 100), "TERM"
        return f"trap 'exit {self.code}' TERM; echo ready; while :; do sleep 0.01; done"

    def exits(self, rng):
        self.code = rng.randrange(0, 256)
        return f"exit {self.code}"

    def start(self, daemon, delay=""):
        script = self.script if self.script else "exec sleep 60"
        daemon.json("POST", f"/containers/create?name={self.name}",
                    {"Image": "busybox", "Cmd": ["sh", "-c", delay + script], "HostConfig": self.host})
        assert daemon.api("POST", f"/containers/{self.name}/start")[0] == 204
        self.started = time.monotonic()
        if self.signal and self.script:
            eventually(lambda: b"ready" in daemon.api("GET", f"/containers/{self.name}/logs?stdout=1")[1], 20)
        if self.signal:
            status, text = daemon.api("POST", f"/containers/{self.name}/kill?signal={self.signal}")
            assert status == 204, text

    def wrong(self, daemon):
        daemon.api("POST", f"/containers/{self.name}/wait")
        state = daemon.json("GET", f"/containers/{self.name}/json")["State"]
        daemon.api("DELETE", f"/containers/{self.name}?force=1")
        if (state["Status"], state["ExitCode"], state["OOMKilled"]) == ("exited", self.code, self.oom):
            return None
        return f"{self.kind}: told {state['Status']} {state['ExitCode']} OOMKilled={state['OOMKilled']}, " \
               f"not {self.code} {self.oom}"


KINDS = {name: method for name, method in vars(Trial).items()
         if callable(method) and not name.startswith("_") and name not in ("start", "wrong")}
BY_ITSELF = ("main_is_oom_killed", "main_is_oom_killed_after_children", "child_is_oom_killed",
             "status_of_an_oom_killed_child", "exits")


def all_at_once(trials, function):
    """On four threads; what they returned or raised, None left out."""
    said, queue = [], list(trials)

    def worker():
        while queue:
            try:
                trial = queue.pop()
            except IndexError:
                return
            try:
                said.append(function(trial))
            except Exception as problem: # pylint: disable=broad-except
                said.append(f"{trial.kind}: {problem!r}")

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [text for text in said if text]


def test_each_end_is_told_as_it_was(machines, capsys):
    daemon, = machines(1)
    rng = random.Random(SEED)
    trials = [Trial(n, rng) for n in range(TRIALS * 2 // 3)]

    def go(trial):
        trial.start(daemon)
        return trial.wrong(daemon)

    wrong = all_at_once(trials, go)
    assert not wrong, f"seed {SEED}: {len(wrong)} of {len(trials)}:\n" + "\n".join(wrong)
    with capsys.disabled():
        print(f"\n[{len(trials)} of {len(trials)} ends told truly, {len({t.kind for t in trials})} kinds, seed {SEED}]")


def test_each_end_while_the_daemon_is_down_is_told_as_it_was(machines, capsys):
    daemon, = machines(1)
    rng, count = random.Random(SEED + 1), max(TRIALS // 3, 10)
    trials = []
    while len(trials) < count:
        trial = Trial(len(trials), rng)
        if trial.kind in BY_ITSELF:
            trials.append(trial)
    for at in range(0, count, 10):
        some = trials[at:at + 10]
        said = all_at_once(some, lambda trial: trial.start(daemon, "sleep 1; "))
        assert not said, said
        daemon.kill9()
        time.sleep(3)
        daemon.start()
        wrong = [text for trial in some if (text := trial.wrong(daemon))]
        assert not wrong, f"seed {SEED}: {len(wrong)} of {len(some)}:\n" + "\n".join(wrong)
    with capsys.disabled():
        print(f"\n[{count} of {count} ends while the daemon was down told truly, seed {SEED}]")
