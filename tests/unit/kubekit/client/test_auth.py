import asyncio
import json
import logging
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kubekit.client.auth import ExecCommand, ExecPlugin, Identity, StaticIdentity, TokenFile, basic, bearer
from kubekit.client.errors import ConfigError

V1 = "client.authentication.k8s.io/v1"
NOON = datetime(2024, 8, 6, 12, tzinfo=UTC)


def test_header_values():
    assert bearer("abc") == "Bearer abc"
    assert basic("ann", "pässword") == "Basic YW5uOnDDpHNzd29yZA=="


def test_no_representation_shows_a_secret():
    identity = Identity("Bearer hunter2", b"hunter2", b"hunter2")
    command = ExecCommand("tool", V1, args=("hunter2",), env={"A": "hunter2"})
    assert "hunter2" not in repr([identity, StaticIdentity(identity), command])


async def test_a_static_identity_stays_as_it_is():
    source = StaticIdentity(Identity("Bearer a"))
    assert (await source.identity()).authorization == "Bearer a"
    assert not await source.renew(await source.identity())


async def test_a_token_file_is_read_again_when_it_changes(tmp_path):
    file = tmp_path / "token"
    file.write_text("one\n")
    source = TokenFile(file)
    assert (await source.identity()).authorization == "Bearer one"
    other = tmp_path / "other"
    other.write_text("two\n")
    other.rename(file)  # as the kubelet does
    assert (await source.identity()).authorization == "Bearer two"


async def test_a_token_file_that_did_not_change_is_not_read_again(tmp_path):
    file = tmp_path / "token"
    file.write_text("one")
    source = TokenFile(file)
    await source.identity()
    state = file.stat()
    file.write_text("two")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (await source.identity()).authorization == "Bearer one"


async def test_a_token_that_was_refused_is_read_again_whatever_the_stamp_says(tmp_path):
    file = tmp_path / "token"
    file.write_text("one")
    source = TokenFile(file)
    refused = await source.identity()
    assert not await source.renew(refused)
    state = file.stat()
    file.write_text("two")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert await source.renew(refused)
    assert (await source.identity()).authorization == "Bearer two"


@pytest.mark.parametrize("accident", ["missing", "empty", "binary"])
async def test_a_token_file_under_change_leaves_the_last_token_in_use(tmp_path, accident):
    file = tmp_path / "token"
    file.write_text("one")
    source = TokenFile(file, certificate=b"c", key=b"k")
    await source.identity()
    if accident == "missing":
        file.unlink()
    else:
        file.write_bytes(b"" if accident == "empty" else b"\xff\xfe")
    assert await source.identity() == Identity("Bearer one", b"c", b"k")


@pytest.mark.parametrize(("content", "words"), [(None, "cannot be read"), (b"", "is empty"), (b"\xff", "not UTF-8")])
async def test_a_token_file_that_never_had_a_token_is_named(tmp_path, content, words):
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as caught:
        await TokenFile(file).identity()
    assert str(file) in str(caught.value)


class Tool:
    """A credential plugin: a script that prints what the test wrote down, and notes each run with what it was told."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.script = folder / "tool"
        self.script.write_text(
            f"#!{sys.executable}\n"
            "import os, sys, pathlib\n"
            f"folder = pathlib.Path({str(folder)!r})\n"
            "with open(folder / 'runs', 'a') as runs:\n"
            "    print(os.environ['KUBERNETES_EXEC_INFO'], os.environ.get('EXTRA', ''), *sys.argv[1:], file=runs)\n"
            "print(os.environ.get('EXTRA', 'noise'), file=sys.stderr)\n"
            "print((folder / 'answer').read_text())\n"
            "sys.exit(int((folder / 'code').read_text()))\n"
        )
        self.script.chmod(0o700)
        self.exits(0)
        self.runs_file = folder / "runs"

    def prints(self, text):
        (self.folder / "answer").write_text(text if isinstance(text, str) else json.dumps(text))

    def gives(self, version=V1, **status):
        self.prints({"apiVersion": version, "kind": "ExecCredential", "status": status})

    def exits(self, code):
        (self.folder / "code").write_text(str(code))

    @property
    def runs(self):
        return self.runs_file.read_text().splitlines() if self.runs_file.exists() else []


@pytest.fixture
def tool(tmp_path):
    return Tool(tmp_path)


def plugin(tool, *, now=lambda: NOON, deadline=20.0, environ=None, **options):
    options = {"api_version": V1, "source": "/home/ann/config: user 'ann'", **options}
    command = ExecCommand(str(tool.script) if isinstance(tool, Tool) else tool, **options)
    return ExecPlugin(command, environ={} if environ is None else environ, deadline=deadline, now=now)


async def test_a_plugin_is_told_what_it_needs_and_run_once(tool):
    tool.gives(token="t1")
    source = plugin(
        tool,
        args=("get", "token"),
        env={"EXTRA": "x"},
        cluster={"server": "https://s", "certificate-authority-data": b"ca"},
    )
    assert await source.identity() == Identity("Bearer t1")
    tool.gives(token="t2")
    assert await source.identity() == Identity("Bearer t1")
    (run,) = tool.runs
    info, rest = run.rsplit("} ", 1)
    assert rest == "x get token"
    assert json.loads(info + "}") == {
        "apiVersion": V1,
        "kind": "ExecCredential",
        "spec": {"interactive": False, "cluster": {"server": "https://s", "certificate-authority-data": "Y2E="}},
    }


async def test_many_who_ask_at_once_cause_one_run(tool):
    tool.gives(token="t1")
    source = plugin(tool)
    assert set(await asyncio.gather(*(source.identity() for _ in range(10)))) == {Identity("Bearer t1")}
    refused = Identity("Bearer t1")
    tool.gives(token="t2")
    assert await asyncio.gather(*(source.renew(refused) for _ in range(10))) == [True] * 10
    assert len(tool.runs) == 2


async def test_credentials_are_renewed_when_they_expire(tool):
    now = NOON
    source = plugin(tool, now=lambda: now)
    tool.gives(token="t1", expirationTimestamp="2024-08-06T12:10:00Z")
    assert (await source.identity()).authorization == "Bearer t1"
    tool.gives(token="t2", expirationTimestamp="2024-08-06T15:10:00+02:00")
    now = NOON + timedelta(minutes=9)
    assert (await source.identity()).authorization == "Bearer t1"
    now = NOON + timedelta(minutes=10)
    assert (await source.identity()).authorization == "Bearer t2"


async def test_a_certificate_may_come_instead_of_a_token(tool):
    tool.gives(clientCertificateData="CERT", clientKeyData="KEY")
    assert await plugin(tool).identity() == Identity(None, b"CERT", b"KEY")


async def test_a_refusal_that_a_new_run_does_not_change_is_final(tool):
    tool.gives(token="t1")
    source = plugin(tool)
    assert not await source.renew(await source.identity())
    assert len(tool.runs) == 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("hunter2", "no ExecCredential"),
        ("", "no ExecCredential"),
        ({"apiVersion": V1, "status": {"token": 5}}, "no ExecCredential"),
        ({"apiVersion": "hunter2", "status": {"token": "hunter2"}}, "another apiVersion"),
        ({"apiVersion": V1}, "no token and no certificate"),
        ({"apiVersion": V1, "status": {}}, "no token and no certificate"),
        ({"apiVersion": V1, "status": {"clientCertificateData": "hunter2"}}, "only one of certificate and key"),
        ({"apiVersion": V1, "status": {"token": "hunter2", "expirationTimestamp": "soon"}}, "no RFC 3339"),
    ],
)
async def test_an_answer_that_is_of_no_use_is_refused_and_not_shown(tool, answer, words, caplog, capfd):
    tool.prints(answer)
    source = plugin(tool, args=("hunter2",), env={"EXTRA": "hunter2"}, install_hint="Get it at https://tool.example")
    with caplog.at_level(logging.DEBUG), pytest.raises(ConfigError, match=words) as caught:
        await source.identity()
    message = str(caught.value)
    assert message.startswith("/home/ann/config: user 'ann': the credential plugin")
    assert message.endswith("to see why. Get it at https://tool.example")
    assert "hunter2" not in message + caplog.text + "".join(capfd.readouterr())


async def test_a_plugin_that_fails_tells_its_code_and_not_its_words(tool):
    tool.prints("hunter2")
    tool.exits(3)
    with pytest.raises(ConfigError, match="exit code 3") as caught:
        await plugin(tool).identity()
    assert "hunter2" not in str(caught.value)


async def test_a_plugin_that_is_not_there_comes_with_its_install_hint():
    with pytest.raises(ConfigError, match=r"'no-such-tool' is not installed.*apt install it"):
        await plugin("no-such-tool", install_hint="apt install it").identity()


async def test_a_plugin_that_may_not_be_run_is_told(tmp_path):
    (tmp_path / "tool").write_text("x")
    with pytest.raises(ConfigError, match="cannot be started: Permission denied"):
        await plugin(str(tmp_path / "tool")).identity()


async def test_a_plugin_that_hangs_is_ended_with_all_that_it_started(tmp_path):
    script = tmp_path / "tool"
    script.write_text(f"#!/bin/sh\nsleep 1000 &\necho $! > {tmp_path}/child\necho $$ > {tmp_path}/self\nwait\n")
    script.chmod(0o700)
    with pytest.raises(ConfigError, match=r"did not end within 0\.3 s"):
        await plugin(str(script), deadline=0.3, environ=dict(os.environ)).identity()
    for name in ("self", "child"):
        pid = int((tmp_path / name).read_text())
        async with asyncio.timeout(5):
            while alive(pid):
                await asyncio.sleep(0.01)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_plugin_that_wants_a_terminal_is_refused_without_one(tool, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(ConfigError, match="needs a terminal"):
        await plugin(tool, interactive_mode="Always").identity()
    assert tool.runs == []


@pytest.mark.parametrize(("mode", "interactive"), [("Never", False), ("IfAvailable", True), ("Always", True)])
async def test_with_a_terminal_the_mode_decides(tool, monkeypatch, mode, interactive):
    class Terminal:
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    tool.gives(token="t")
    await plugin(tool, interactive_mode=mode).identity()
    assert json.loads(tool.runs[0].strip())["spec"]["interactive"] is interactive


async def test_v1beta1_is_spoken_too(tool):
    version = "client.authentication.k8s.io/v1beta1"
    tool.gives(version=version, token="t")
    assert (await plugin(tool, api_version=version).identity()).authorization == "Bearer t"


async def test_cancelling_ends_the_plugin(tmp_path):
    script = tmp_path / "tool"
    script.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/self\nsleep 1000\n")
    script.chmod(0o700)
    task = asyncio.create_task(plugin(str(script), environ=dict(os.environ)).identity())
    async with asyncio.timeout(10):
        while not (tmp_path / "self").exists() or not (tmp_path / "self").read_text():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while alive(int((tmp_path / "self").read_text())):
            await asyncio.sleep(0.01)
