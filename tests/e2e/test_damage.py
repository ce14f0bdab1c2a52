# SPDX-License-Identifier: Apache-2.0
"""Layers whose bytes are not those of their digests any more: found by a check, and at the first use after the machine went down; mended from
what is here, else from the registry; named with what to do where that cannot be. Both forms of a layer."""
import io
import json
import os
import sqlite3
import tarfile

import pytest
from test_image_forms import FORMS, mountable, tool  # noqa: F401 (fixtures)
from test_image_store import Fake, digest, make_tar

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def fake():
    server = Fake()
    yield server
    server.shutdown()
    server.server_close()


def flip(path):
    with path.open("r+b") as f:
        middle = path.stat().st_size // 2
        f.seek(middle)
        byte = f.read(1)
        f.seek(middle)
        f.write(bytes([byte[0] ^ 1]))


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    os.truncate(path, 0)


def remove(path):
    path.unlink()


def layer_of(store):
    (layer,) = (store / "layers").iterdir()
    return layer


def places(store, form):
    """What a layer of this form consists of: a name for it, and the file."""
    layer = layer_of(store)
    (blob,) = (store / "blobs/sha256").iterdir()
    if form == "tars":
        return {"blob": blob, "tar": layer / "tar", "index": layer / "index"}
    return {"blob": blob, "directory": layer / "diff/file"}


def check(form, store, how="look"):
    *damage, total = tool(form, store, "check", how).stdout.splitlines()
    assert total == "1 layers"
    return [line.split("|") for line in damage]


def pulled(tmp_path, fake, form):
    body = make_tar(tmp_path / "layer.tar", {"d": ("dir",), "file": os.urandom(200000), "l": ("link", "file")}).read_bytes()
    fake.add_image("app", "1", body)
    tool(form, tmp_path / "store", "pull", f"{fake.address}/app:1")
    return tmp_path / "store", body


@pytest.mark.parametrize("form", FORMS)
def test_each_kind_of_damage_is_found_and_mended(tmp_path, fake, form):
    store, body = pulled(tmp_path, fake, form)
    sound = {name: path.read_bytes() for name, path in places(store, form).items()}
    assert check(form, store) == []
    for name in sound:
        for harm in (flip, cut, empty, remove):
            harm(places(store, form)[name])
            fake.seen.clear()
            if harm == flip:
                ((_, what, _, images, state, outcome),) = check(form, store)
                assert (images, state, outcome) == ("1", "damaged", "") and not fake.seen
            ((_, what, reason, _, state, outcome),) = check(form, store, "repair")
            assert what == name or (form == "directories" and what == "blob, directory"), (name, harm, reason)
            assert state == "mended", outcome
            assert any(digest(body) in path for path, _ in fake.seen) == (name == "blob"), "nothing is fetched that is here"
            for other, path in places(store, form).items():
                # The root that no entry describes has the time at which the index was made.
                assert other == "index" or path.read_bytes() == sound[other], (name, harm)
    assert check(form, store) == [] and not list((store / "staging").iterdir())


@pytest.mark.parametrize("form", FORMS)
def test_what_cannot_be_mended_is_named_with_what_to_do(tmp_path, fake, form):
    store, body = pulled(tmp_path, fake, form)
    for path in places(store, form).values():
        flip(path)
    fake.objects.pop(f"/v2/app/blobs/{digest(body)}")
    ((_, what, _, _, state, outcome),) = check(form, store, "repair")
    assert what == {"tars": "blob, tar, index", "directories": "blob, directory"}[form]
    assert state == "damaged" and "could not be fetched again" in outcome
    fake.add_image("app", "1", body)
    ((*_, outcome),) = check(form, store, "repair")
    assert outcome == f"fetched again from {fake.address}" and check(form, store) == []


@pytest.mark.parametrize("form", FORMS)
def test_what_no_registry_has_is_packed_again(tmp_path, form):
    """An imported layer: its blob comes out the same; without both it is said to be lost."""
    store = tmp_path / "store"
    tool(form, store, "import", make_tar(tmp_path / "layer.tar", {"file": os.urandom(90000)}), "own:1")
    blob = places(store, form)["blob"]
    whole = blob.read_bytes()
    flip(blob)
    ((*_, outcome),) = check(form, store, "repair")
    if form == "tars": # a directory is packed in an order of its own
        assert outcome == "packed again from its layer" and blob.read_bytes() == whole
        flip(blob)
    flip(places(store, form)[{"tars": "tar", "directories": "directory"}[form]])
    ((*_, state, outcome),) = check(form, store, "repair")
    assert state == "damaged" and "build, load or import them again" in outcome


def machine_goes_down(store):
    """As if the machine had been off since the store was open."""
    with sqlite3.connect(store / "image.db") as db:
        db.execute("update boot set id = 'another', clean = 0")
    db.close()


@pytest.mark.parametrize("form", FORMS)
def test_after_an_unclean_boot_each_layer_is_verified_before_its_first_use(machines, tmp_path, form):
    """By a daemon. Control: after a clean boot nothing is read, and the damage is there to be seen."""
    (m,) = machines(1, image=False)

    def restart(before=lambda: None):
        m.stop()
        before()
        m.start("--layers", {"tars": "mounted", "directories": "directories"}[form])

    restart()
    layer = tmp_path / "layer.tar"
    make_tar(layer, {"file": b"good" * 20000})
    m.buoy("import", layer, "app:1")
    name = {"tars": "tar", "directories": "directory"}[form]

    def content():
        m.buoy("create", "--name", "c", "app:1", "/x")
        status, body = m.api("GET", "/containers/c/export")
        m.buoy("rm", "c")
        return tarfile.open(fileobj=io.BytesIO(body)).extractfile("file").read() if status == 200 else body.decode()

    whole = content()
    assert whole == b"good" * 20000
    # ---- a clean boot: nobody looks
    restart(lambda: flip(places(m.root, form)[name]))
    assert content() != whole and m.log.read_text().count("layer was mended") == 0
    # ---- the machine goes down
    restart(lambda: machine_goes_down(m.root))
    assert "went down unexpectedly" in m.log.read_text()
    assert content() == whole and content() == whole
    assert m.log.read_text().count("layer was mended") == 1, "once"

    # ---- nothing to mend it from
    def harm_all():
        for path in places(m.root, form).values():
            flip(path)
        machine_goes_down(m.root)

    restart(harm_all)
    assert "was damaged when the machine went down" in content()
    found = m.buoy("system", "check", "--format", "json", check=False)
    (row,) = map(json.loads, found.stdout.splitlines())
    assert found.returncode == 1 and row["Images"] == "app:1" and row["Containers"] == "-"
    table = m.buoy("system", "check", "--repair", check=False)
    assert table.returncode == 1 and "load or import them again" in table.stdout and "1 damaged, 0 repaired" in table.stderr
    m.buoy("rmi", "-f", "app:1")
    m.buoy("import", layer, "app:1")
    assert content() == whole and m.buoy("system", "check").returncode == 0
