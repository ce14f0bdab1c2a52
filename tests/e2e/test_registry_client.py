# SPDX-License-Identifier: Apache-2.0
"""How registries are spoken to: TLS and certs.d, hosts without TLS, mirrors, HTTP/2, proxies - and what is said when it fails. Registries are
made to measure (test_image_store.Fake), or buoy-registry behind TLS."""
import ctypes
import ctypes
import json
import os
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading

import pytest
from conftest import BUILD, Client, Daemon, eventually, load_busybox, sh
from test_image_store import Fake, Handler, digest, make_tar, root_tar, store, tool, verify  # noqa: F401 (fixtures)
from test_registry import Registry, bcrypt

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


# ---- certificates ----

class Authority:
    """A CA, and what it signs."""

    def __init__(self, base, name):
        self.base = base / name
        self.base.mkdir()
        self.cert = self.base / "ca.crt"
        self.key = self.base / "ca.key"
        sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
           "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.cert)

    def sign(self, name, alternatives="IP:127.0.0.1,DNS:localhost", days="2"):
        cert, key, request = (self.base / f"{name}{end}" for end in (".cert", ".key", ".csr"))
        more = self.base / f"{name}.ext"
        more.write_text(f"subjectAltName={alternatives}\n")
        sh("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
           "-keyout", key, "-out", request)
        sh("openssl", "x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial", "-days", days,
           "-extfile", more, "-out", cert)
        return cert, key


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("theirs"), "theirs")


class Counting(Handler):
    def setup(self):
        self.server.connections += 1
        super().setup()


class Secure(Fake):
    """A Fake behind TLS; with client_ca it lets in only whom that has signed."""

    def __init__(self, pair, client_ca=None, **kwargs):
        self.pair, self.client_ca, self.connections = pair, client_ca, 0
        super().__init__(**kwargs)
        self.RequestHandlerClass = Counting

    def server_activate(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.pair)
        if self.client_ca:
            context.load_verify_locations(self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        super().server_activate()

    def handle_error(self, request, client_address):
        pass


def certs(base, address, **files):
    """certs.d with what is to be trusted at one address."""
    place = base / "certs.d" / address
    place.mkdir(parents=True, exist_ok=True)
    for name, source in files.items():
        shutil.copy(source, place / name.replace("_", "."))
    return {"IMAGE_CERTS": str(base / "certs.d")}


@pytest.fixture
def layer_tar(tmp_path):
    return make_tar(tmp_path / "layer.tar", {"f": b"content"}).read_bytes()


@pytest.fixture
def secure(authority, layer_tar):
    fake = Secure(authority.sign("server"))
    fake.add_image("app", "1", layer_tar)
    return fake


def refuse(store, fake, env=None, name="app:1"):
    failed = tool(store, "pull", f"{fake.address}/{name}", check=False, env=env)
    assert failed.returncode == 1 and failed.stderr
    return failed.stderr


# ---- TLS ----

def test_the_loopback_may_have_tls_or_none(store, secure, layer_tar):
    tool(store, "pull", f"{secure.address}/app:1")
    fake = Fake()
    fake.add_image("app", "1", layer_tar)
    tool(store, "pull", f"{fake.address}/app:1")
    assert len(verify(store)) == 1


def test_a_ca_in_certs_d_is_what_counts(tmp_path, store, secure, authority, stranger):
    said = refuse(store, secure, certs(tmp_path, secure.address, ca_crt=stranger.cert))
    assert "unknown authority" in said and f"/etc/buoy/certs.d/{secure.address}/ca.crt" in said
    assert not secure.seen, "nothing was asked over a line that does not hold"
    tool(store, "pull", f"{secure.address}/app:1", env=certs(tmp_path, secure.address, ca_crt=authority.cert))
    assert len(verify(store)) == 1


@pytest.mark.parametrize("place", ["/etc/buoy", "/etc/docker"])
def test_the_places_where_it_is_looked_for(tmp_path, store, secure, authority, stranger, place):
    def pull(ca):
        return subprocess.run(
            ["unshare", "-m", "sh", "-ec", f"""mkdir -p /tmp/over; mount -t tmpfs over /tmp/over; mkdir /tmp/over/upper /tmp/over/work
             mount -t overlay overlay -o lowerdir=/etc,upperdir=/tmp/over/upper,workdir=/tmp/over/work /etc
             mkdir -p {place}/certs.d/{secure.address}; cp {ca} {place}/certs.d/{secure.address}/ca.crt
             exec {BUILD}/tests/image/image_tool {store} pull {secure.address}/app:1"""], capture_output=True, text=True, timeout=60)
    assert "unknown authority" in pull(stranger.cert).stderr
    done = pull(authority.cert)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("fault", ["name", "wildcard", "common name", "expired", "self-signed", "not a CA's"])
def test_a_certificate_that_does_not_hold_is_refused(tmp_path, store, authority, layer_tar, fault):
    cert, key = bad_certificate(tmp_path, authority, fault)
    fake = Secure((cert, key))
    fake.add_image("app", "1", layer_tar)
    env = certs(tmp_path, fake.address, ca_crt=authority.cert)
    assert "the certificate is not of this name or signed by unknown authority" in refuse(store, fake, env)
    assert not fake.seen
    tool(store, "pull", f"{fake.address}/app:1") # the control: without a CA for it, the loopback need not be verified


def bad_certificate(base, authority, fault):
    if fault == "expired":
        cert, key = authority.sign("expired")
        sh("openssl", "x509", "-req", "-in", authority.base / "expired.csr", "-CA", authority.cert, "-CAkey", authority.key,
           "-CAcreateserial", "-days", "-1", "-extfile", authority.base / "expired.ext", "-out", cert)
        return cert, key
    if fault == "self-signed":
        sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=self",
           "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", base / "self.key", "-out", base / "self.pem")
        return base / "self.pem", base / "self.key"
    if fault == "not a CA's": # signed by a certificate that ours signed, but that may not sign
        middle = Authority(base, "middle")
        middle.cert, middle.key = authority.sign("middle")
        cert, key = middle.sign("leaf")
        chain = base / "chain.pem"
        chain.write_text(cert.read_text() + middle.cert.read_text())
        return chain, key
    names = {"name": "DNS:elsewhere.example", "wildcard": "DNS:*", "common name": "DNS:other.example"}
    return authority.sign("127.0.0.1" if fault == "common name" else fault, names[fault])


def test_a_client_certificate_opens_what_wants_one(tmp_path, store, authority, layer_tar):
    fake = Secure(authority.sign("server"), client_ca=authority.cert)
    fake.add_image("app", "1", layer_tar)
    env = certs(tmp_path, fake.address, ca_crt=authority.cert)
    said = refuse(store, fake, env)
    assert f"if it wants a client certificate: put client.cert and client.key into /etc/buoy/certs.d/{fake.address}" in said
    cert, key = authority.sign("client")
    certs(tmp_path, fake.address, client_cert=cert)
    assert "missing key client.key for client certificate client.cert. CA certificates must use the extension .crt" in \
        refuse(store, fake, env)
    certs(tmp_path, fake.address, client_key=key)
    tool(store, "pull", f"{fake.address}/app:1", env=env)
    assert len(verify(store)) == 1


def test_a_client_certificate_does_not_go_elsewhere(tmp_path, store, authority, layer_tar):
    """A redirect to a server that would take it, and write it down."""
    seen = []

    class Asking(Counting):
        def do_GET(self):
            seen.append(self.connection.getpeercert())
            super().do_GET()
    storage = Secure(authority.sign("storage"), client_ca=authority.cert)
    storage.RequestHandlerClass = Asking
    fake = Secure(authority.sign("server"), client_ca=authority.cert)
    storage.objects = fake.objects
    fake.add_image("app", "1", layer_tar)
    fake.redirect = f"https://{storage.address}"
    cert, key = authority.sign("client")
    env = certs(tmp_path, fake.address, ca_crt=authority.cert, client_cert=cert, client_key=key)
    refuse(store, fake, env)
    assert not seen
    fake.redirect = None
    tool(store, "pull", f"{fake.address}/app:1", env=env)


def test_a_password_is_bound_to_scheme_and_port(tmp_path, store, authority, layer_tar):
    """From a registry by TLS to one without, on the same host: refused; to another port: without the password."""
    env = {"IMAGE_USER": "user", "IMAGE_PASSWORD": "secret"}
    fake = Secure(authority.sign("server"), token="t0ken")
    fake.realm = f"https://{fake.address}/token"
    doc = fake.add_image("app", "1", layer_tar)
    plain, other = Fake(), Secure(authority.sign("other"))
    plain.objects = other.objects = fake.objects
    fake.redirect = f"http://{plain.address}"
    failed = tool(store, "pull", f"{fake.address}/app:1", check=False, env=env)
    assert "redirect from https to http" in failed.stderr and not plain.seen
    assert [auth for _, auth in fake.seen if auth.startswith("Basic")], "the registry itself got it"
    fake.redirect = f"https://{other.address}"
    tool(store, "pull", f"{fake.address}/app:1", env=env)
    assert len(other.seen) == 2 and not [auth for _, auth in other.seen if auth] and doc


def test_an_upload_elsewhere_takes_no_password_along(tmp_path, store, root_tar):
    """A registry may name another place for a blob: CVE-2026-48978. The registry itself does get the token."""
    thief, fake = Fake(), Fake(token="t0ken")
    for server in (thief, fake):
        server.RequestHandlerClass = Taking
    fake.upload = f"http://{thief.address}/upload"
    tool(store, "import", root_tar, f"{fake.address}/app:1")
    said = tool(store, "push", f"{fake.address}/app:1", check=False, env={"IMAGE_USER": "user", "IMAGE_PASSWORD": "secret"})
    assert thief.seen and not [auth for _, auth in thief.seen if auth], said.stderr
    assert [auth for path, auth in fake.seen if "uploads" in path and auth], "the control"


class Taking(Handler):
    """Takes uploads, at the place that its server names."""

    def do_HEAD(self):
        return self.answer(404) if self.allowed() else None

    def do_POST(self):
        return self.answer(202, b"", Location=self.server.upload) if self.allowed() else None

    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, self.headers.get("Authorization", "")))
        self.answer(201)

    def allowed(self):
        auth = self.headers.get("Authorization", "")
        self.server.seen.append((self.path, auth))
        if self.server.token and auth != "Bearer " + self.server.token:
            self.answer(401, b"{}", WWW_Authenticate=f'Bearer realm="http://{self.server.address}/token",service="fake"')
            return False
        return True


def test_connections_are_kept(tmp_path, store, authority):
    fake = Secure(authority.sign("server"))
    layers = [make_tar(tmp_path / f"{i}.tar", {f"f{i}": os.urandom(50000)}).read_bytes() for i in range(12)]
    fake.add_image("app", "1", *layers)
    tool(store, "pull", f"{fake.address}/app:1", env=certs(tmp_path, fake.address, ca_crt=authority.cert))
    assert len(fake.seen) == 14 and fake.connections <= 4, "one for the documents, three for layers"


# ---- mirrors ----

@pytest.fixture
def pair(layer_tar):
    """A registry and its mirror, with the same image."""
    origin, mirror = Fake(), Fake()
    origin.add_image("app", "1", layer_tar)
    mirror.objects = dict(origin.objects)
    return origin, mirror


def through(origin, *urls):
    return {"IMAGE_MIRRORS": " ".join(f"{origin.address}={url}" for url in urls)}


def test_a_mirror_is_asked_instead(store, pair):
    origin, mirror = pair
    tool(store, "pull", f"{origin.address}/app:1", env=through(origin, f"http://{mirror.address}"))
    assert len(mirror.seen) == 3 and not origin.seen
    other = Fake()
    other.objects = origin.objects
    tool(store, "pull", f"{other.address}/app:1", env=through(origin, f"http://{mirror.address}"))
    assert len(mirror.seen) == 3, "it is a mirror of that registry alone"


def test_a_mirror_of_the_hub_needs_no_hub(store, layer_tar):
    mirror = Fake()
    mirror.add_image("library/app", "1", layer_tar)
    tool(store, "pull", "app:1", env={"IMAGE_MIRRORS": f"http://{mirror.address}"})
    assert "docker.io/library/app" in tool(store, "list").stdout or "app:1" in tool(store, "list").stdout


@pytest.mark.parametrize("fault", ["down", "empty", "busy", "locked"])
def test_a_mirror_that_cannot_is_passed_over(store, pair, fault):
    origin, mirror = pair
    second = Fake()
    second.objects = dict(origin.objects)
    url = f"http://{mirror.address}"
    if fault == "down":
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{s.getsockname()[1]}"
    elif fault == "empty":
        mirror.objects.clear()
    elif fault == "busy":
        mirror.objects["/v2/app/manifests/1"] = ("x", b"{")
    else:
        mirror.token = "nobody has it"
        mirror.realm = f"http://{mirror.address}/missing"
    tool(store, "pull", f"{origin.address}/app:1", env=through(origin, url, f"http://{second.address}"))
    assert len(second.seen) == 3 and not origin.seen, "the next mirror comes before the registry"
    second.objects.clear()
    tool(store, "remove", f"{origin.address}/app:1")
    tool(store, "pull", f"{origin.address}/app:1", env=through(origin, url, f"http://{second.address}"))
    assert len(origin.seen) == 3
    verify(store)


def test_a_mirror_that_lies_is_passed_over(store, pair, layer_tar):
    origin, mirror = pair
    blob = f"/v2/app/blobs/{digest(layer_tar)}"
    mirror.objects[blob] = ("x", bytes(len(layer_tar)))
    tool(store, "pull", f"{origin.address}/app:1", env=through(origin, f"http://{mirror.address}"))
    assert (blob, "") in mirror.seen and (blob, "") in origin.seen
    verify(store)
    manifest = origin.objects["/v2/app/manifests/1"]
    name = f"app@{digest(manifest[1])}"
    origin.objects[f"/v2/app/manifests/{digest(manifest[1])}"] = manifest
    mirror.objects[f"/v2/app/manifests/{digest(manifest[1])}"] = (manifest[0], manifest[1] + b" ")
    tool(store, "pull", f"{origin.address}/{name}", env=through(origin, f"http://{mirror.address}"))
    assert (f"/v2/app/manifests/{digest(manifest[1])}", "") in origin.seen, "the digest binds what a mirror sends"


def test_a_mirror_gets_no_password(store, pair):
    origin, mirror = pair
    for fake in pair:
        fake.token = "t0ken"
    env = {**through(origin, f"http://{mirror.address}"), "IMAGE_USER": "user", "IMAGE_PASSWORD": "secret"}
    tool(store, "pull", f"{origin.address}/app:1", env=env)
    assert mirror.seen and not [auth for _, auth in mirror.seen if auth.startswith("Basic")] and not origin.seen
    tool(store, "pull", f"{origin.address}/app:1", env={k: v for k, v in env.items() if k != "IMAGE_MIRRORS"})
    assert [auth for _, auth in origin.seen if auth.startswith("Basic")], "the control: the registry does get it"


@pytest.mark.parametrize("bad", ["ftp://h", "h", "https://h/path", "https://u:p@h", "x=y"])
def test_a_mirror_that_is_none_is_refused_at_the_start(store, bad):
    failed = tool(store, "list", check=False, env={"IMAGE_MIRRORS": bad})
    assert failed.returncode == 1 and f"registry mirror {bad}" in failed.stderr


# ---- proxies ----

class Proxy(Handler):
    """Forwards nothing: answers from its server's objects, and connects whoever asks to one place."""

    def do_CONNECT(self):
        self.server.seen.append((self.path, ""))
        with socket.create_connection(self.server.target) as other:
            self.send_response(200)
            self.end_headers()
            threading.Thread(target=pump, args=(other, self.connection), daemon=True).start()
            pump(self.connection, other)
        self.close_connection = True


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture
def proxy():
    fake = Fake()
    fake.RequestHandlerClass = Proxy
    return fake


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy"])
def test_what_has_no_tls_goes_through_the_proxy(store, proxy, layer_tar, variable):
    proxy.add_image("library/app", "1", layer_tar)
    env = {"IMAGE_MIRRORS": "http://mirror.invalid", variable: f"http://{proxy.address}"}
    tool(store, "pull", "app:1", env=env)
    assert len(proxy.seen) == 3
    before = len(proxy.seen)
    origin = Fake()
    origin.objects = {k.replace("library/", ""): v for k, v in proxy.objects.items()}
    tool(store, "pull", f"{origin.address}/app:1", env=env)
    assert len(proxy.seen) == before, "the loopback is nobody else's business"


def test_tls_goes_through_a_tunnel(tmp_path, store, proxy, authority, layer_tar):
    fake = Secure(authority.sign("reg", "DNS:reg.invalid"))
    fake.add_image("app", "1", layer_tar)
    proxy.target = fake.server_address
    env = {**certs(tmp_path, "reg.invalid", ca_crt=authority.cert), "HTTPS_PROXY": f"http://{proxy.address}"}
    tool(store, "pull", "reg.invalid/app:1", env=env)
    assert {path for path, _ in proxy.seen} == {"reg.invalid:443"} and len(fake.seen) == 3


def test_who_needs_no_proxy_is_asked_directly_and_a_proxy_that_fails_is_named(store, proxy):
    env = {"HTTPS_PROXY": f"http://{proxy.address}", "NO_PROXY": ".invalid"}
    said = alone(store, "reg.invalid/app:1", env)
    assert "no such host" in said and not proxy.seen
    proxy.server_close()
    env = {"HTTPS_PROXY": "http://127.0.0.1:9"}
    said = alone(store, "reg.invalid/app:1", env)
    assert "127.0.0.1 port 9" in said and "HTTPS_PROXY" in said


def alone(store, name, env=None):
    """Pulls on a machine without a network: what was said."""
    done = subprocess.run(["unshare", "-n", "sh", "-c", f"ip link set lo up; exec {BUILD}/tests/image/image_tool {store} pull {name}"],
                          capture_output=True, text=True, timeout=60, env={**os.environ, **(env or {})})
    assert done.returncode == 1
    return done.stderr


def test_a_name_without_an_address_is_named(store):
    assert "Could not resolve host: reg.invalid: no such host: check the name, and DNS" in alone(store, "reg.invalid/app:1")


# ---- HTTP/2 ----

@pytest.fixture
def frontend(tmp_path, authority):
    """nghttpx before a registry: TLS with h2 towards the client."""
    assert shutil.which("nghttpx"), "nghttpx is missing: run tools/deps peers"
    made = []

    def start(backend, *extra):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        cert, key = authority.sign("frontend")
        log = tmp_path / "h2.log"
        process = subprocess.Popen(
            ["nghttpx", f"--frontend=127.0.0.1,{port}", f"--backend=127.0.0.1,{backend.address.split(':')[1]}", "--workers=1",
             f"--accesslog-file={log}", "--accesslog-format=$request $status $remote_port", f"--errorlog-file={tmp_path}/h2.err",
             "--conf=/dev/null", *extra, key, cert], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        made.append(process)

        def answers():
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", port)) == 0
        eventually(answers)
        return f"127.0.0.1:{port}", log
    yield start
    for process in made:
        process.terminate()
        process.wait()


def test_http_2_is_spoken_where_it_is_offered(tmp_path, store, frontend, authority):
    fake = Fake()
    layers = [make_tar(tmp_path / f"{i}.tar", {f"f{i}": os.urandom(2000000)}).read_bytes() for i in range(6)]
    fake.add_image("app", "1", *layers)
    address, log = frontend(fake)
    tool(store, "pull", f"{address}/app:1", env=certs(tmp_path, address, ca_crt=authority.cert))
    lines = [line.split() for line in log.read_text().splitlines()]
    assert len(lines) == 8 and {line[2] for line in lines} == {"HTTP/2"}, log.read_text()
    assert {line[3] for line in lines} == {"200"} and len({line[4] for line in lines}) <= 4
    verify(store)


def test_a_push_over_http_2(tmp_path, store, frontend, authority):
    (tmp_path / "registry").mkdir()
    r = Registry(tmp_path / "registry")
    address, log = frontend(r)
    env = certs(tmp_path, address, ca_crt=authority.cert)
    image = tool(store, "import", make_tar(tmp_path / "a.tar", {"f": os.urandom(3000000)}), f"{address}/app:1").stdout.strip()
    tool(store, "push", f"{address}/app:1", env=env)
    other = tmp_path / "other"
    assert tool(other, "pull", f"{address}/app:1", env=env).stdout.split()[0] == image
    assert "HTTP/2" in log.read_text() and "HTTP/1" not in log.read_text()
    assert r.stop() == 0


def test_a_server_without_http_2_is_spoken_to_as_before(tmp_path, store, frontend, authority, layer_tar):
    fake = Fake()
    fake.add_image("app", "1", layer_tar)
    address, log = frontend(fake, "--npn-list=http/1.1")
    tool(store, "pull", f"{address}/app:1", env=certs(tmp_path, address, ca_crt=authority.cert))
    assert "HTTP/1.1" in log.read_text() and "HTTP/2" not in log.read_text()


# ---- what is said when it fails: through the daemon, by docker and by buoy ----

class Placed:
    """A Fake at an address and port of one machine, which is not the loopback."""

    def __init__(self, machine, port):
        self.place = (machine.ip, port)

    def make(self, kind, *args, **kwargs):
        place = self.place

        class There(kind):
            def server_bind(self): # http.server's asks for the host's name, of which nobody knows there
                self.server_address = place
                socketserver.TCPServer.server_bind(self)
                self.server_name, self.server_port = place

            @property
            def address(self):
                return f"{place[0]}:{place[1]}"
        return There(*args, **kwargs)


def within(machine, make):
    """Runs make() on a thread in the machine's network: the sockets that it makes stay there."""
    made = []

    def run():
        with open(f"/run/netns/{machine.netns}") as namespace:
            assert ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0) == 0
        made.append(make())
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return made[0]


PLAIN, NAMED_PLAIN, NAMED_TLS, TLS, TRUSTED = range(5001, 5006)


@pytest.fixture(scope="module")
def machine(lab, busybox_tar, tmp_path_factory, authority):
    base = tmp_path_factory.mktemp("machine")
    daemon = Daemon("client", *lab)
    try:
        certs(base, f"{daemon.ip}:{TRUSTED}", ca_crt=authority.cert)
        daemon.start("--registry-certs", base / "certs.d", "--insecure-registry", f"{daemon.ip}:{NAMED_PLAIN}",
                     "--insecure-registry", f"{daemon.ip}:{NAMED_TLS}", "--registry-mirror", f"http://{daemon.ip}:{PLAIN}")
        load_busybox(daemon, busybox_tar)
        yield daemon
    finally:
        daemon.remove()


@pytest.fixture(scope="module")
def servers(machine, authority, stranger, tmp_path_factory):
    layer = make_tar(tmp_path_factory.mktemp("layer") / "layer.tar", {"f": b"content"}).read_bytes()

    def make():
        pair = authority.sign("far", f"IP:{machine.ip}")
        made = {PLAIN: Placed(machine, PLAIN).make(Fake), NAMED_PLAIN: Placed(machine, NAMED_PLAIN).make(Fake),
                NAMED_TLS: Placed(machine, NAMED_TLS).make(Secure, stranger.sign("far")),
                TLS: Placed(machine, TLS).make(Secure, pair), TRUSTED: Placed(machine, TRUSTED).make(Secure, pair)}
        for fake in made.values():
            fake.add_image("app", "1", layer)
        made[PLAIN].add_image("library/mirrored", "1", layer)
        return made
    made = within(machine, make)
    yield made
    for fake in made.values():
        fake.shutdown()
        fake.server_close()


@pytest.fixture(params=["docker", "buoy"])
def client(request, machine):
    return Client(machine, request.param)


def fails(client, *words):
    failed = client(*words, check=False)
    assert failed.returncode == 1
    return failed.stderr


def test_what_may_be_pulled_from_where(client, servers, machine):
    for port in (NAMED_PLAIN, NAMED_TLS, TRUSTED):
        name = f"{machine.ip}:{port}/app:1"
        client("pull", name)
        client("rmi", name)
    client("pull", "mirrored:1")
    client("rmi", "mirrored:1")


def test_info_lists_what_is_set(machine):
    config = json.loads(machine.docker("info", "--format", "{{json .RegistryConfig}}").stdout)
    assert config["Mirrors"] == [f"http://{machine.ip}:{PLAIN}"] and "127.0.0.0/8" in config["InsecureRegistryCIDRs"]
    assert {k: v["Secure"] for k, v in config["IndexConfigs"].items()} == {f"{machine.ip}:{p}": False for p in (NAMED_PLAIN, NAMED_TLS)}


def test_the_wrong_scheme_is_named(client, servers, machine):
    said = fails(client, "pull", f"{machine.ip}:{PLAIN}/app:1")
    assert "server gave HTTP response to HTTPS client" in said and f"--insecure-registry {machine.ip}:{PLAIN}" in said


def test_a_ca_that_nobody_knows_is_named(client, servers, machine):
    said = fails(client, "pull", f"{machine.ip}:{TLS}/app:1")
    assert "unknown authority" in said and f"/etc/buoy/certs.d/{machine.ip}:{TLS}/ca.crt" in said
    client("tag", "busybox", f"{machine.ip}:{TLS}/app:2")
    assert "unknown authority" in fails(client, "push", f"{machine.ip}:{TLS}/app:2")
    client("rmi", f"{machine.ip}:{TLS}/app:2")


def test_nobody_there_is_said(client, machine):
    assert f"dial tcp {machine.ip}:9: connection refused" in fails(client, "pull", f"{machine.ip}:9/app:1")


def test_what_is_not_there_is_said_in_dockers_words(client, servers, machine):
    name = f"{machine.ip}:{NAMED_PLAIN}/app:2"
    assert f"manifest for {name} not found: manifest unknown" in fails(client, "pull", name)


def test_a_rate_limit_says_what_to_do(client, servers, machine, monkeypatch):
    fake = servers[NAMED_PLAIN]

    def busy(handler):
        body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}'
        handler.answer(429, body, Retry_After="3600")
    monkeypatch.setattr(fake.RequestHandlerClass, "do_GET", busy)
    said = fails(client, "pull", f"{fake.address}/app:1")
    assert "toomanyrequests: You have reached your pull rate limit." in said
    assert "try again in 3600 s" in said and f"`buoy login {fake.address}`" in said


@pytest.fixture(scope="module")
def locked(machine, tmp_path_factory):
    """A registry with users: alice writes, bob reads."""
    base = tmp_path_factory.mktemp("locked")
    (base / "users").write_text(f"alice:{bcrypt('secret')}\nbob:{bcrypt('hidden')}\n")
    (base / "config").write_text(f"htpasswd = {base}/users\nrule = * alice pull,push\nrule = * bob pull\n")
    r = Registry(base, "--config", base / "config", enter=("nsenter", f"--net=/run/netns/{machine.netns}"))
    yield r
    assert r.stop() == 0


def test_who_may_not_is_told_how_to_log_in(client, locked, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    name = f"{locked.address}/team/app:1"
    said = fails(client, "pull", name)
    assert f"pull access denied for {name}" in said and f"`buoy login {locked.address}`" in said
    client("tag", "busybox", name)
    assert f"`buoy login {locked.address}`" in fails(client, "push", name)
    client("login", "-u", "bob", "--password-stdin", locked.address, input="hidden")
    said = fails(client, "push", name)
    assert "denied: " in said and "this user may not" in said
    client("login", "-u", "alice", "--password-stdin", locked.address, input="secret")
    client("push", name)
    client("rmi", name)


def test_credentials_from_elsewhere_are_shown_as_they_are(machine, tmp_path, monkeypatch):
    """A registry token of config.json; a token server that is not asked."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    fake = within(machine, lambda: Fake(token="from-elsewhere"))
    fake.add_image("app", "1", make_tar(tmp_path / "l.tar", {"f": b"x"}).read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({"auths": {fake.address: {"registrytoken": "from-elsewhere"}}}))
    Client(machine, "buoy")("pull", f"{fake.address}/app:1")
    assert {auth for _, auth in fake.seen} == {"Bearer from-elsewhere"}
    fake.shutdown()
    fake.server_close()
