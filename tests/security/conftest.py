# SPDX-License-Identifier: Apache-2.0
"""Cells (lab.py), and the machines of tests/e2e for what goes through the engine."""
import importlib.util
import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import lab as cells  # noqa: E402 - found beside this file

spec = importlib.util.spec_from_file_location("machines_of_e2e", HERE.parent / "e2e/conftest.py")
e2e = importlib.util.module_from_spec(spec)
spec.loader.exec_module(e2e)
for fixture in ("busybox_tar", "oracle", "lab", "shared_daemon", "daemon", "machines"):
    globals()[fixture] = getattr(e2e, fixture)


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        pytest.exit("tests/security needs root", 2)


@pytest.fixture
def cell(tmp_path):
    made = cells.Cell(tmp_path)
    yield made
    made.close()
    every = [made, *made.others]
    for one in every:
        assert not one.state.exists() or os.listdir(one.state) == []
        for id in one.ids:
            assert not list(pathlib.Path("/sys/fs/cgroup").glob(f"*/buoy/{id}"))
    assert str(tmp_path) not in pathlib.Path("/proc/self/mountinfo").read_text()
