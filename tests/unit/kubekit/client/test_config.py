import base64
import os
from pathlib import Path

import pytest
import yaml

from kubekit.client.auth import ExecPlugin, Identity
from kubekit.client.config import load_config
from kubekit.client.errors import ConfigError

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
NOWHERE = Path("/nonexistent")


def b64(text):
    return base64.b64encode(text.encode()).decode()


def config(*, cluster=None, user=None, context=None, **extra):
    """A kubeconfig with one of each; None leaves the usual, a dict is merged into it."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "main",
        "clusters": [{"name": "c", "cluster": {"server": "https://api.example:6443", **(cluster or {})}}],
        "users": [{"name": "ann", "user": user or {}}],
        "contexts": [{"name": "main", "context": {"cluster": "c", "user": "ann", **(context or {})}}],
        **extra,
    }


@pytest.fixture
def load(tmp_path):
    def load(content, context=None, **environ):
        file = tmp_path / "config"
        file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return load_config(file, context, environ=environ, service_account=NOWHERE)

    return load


def refused(load, content, words, **options):
    with pytest.raises(ConfigError, match=words) as caught:
        load(content, **options)
    assert "hunter2" not in str(caught.value)
    return str(caught.value)


# In a Pod.


@pytest.fixture
def account(tmp_path):
    folder = tmp_path / "account"
    folder.mkdir()
    (folder / "token").write_text("tok\n")
    (folder / "ca.crt").write_text(PEM)
    (folder / "namespace").write_text("backup\n")
    return folder


POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


async def test_in_a_pod_the_service_account_is_used(account):
    found = load_config(environ=POD, service_account=account)
    assert found.server == "https://10.96.0.1:443"
    assert found.ca == PEM.encode()
    assert found.namespace == "backup"
    assert (await found.auth.identity()).authorization == "Bearer tok"
    assert str(account) in found.source


def test_an_ipv6_address_gets_its_brackets(account):
    found = load_config(environ={**POD, "KUBERNETES_SERVICE_HOST": "fd00::1"}, service_account=account)
    assert found.server == "https://[fd00::1]:443"


def test_a_pod_without_a_namespace_file_is_in_default(account):
    (account / "namespace").unlink()
    assert load_config(environ=POD, service_account=account).namespace == "default"


def test_a_pod_without_an_authority_is_told_what_to_mount(account):
    (account / "ca.crt").unlink()
    with pytest.raises(ConfigError, match=r"ca\.crt cannot be read.*mount its service account token"):
        load_config(environ=POD, service_account=account)


def test_what_is_named_goes_before_the_pod(account, tmp_path):
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(config()))
    assert load_config(file, environ=POD, service_account=account).server == "https://api.example:6443"
    environ = {**POD, "KUBECONFIG": str(file)}
    assert load_config(None, "main", environ=environ, service_account=account).server == "https://api.example:6443"
    assert load_config(environ=environ, service_account=account).server == "https://10.96.0.1:443"


def test_without_a_token_we_are_in_no_pod(account, tmp_path):
    (account / "token").unlink()
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(yaml.safe_dump(config()))
    found = load_config(environ={**POD, "HOME": str(tmp_path)}, service_account=account)
    assert found.server == "https://api.example:6443"


# Where kubeconfigs are, and how they are merged.


def test_no_kubeconfig_at_all_says_the_ways_to_one(tmp_path):
    with pytest.raises(ConfigError, match=r"no cluster to talk to.*--kubeconfig") as caught:
        load_config(environ={"HOME": str(tmp_path)}, service_account=NOWHERE)
    assert str(tmp_path / ".kube" / "config") in str(caught.value)


def test_files_of_the_list_that_are_not_there_are_passed_over(tmp_path):
    file = tmp_path / "there"
    file.write_text(yaml.safe_dump(config()))
    environ = {"KUBECONFIG": os.pathsep.join(["", str(tmp_path / "missing"), str(file)])}
    assert load_config(environ=environ, service_account=NOWHERE).server == "https://api.example:6443"


def test_a_list_of_missing_files_is_an_error(tmp_path):
    environ = {"KUBECONFIG": f"{tmp_path}/a{os.pathsep}{tmp_path}/b"}
    with pytest.raises(ConfigError, match=r"none of the files of \$KUBECONFIG exists") as caught:
        load_config(environ=environ, service_account=NOWHERE)
    assert f"{tmp_path}/b" in str(caught.value)


async def test_of_several_files_the_first_word_counts_and_paths_are_relative_to_their_own_file(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "ca.crt").write_text(PEM)
    (tmp_path / "one" / "token").write_text("tok")
    first = {"users": [{"name": "ann", "user": {"tokenFile": "token"}}], "contexts": None, "clusters": None}
    second = config(cluster={"certificate-authority": "ca.crt"}, user={"token": "other"}, context={"namespace": "ns"})
    third = config(cluster={"server": "https://third:1"}, **{"current-context": "third"})
    paths = []
    for name, content in (("one/config", first), ("two/config", second), ("three", third)):
        (tmp_path / name).write_text(yaml.safe_dump(content))
        paths.append(str(tmp_path / name))
    found = load_config(environ={"KUBECONFIG": os.pathsep.join(paths)}, service_account=NOWHERE)
    assert (found.server, found.namespace, found.ca) == ("https://api.example:6443", "ns", PEM.encode())
    assert (await found.auth.identity()).authorization == "Bearer tok"


# Clusters and contexts.


def test_a_context_can_be_chosen(load):
    content = config()
    content["contexts"].append({"name": "other", "context": {"cluster": "d", "user": "", "namespace": "x"}})
    content["clusters"].append({"name": "d", "cluster": {"server": "http://127.0.0.1:8001/"}})
    found = load(content, "other")
    assert (found.server, found.namespace) == ("http://127.0.0.1:8001", "x")
    assert "'other'" in found.source


def test_a_server_keeps_its_path(load):
    found = load(config(cluster={"server": "https://rancher.example/k8s/clusters/c-1/"}))
    assert found.server == "https://rancher.example/k8s/clusters/c-1"


def test_everything_about_a_cluster_is_read(load):
    found = load(
        config(
            cluster={
                "certificate-authority-data": b64(PEM),
                "certificate-authority": "/nonexistent/loses",
                "tls-server-name": "kubernetes",
                "proxy-url": "http://proxy:3128",
            }
        )
    )
    assert (found.ca, found.tls_server_name, found.proxy_url) == (PEM.encode(), "kubernetes", "http://proxy:3128")
    assert not found.insecure
    assert load(config(cluster={"insecure-skip-tls-verify": True})).insecure


# Users.


@pytest.mark.parametrize(
    ("user", "identity"),
    [
        ({}, Identity()),
        ({"token": "tok"}, Identity("Bearer tok")),
        ({"username": "ann", "password": "pw"}, Identity("Basic YW5uOnB3")),
        ({"username": "ann"}, Identity("Basic YW5uOg==")),
        ({"token": "tok", "username": "ann"}, Identity("Bearer tok")),
        (
            {"client-certificate-data": b64("C"), "client-key-data": b64("K"), "token": "tok"},
            Identity("Bearer tok", b"C", b"K"),
        ),
    ],
)
async def test_users_become_identities(load, user, identity):
    assert await load(config(user=user)).auth.identity() == identity


async def test_certificate_files_are_read(load, tmp_path):
    (tmp_path / "cert").write_text("C")
    (tmp_path / "key").write_text("K")
    found = load(config(user={"client-certificate": "cert", "client-key": str(tmp_path / "key")}))
    assert await found.auth.identity() == Identity(None, b"C", b"K")


async def test_an_exec_plugin_is_run_with_what_the_file_says(load, tmp_path):
    script = tmp_path / "bin" / "tool"
    script.parent.mkdir()
    script.write_text(
        '#!/bin/sh\nprintf \'{"apiVersion":"client.authentication.k8s.io/v1","status":{"token":"%s-%s-%s"}}\' '
        '"$1" "$ENV" "$(printf %s "$KUBERNETES_EXEC_INFO" | tr -dc a-z0-9: | tr -d \\" | cut -c1-200)"\n'
    )
    script.chmod(0o700)
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "bin/tool",
        "args": ["get"],
        "env": [{"name": "ENV", "value": "dev"}],
        "interactiveMode": "Never",
        "provideClusterInfo": True,
    }
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "me"}}
    found = load(config(user={"exec": plugin}, cluster={"extensions": [extension]}), PATH=os.environ["PATH"])
    assert isinstance(found.auth, ExecPlugin)
    authorization = (await found.auth.identity()).authorization
    assert authorization.startswith("Bearer get-dev-")
    assert "server:https:api" in authorization
    assert "config:audience:me" in authorization


def test_nothing_secret_is_in_a_representation(load):
    found = load(config(user={"token": "hunter2"}, cluster={"proxy-url": "http://u:hunter2@proxy:1"}))
    assert "hunter2" not in repr(found)


# What cannot be used.


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("a: [", "is not YAML at line 1"),
        ("users:\n- name: x\n  user: {token: 'hunter2", "is not YAML at line 3"),
        ("a: !!python/object:os.system hunter2", "is not YAML"),
        ("just words", "is not a kubeconfig: Expected `object`"),
        ("- a\n- b", "is not a kubeconfig"),
        ({"clusters": "x"}, r"is not a kubeconfig.*\$\.clusters"),
        (
            config(user={"token": 12345}),
            r"is not a kubeconfig: Expected `str \| null`, got `int` - at `\$\.users\[0\]\.user\.token",
        ),
        (config(user={"exec": {"env": [{"value": "hunter2"}]}}), "missing required field `name`"),
        ({**config(), "current-context": ""}, "no current-context; choose one with --context: main"),
        ({}, "no current-context; choose one with --context: none"),
        ({**config(), "current-context": "x"}, "no context 'x'; there are: main"),
        (config(context={"cluster": "x"}), "context 'main' names the cluster 'x'"),
        (config(context={"user": "x"}), "context 'main' names the user 'x'"),
        (config(cluster={"server": None}), "cluster 'c' has no server"),
        (config(cluster={"server": "api.example:6443"}), "'api.example:6443' is not an http or https URL"),
        (config(cluster={"server": "ftp://x"}), "is not an http or https URL"),
        (config(cluster={"server": "https://"}), "is not an http or https URL"),
        (config(cluster={"server": "https://u:hunter2@host"}), "holds credentials"),
        (config(cluster={"server": "https://[::1"}), "is not a URL"),
        (config(cluster={"server": "https://host:port"}), "is not a URL"),
        (config(cluster={"certificate-authority-data": "%%%"}), "certificate-authority-data is not base64"),
        (
            config(cluster={"certificate-authority": "none.crt"}),
            "certificate-authority .*none.crt cannot be read: No such",
        ),
        (
            config(cluster={"certificate-authority-data": b64(PEM), "insecure-skip-tls-verify": True}),
            "both insecure-skip-tls-verify and a certificate authority",
        ),
        (config(cluster={"proxy-url": "socks5://u:hunter2@p:1"}), "SOCKS is not supported"),
        (config(cluster={"proxy-url": "proxy:3128"}), "must be an http or https proxy"),
        (config(user={"client-certificate-data": b64("C")}), "has a client-certificate and no client-key"),
        (config(user={"client-key-data": b64("hunter2")}), "has a client-key and no client-certificate"),
        (config(user={"client-key-data": "hunter2!"}), "client-key-data is not base64"),
        (config(user={"client-certificate": "c", "client-key": "k"}), "client-certificate .* cannot be read"),
        (config(user={"tokenFile": "none"}), "tokenFile .*none does not exist"),
        (config(user={"token": "hunter2\nX: y"}), "characters that no token has"),
        (config(user={"token": "hünter2"}), "characters that no token has"),
        (config(user={"auth-provider": {"name": "gcp", "config": {"access-token": "hunter2"}}}), "auth-provider"),
        (config(user={"token": "hunter2", "as": "admin"}), "impersonates"),
        (config(user={"as-groups": ["x"]}), "impersonates"),
        (config(user={"exec": {"apiVersion": "client.authentication.k8s.io/v1"}}), "exec has no command"),
        (
            config(user={"exec": {"command": "x", "apiVersion": "client.authentication.k8s.io/v1alpha1"}}),
            "supported are client.authentication.k8s.io/v1,",
        ),
        (
            config(
                user={
                    "exec": {"command": "x", "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "No"}
                }
            ),
            "interactiveMode 'No'; it must be one of Never, IfAvailable, Always",
        ),
    ],
)
def test_what_cannot_be_used_is_named_with_its_file(load, tmp_path, content, words):
    assert str(tmp_path / "config") in refused(load, content, words)


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file") as caught:
        load_config(tmp_path / "none", environ={}, service_account=NOWHERE)
    assert str(tmp_path / "none") in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path, environ={}, service_account=NOWHERE)


def test_a_kubeconfig_that_is_no_text_is_named(tmp_path):
    (tmp_path / "config").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load_config(tmp_path / "config", environ={}, service_account=NOWHERE)


def test_a_kubeconfig_of_many_levels_is_no_crash(load):
    refused(load, "[" * 5_000, "is not YAML")
