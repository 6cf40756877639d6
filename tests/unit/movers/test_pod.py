"""What an engine may ask of the Pod around it, beyond what rclone needs."""

from datamover.api.pods import Mover, PodSecurityContext
from datamover.movers.pod import Mount, build_pod_spec, config_mount, data_mount

CONTAINER = {"name": "engine", "image": "example.com/engine:1"}


def spec(*mounts: Mount, mover: Mover | None = None, capabilities: tuple[str, ...] = ()):
    return build_pod_spec(container=CONTAINER, mounts=mounts, mover=mover or Mover(), capabilities=capabilities)


def test_data_are_read_only_unless_the_engine_brings_data_back() -> None:
    (only,) = spec(data_mount("copy"))["containers"][0]["volumeMounts"]
    assert only == {"name": "restored-data", "mountPath": "/data/", "readOnly": True}
    (writable,) = spec(data_mount("target", writable=True))["containers"][0]["volumeMounts"]
    assert writable == {"name": "restored-data", "mountPath": "/data/"}


def test_a_cache_and_files_of_a_secret_are_mounts_like_the_data() -> None:
    cache = Mount("cache", "/cache", {"persistentVolumeClaim": {"claimName": "engine-cache"}})
    keys = Mount("keys", "/keys", {"secret": {"secretName": "ssh-keys", "defaultMode": 0o400}}, read_only=True)
    made = spec(data_mount("copy"), config_mount(), cache, keys)
    assert [volume["name"] for volume in made["volumes"]] == ["restored-data", "config-dir", "cache", "keys"]
    assert made["volumes"][2] == {"name": "cache", "persistentVolumeClaim": {"claimName": "engine-cache"}}
    assert made["volumes"][3] == {"name": "keys", "secret": {"secretName": "ssh-keys", "defaultMode": 0o400}}
    mounted = made["containers"][0]["volumeMounts"]
    assert mounted[2:] == [
        {"name": "cache", "mountPath": "/cache"},
        {"name": "keys", "mountPath": "/keys", "readOnly": True},
    ]


def test_capabilities_are_added_one_by_one_to_none() -> None:
    def capabilities(made):
        return made["containers"][0]["securityContext"]["capabilities"]

    root = Mover(security_context=PodSecurityContext(run_as_user=0))
    assert capabilities(spec()) == {"drop": ["ALL"]}
    assert capabilities(spec(capabilities=("CHOWN", "FOWNER"))) == {"drop": ["ALL"], "add": ["CHOWN", "FOWNER"]}
    assert capabilities(spec(mover=root, capabilities=("CHOWN", "DAC_READ_SEARCH"))) == {
        "drop": ["ALL"],
        "add": ["DAC_READ_SEARCH", "CHOWN"],
    }
