"""The mover's Job: one example as a whole, then what must hold for all of them."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import yaml

from datamover.agent.rclone.settings import read_settings
from datamover.api import names, transfer
from datamover.api.pods import (
    EnvVar,
    EnvVarSource,
    Image,
    KeySelector,
    LocalObjectReference,
    Mover,
    PodSecurityContext,
    ResourceRequirements,
    Toleration,
)
from datamover.api.v1alpha1.datamover import Guards, Verify
from datamover.movers.rclone import build_job
from datamover.reconcilers.datamover.order import owner_of, sync_of
from support import builders
from support.builders import CLONE, JOB, RUN_ID, data_mover, run

GOLDEN = Path(__file__).parent / "job.golden.yaml"


def job(mover=None, *, recorded=None, claim=CLONE, **fields):
    mover, recorded = mover or data_mover(), recorded or run()
    return build_job(
        owner_of(mover, recorded),
        sync_of(mover, recorded, cluster="cluster-uid"),
        name=JOB,
        claim=claim,
        **fields,
    )


def pod_spec(made):
    return made["spec"]["template"]["spec"]


def container(made):
    (only,) = pod_spec(made)["containers"]
    return only


def variables(made) -> list[tuple[str, str | None]]:
    return [(variable["name"], variable.get("value")) for variable in container(made)["env"]]


FULL = data_mover(
    name="nightly-backup",
    add_timestamp_prefix=True,
    delete_pvc_after_backup=True,
    additional_env=(
        EnvVar(name="RCLONE_TRANSFERS", value="8"),
        EnvVar(name="VERIFY_BACKUP", value="true"),
        EnvVar(
            name="BUCKET_HOST",
            value_from=EnvVarSource(config_map_key_ref=KeySelector(name="bucket", key="BUCKET_HOST")),
        ),
    ),
    image=Image(repository="registry.example.com/team/mover", tag="v1.2.3", pull_policy="IfNotPresent"),
    deadline_seconds=3600,
    guards=Guards(max_delete_percent=10),
    mover=Mover(
        resources=ResourceRequirements(requests={"cpu": "200m", "memory": "512Mi"}, limits={"memory": "2Gi", "cpu": 1}),
        node_selector={"disk": "fast"},
        tolerations=(Toleration(key="backup", operator="Exists", effect="NoSchedule"),),
        affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        priority_class_name="low",
        service_account_name="mover",
        image_pull_secrets=(LocalObjectReference(name="registry"),),
        security_context=PodSecurityContext(run_as_user=1000, fs_group=2000, supplemental_groups=(3000,)),
    ),
)


def test_a_full_example_is_what_it_was() -> None:
    """The golden file is for people to read. After a wanted change: delete it, run this test twice, and read the difference."""
    text = yaml.safe_dump(msgspec.json.decode(msgspec.json.encode(job(FULL))), sort_keys=False)
    if not GOLDEN.exists():
        GOLDEN.write_text(text)
        pytest.fail(f"wrote {GOLDEN}: read it, then run the test again")
    assert text == GOLDEN.read_text()


def test_names_that_the_original_operator_gave() -> None:
    made = job()
    assert container(made)["name"] == "rclone"
    assert {volume["name"] for volume in pod_spec(made)["volumes"]} == {"restored-data", "config-dir"}
    assert [(mount["name"], mount["mountPath"]) for mount in container(made)["volumeMounts"]] == [
        ("restored-data", "/data/"),
        ("config-dir", "/config"),
    ]
    assert container(made)["envFrom"] == [{"secretRef": {"name": "storage-credentials"}}]
    assert pod_spec(made)["restartPolicy"] == "Never"
    assert made["spec"]["backoffLimit"] == 2, "three attempts"
    assert "command" not in container(made), "the image's own entrypoint"


def test_the_job_goes_with_its_datamover() -> None:
    made = job()
    (owner,) = made["metadata"]["ownerReferences"]
    assert owner["uid"] == builders.MOVER_UID
    assert made["metadata"]["labels"] == made["spec"]["template"]["metadata"]["labels"]
    assert made["metadata"]["labels"]["app.kubernetes.io/created-by"] == "datamover-operator"


class TestEnvironment:
    def test_the_order_is_the_documented_variable_then_the_users_then_ours(self) -> None:
        mine = (EnvVar(name="B", value="2"), EnvVar(name="A", value="1"), EnvVar(name="B", value="3"))
        listed = [name for name, _ in variables(job(data_mover(additional_env=mine)))]
        assert listed[:4] == ["ADD_TIMESTAMP_PREFIX", "B", "A", "B"]
        assert all(name.startswith("DATAMOVER_") for name in listed[4:])

    def test_a_variable_of_the_user_beats_the_documented_one_and_none_beats_ours(self) -> None:
        mine = (EnvVar(name="ADD_TIMESTAMP_PREFIX", value="true"), EnvVar(name="DATAMOVER_RUN_ID", value="mine"))
        effective = dict(variables(job(data_mover(additional_env=mine))))
        assert effective["ADD_TIMESTAMP_PREFIX"] == "true"
        assert effective[transfer.RUN_ID] == RUN_ID

    @pytest.mark.parametrize(("flag", "text"), [(True, "true"), (False, "false")])
    def test_the_timestamp_prefix_is_said_either_way(self, flag: bool, text: str) -> None:
        assert variables(job(data_mover(add_timestamp_prefix=flag)))[0] == ("ADD_TIMESTAMP_PREFIX", text)

    def test_the_run_and_the_owner_of_the_mirror_are_told(self) -> None:
        told = dict(variables(job()))
        assert told[transfer.RUN_ID] == RUN_ID
        assert told[transfer.TIMESTAMP] == "2024-08-06-143052"
        assert told[transfer.OWNER_CLUSTER] == "cluster-uid"
        assert told[transfer.OWNER_NAMESPACE] == "default"
        assert told[transfer.OWNER_PVC] == "app-data"
        assert told[transfer.OBJECT] == "nightly"
        assert told[transfer.COPY_METHOD] == "Clone"
        assert told[transfer.COPIED_AT] == ""
        assert told[transfer.DEADLINE] == "0"

    @pytest.mark.parametrize("mover", [data_mover(), FULL], ids=["plain", "full"])
    def test_every_variable_of_ours_is_set_so_that_no_key_of_the_secret_takes_its_place(self, mover) -> None:
        """What comes by `envFrom` loses against `env`, also against an empty value."""
        # read by the engines of the other kinds alone
        others = {transfer.RESTIC, transfer.REMOVE_STALE_LOCKS, transfer.RSYNC, transfer.STUNNEL}
        ours = {value for value in vars(transfer).values() if isinstance(value, str) and value.startswith("DATAMOVER_")}
        ours -= others
        told = dict(variables(job(mover)))
        assert len(ours) >= 15
        assert ours == {name for name in told if name.startswith("DATAMOVER_")}
        from_secret = dict.fromkeys(ours, "99") | {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        from_secret |= {"BUCKET_HOST": "minio", "BUCKET_NAME": "backups"}
        settings = read_settings(
            from_secret | {name: value for name, value in told.items() if value is not None},
            now=datetime(2024, 8, 6, tzinfo=UTC),
            token="x",
        )
        assert (settings.data, settings.engine) == ("/data", "")
        assert (settings.grace, settings.outage_limit) == (20, 120)
        assert settings.deadline == (3600 if mover is FULL else 0)

    def test_the_owner_of_the_mirror_is_the_recorded_source_not_a_later_one(self) -> None:
        told = dict(variables(job(data_mover(source_pvc="renamed"))))
        assert told[transfer.OWNER_PVC] == "app-data"

    def test_guards_by_field_and_by_annotation(self) -> None:
        told = dict(variables(job()))
        assert (told[transfer.ADOPT_DESTINATION], told[transfer.ALLOW_EMPTY_SOURCE]) == ("false", "false")
        assert told[transfer.MAX_DELETE_PERCENT] == "50"
        by_field = data_mover(guards=Guards(adopt_destination=True, allow_empty_source=True, max_delete_percent=7))
        by_annotation = data_mover(annotations={names.ADOPT_ANNOTATION: "true", names.ALLOW_EMPTY_ANNOTATION: "true"})
        for mover in (by_field, by_annotation):
            told = dict(variables(job(mover)))
            assert (told[transfer.ADOPT_DESTINATION], told[transfer.ALLOW_EMPTY_SOURCE]) == ("true", "true")
        assert dict(variables(job(by_field)))[transfer.MAX_DELETE_PERCENT] == "7"
        half = data_mover(annotations={names.ADOPT_ANNOTATION: "yes"})
        assert dict(variables(job(half)))[transfer.ADOPT_DESTINATION] == "false", 'only "true" lifts a guard'

    @pytest.mark.parametrize(
        ("verify", "said"),
        [
            (None, ""),
            (Verify(), ""),
            (Verify(method="None"), "none"),
            (Verify(method="Size"), "size"),
            (Verify(method="Checksum"), "checksums"),
            (Verify(method="Download"), "download"),
            (Verify(method="Sample", sample_percent=5), "sample:5%"),
        ],
    )
    def test_what_is_verified_is_told(self, verify, said) -> None:
        assert dict(variables(job(data_mover(verify=verify))))[transfer.VERIFY_METHOD] == said

    def test_a_deadline_holds_for_the_job_and_is_known_to_the_agent(self) -> None:
        made = job(data_mover(deadline_seconds=90))
        assert made["spec"]["activeDeadlineSeconds"] == 90
        assert dict(variables(made))[transfer.DEADLINE] == "90"
        assert "activeDeadlineSeconds" not in job()["spec"]

    def test_a_value_from_elsewhere_stays_a_reference(self) -> None:
        reference = EnvVarSource(secret_key_ref=KeySelector(name="s", key="k", optional=True))
        made = job(data_mover(additional_env=(EnvVar(name="TOKEN", value_from=reference),)))
        assert container(made)["env"][1] == {
            "name": "TOKEN",
            "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}},
        }

    def test_secrets_are_references_only(self) -> None:
        text = msgspec.json.encode(job(FULL)).decode()
        for key in (transfer.ACCESS_KEY, transfer.SECRET_KEY, transfer.SESSION_TOKEN):
            assert key not in text
        assert "args" not in container(job(FULL))


class TestFailurePolicy:
    def rules(self):
        return job()["spec"]["podFailurePolicy"]["rules"]

    def test_a_node_that_is_drained_costs_no_attempt(self) -> None:
        assert self.rules()[0] == {
            "action": "Ignore",
            "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
        }

    def test_codes_that_another_attempt_cannot_heal_end_the_job(self) -> None:
        (_, rule) = self.rules()
        assert rule["action"] == "FailJob"
        assert rule["onExitCodes"]["containerName"] == "rclone"
        assert rule["onExitCodes"]["operator"] == "In"
        codes = rule["onExitCodes"]["values"]
        assert codes == sorted(set(codes))
        assert len(codes) <= 255
        assert 0 not in codes
        for failure_class in transfer.TERMINAL_CLASSES:
            assert transfer.exit_code(failure_class, retryable=False) in codes
        for failure_class in transfer.FAILURE_CLASSES:
            assert transfer.exit_code(failure_class, retryable=True) not in codes

    def test_no_two_movers_of_one_run_at_a_time(self) -> None:
        spec = job()["spec"]
        assert (spec["completions"], spec["parallelism"]) == (1, 1)
        assert spec["podReplacementPolicy"] == "Failed"


class TestImage:
    digest = "sha256:" + "0" * 64

    def test_the_default(self) -> None:
        assert container(job())["image"] == "ghcr.io/qjoly/datamover-rclone:latest"
        assert container(job())["imagePullPolicy"] == "Always"

    def test_the_operators_own_default_replaces_only_the_default(self) -> None:
        assert container(job(image="ours:1"))["image"] == "ours:1"
        assert container(job(data_mover(image=Image(repository="x")), image="ours:1"))["image"] == "x:latest"

    @pytest.mark.parametrize(
        ("chosen", "policy"),
        [
            (None, "IfNotPresent"),
            (Image(), "IfNotPresent"),  # as the API server fills it in
            (Image(pull_policy="Never"), "Never"),
            (Image(repository="x"), "Always"),
        ],
    )
    def test_its_policy_takes_the_place_of_the_default_one(self, chosen: Image | None, policy: str) -> None:
        made = job(data_mover(image=chosen), image="ours:1", pull_policy="IfNotPresent")
        assert container(made)["imagePullPolicy"] == policy

    def test_a_digest_pins(self) -> None:
        made = job(data_mover(image=Image(repository="x/y", tag=self.digest, pull_policy="Never")))
        assert container(made)["image"] == f"x/y@{self.digest}"
        assert container(made)["imagePullPolicy"] == "Never"


class TestRestrictedPodSecurity:
    """The restricted profile of the Pod Security Standards, field by field."""

    @pytest.fixture(params=["the default", "everything chosen"])
    def made(self, request):
        return job() if request.param == "the default" else job(FULL)

    def test_no_privilege_escalation(self, made) -> None:
        assert container(made)["securityContext"]["allowPrivilegeEscalation"] is False

    def test_all_capabilities_dropped_and_none_added(self, made) -> None:
        assert container(made)["securityContext"]["capabilities"] == {"drop": ["ALL"]}

    def test_never_root(self, made) -> None:
        assert container(made)["securityContext"]["runAsNonRoot"] is True
        assert pod_spec(made)["securityContext"]["runAsNonRoot"] is True
        assert pod_spec(made)["securityContext"]["runAsUser"] != 0

    def test_the_runtimes_seccomp_profile(self, made) -> None:
        assert pod_spec(made)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}

    def test_only_volumes_that_the_profile_allows(self, made) -> None:
        kinds = {kind for volume in pod_spec(made)["volumes"] for kind in volume if kind != "name"}
        assert kinds == {"persistentVolumeClaim", "emptyDir"}

    def test_nothing_of_the_host(self, made) -> None:
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod_spec(made))
        assert "privileged" not in container(made)["securityContext"]
        assert "ports" not in container(made)

    def test_and_beyond_the_profile(self, made) -> None:
        assert container(made)["securityContext"]["readOnlyRootFilesystem"] is True
        assert pod_spec(made)["enableServiceLinks"] is False


class TestIdentity:
    def test_nobody_by_default_as_the_original_operator(self) -> None:
        assert pod_spec(job())["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 65534,
            "runAsGroup": 65534,
            "fsGroup": 65534,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        }

    def test_what_the_user_chooses_lies_on_top(self) -> None:
        chosen = PodSecurityContext(run_as_user=1000, fs_group_change_policy="Always", supplemental_groups=(7,))
        context = pod_spec(job(data_mover(mover=Mover(security_context=chosen))))["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"], context["runAsNonRoot"]) == (1000, 65534, True)
        assert (context["fsGroupChangePolicy"], list(context["supplementalGroups"])) == ("Always", [7])

    def test_for_root_nothing_of_the_copy_is_given_to_a_group(self) -> None:
        context = pod_spec(job(data_mover(mover=Mover(security_context=PodSecurityContext(run_as_user=0)))))[
            "securityContext"
        ]
        assert not {"fsGroup", "fsGroupChangePolicy"} & set(context)
        asked = PodSecurityContext(run_as_user=0, fs_group=7)
        assert pod_spec(job(data_mover(mover=Mover(security_context=asked))))["securityContext"]["fsGroup"] == 7

    def test_root_is_an_explicit_choice_and_gets_the_one_capability_that_reading_needs(self) -> None:
        made = job(data_mover(mover=Mover(security_context=PodSecurityContext(run_as_user=0))))
        assert pod_spec(made)["securityContext"]["runAsNonRoot"] is False
        assert container(made)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": ["DAC_READ_SEARCH"]},
        }

    def test_no_api_token_also_where_a_service_account_is_named(self) -> None:
        assert pod_spec(job())["automountServiceAccountToken"] is False
        assert "serviceAccountName" not in pod_spec(job())
        made = job(data_mover(mover=Mover(service_account_name="mover")))
        assert pod_spec(made)["automountServiceAccountToken"] is False
        assert pod_spec(made)["serviceAccountName"] == "mover"


class TestTheSourceIsNeverWritten:
    """Law L1."""

    def test_data_are_mounted_read_only(self) -> None:
        assert container(job())["volumeMounts"][0]["readOnly"] is True

    def test_a_copy_that_can_only_be_read_is_mounted_so_by_the_node_which_else_would_relabel_it(self) -> None:
        volume = pod_spec(job(read_only=True))["volumes"][0]["persistentVolumeClaim"]
        assert volume == {"claimName": CLONE, "readOnly": True}
        assert pod_spec(job())["volumes"][0]["persistentVolumeClaim"] == {"claimName": CLONE}

    def test_direct_mounts_the_source_read_only_on_the_node_so_that_its_ownership_stays(self) -> None:
        made = job(recorded=run(copy_method="Direct"), claim="app-data")
        assert pod_spec(made)["volumes"][0]["persistentVolumeClaim"] == {"claimName": "app-data", "readOnly": True}

    def test_a_clone_may_be_made_readable_by_its_group(self) -> None:
        assert pod_spec(job())["volumes"][0]["persistentVolumeClaim"] == {"claimName": CLONE}


def test_a_datamover_without_a_spec_has_no_mover() -> None:
    from msgspec.structs import replace

    with pytest.raises(ValueError, match="without a spec"):
        job(replace(data_mover(), spec=None))


def test_the_mover_is_told_which_programs_the_data_mover_itself_allows() -> None:
    def allowed(*names_: str) -> str:
        mover = data_mover(additional_env=tuple(EnvVar(name=name, value="x") for name in names_))
        (container,) = job(mover)["spec"]["template"]["spec"]["containers"]
        return next(each["value"] for each in container["env"] if each["name"] == transfer.ALLOW_COMMANDS)

    assert allowed() == ""
    assert allowed("RCLONE_TRANSFERS", "RCLONE_METADATA_MAPPER", "PATH") == "RCLONE_METADATA_MAPPER,PATH"
    assert allowed("LD_PRELOAD,RCLONE_PASSWORD_COMMAND") == ""
