# SPDX-License-Identifier: Apache-2.0
"""Dockerfiles become images: instructions, cache, contexts, stages, and errors that name their line."""
import json
import os
import signal
import subprocess
import textwrap

import pytest

from conftest import Client, eventually


class Context:
    """A build context; build() gives the finished command of `docker build`."""

    def __init__(self, daemon, path):
        self.daemon, self.path, self.tags = daemon, path, []

    def write(self, name, text):
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        return file

    def build(self, dockerfile, *args, tag="t:1", **kwargs):
        self.write("Dockerfile", dockerfile)
        self.tags.append(tag)
        return self.daemon.docker("build", "-t", tag, *args, self.path, **kwargs)

    def run(self, *command, tag="t:1"):
        return self.daemon.docker("run", "--rm", tag, *command).stdout.strip()

    def config(self, tag="t:1"):
        return json.loads(self.daemon.docker("image", "inspect", tag).stdout)[0]["Config"]


@pytest.fixture
def context(daemon, tmp_path):
    made = Context(daemon, tmp_path)
    yield made
    for tag in set(made.tags):
        daemon.api("DELETE", f"/images/{tag}?force=1")


def images(daemon):
    return {image["Id"] for image in daemon.json("GET", "/images/json?all=1")}


def supervisors(daemon):
    place = daemon.run_dir / "containers"
    return [p.name for p in place.iterdir()] if place.exists() else []


# ---- instructions ----

def test_the_configuration_is_what_the_dockerfile_says(context):
    context.build("""\
        FROM busybox
        LABEL kind=test "long key"="a b"
        ENV A=1 B="two words"
        ENV C $A-$B
        WORKDIR /srv
        WORKDIR deeper
        EXPOSE 80 53/udp
        VOLUME /data
        USER app
        STOPSIGNAL SIGINT
        HEALTHCHECK --interval=5s --retries=2 CMD true
        ENTRYPOINT ["echo", "said"]
        CMD ["hello"]
        """)
    c = context.config()
    assert c["Labels"] == {"kind": "test", "long key": "a b"}
    assert [e for e in c["Env"] if not e.startswith("PATH=")] == ["A=1", "B=two words", "C=1-two words"]
    assert c["WorkingDir"] == "/srv/deeper" and c["User"] == "app" and c["StopSignal"] == "SIGINT"
    assert set(c["ExposedPorts"]) == {"80/tcp", "53/udp"} and list(c["Volumes"]) == ["/data"]
    assert c["Entrypoint"] == ["echo", "said"] and c["Cmd"] == ["hello"]
    assert c["Healthcheck"]["Test"] == ["CMD-SHELL", "true"] and c["Healthcheck"]["Interval"] == 5 * 10 ** 9
    assert context.run() == "said hello" and context.run("you") == "said you"


def test_run_sees_environment_directory_user_and_shell(context):
    context.build("""\
        FROM busybox
        ENV GREETING=hello
        RUN mkdir /w && chown app /w
        WORKDIR /w
        USER app
        RUN echo "$GREETING $(id -u) $PWD" > seen
        SHELL ["/bin/sh", "-ec"]
        RUN false || true; echo "$0" >> seen
        RUN ["/bin/busybox", "sh", "-c", "echo exec >> seen"]
        CMD cat seen
        """)
    lines = context.run().splitlines()
    assert lines[0] == "hello 1000 /w" and lines[-1] == "exec"


def test_copy_files_directories_patterns_and_owners(context):
    context.write("a.txt", "a")
    context.write("b.txt", "b")
    context.write("dir/inner/c.txt", "c")
    (context.path / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (context.path / "run.sh").chmod(0o755)
    (context.path / "link").symlink_to("a.txt")
    context.build("""\
        FROM busybox
        WORKDIR /in
        COPY a.txt renamed
        COPY *.txt many/
        COPY dir .
        COPY --chown=app:extra a.txt /owned
        COPY --chmod=600 b.txt /private
        COPY run.sh link /bin/
        """)
    got = context.run("sh", "-c", "cat renamed many/a.txt many/b.txt inner/c.txt; stat -c ' %u:%g %a' /owned; "
                                  "stat -c %a /private; run.sh; test -L /bin/link || cat /bin/link")
    assert got.split() == ["aabc", "1000:2000", "644", "600", "ran", "a"]


def test_add_unpacks_a_local_tar_and_copy_does_not(context, busybox_tar):
    (context.path / "root.tar").write_bytes(busybox_tar.read_bytes())
    context.build("FROM busybox\nADD root.tar /unpacked/\nCOPY root.tar /packed/\n")
    context.run("ls", "/unpacked/bin/busybox", "/packed/root.tar")


def test_from_scratch(context):
    (context.path / "busybox").write_bytes(open("/bin/busybox", "rb").read())
    (context.path / "busybox").chmod(0o755)
    context.build("FROM scratch\nCOPY busybox /busybox\nENTRYPOINT [\"/busybox\"]\n")
    assert context.run("echo", "alone") == "alone"
    assert context.run("ls", "/").split()[0] == "busybox"


def test_layers_add_replace_and_delete(context):
    context.build("""\
        FROM busybox
        RUN mkdir /d && echo 1 > /d/keep && echo 1 > /d/gone && echo 1 > /d/change
        RUN rm /d/gone && echo 2 > /d/change && mkdir /d/new
        RUN rm -r /d/new && mkdir /d/new && echo 3 > /d/new/file
        """)
    assert context.run("sh", "-c", "cd /d; ls; cat change new/file").split() == ["change", "keep", "new", "2", "3"]


def test_a_long_line_a_comment_and_a_here_document_free_join(context):
    context.build("""\
        # escape=`
        FROM busybox
        # a comment
        RUN echo one `
            # in between
            && echo two `

            > /joined; echo three >> /joined
        """)
    assert context.run("cat", "/joined").split()[-2:] == ["two", "three"]


# ---- ARG, stages, ONBUILD ----

def test_arg_has_defaults_a_scope_and_an_override(context):
    text = """\
        ARG BASE=busybox
        FROM ${BASE} AS first
        ARG WHO=nobody
        RUN echo "$WHO $BASE." > /args
        FROM first
        RUN echo "$WHO." >> /args
        ENV WHO=env
        ARG WHO
        RUN echo "$WHO" >> /args
        """
    context.build(text)
    assert context.run("cat", "/args").split("\n") == ["nobody .", ".", "env"]
    context.build(text, "--build-arg", "WHO=given")
    assert context.run("cat", "/args").split("\n") == ["given .", ".", "env"]
    warned = context.build("FROM busybox\n", "--build-arg", "UNUSED=1", check=False)
    assert "UNUSED" in warned.stdout + warned.stderr


def test_stages_copy_from_each_other(context):
    context.build("""\
        FROM busybox AS maker
        RUN echo made > /product
        FROM busybox AS unused
        RUN echo never-run; exit 0
        FROM busybox
        COPY --from=maker /product /from-name
        COPY --from=0 /product /from-number
        COPY --from=busybox /etc/group /from-image
        """)
    assert context.run("cat", "/from-name", "/from-number").split() == ["made", "made"]
    assert context.run("head", "-1", "/from-image").startswith("root:")
    context.build("FROM busybox AS a\nRUN echo a > /which\nFROM a\nRUN echo b >> /which\n", "--target", "a")
    assert context.run("cat", "/which") == "a"


def test_onbuild_runs_in_the_child(context):
    context.build("FROM busybox\nONBUILD RUN echo child > /onbuild\nONBUILD ENV CHILD=1\n", tag="parent:1")
    assert context.config("parent:1")["OnBuild"] == ["RUN echo child > /onbuild", "ENV CHILD=1"]
    assert context.run("ls", "/", tag="parent:1").split().count("onbuild") == 0
    context.build("FROM parent:1\n", tag="child:1")
    assert context.run("cat", "/onbuild", tag="child:1") == "child"
    assert "CHILD=1" in context.config("child:1")["Env"] and not context.config("child:1").get("OnBuild")


# ---- cache ----

CACHED = """\
FROM busybox
RUN head -c 8 /dev/urandom | od -An -tx1 > /first
COPY source /source
RUN head -c 8 /dev/urandom | od -An -tx1 > /second
"""


def test_the_cache_knows_parent_instruction_and_content(context):
    context.write("source", "one\n")
    context.build(CACHED)
    first = context.run("cat", "/first", "/second").split("\n")
    again = context.build(CACHED)
    assert again.stdout.count("Using cache") == 3
    assert context.run("cat", "/first", "/second").split("\n") == first
    context.write("source", "two\n")
    changed = context.build(CACHED)
    assert changed.stdout.count("Using cache") == 1
    now = context.run("cat", "/first", "/second").split("\n")
    assert now[0] == first[0] and now[1] != first[1]
    assert context.build(CACHED, "--no-cache").stdout.count("Using cache") == 0
    assert context.run("cat", "/first") != first[0]


def test_a_touched_file_is_the_same_and_a_changed_mode_is_not(context):
    source = context.write("source", "one\n")
    context.build(CACHED)
    os.utime(source, (1, 1))
    assert context.build(CACHED).stdout.count("Using cache") == 3
    source.chmod(0o755)
    assert context.build(CACHED).stdout.count("Using cache") == 1


def test_an_argument_is_part_of_the_key_only_where_it_is_known(context):
    text = "FROM busybox\nRUN echo before\nARG V=1\nRUN echo $V > /v\n"
    context.build(text)
    got = context.build(text, "--build-arg", "V=2")
    assert got.stdout.count("Using cache") >= 1 and context.run("cat", "/v") == "2"


# ---- the context ----

def test_dockerignore_leaves_out_and_brings_back(context):
    for name in ("keep.txt", "secret.key", "log/a.log", "log/keep.log", "deep/x/secret.key"):
        context.write(name, name)
    context.write(".dockerignore", "# comment\n**/*.key\nlog/*\n!log/keep.log\n")
    context.build("FROM busybox\nCOPY . /c\nRUN find /c -type f | sort > /found\n")
    assert context.run("cat", "/found").split() == [
        "/c/.dockerignore", "/c/Dockerfile", "/c/keep.txt", "/c/log/keep.log"]


def test_another_dockerfile_and_one_from_standard_input(context):
    context.write("sub/My.Dockerfile", "FROM busybox\nCMD echo mine\n")
    context.build("FROM nonesuch\n", "-f", context.path / "sub/My.Dockerfile")
    assert context.run() == "mine"
    context.tags.append("stdin:1")
    context.daemon.docker("build", "-t", "stdin:1", "-", input="FROM busybox\nCMD echo stdin\n")
    assert context.run(tag="stdin:1") == "stdin"


def test_a_context_cannot_reach_outside(context):
    got = context.build("FROM busybox\nCOPY ../../../etc/hostname /h\n", check=False)
    assert got.returncode != 0 and "COPY" in got.stdout + got.stderr
    (context.path / "way-out").symlink_to("/etc")
    got = context.build("FROM busybox\nCOPY way-out/hostname /h\n", check=False)
    assert got.returncode != 0


# ---- output ----

def test_the_output_tells_steps_and_what_run_said(context):
    got = context.build("FROM busybox\nRUN echo spoken; echo complained >&2\nCMD true\n")
    for part in ("Step 1/3 : FROM busybox", "Step 2/3 : RUN echo spoken", "Step 3/3 : CMD true",
                 "Successfully built", "Successfully tagged t:1"):
        assert part in got.stdout, part
    assert "\nspoken\n" in got.stdout and "complained" in got.stdout + got.stderr
    quiet = context.build("FROM busybox\nRUN echo spoken; echo complained >&2\nCMD true\n", "-q")
    assert quiet.stdout.startswith("sha256:") and len(quiet.stdout.split()) == 1


# ---- errors ----

@pytest.mark.parametrize("dockerfile, words", [
    ("FROM busybox\n\nFRMO x\n", ["Dockerfile:3", "FRMO"]),
    ("FROM busybox\nRUN\n", ["Dockerfile:2", "RUN"]),
    ("FROM busybox\nCOPY only-one\n", ["Dockerfile:2", "COPY"]),
    ("FROM busybox\nCOPY nonesuch /x\n", ["nonesuch"]),
    ("FROM busybox\nENV novalue\n", ["Dockerfile:2", "ENV"]),
    ("FROM busybox\nEXPOSE eighty\n", ["eighty"]),
    ("FROM busybox\nHEALTHCHECK --interval=never CMD true\n", ["never"]),
    ("FROM busybox\nRUN --nonesuch=1 true\n", ["Dockerfile:2", "nonesuch"]),
    ("RUN true\n", ["Dockerfile:1"]),
    ("", ["begins with FROM"]),
    ("FROM busybox\nCOPY --from=nonesuch:9 /a /b\n", ["nonesuch"]),
    ("FROM busybox\nWORKDIR\n", ["Dockerfile:2"]),
    ("FROM busybox\nUSER nonesuch\nRUN true\n", ["nonesuch"]),
    ("FROM busybox AS a\nFROM busybox AS a\n", ["Dockerfile:2", "already used"]),
    ("FROM nonesuch.invalid/nope:1\n", ["nonesuch.invalid/nope"]),
])
def test_a_mistake_is_told_with_its_place(context, dockerfile, words):
    got = context.build(dockerfile, check=False)
    text = got.stdout + got.stderr
    assert got.returncode != 0
    for word in words:
        assert word in text, text
    assert context.daemon.api("GET", "/images/t:1/json")[0] == 404
    assert not context.daemon.json("GET", "/containers/json?all=1")


def test_a_list_that_is_no_json_is_a_shell_command(context):
    context.build("FROM busybox\nCMD [\"unclosed\n")
    assert context.config()["Cmd"] == ["/bin/sh", "-c", "[\"unclosed"]


def test_a_failing_run_says_its_code_and_leaves_nothing(context):
    daemon = context.daemon
    before, standing = images(daemon), supervisors(daemon)
    got = context.build("FROM busybox\nRUN echo about to fail; exit 23\nRUN echo never\n", check=False)
    text = got.stdout + got.stderr
    assert got.returncode != 0 and "about to fail" in text and "23" in text and "never" not in text.replace("echo never", "")
    assert images(daemon) == before
    assert not daemon.json("GET", "/containers/json?all=1")
    eventually(lambda: supervisors(daemon) == standing)
    eventually(lambda: not list((daemon.run_dir / "netns").iterdir()))


def test_a_client_that_goes_away_ends_the_build(context):
    daemon = context.daemon
    context.write("Dockerfile", "FROM busybox\nRUN echo started; sleep 300\n")
    build = Client(daemon, "docker").start("build", context.path, stdout=subprocess.PIPE, text=True)
    while "started" not in (line := build.stdout.readline()).split():
        assert line
    build.send_signal(signal.SIGINT)
    build.wait(10)
    build.stdout.close()
    eventually(lambda: not supervisors(daemon), 10)
    eventually(lambda: not list((daemon.run_dir / "netns").iterdir()))
