import os

import msgspec
import pytest

from localkube.node.environment import Sources
from localkube.node.kinds import ConfigMap, Secret
from localkube.node.mounts import (
    Claimed,
    File,
    Files,
    Mount,
    MountFailed,
    MountRefused,
    Scratch,
    inside,
    link_mounts,
    plan_mounts,
    plan_volume,
    termination_path,
    write_files,
)
from localkube.node.pod_kinds import Container, Pod, Volume

POD = Pod()
SOURCES = Sources(
    secrets={"s": Secret(data={"k": b"\xff", "l": b"2"})},
    config_maps={"m": ConfigMap(data={"a": "1"}, binary_data={"b": b"\x00"})},
)


def volume(**source):
    return msgspec.convert({"name": "v", **source}, Volume)


def container(*mounts, **more):
    return msgspec.convert({"name": "c", "volumeMounts": list(mounts), **more}, Container)


def mount(path, sub_path="", name="v", **more):
    return {"name": name, "mountPath": path, "subPath": sub_path, **more}


@pytest.mark.parametrize(
    ("source", "content"),
    [
        ({"emptyDir": {}}, Scratch()),
        ({"persistentVolumeClaim": {"claimName": "c", "readOnly": True}}, Claimed("c", read_only=True)),
        ({"secret": {"secretName": "s"}}, Files((File("k", b"\xff", 0o644), File("l", b"2", 0o644)))),
        (
            {"secret": {"secretName": "s", "defaultMode": 0o400, "items": [{"key": "l", "path": "x/y"}]}},
            Files((File("x/y", b"2", 0o400),)),
        ),
        ({"secret": {"secretName": "none", "optional": True}}, Files(())),
        ({"configMap": {"name": "m"}}, Files((File("a", b"1", 0o644), File("b", b"\x00", 0o644)))),
        ({"configMap": {"name": "m", "optional": True, "items": [{"key": "none", "path": "p"}]}}, Files(())),
        (
            {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "status.podIP"}}]}},
            Files((File("n", b"127.0.0.1", 0o644),)),
        ),
    ],
)
def test_volumes_are_planned_by_their_kind(source, content):
    assert plan_volume(volume(**source), POD, SOURCES) == content


@pytest.mark.parametrize(
    ("source", "error", "part"),
    [
        (
            {"secret": {"secretName": "none"}},
            MountFailed,
            'MountVolume.SetUp failed for volume "v" : secret "none" not found',
        ),
        (
            {"configMap": {"name": "m", "items": [{"key": "z", "path": "p"}]}},
            MountFailed,
            "references non-existent config key: z",
        ),
        ({"hostPath": {"path": "/"}}, MountRefused, "of a type that this node does not provide"),
        ({"nfs": {"server": "x"}}, MountRefused, "of a type that this node does not provide"),
        ({"emptyDir": {"medium": "HugePages"}}, MountRefused, "medium HugePages is not supported"),
        (
            {"projected": {"sources": [{"clusterTrustBundle": {"path": "x"}}]}},
            MountRefused,
            "does not provide one of its projected sources",
        ),
    ],
)
def test_what_cannot_be_provided_is_said(source, error, part):
    with pytest.raises(error) as caught:
        plan_volume(volume(**source), POD, SOURCES)
    assert part in str(caught.value)


def test_mounts_are_normalized_and_sub_paths_expanded():
    made = container(
        mount("/data/"), mount("//b//c", name="w"), {"name": "x", "mountPath": "d", "subPathExpr": "$(HOST)/in"}
    )
    assert plan_mounts(made, {"HOST": "h"}) == (
        Mount("/b/c", "w", "", read_only=False),
        Mount("/d", "x", "h/in", read_only=False),
        Mount("/data", "v", "", read_only=False),
    )


@pytest.mark.parametrize(
    ("made", "part"),
    [
        (container(mount("/")), "at /"),
        (container(mount("/a"), mount("/a")), "inside another mount"),
        (container(mount("/a"), mount("/a/b", name="w")), "inside another mount"),
        (container(mount("/a", "../x")), "without .."),
        (container(mount("/a", "/x")), "without .."),
        (container(mount("/dev")), "terminationMessagePath /dev/termination-log lies in a volume"),
        (container(volumeDevices=[{"name": "v", "devicePath": "/dev/x"}]), "block devices"),
    ],
)
def test_what_links_cannot_do_is_refused(made, part):
    with pytest.raises(MountRefused) as caught:
        plan_mounts(made, {})
    assert part in str(caught.value)


def test_siblings_with_a_common_prefix_are_no_nesting():
    assert len(plan_mounts(container(mount("/data"), mount("/data2", name="w")), {})) == 2


def test_the_termination_path_has_a_default():
    assert termination_path(container()) == "/dev/termination-log"
    assert termination_path(container(terminationMessagePath="x//y")) == "/x/y"


@pytest.mark.parametrize("path", ["/a/../../x", "..", "/../..", "/a/./../../etc"])
def test_no_path_leaves_the_root(tmp_path, path):
    assert inside(tmp_path, path).is_relative_to(tmp_path)


def test_links_lead_to_volumes_and_sub_paths(tmp_path):
    (tmp_path / "vol/sub").mkdir(parents=True)
    (tmp_path / "vol/file").write_text("x")
    mounts = plan_mounts(
        container(mount("/data"), mount("/s", "sub"), mount("/f", "file"), mount("/new", "made/here")), {}
    )
    link_mounts(tmp_path / "root", mounts, {"v": tmp_path / "vol"}, untouchable=frozenset())
    assert os.readlink(tmp_path / "root/data") == str(tmp_path / "vol")
    assert (tmp_path / "root/f").read_text() == "x"
    assert (tmp_path / "vol/made/here").is_dir()
    link_mounts(tmp_path / "root", mounts, {"v": tmp_path / "vol"}, untouchable=frozenset())


def test_a_users_own_volume_is_not_written_to_for_a_sub_path(tmp_path):
    (tmp_path / "vol").mkdir()
    mounts = plan_mounts(container(mount("/s", "missing")), {})
    with pytest.raises(MountFailed, match="which is not written to"):
        link_mounts(tmp_path / "root", mounts, {"v": tmp_path / "vol"}, untouchable=frozenset({"v"}))
    assert os.listdir(tmp_path / "vol") == []


def test_a_sub_path_through_a_link_out_of_the_volume_is_refused(tmp_path):
    (tmp_path / "vol").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "vol/out").symlink_to("../secret")
    mounts = plan_mounts(container(mount("/s", "out")), {})
    with pytest.raises(MountFailed, match="leads out of the volume"):
        link_mounts(tmp_path / "root", mounts, {"v": tmp_path / "vol"}, untouchable=frozenset())


def test_files_are_written_with_their_modes_and_never_through_links(tmp_path):
    (tmp_path / "outside").write_text("precious")
    (tmp_path / "vol").mkdir()
    (tmp_path / "vol/k").symlink_to(tmp_path / "outside")
    write_files(tmp_path / "vol", [File("k", b"new", 0o400), File("a/b", b"x", 0o644)])
    assert (tmp_path / "outside").read_text() == "precious"
    assert (tmp_path / "vol/k").read_bytes() == b"new"
    assert (tmp_path / "vol/k").stat().st_mode & 0o777 == 0o400


def test_contents_do_not_show():
    assert "hush" not in repr(Files((File("k", b"hush", 0o400),)))
