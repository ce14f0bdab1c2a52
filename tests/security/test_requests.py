# SPDX-License-Identifier: Apache-2.0
"""One request, one meaning: what it asks for does not depend on how it is spelled or sent (docs/security.md, part D)."""
import json
import re
import socket

import pytest

HEAD = "POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BODY_MAX = 16 << 20  # http/server.h
NAMED = "named-by-a-request"


# ---- spellings (row 39) ----

def seen(daemon, body):
    """What a request comes to: what the kernel is asked for, and what people are shown; or the word of a refusal."""
    status, text = daemon.api("POST", "/containers/create", {"Image": "busybox", "Cmd": ["sleep", "100"], "Hostname": "h", **body})
    if status != 201:
        return f"refused with {status}"
    id = json.loads(text)["Id"]
    started = daemon.api("POST", f"/containers/{id}/start")
    config = (daemon.root / "containers" / id / "config.json").read_text() if started[0] == 204 else f"refused with {started[0]}"
    opt_outs = daemon.json("GET", f"/containers/{id}/json")["OptOuts"]
    daemon.api("DELETE", f"/containers/{id}?force=1")
    config = re.sub(r'"(hostID|containerID)":\d+', '"id":0', config.replace(id, "ID"))
    # Which host ids it got, and in which of the host's namespaces it was made, is no part of the request.
    return json.loads(config) if config.startswith("{") else config, sorted(o.upper().replace("CAP_", "") for o in opt_outs)


def host(**fields):
    return {"HostConfig": fields}


def mount(kind, **fields):
    return host(Mounts=[{"Type": kind, **fields}])


SPELLINGS = {
    "a bind": [host(Binds=["/etc:/x:rw"]), mount("bind", Source="/etc", Target="/x"),
               mount("bind", Source="/etc", Target="/x", ReadOnly=False)],
    "a bind to read": [host(Binds=["/etc:/x:ro"]), mount("bind", Source="/etc", Target="/x", ReadOnly=True)],
    "a volume": [host(Binds=["named:/x"]), mount("volume", Source="named", Target="/x")],
    "a capability": [host(CapAdd=[name]) for name in ("SYS_ADMIN", "CAP_SYS_ADMIN", "sys_admin", "cap_sys_admin")],
    "no capability": [host(CapDrop=[name]) for name in ("ALL", "all")],
    "no filter": [host(SecurityOpt=[o]) for o in ("seccomp=unconfined", "seccomp:unconfined")],
    "new privileges": [host(SecurityOpt=[o]) for o in ("no-new-privileges=false", "no-new-privileges:false")],
    "no new privileges": [host(), *(host(SecurityOpt=[o]) for o in ("no-new-privileges", "no-new-privileges=true", "no-new-privileges:true"))],
    "all of it": [host(Privileged=True), host(Privileged=True, CapAdd=[]), host(Privileged=True, SecurityOpt=None)],
}


@pytest.mark.parametrize("what", SPELLINGS)
def test_all_spellings_of_a_request_mean_the_same(daemon, what):
    """CVE-2026-6406: a policy that looked at Binds and not at Mounts."""
    verdicts = [seen(daemon, body) for body in SPELLINGS[what]]
    assert all(v == verdicts[0] for v in verdicts), verdicts
    assert not isinstance(verdicts[0], str), verdicts[0]
    plain = seen(daemon, {})
    assert (verdicts[0] == plain) == (what == "no new privileges"), "the control: it does make a difference"
    daemon.api("DELETE", "/volumes/named")


@pytest.mark.parametrize("text", ['{"Image": "busybox", "Cmd": ["true"], "HostConfig": {"Privileged": false, "Privileged": true}}',
                                  '{"Image": "busybox", "Cmd": ["true"], "HostConfig": {}, "HostConfig": {"Privileged": true}}',
                                  '{"Image": "busybox", "Cmd": ["true"]}{"HostConfig": {"Privileged": true}}',
                                  '{"Image": "busybox", "Cmd": ["true"]} x'])
def test_a_body_that_says_two_things_is_refused(daemon, text):
    status, answer = daemon.api("POST", "/containers/create", text, {"Content-Type": "application/json"})
    assert status == 400, answer
    good = '{"Image": "busybox", "Cmd": ["true"], "HostConfig": {"Privileged": true}}'  # the control
    status, answer = daemon.api("POST", "/containers/create", good, {"Content-Type": "application/json"})
    assert status == 201
    assert "privileged" in daemon.json("GET", f"/containers/{json.loads(answer)['Id']}/json")["OptOuts"]


@pytest.mark.parametrize("body", [{"hostconfig": {"Privileged": True}}, {"HostConfig": {"privileged": True}}, {"HOSTCONFIG": {"PRIVILEGED": True}}])
def test_a_key_in_another_case_gives_nothing(daemon, body):
    verdict = seen(daemon, body)
    assert isinstance(verdict, str) or verdict == seen(daemon, {})
    assert seen(daemon, host(Privileged=True)) != verdict, "the control"


# ---- bodies (row 40) ----

def send(daemon, *parts):
    """The status of one raw request."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(30)
        s.connect(daemon.socket)
        try:
            for part in parts:
                s.sendall(part if isinstance(part, bytes) else part.encode())
        except OSError:
            pass  # it has seen enough
        text = b""
        while b"\r\n\r\n" not in text:
            more = s.recv(4096)
            if not more:
                break
            text += more
    return int(text.split()[1]) if text else 0


def chunks(data, size):
    for i in range(0, len(data), size):
        part = data[i:i + size]
        yield b"%x\r\n%s\r\n" % (len(part), part)
    yield b"0\r\n\r\n"


def names(daemon):
    return [name for c in daemon.json("GET", "/containers/json?all=1") for name in c["Names"]]


NAMED_HEAD = HEAD.replace("create", f"create?name={NAMED}")
BODY = b'{"Image": "busybox", "Cmd": ["true"], "HostConfig": {"Privileged": true}}'


@pytest.mark.parametrize("parts", [
    ["Content-Length: 0\r\n\r\n"],
    ["\r\n", BODY],
    ["Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    [f"Content-Length: {len(BODY)}\r\nContent-Length: 2\r\n\r\n", BODY],
    [f"Content-Length: 2\r\nContent-Length: {len(BODY)}\r\n\r\n", BODY],
    [f"Content-Length: {len(BODY)}\r\nTransfer-Encoding: chunked\r\n\r\n", BODY],
    ["Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", *chunks(BODY, 100)],
    [f"Content-Length: +{len(BODY)}\r\n\r\n", BODY],
    [f"Content-Length: {len(BODY)}, {len(BODY)}\r\n\r\n", BODY],
    ["Content-Length: 10\r\n\r\n", BODY],
], ids=["empty", "without length", "empty chunks", "two lengths", "two lengths, long one last", "length and chunks", "chunks twice", "sign", "list",
        "cut off"])
def test_a_body_of_unclear_length_makes_nothing(daemon, parts):
    """CVE-2024-41110, CVE-2026-34040: who decides and who acts saw two bodies."""
    assert 400 <= send(daemon, NAMED_HEAD, *parts) < 500
    assert f"/{NAMED}" not in names(daemon)
    assert daemon.api("GET", "/_ping")[0] == 200
    assert send(daemon, NAMED_HEAD, f"Content-Length: {len(BODY)}\r\n\r\n", BODY) == 201  # the control
    assert f"/{NAMED}" in names(daemon)


@pytest.mark.parametrize("size", [1, 7, len(BODY)])
def test_a_body_in_pieces_is_the_same_body(daemon, size):
    assert send(daemon, NAMED_HEAD, "Transfer-Encoding: chunked\r\n\r\n", *chunks(BODY, size)) == 201
    assert daemon.json("GET", f"/containers/{NAMED}/json")["HostConfig"]["Privileged"] is True


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_one_byte_too_many_is_refused_whole(daemon, chunked):
    def post(length):
        body = BODY + b" " * (length - len(BODY))
        if chunked:
            return send(daemon, NAMED_HEAD, "Transfer-Encoding: chunked\r\n\r\n", *chunks(body, 1 << 20))
        return send(daemon, NAMED_HEAD, f"Content-Length: {length}\r\n\r\n", body)

    assert post(BODY_MAX + 1) == 413
    assert f"/{NAMED}" not in names(daemon)
    assert post(BODY_MAX - 1) == 201, "the control"
