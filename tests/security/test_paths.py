# SPDX-License-Identifier: Apache-2.0
"""Paths that an image, a volume or a neighbour controls (docs/security.md, part A)."""
import json
import os
import shutil
import subprocess
import sys

import pytest

import lab as cells

HOSTILE = str(cells.TOP / "tests/security/hostile.py")


def hostile(mode, tmp_path, number, off=None):
    """hostile.py in a mount namespace of its own; `off`: by the runtime without this defence."""
    cells.programs()
    base = tmp_path / f"{mode}-{off}"
    base.mkdir()
    probe = shutil.copy(cells.PROBE, base / "probe")
    runtime = cells.UNSAFE if off else cells.RUNTIME
    env = dict(os.environ, **({"BUOY_UNSAFE": off} if off else {}))
    seed = os.environ.get("BUOY_SEED", "1")
    print(f"seed {seed}")
    done = subprocess.run(["unshare", "--mount", "--propagation", "private", sys.executable, HOSTILE, mode, runtime, probe,
                           base, str(number), seed], env=env, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


def test_hostile_images_change_nothing_and_hang_nowhere(tmp_path):
    found = hostile("images", tmp_path, cells.count("IMAGES", 500))
    assert found["changed"] == [] and found["mounts"] == [] and found["hung"] == [] and found["state"] == 0
    assert found["bare"] == [], "refused without a word"
    # Of no use if nothing got as far as running, or nothing was refused.
    assert found["started"] > found["count"] / 10 and found["refused"] > found["count"] / 10, found


def test_hostile_images_are_noticed_where_paths_are_followed(tmp_path):
    found = hostile("images", tmp_path, 60, "paths")
    assert any("/canary/" in path for path in found["changed"]), found


def test_a_link_exchanged_during_starts_leads_nowhere(tmp_path):
    found = hostile("swaps", tmp_path, cells.count("SWAPS", 300))
    assert found["changed"] == [] and found["mounts"] == [] and found["hung"] == [] and found["state"] == 0
    assert found["bare"] == [] and found["started"] > 0, found


def test_a_link_exchanged_during_starts_is_noticed_where_paths_are_followed(tmp_path):
    found = hostile("swaps", tmp_path, 100, "paths")
    assert any("/canary/" in path for path in found["changed"]), found


def test_two_hundred_thousand_opens_stay_inside_and_plain_ones_do_not():
    cells.programs()
    found = json.loads(subprocess.run([cells.RACE, str(cells.count("OPENS", 200000))], stdout=subprocess.PIPE,
                                      check=True, timeout=600).stdout)
    assert found["escaped"] == 0, found
    assert found["escaped_plainly"] > found["opens"] / 100, found  # the control
    assert found["again"] < found["opens"] / 20, found


# ---- names (row 15) ----

@pytest.mark.parametrize("name", ["../x", "a/b", "/x", "", ".", "..", "-x", "a b", "a\nb", "a" * 256, "ä", ".x"])
def test_an_id_is_a_name_and_never_a_path(cell, name):
    cell.save(["/bin/probe", "true"])
    before = sorted(os.listdir(cell.path))
    done = cell.call("run", "--bundle", cell.path, "--", name, check=False)
    assert done.returncode != 0 and "buoy-runtime: " in done.stderr
    assert sorted(os.listdir(cell.path)) in (before, sorted([*before, cell.state.name]))


def test_a_good_id_is_taken(cell):
    """The control of the one above: the same call with a good name runs."""
    cell.save(["/bin/probe", "true"])
    assert cell.call("run", "--bundle", cell.path, "--", "sec-A.b_c-" + cell.id()[4:]).returncode == 0


def test_a_working_directory_is_made_inside(cell, tmp_path_factory):
    """CVE-2026-55686: WORKDIR below a link to the host."""
    outside = tmp_path_factory.mktemp("outside")
    (cell.root / "esc").symlink_to(outside)
    cell.config["process"]["cwd"] = "/esc/made/here"
    assert cell.run("/bin/probe", "true", check=False).returncode in (0, 1)
    assert os.listdir(outside) == []
    cell.unsafe("paths").run("/bin/probe", "true", check=False)
    assert os.listdir(outside) == ["made"], "the control"
