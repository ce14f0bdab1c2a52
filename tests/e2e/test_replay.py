# SPDX-License-Identifier: Apache-2.0
"""Our answers have the keys and the types that dockerd's have: see golden/README.md."""
import json
import pathlib

import pytest

from conftest import UnixConnection

GOLDEN = pathlib.Path(__file__).parent / "golden"
NAMES = {dict: "object", list: "array", str: "string", bool: "bool", int: "number", float: "number", type(None): "null"}
# What is not held against us, kind by kind, and why.
EXCUSED = {
    "version": {"Components[].Details.BuildTime", "Components[].Details.GitCommit", "Components[].Details.GoVersion"}, # of Go
    "info": {"ContainerdCommit", "RuncCommit", "InitCommit", # programs that we have none of
             "NGoroutines", "NFd", # of debug mode
             "KernelMemory", # gone in 1.42
             "RegistryConfig.AllowNondistributableArtifactsCIDRs", "RegistryConfig.AllowNondistributableArtifactsHostnames"},
    "container": {"HostConfig.KernelMemory", "HostConfig.KernelMemoryTCP"}, # gone in 1.42
}
EMPTY = {"null", "object", "array"}  # dockerd writes an empty list or map as null here and as [] or {} there


def below(golden, path):
    """The keys that an object at path always has."""
    depth = path.count(".") + 1 if path else 0
    return [k for k, facts in golden.items() if "always" in facts and k.count(".") == depth
            and (not path or k.startswith(path + "."))]


def differences(golden, value, path=""):
    """What is not as recorded: keys that lack, types that differ."""
    found = []
    facts = golden.get(path)
    kind = NAMES[type(value)]
    if facts and kind not in facts and not (kind in EMPTY and EMPTY & set(facts)):
        found.append(f"{path}: {kind}, not {' or '.join(t for t in facts if t != 'always')}")
    if isinstance(value, list):
        for element in value:
            found += differences(golden, element, path + "[]")
    if isinstance(value, dict):
        is_map = any(k == path + ".*" for k in golden)
        if not is_map:
            names = {k.rpartition(".")[2] for k in below(golden, path) if k.rpartition(".")[0] == path}
            found += [f"{path}.{name}: not there" for name in sorted(names - set(value))]
        for name, element in value.items():
            step = "*" if is_map else name
            found += differences(golden, element, f"{path}.{step}" if path else step)
    return sorted(set(found))


def hold(kind, document):
    golden = json.loads((GOLDEN / f"{kind}.json").read_text())
    found = [d for d in differences(golden, document)
             if d.split(":")[0].lstrip(".") not in EXCUSED.get(kind, ())]
    assert not found, f"{kind}: " + "; ".join(found)


def test_the_comparison_itself_sees_what_lacks_and_what_differs():
    golden = {"A": ["string", "always"], "B": ["object", "always"], "B.*": ["object"], "B.*.C": ["number", "always"],
              "D": ["array"], "D[]": ["string"]}
    assert not differences(golden, {"A": "", "B": {"x": {"C": 1}}, "D": ["y"], "More": 1})
    assert differences(golden, {"A": 1, "B": {"x": {}}, "D": [2]}) == [
        "A: number, not string", "B.*.C: not there", "D[]: number, not string"]
    assert not differences(golden, {"A": "", "B": None, "D": None})


@pytest.fixture
def full(daemon):
    """A container with something of everything, running on two networks."""
    daemon.json("POST", "/networks/create", {"Name": "shapes", "Labels": {"a": "b"}})
    daemon.json("POST", "/containers/create?name=full", {
        "Image": "busybox", "Cmd": ["sleep", "60"], "Env": ["A=b"], "Labels": {"k": "v"}, "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/anonymous": {}},
        "HostConfig": {"Memory": 64 << 20, "NanoCpus": 500000000, "PortBindings": {"80/tcp": [{"HostPort": "0"}]},
                       "Binds": ["named:/named", "/tmp:/bound:ro"], "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
                       "NetworkMode": "shapes"}})
    assert daemon.api("POST", "/containers/full/start")[0] == 204
    assert daemon.api("POST", "/networks/bridge/connect", {"Container": "full"})[0] == 200
    return daemon


@pytest.mark.parametrize("kind", ["version", "info"])
def test_the_machine(daemon, kind):
    hold(kind, daemon.json("GET", f"/v1.41/{kind}"))


def test_a_container(full):
    hold("container", full.json("GET", "/v1.41/containers/full/json"))
    for one in full.json("GET", "/v1.41/containers/json"):
        hold("containers", one)
    full.api("POST", "/containers/full/stop?t=0")
    hold("container", full.json("GET", "/v1.41/containers/full/json"))


def test_an_image(full):
    hold("image", full.json("GET", "/v1.41/images/busybox/json"))
    for one in full.json("GET", "/v1.41/images/json"):
        hold("images", one)


def test_networks(full):
    for name in ("shapes", "bridge"):
        hold("network", full.json("GET", f"/v1.41/networks/{name}"))
    for one in full.json("GET", "/v1.41/networks"):
        if one["Driver"] == "bridge":
            hold("network", one)


def test_a_volume(full):
    hold("volume", full.json("GET", "/v1.41/volumes/named"))


def test_an_exec(full):
    made = full.json("POST", "/containers/full/exec", {"Cmd": ["sh", "-c", "exit 3"], "AttachStdout": True})["Id"]
    hold("exec", full.json("GET", f"/v1.41/exec/{made}/json"))
    full.api("POST", f"/exec/{made}/start", {"Detach": True})
    hold("exec", full.json("GET", f"/v1.41/exec/{made}/json"))


def test_headers_of_every_answer(daemon):
    for method, path, status in (("GET", "/_ping", 200), ("HEAD", "/_ping", 200), ("GET", "/v1.41/info", 200),
                                 ("GET", "/containers/nonesuch/json", 404)):
        connection = UnixConnection(daemon.socket)
        connection.request(method, path)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        assert answer.status == status
        for name in ("Api-Version", "Docker-Experimental", "Ostype", "Server"):
            assert answer.getheader(name), f"{method} {path}: no {name}"
