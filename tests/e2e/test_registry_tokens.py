# SPDX-License-Identifier: Apache-2.0
"""buoy-registry's bearer tokens: its own, those of another service, what an attacker would send, and the clients that ask for them."""
import base64
import hmac
import json
import re
import signal
import time

import pytest
from conftest import eventually, sh
from test_registry import basic, bcrypt, certificate, layout, need, own, short  # noqa: F401 (fixtures)


def token_users(tmp_path):
    (tmp_path / "users").write_text(f"alice:{bcrypt('secret')}\nbob:{bcrypt('hidden')}\n")
    (tmp_path / "config").write_text(
        f"htpasswd = {tmp_path}/users\ntoken-serve = yes\nrule = team/* alice pull,push,delete\n"
        "rule = team/* bob pull\nrule = public/* anonymous pull\n")
    return "--config", tmp_path / "config"


def challenge(answer):
    """realm, service and scope of a 401."""
    kind, _, rest = answer.headers["WWW-Authenticate"].partition(" ")
    assert answer.status == 401 and kind == "Bearer"
    return dict(re.findall(r'(\w+)="([^"]*)"', rest))


def ask_token(r, scope, **headers):
    got = r("GET", f"/token?service=buoy-registry&scope={scope}", **headers)
    assert got.status == 200 and got.json()["token"] == got.json()["access_token"]
    return "Bearer " + got.json()["token"]


def test_tokens_of_its_own(own, tmp_path):
    r = own(*token_users(tmp_path))
    alice, bob = basic("alice", "secret"), basic("bob", "hidden")
    got = r("POST", "/v2/team/a/blobs/uploads/")
    assert challenge(got) == {"realm": f"http://{r.address}/token", "service": "buoy-registry", "scope": "repository:team/a:pull,push"}
    assert "scope" not in challenge(r("GET", "/v2/"))
    assert challenge(r("GET", "/v2/", Host="a b\"c"))["realm"] == "http://localhost/token"
    assert r("GET", "/token?scope=x", Authorization=basic("alice", "wrong")).status == 401
    token = ask_token(r, "repository:team/a:pull,push,delete", Authorization=alice)
    assert r("POST", "/v2/team/a/blobs/uploads/", Authorization=token).status == 202
    got = r("POST", "/v2/team/b/blobs/uploads/", Authorization=token)
    assert challenge(got)["error"] == "insufficient_scope" and challenge(got)["scope"] == "repository:team/b:pull,push"
    token = ask_token(r, "repository:team/a:pull,push", Authorization=bob)
    assert r("GET", "/v2/team/a/tags/list", Authorization=token).status == 404, "he may read"
    assert r("POST", "/v2/team/a/blobs/uploads/", Authorization=token).status == 401, "and no more"
    token = ask_token(r, "repository:public/a:pull,push%20repository:team/a:pull")
    assert r("GET", "/v2/public/a/tags/list", Authorization=token).status == 404
    assert r("GET", "/v2/team/a/tags/list", Authorization=token).status == 401
    assert r("GET", "/v2/public/a/tags/list").status == 404, "what is everybody's needs no token"
    assert r("GET", "/v2/_catalog", Authorization=ask_token(r, "registry:catalog:*", Authorization=alice)).status == 401
    assert r("POST", "/v2/team/a/blobs/uploads/", Authorization=alice).status == 202, "passwords still count"
    token = ask_token(r, "repository:team/a:pull,push", Authorization=alice)
    r.stop()
    r.start()
    assert r("POST", "/v2/team/a/blobs/uploads/", Authorization=token).status == 202, "over a restart"
    assert (r.root / "token.key").stat().st_mode & 0o77 == 0


class TokenService:
    """A token service of another make, and what an attacker would send instead."""

    def __init__(self, base):
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa
        self.cert = certificate(base, "service")
        self.ec = serialization.load_pem_private_key((base / "key.pem").read_bytes(), None)
        self.rsa = rsa.generate_private_key(65537, 2048)
        numbers = self.rsa.public_key().public_numbers()
        self.rsa_pem = self.rsa.public_key().public_bytes(serialization.Encoding.PEM,
                                                          serialization.PublicFormat.SubjectPublicKeyInfo)

        def text(n):
            return base64.urlsafe_b64encode(n.to_bytes((n.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()
        self.jwks = json.dumps({"keys": [{"kty": "RSA", "kid": "k1", "n": text(numbers.n), "e": text(numbers.e)}]})

    @staticmethod
    def claims(scope="repository:t/a:pull,push", **more):
        kind, name, actions = scope.split(":")
        now = int(time.time())
        claims = {"iss": "the service", "aud": "the registry", "sub": "ann", "iat": now, "nbf": now, "exp": now + 300,
                  "access": [{"type": kind, "name": name, "actions": actions.split(",")}], **more}
        return {k: v for k, v in claims.items() if v is not None}

    def token(self, key=None, algorithm="ES256", headers=None, **claims):
        import jwt
        return "Bearer " + jwt.encode(self.claims(**claims), key or (self.rsa if algorithm == "RS256" else self.ec),
                                      algorithm=algorithm, headers=headers)


def raw_token(header, claims, sign):
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")
    text = part(json.dumps(header).encode()) + b"." + part(json.dumps(claims).encode())
    return "Bearer " + (text + b"." + part(sign(text))).decode()


def test_tokens_of_another_service_and_hostile_ones(own, tmp_path):
    pytest.importorskip("jwt", reason="python3-jwt is not installed (tools/deps peers)")
    from cryptography.hazmat.primitives.asymmetric import ec
    need("openssl")
    service = TokenService(tmp_path)
    (tmp_path / "jwks").write_text(service.jwks)
    r = own("--token-realm", "https://auth.example/token", "--token-service", "the registry", "--token-issuer", "the service",
            "--token-certs", tmp_path / "cert.pem", "--token-jwks", tmp_path / "jwks")

    def status(token, path="/v2/t/a/blobs/uploads/"):
        return r("POST", path, Authorization=token).status
    got = r("POST", "/v2/t/a/blobs/uploads/")
    assert challenge(got) == {"realm": "https://auth.example/token", "service": "the registry", "scope": "repository:t/a:pull,push"}
    good = service.claims()
    assert status(service.token()) == 202 and status(service.token(algorithm="RS256", headers={"kid": "other"})) == 202
    assert r("GET", "/token").status == 404, "it is not ours to hand out"

    def hmac_of(key):
        return lambda text: hmac.new(key, text, "sha256").digest()
    stranger = ec.generate_private_key(ec.SECP256R1())
    hostile = {
        "no signature": raw_token({"alg": "none"}, good, lambda text: b""),
        "no signature, in capitals": raw_token({"alg": "NONE"}, good, lambda text: b""),
        "the certificate as a secret": raw_token({"alg": "HS256"}, good, hmac_of(service.cert.encode())),
        "the public key as a secret": raw_token({"alg": "HS256"}, good, hmac_of(service.rsa_pem)),
        "a stranger's key": service.token(key=stranger),
        "the wrong kind of signature": raw_token({"alg": "RS256"}, good, lambda text: bytes(256)),
        "zeros": raw_token({"alg": "ES256"}, good, lambda text: bytes(64)),
        "another audience": service.token(aud="another registry"),
        "no audience": service.token(aud=None),
        "another issuer": service.token(iss="another service"),
        "expired": service.token(exp=int(time.time()) - 120),
        "without an end": service.token(exp=None),
        "of the future": service.token(nbf=int(time.time()) + 600),
        "huge": service.token(more="x" * 20000),
        "beyond the header": "Bearer " + "a" * 60000,
        "no token": "Bearer",
        "junk": "Bearer a.b.c",
    }
    for what, token in hostile.items():
        got = r("POST", "/v2/t/a/blobs/uploads/", Authorization=token)
        assert got.status == 401, what
        assert token == "Bearer" or challenge(got)["error"] == "invalid_token", what
    assert status(service.token(scope="repository:t/b:pull,push")) == 401
    assert status(service.token(scope="repository:t/a:pull")) == 401
    assert status(basic("ann", "x")) == 401
    assert status(service.token()) == 202, "the control: still"

    # Another certificate and no key set: what the old key signs is worth nothing from then on.
    before, keys = service.token(), service.token(algorithm="RS256")
    renewed = TokenService(tmp_path)
    (tmp_path / "jwks").write_text(renewed.jwks)
    r.process.send_signal(signal.SIGHUP)
    eventually(lambda: status(renewed.token()) == 202)
    assert status(before) == 401 and status(keys) == 401


def test_a_certificate_that_ours_vouches_for_signs_tokens(own, tmp_path):
    pytest.importorskip("jwt", reason="python3-jwt is not installed (tools/deps peers)")
    from cryptography.hazmat.primitives import serialization
    need("openssl")

    def issue(base, name, *issuer):
        base.mkdir()
        sh("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
           "-keyout", base / "key.pem", "-out", base / "request")
        sh("openssl", "x509", "-req", "-in", base / "request", "-days", "2", "-out", base / "cert.pem", *issuer)
        key = serialization.load_pem_private_key((base / "key.pem").read_bytes(), None)
        der = sh("openssl", "x509", "-in", base / "cert.pem", "-outform", "der", "-out", base / "der") and (base / "der").read_bytes()
        return key, [base64.b64encode(der).decode()]
    service = TokenService(tmp_path)
    r = own("--token-realm", "https://auth.example/token", "--token-service", "the registry", "--token-issuer", "the service",
            "--token-certs", tmp_path / "cert.pem")
    key, chain = issue(tmp_path / "leaf", "leaf", "-CA", tmp_path / "cert.pem", "-CAkey", tmp_path / "key.pem", "-CAcreateserial")
    stranger, strange_chain = issue(tmp_path / "strange", "strange", "-signkey", tmp_path / "strange/key.pem")

    def status(key, chain):
        headers = {"x5c": chain} if chain else None
        return r("POST", "/v2/t/a/blobs/uploads/", Authorization=service.token(key=key, headers=headers)).status
    assert status(key, chain) == 202
    assert status(key, None) == 401
    assert status(stranger, chain) == 401, "a chain that fits, and another's signature"
    assert status(stranger, strange_chain) == 401


def test_skopeo_and_podman_get_tokens(own, layout, tmp_path, short):
    need("skopeo")
    need("podman")
    r = own(*token_users(tmp_path))
    name = f"{r.address}/team/app:v1"
    push = ("skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout[0]}:v1", f"docker://{name}")
    assert sh(*push, check=False).returncode != 0
    assert sh(*push, "--dest-creds", "bob:hidden", check=False).returncode != 0
    sh(*push, "--dest-creds", "alice:secret")
    assert sh("skopeo", "inspect", "--tls-verify=false", "--creds", "bob:hidden", f"docker://{name}").returncode == 0
    store = ("podman", "--root", tmp_path / "root", "--runroot", short, "--tmpdir", f"{short}/tmp", "--storage-driver", "vfs")
    login = ("--authfile", tmp_path / "auth.json")
    assert sh(*store, "login", *login, "--tls-verify=false", "-u", "bob", "-p", "wrong", r.address, check=False).returncode != 0
    sh(*store, "login", *login, "--tls-verify=false", "-u", "bob", "-p", "hidden", r.address)
    sh(*store, "pull", *login, "--tls-verify=false", name)
    assert sh(*store, "push", *login, "--tls-verify=false", name, check=False).returncode != 0
    assert r.log.read_text().count("invalid_token") == 0


def test_docker_and_buoy_get_tokens(cli, daemon, own, tmp_path):
    r = own(*token_users(tmp_path), enter=("nsenter", f"--net=/run/netns/{daemon.netns}"))
    name = f"{r.address}/team/{cli.which}:1"
    cli("tag", "busybox", name)
    try:
        assert cli("push", name, check=False).returncode == 1, "nobody is signed in"
        assert cli("login", "-u", "alice", "-p", "wrong", r.address, check=False).returncode != 0
        cli("login", "-u", "bob", "-p", "hidden", r.address)
        refused = cli("push", name, check=False)
        assert refused.returncode == 1 and "denied" in refused.stdout + refused.stderr
        cli("login", "-u", "alice", "-p", "secret", r.address)
        assert "digest: sha256:" in cli.out("push", name)
        cli("rmi", name)
        cli("pull", name)
    finally:
        cli("logout", r.address)
        cli("rmi", name, check=False)
