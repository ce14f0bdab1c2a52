# SPDX-License-Identifier: Apache-2.0
"""login, logout and who keeps the password: config.json, or a credential helper. Each test runs with docker and with buoy, against
one daemon and one registry with users: what one of the two keeps, the other finds."""
import base64
import json
import os
import stat

import pytest
from conftest import Client
from test_registry import Registry, bcrypt

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

HELPER = """#!/bin/sh
# Keeps one secret per server in a directory, and writes down what it is asked.
kept="$HELPER_DIR/kept"
mkdir -p "$kept"
input=$(cat)
echo "$1 $input" >>"$HELPER_DIR/log"
file="$kept/$(printf %s "$input" | tr -c 'A-Za-z0-9.\\n' _)"
case $1 in
store)
	server=$(printf %s "$input" | sed 's/.*"ServerURL":"\\([^"]*\\)".*/\\1/')
	printf %s "$input" >"$kept/$(printf %s "$server" | tr -c 'A-Za-z0-9.\\n' _)" ;;
get) [ -f "$file" ] && cat "$file" || { echo "credentials not found in native keychain"; exit 1; } ;;
erase) rm -f "$file" ;;
list)
	printf '{'
	sep=
	for f in "$kept"/*; do
		[ -f "$f" ] || continue
		printf '%s"%s":"x"' "$sep" "$(sed 's/.*"ServerURL":"\\([^"]*\\)".*/\\1/' "$f")"
		sep=,
	done
	printf '}' ;;
esac
"""


@pytest.fixture(scope="module")
def users(shared_daemon, tmp_path_factory):
    """A registry on the machine's loopback that lets alice in."""
    base = tmp_path_factory.mktemp("users")
    (base / "users").write_text(f"alice:{bcrypt('secret')}\n")
    r = Registry(base, "--htpasswd", base / "users", enter=("nsenter", f"--net=/run/netns/{shared_daemon.netns}"))
    yield r
    assert r.stop() == 0


class Keys:
    """A DOCKER_CONFIG of its own, and a PATH with helpers."""

    def __init__(self, base, monkeypatch):
        self.dir, self.bin = base / "config", base / "bin"
        self.bin.mkdir()
        self.file = self.dir / "config.json"
        self.base = base
        monkeypatch.setenv("DOCKER_CONFIG", str(self.dir))
        monkeypatch.setenv("HELPER_DIR", str(base))
        monkeypatch.setenv("PATH", f"{self.bin}:{os.environ['PATH']}")
        self.helper("test", HELPER)

    def helper(self, name, text):
        path = self.bin / f"docker-credential-{name}"
        path.write_text(text)
        path.chmod(0o755)

    def write(self, **doc):
        self.dir.mkdir(exist_ok=True)
        self.file.write_text(json.dumps(doc))

    def read(self):
        return json.loads(self.file.read_text())

    def asked(self):
        log = self.base / "log"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def keys(tmp_path, monkeypatch):
    return Keys(tmp_path, monkeypatch)


def other(cli):
    return Client(cli.daemon, "buoy" if cli.which == "docker" else "docker")


def login(cli, registry, password="secret", **kwargs):
    return cli("login", "-u", "alice", "--password-stdin", registry.address, input=password, **kwargs)


def push(cli, registry, name, **kwargs):
    cli("tag", "busybox", f"{registry.address}/{name}")
    try:
        return cli("push", f"{registry.address}/{name}", **kwargs)
    finally:
        cli("rmi", f"{registry.address}/{name}")


def test_a_login_is_kept_in_a_file_for_the_owner_alone(cli, users, keys):
    keys.write(HttpHeaders={"X": "y"}, psFormat="table {{.ID}}", auths={"other.example": {"auth": "YTpi"}})
    os.chmod(keys.file, 0o644)
    done = login(cli, users)
    assert "Login Succeeded" in done.stdout and "unencrypted" in done.stderr and str(keys.file) in done.stderr
    doc = keys.read()
    assert doc["auths"][users.address] == {"auth": base64.b64encode(b"alice:secret").decode()}
    assert doc["auths"]["other.example"] == {"auth": "YTpi"}
    assert doc["HttpHeaders"] == {"X": "y"} and doc["psFormat"] == "table {{.ID}}"
    assert stat.S_IMODE(os.stat(keys.file).st_mode) == 0o600 or cli.which == "docker"
    assert [p.name for p in keys.dir.iterdir()] == ["config.json"], "no temporary file stays"
    push(other(cli), users, "kept:1")
    assert f"Removing login credentials for {users.address}" in cli.out("logout", users.address)
    assert list(keys.read()["auths"]) == ["other.example"]
    assert push(other(cli), users, "kept:1", check=False).returncode == 1


def test_a_wrong_password_is_not_kept(cli, users, keys):
    failed = login(cli, users, "guess", check=False)
    assert failed.returncode == 1 and not keys.file.exists()
    assert users.address in failed.stderr and "wrong" in failed.stderr


def test_a_password_among_the_arguments_is_warned_of(cli, users, keys):
    done = cli("login", "-u", "alice", "-p", "secret", users.address)
    assert "Using --password via the CLI is insecure. Use --password-stdin." in done.stderr
    assert "Using --password" not in login(cli, users).stderr


def test_a_second_login_tries_what_is_kept(cli, users, keys):
    login(cli, users)
    done = cli("login", users.address)
    assert "uthenticating with existing credentials" in done.stdout + done.stderr and "Login Succeeded" in done.stdout
    both = cli("login", "-u", "a", "-p", "b", "--password-stdin", users.address, check=False, input="x")
    assert both.returncode == 1 and "cannot specify both --password and --password-stdin" in both.stderr


def test_a_link_to_the_file_stays_a_link(users, keys, daemon):
    keys.write(auths={})
    kept = keys.base / "elsewhere.json"
    keys.file.rename(kept)
    keys.file.symlink_to(kept)
    login(Client(daemon, "buoy"), users)
    assert keys.file.is_symlink() and users.address in json.loads(kept.read_text())["auths"]


@pytest.mark.parametrize("key", ["credsStore", "credHelpers"])
def test_a_helper_keeps_it_instead(cli, users, keys, key):
    keys.write(**{key: "test" if key == "credsStore" else {users.address: "test"}})
    done = login(cli, users)
    assert "unencrypted" not in done.stderr
    assert keys.read()["auths"] == {users.address: {}} and "secret" not in keys.file.read_text()
    stored = json.loads(keys.asked()[-1].removeprefix("store "))
    assert stored == {"ServerURL": users.address, "Username": "alice", "Secret": "secret"}
    push(other(cli), users, "helped:1")
    assert f"get {users.address}" in keys.asked()
    cli("logout", users.address)
    assert f"erase {users.address}" in keys.asked() and not list((keys.base / "kept").iterdir())
    assert push(cli, users, "helped:1", check=False).returncode == 1


def test_a_helper_of_one_registry_is_not_asked_for_another(cli, users, keys):
    keys.write(credHelpers={"other.example": "test"}, auths={users.address: {"auth": base64.b64encode(b"alice:secret").decode()}})
    push(cli, users, "unasked:1")
    assert not keys.asked()


def test_a_build_takes_along_what_helpers_keep(cli, users, keys, tmp_path):
    keys.write(credsStore="test")
    login(cli, users)
    push(cli, users, "base:1")
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM {users.address}/base:1\nLABEL a=b\n")
    cli("build", "--pull", "-t", "built", context)
    assert "list unused" in keys.asked()
    cli("logout", users.address)
    cli("rmi", "built")
    cli("rmi", f"{users.address}/base:1", check=False)
    assert cli("build", "--pull", context, check=False).returncode == 1


def test_a_helper_that_fails_says_why(users, keys, daemon):
    buoy = Client(daemon, "buoy")
    keys.helper("locked", "#!/bin/sh\necho 'the vault is locked'\nexit 2\n")
    keys.write(credsStore="locked")
    failed = push(buoy, users, "locked:1", check=False)
    assert failed.returncode == 1 and "docker-credential-locked get: the vault is locked" in failed.stderr
    assert "going on without credentials" in failed.stderr
    failed = login(buoy, users, check=False)
    assert failed.returncode == 1 and "cannot be kept: docker-credential-locked store: the vault is locked" in failed.stderr
    keys.write(credsStore="nowhere")
    failed = login(buoy, users, check=False)
    assert "docker-credential-nowhere store: it is not in PATH: install it, or take it out of config.json" in failed.stderr
    keys.write(credsStore="../test")
    assert "cannot be a credential helper's name" in login(buoy, users, check=False).stderr
    assert not keys.asked()


def test_a_file_that_is_damaged_is_not_replaced(users, keys, daemon):
    keys.write()
    keys.file.write_text("{ damaged")
    failed = login(Client(daemon, "buoy"), users, check=False)
    assert failed.returncode == 1 and str(keys.file) in failed.stderr
    assert keys.file.read_text() == "{ damaged"


def test_older_spellings_of_a_registry_are_found(cli, users, keys):
    keys.write(auths={f"http://{users.address}/v1/": {"auth": base64.b64encode(b"alice:secret").decode()}})
    push(cli, users, "spelled:1")
