from pathlib import Path

import pytest

from datamover.velero.settings import Settings, read_settings

PROGRAM = "/plugins/datamover-velero-plugin"
NOWHERE = Path("/nonexistent/namespace")


def read(*words: str, **environ: str) -> Settings:
    return read_settings([PROGRAM, *words], environ, namespace_file=NOWHERE)


def test_without_arguments_there_are_defaults():
    assert read() == Settings(command=PROGRAM)


def test_arguments_of_the_server_that_are_not_for_plugins_are_passed_over():
    found = read("--features", "EnableCSI", "--client-qps=100", "--new-in-2030", "-", "--", "plain", "--log-level")
    assert found == Settings(command=PROGRAM)


@pytest.mark.parametrize(
    ("words", "level"),
    [
        (("--log-level", "debug"), "debug"),
        (("--log-level=warning",), "warn"),
        (("--log-level=PANIC",), "error"),
        (("--log-level=loud",), "info"),
        (("--log-level=",), "info"),
    ],
)
def test_level_of_the_log(words: tuple[str, ...], level: str):
    assert read(*words).log_level == level


def test_namespace_is_that_of_the_flag_then_of_the_environment_then_of_the_pod(tmp_path: Path):
    mine = tmp_path / "namespace"
    mine.write_text("openshift-adp\n")
    assert read("--namespace", "a", VELERO_NAMESPACE="b").namespace == "a"
    assert read("-n", "a").namespace == "a"
    assert read(VELERO_NAMESPACE="b").namespace == "b"
    assert read_settings([PROGRAM], {}, namespace_file=mine).namespace == "openshift-adp"
    assert read().namespace == "velero"


def test_a_namespace_file_that_is_no_text_is_none(tmp_path: Path):
    mine = tmp_path / "namespace"
    mine.write_bytes(b"\xff\xfe")
    assert read_settings([PROGRAM], {}, namespace_file=mine).namespace == "velero"


def test_kubeconfig_and_context_are_those_of_the_server():
    found = read("--kubeconfig", "/tmp/config", "--kubecontext=other")
    assert (found.kubeconfig, found.context) == (Path("/tmp/config"), "other")


@pytest.mark.parametrize(
    ("low", "high", "ports"),
    [
        ("10000", "25000", range(10_000, 25_001)),
        ("7", "7", range(7, 8)),
        ("9", "8", range(10_000, 25_001)),
        ("x", "99999", range(10_000, 25_001)),
        ("²", "-1", range(10_000, 25_001)),
    ],
)
def test_ports(low: str, high: str, ports: range):
    assert read(PLUGIN_MIN_PORT=low, PLUGIN_MAX_PORT=high).ports == ports


def test_the_folder_for_sockets_is_the_hosts_where_it_names_one():
    assert read(PLUGIN_UNIX_SOCKET_DIR="/run/x").socket_directory == "/run/x"
    assert read(PLUGIN_UNIX_SOCKET_DIR="").socket_directory is None
