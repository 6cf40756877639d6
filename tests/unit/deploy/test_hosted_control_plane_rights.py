"""What the chart adds for hosted control planes: its switch, and each right explained and no more."""

import re
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.backup_world import backup_world, run_velero_plane
from support.kubernetes import ControlPlane

Render = Callable[..., list[dict[str, Any]]]

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "permissions.md").read_text(encoding="utf-8")
ON = "hostedControlPlanes.enabled=true"
ROLE = "datamover-operator-hosted-control-planes"
RIGHTS = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
CHANGING = {"create", "update", "patch", "delete"}
Right = tuple[str, str, str]


def named(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def rights(role: dict[str, Any]) -> set[Right]:
    """Return group, resource and verb of all that a role grants."""
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def arguments(objects: list[dict[str, Any]]) -> set[str]:
    (deployment,) = [each for each in objects if each["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return set(container["args"])


def explained() -> list[set[tuple[str, str]]]:
    """Return what the page explains, table by table."""
    match = re.search(r"^## Hosted control planes\n(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    assert match
    return [
        {
            (resource, verb)
            for resources, words in re.findall(r"^\| ((?:`[\w./]+`(?:, )?)+)([^|]*) \|", table, re.MULTILINE)
            for resource in re.findall(r"`([\w./]+)`", resources)
            for verb in re.findall(r"\b(?:get|list|watch|create|update|patch|delete)\b", words)
        }
        for table in match[1].split("| rule |")[1:]
    ]


def test_off_nothing_of_it_is_granted_or_told(render_text: Any) -> None:
    text = render_text(tests=False)
    for word in ("velero", "hypershift", "hosted-control-plane", "volumesnapshotcontents"):
        assert word not in text.lower()
    assert render_text("hostedControlPlanes.veleroNamespace=openshift-adp", tests=False) == text


def test_every_right_is_explained_and_no_other(render: Render) -> None:
    before, after = render(), render(ON)
    wide = rights(named(after, "ClusterRole", "datamover-operator")) - rights(named(before, "ClusterRole", "datamover-operator"))  # fmt: skip
    tables = explained()
    definitions = {("customresourcedefinitions", verb) for verb in ("get", "list", "watch")}
    assert {(resource, verb) for _, resource, verb in wide} | definitions == tables[0]
    assert {(resource, verb) for _, resource, verb in rights(named(after, "Role", ROLE))} == tables[1]


def test_nothing_is_written_but_config_maps_and_events_in_veleros_namespace(render: Render) -> None:
    objects = render(ON, "hostedControlPlanes.veleroNamespace=openshift-adp")
    role, binding = named(objects, "Role", ROLE), named(objects, "RoleBinding", ROLE)
    assert {each["metadata"]["namespace"] for each in (role, binding)} == {"openshift-adp"}
    assert {each for each in rights(role) if each[2] in CHANGING} == {
        ("", "configmaps", "create"),
        ("", "configmaps", "patch"),
        ("events.k8s.io", "events", "create"),
        ("events.k8s.io", "events", "patch"),
    }
    before = rights(named(render(), "ClusterRole", "datamover-operator"))
    assert not [each for each in rights(named(objects, "ClusterRole", "datamover-operator")) - before if each[2] in CHANGING]  # fmt: skip
    assert "*" not in str(role["rules"])
    (gate,) = [
        rule
        for rule in named(objects, "ClusterRole", "datamover-operator")["rules"]
        if "backups.velero.io" in rule.get("resourceNames", ())
    ]
    assert gate["resources"] == ["customresourcedefinitions"]


def test_in_one_namespace_control_planes_are_read_there_only(render: Render) -> None:
    objects = render(ON, "watchNamespace=clusters-a")
    planes = ("hypershift.openshift.io", "hostedcontrolplanes", "list")
    assert planes not in rights(named(objects, "ClusterRole", "datamover-operator"))
    (role,) = [each for each in objects if each["kind"] == "Role" and each["metadata"]["namespace"] == "clusters-a"]
    assert planes in rights(role)
    assert ("", "pods", "list") in rights(named(objects, "Role", ROLE))


def test_the_operator_is_told_what_to_do(render: Render) -> None:
    told = {"--hosted-control-planes", "--velero-namespace=openshift-adp", "--hosted-control-plane-stalled-after=25m"}
    assert told <= arguments(
        render(ON, "hostedControlPlanes.veleroNamespace=openshift-adp", "hostedControlPlanes.stalledAfter=25m")
    )
    assert "--hosted-control-plane-stalled-after=10m" in arguments(render(ON))
    assert not [each for each in arguments(render()) if "velero" in each or "hosted" in each]


@pytest.mark.parametrize(
    "wrong",
    [
        "veleroNamespace=",
        "veleroNamespace=A_b",
        "enabled=maybe",
        "stall=5m",
        "stalledAfter=",
        "stalledAfter=soon",
        "stalledAfter=10",
    ],
)
def test_what_is_no_such_value_is_refused(wrong: str, render: Render) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        render(ON, f"hostedControlPlanes.{wrong}")


@pytest.fixture(scope="module")
def velero_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    yield from run_velero_plane(tmp_path_factory.mktemp("velero-kinds"))


@pytest.mark.kubernetes
@pytest.mark.xdist_group("velero-kinds")
async def test_an_operator_with_the_charts_rights_follows_a_backup_and_is_refused_nothing(
    velero_plane: ControlPlane, render: Render
) -> None:
    home = f"operator-{secrets.token_hex(4)}"
    velero_plane.create_namespace(home)

    def grant(velero: str) -> Path:
        release = f"datamover-{home[-4:]}"
        rendered = render(ON, f"hostedControlPlanes.veleroNamespace={velero}", release=release, namespace=home)
        for each in rendered:
            if each["kind"] in RIGHTS:
                velero_plane.create(each)
        (account,) = [each["metadata"]["name"] for each in rendered if each["kind"] == "ServiceAccount"]
        user.append(f"system:serviceaccount:{home}:{account}")
        return velero_plane.service_account_kubeconfig(home, account)

    user: list[str] = []
    async with backup_world(velero_plane, rights=grant) as world:
        world.begin()
        await world.host()
        backup = await world.back_up()
        await world.upload(backup, "data-etcd-0", "InProgress")
        await world.back_up(phase="WaitingForPluginOperations")
        await world.until_state("WAITING")
        await world.upload(backup, "data-etcd-0", "Completed")
        await world.until_state("MOVED")
        await world.until_told("Moved")
    asked = velero_plane.audit(user=user[0])
    assert any((each.verb, each.resource) == ("create", "configmaps") for each in asked)
    assert not [(each.verb, each.resource) for each in asked if each.code == 403]
