# SPDX-License-Identifier: Apache-2.0
"""Which images are listed and which are pruned: docker's filters, by docker and by buoy."""
import os
import time

import pytest
from test_image_store import make_tar

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def three(daemon, tmp_path):
    """one, two and three, a little after one another; two is labelled."""
    for i, name in enumerate(("one", "two", "three")):
        tar = make_tar(tmp_path / f"{name}.tar", {"f": name.encode()})
        daemon.docker("import", *(("-c", "LABEL a=b") if i == 1 else ()), tar, f"{name}:1")
        time.sleep(0.01)
    yield
    for name in ("one", "two", "three"):
        daemon.docker("rmi", f"{name}:1", check=False)


def names(cli, *filters):
    words = [word for f in filters for word in ("--filter", f)]
    return set(cli.out("images", "--format", "{{.Repository}}", *words).split()) & {"one", "two", "three", "busybox"}


def test_lists_are_filtered_as_dockers(cli, three):
    assert names(cli, "before=two:1") == {"one", "busybox"}
    assert names(cli, "since=one:1") == {"two", "three"}
    assert names(cli, "since=one:1", "before=three:1") == {"two"}
    assert names(cli, "label=a=b") == {"two"} and names(cli, "label=a") == {"two"}
    assert names(cli, "reference=t*") == {"two", "three"} and names(cli, "reference=t*:2") == set()
    assert names(cli, "dangling=true") == set()
    assert names(cli, "until=1h") <= {"busybox"}
    assert {"one", "two", "three"} <= names(cli, f"until={int(time.time()) + 60}")
    for bad in ("before=nobody:1", "until=yesterday", "colour=red"):
        assert cli("images", "--filter", bad, check=False).returncode == 1, bad


def test_a_name_and_a_filter_add_up(cli, three):
    assert cli.out("images", "-q", "--filter", "label=a", "one") == ""
    assert cli.out("images", "--filter", "label=a", "--format", "{{.Repository}}", "two") == "two"


def test_volumes_know_no_until(cli, three):
    failed = cli("system", "prune", "--force", "--volumes", "--filter", "until=1h", check=False)
    assert failed.returncode == 1 and "until" in failed.stderr and names(cli) >= {"one", "two", "three"}


def test_what_images_share_is_told(daemon, tmp_path):
    """Two images with one layer in common; a container of one of them; docker reads the same answer."""
    base = make_tar(tmp_path / "base.tar", {"f": bytes(5000)})
    daemon.buoy("import", base, "base:1")
    (tmp_path / "Dockerfile").write_text("FROM base:1\nCOPY more /\n")
    (tmp_path / "more").write_bytes(bytes(700))
    daemon.buoy("build", "-t", "child:1", tmp_path)
    daemon.buoy("create", "--name", "c", "child:1", "/x")
    df = daemon.json("GET", "/system/df")
    found = {i["RepoTags"][0]: (i["Size"], i["SharedSize"], i["Containers"]) for i in df["Images"] if i["RepoTags"]}
    assert found["base:1"] == (5000, 5000, 0) and found["child:1"] == (5700, 5000, 1)
    assert [c["Names"] for c in df["Containers"]] == [["/c"]] and df["Containers"][0]["State"] == "created"
    only = daemon.json("GET", "/system/df?type=volume")
    assert only["Images"] is None and only["Containers"] is None and only["Volumes"] == []
    assert daemon.api("GET", "/system/df?type=fish")[0] == 400
    for which in ("buoy", "docker"):
        text = daemon.cli(which, "system", "df", "-v").stdout
        (line,) = [row.split() for row in text.splitlines() if row.startswith("child ")]
        assert line[-4:] == ["5.7kB", "5kB", "700B", "1"] and "VOLUME NAME" in text and "CONTAINER ID" in text, text
    lines = [line.split() for line in daemon.buoy("images", "--tree").stdout.splitlines()]
    below = lines.index(next(row for row in lines if row[0] == "base:1")) + 1
    assert lines[0] == ["IMAGE", "IMAGE", "ID", "SIZE", "OWN"]
    assert lines[below][:2] == ["\u2514\u2500", "child:1"] and lines[below][-2:] == ["5.7kB", "700B"]
    assert daemon.buoy("images", "--tree", "-q", check=False).returncode == 1
    daemon.buoy("rm", "c")
    daemon.buoy("rmi", "child:1", "base:1")


def prune(cli, *filters):
    words = [word for f in filters for word in ("--filter", f)]
    return cli("image", "prune", "--all", "--force", *words)


def test_pruning_keeps_what_the_filters_leave_out(cli, three):
    cli("run", "-d", "--name", "user", "busybox", "sleep", "60") # busybox is used, and so stays
    prune(cli, "until=1h")
    prune(cli, "label=c")
    assert names(cli) == {"one", "two", "three", "busybox"}
    prune(cli, "label=a")
    assert names(cli) == {"one", "three", "busybox"}
    assert cli("image", "prune", "--force", "--filter", "until=soon", check=False).returncode == 1
    prune(cli, "label!=a")
    assert names(cli) == {"busybox"}, "the control: they could be pruned all along"
