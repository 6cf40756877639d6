import pytest

from datamover.velero.handshake import offer, refusal


def test_the_line_says_versions_network_address_and_protocol():
    assert offer("unix", "/tmp/a/plugin.sock") == b"1|2|unix|/tmp/a/plugin.sock|grpc\n"


def test_started_by_a_server_is_not_refused():
    assert refusal({"VELERO_PLUGIN": "hello"}) == ""


@pytest.mark.parametrize("environ", [{}, {"VELERO_PLUGIN": ""}, {"VELERO_PLUGIN": "Hello"}])
def test_started_by_hand_is_told_what_the_program_is(environ: dict[str, str]):
    said = refusal(environ)
    assert "plugin for Velero" in said
    assert "VELERO_PLUGIN is not set to 'hello'" in said
