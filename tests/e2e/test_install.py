# SPDX-License-Identifier: Apache-2.0
"""What `make install` makes from the programs' tables: each man page whole, completion for each program, the units."""
import os
import pathlib
import subprocess

from conftest import BUILD

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"


def test_pages_completion_and_units_are_installed(tmp_path):
    subprocess.run(["sh", TOOLS / "install_extras", BUILD, "/usr"], check=True, env=dict(os.environ, DESTDIR=str(tmp_path)))
    pages = subprocess.run([BUILD / "buoy", "manpage"], capture_output=True, text=True, check=True).stdout.split()
    assert {"buoy", "buoy-run", "buoy-service-create", "buoy-cluster-migrate-store"} <= set(pages)
    names = {f"man1/{page}.1" for page in pages} | {f"man8/{p}.8" for p in ("buoyd", "buoy-runtime", "buoy-registry")}
    man = tmp_path / "usr/share/man"
    assert {str(p.relative_to(man)) for p in man.rglob("*.*")} == names
    for name in names:
        title = (man / name).read_text().splitlines()[0].replace("\\-", "-").replace('"', "").split()
        assert title[0] == ".TH" and title[1].lower() == pathlib.Path(name).stem
    for program in ("buoy", "buoy-runtime", "buoy-registry"):
        assert "complete " in (tmp_path / "usr/share/bash-completion/completions" / program).read_text()
    for unit in ("buoyd", "buoy-registry"):
        assert "\nExecStart=/usr/bin/" in (tmp_path / f"lib/systemd/system/{unit}.service").read_text()


def test_a_page_that_is_not_there_is_an_error():
    done = subprocess.run([BUILD / "buoy", "manpage", "buoy-fly"], capture_output=True, text=True)
    assert done.returncode != 0 and "no such page: buoy-fly" in done.stderr and done.stdout == ""
