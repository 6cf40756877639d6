"""What is wrong with a spec by itself: reason, field and way out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.api import reasons
from datamover.api.pods import EnvVar, EnvVarSource, FieldSelector, FileKeySelector, Image, KeySelector
from datamover.api.v1alpha1.datamover import DataMoverSpec, Verify
from datamover.api.v1alpha1.validation import check_spec
from datamover.api.validation import image_reference, quote

DIGEST = "sha256:" + "0123456789abcdef" * 4
SECRET_KEY = KeySelector(name="s", key="k")


def spec(**fields) -> DataMoverSpec:
    return DataMoverSpec(**{"source_pvc": "app-data", "secret_name": "storage-credentials", **fields})


def env(*variables: EnvVar) -> DataMoverSpec:
    return spec(additional_env=variables)


def again(every: str, method: str | None = None) -> DataMoverSpec:
    return spec(verify=Verify(method=method, every=every))


def verifying(method: str | None = None, percent: int | None = None, *values: str) -> DataMoverSpec:
    """Return a spec with a method of verification, and with VERIFY_BACKUP set so often."""
    variables = tuple(EnvVar(name="VERIFY_BACKUP", value=value) for value in values)
    return spec(verify=Verify(method=method, sample_percent=percent), additional_env=variables)


GOOD = {
    "a verification without a method": verifying(None, None, "download"),
    "a verification that the variable asks for as well": verifying("Checksum", None, "true"),
    "a sample that the variable asks for as well": verifying("Sample", 5, "sample:5%"),
    "verified every week": again("7d"),
    "verified every hour": again("60m", "Size"),
    "verified every day and a half": again("1d12h", "Download"),
    "no verification, said twice": verifying("None", None, "false"),
    "a verification beside an empty variable": verifying("Download", None, ""),
    "a verification beside a variable that refers to another": verifying("Download", None, "$(OTHER)"),
    "a verification beside a variable of which the last one counts": verifying("Download", None, "true", "download"),
    "a verification beside a variable from a Secret": spec(
        verify=Verify(method="Size"),
        additional_env=(EnvVar(name="VERIFY_BACKUP", value_from=EnvVarSource(secret_key_ref=SECRET_KEY)),),
    ),
    "the smallest": spec(),
    "a name with dots": spec(source_pvc="my.app-data.0"),
    "the longest name": spec(source_pvc="a" * 253),
    "the default image": spec(image=Image()),
    "an image of one part": spec(image=Image(repository="mover")),
    "an image of a registry with a port": spec(image=Image(repository="localhost:5000/team/mover", tag="v1.2.3_x")),
    "an image of an IPv6 registry": spec(image=Image(repository="[::1]:5000/mover")),
    "a pinned image": spec(image=Image(repository="registry.example.com/team/mover", tag=DIGEST)),
    "double underscores and dashes": spec(image=Image(repository="example.com/a__b/c--d.e")),
    "a snapshot class with Snapshot": spec(copy_method="Snapshot", volume_snapshot_class_name="x"),
    "a storage class with Clone": spec(storage_class_name="x"),
    "documented variables": env(
        EnvVar(name="RCLONE_TRANSFERS", value="8"), EnvVar(name="CUSTOM_PATH_PREFIX", value="p")
    ),
    "an odd name that the API server takes": env(EnvVar(name="a-b.c d", value="")),
    "a value from a Secret": env(EnvVar(name="A", value_from=EnvVarSource(secret_key_ref=SECRET_KEY))),
    "a value from the Pod": env(
        EnvVar(name="A", value_from=EnvVarSource(field_ref=FieldSelector(field_path="metadata.name")))
    ),
    "an empty value beside valueFrom": env(
        EnvVar(name="A", value="", value_from=EnvVarSource(secret_key_ref=SECRET_KEY))
    ),
}

BAD = {
    "another verification than the variable's": (
        verifying("Download", None, "true"),
        reasons.INVALID_SPEC,
        "VERIFY_BACKUP is 'true', which is another one: remove VERIFY_BACKUP",
    ),
    "a verification of sizes beside a variable that wants none": (
        verifying("Size", None, "false"),
        reasons.INVALID_SPEC,
        "method Size",
    ),
    "another sample than the variable's": (verifying("Sample", 6, "sample:5%"), reasons.INVALID_SPEC, "Sample:6%"),
    "no verification beside a variable that wants one": (
        verifying("None", None, "true"),
        reasons.INVALID_SPEC,
        "method None",
    ),
    "a method of verification that is none": (
        verifying("Guess"),
        reasons.INVALID_SPEC,
        "'Guess': use one of None, Size",
    ),
    "a sample without its share": (verifying("Sample"), reasons.INVALID_SPEC, "samplePercent"),
    "a share without a sample": (verifying("Download", 5), reasons.INVALID_SPEC, "samplePercent"),
    "a share without a method": (verifying(None, 5), reasons.INVALID_SPEC, "samplePercent"),
    "a sample of nothing": (verifying("Sample", 0), reasons.INVALID_SPEC, "1 to 100"),
    "a period without a unit": (again("604800"), reasons.INVALID_SPEC, "from 1h to 5y"),
    "a period of months, or minutes": (again("1M"), reasons.INVALID_SPEC, "from 1h to 5y"),
    "a period that is too short": (again("59m"), reasons.INVALID_SPEC, "from 1h to 5y"),
    "a period that is too long": (again("6y"), reasons.INVALID_SPEC, "from 1h to 5y"),
    "a period that never ends": (again("9" * 60 + "d"), reasons.INVALID_SPEC, "from 1h to 5y"),
    "nothing, again and again": (again("7d", "None"), reasons.INVALID_SPEC, "compares nothing"),
    "a sample of more than all": (verifying("Sample", 101), reasons.INVALID_SPEC, "1 to 100"),
    "an empty source": (spec(source_pvc=""), reasons.INVALID_SPEC, "spec.sourcePvc"),
    "a source in capitals": (spec(source_pvc="App"), reasons.INVALID_SPEC, "'App'"),
    "a source with a path": (spec(source_pvc="../etc"), reasons.INVALID_SPEC, "spec.sourcePvc"),
    "a source with a line break at its end": (spec(source_pvc="app\n"), reasons.INVALID_SPEC, r"'app\n'"),
    "a source that is too long": (spec(source_pvc="a" * 254), reasons.INVALID_SPEC, "253"),
    "a Secret with a space": (spec(secret_name="my secret"), reasons.INVALID_SPEC, "spec.secretName"),
    "a snapshot class with Clone": (
        spec(volume_snapshot_class_name="x"),
        reasons.INVALID_SPEC,
        "set copyMethod: Snapshot or remove it",
    ),
    "a storage class with Direct": (
        spec(copy_method="Direct", storage_class_name="x"),
        reasons.INVALID_SPEC,
        "spec.storageClassName has no effect",
    ),
    "cleaning up with Direct": (
        spec(copy_method="Direct", delete_pvc_after_backup=True),
        reasons.INVALID_SPEC,
        "spec.deletePvcAfterBackup: false",
    ),
    "an image with a scheme": (spec(image=Image(repository="https://example.com/x")), reasons.INVALID_IMAGE, "scheme"),
    "an image with a space": (spec(image=Image(repository="a b")), reasons.INVALID_IMAGE, "spec.image.repository"),
    "an image with a tag in its name": (spec(image=Image(repository="example.com/x:v1")), reasons.INVALID_IMAGE, "tag"),
    "an image with a digest in its name": (
        spec(image=Image(repository=f"x@{DIGEST}")),
        reasons.INVALID_IMAGE,
        "digest",
    ),
    "an image in capitals": (spec(image=Image(repository="example.com/Team/x")), reasons.INVALID_IMAGE, "capitals"),
    "an empty image": (spec(image=Image(repository="")), reasons.INVALID_IMAGE, "spec.image.repository"),
    "an image with a slash at its end": (spec(image=Image(repository="x/")), reasons.INVALID_IMAGE, "'x/'"),
    "an image with a line break at its end": (spec(image=Image(repository="x\n")), reasons.INVALID_IMAGE, r"'x\n'"),
    "an image that is too long": (spec(image=Image(repository="x" * 256)), reasons.INVALID_IMAGE, "…"),
    "an empty tag": (spec(image=Image(tag="")), reasons.INVALID_IMAGE, "spec.image.tag"),
    "a tag with a space": (spec(image=Image(tag="v 1")), reasons.INVALID_IMAGE, "'v 1'"),
    "a tag with a line break at its end": (spec(image=Image(tag="v1\n")), reasons.INVALID_IMAGE, "spec.image.tag"),
    "a digest that is too short": (spec(image=Image(tag="sha256:abc")), reasons.INVALID_IMAGE, "64 hex digits"),
    "a verification that is none": (
        env(EnvVar(name="VERIFY_BACKUP", value="on")),
        reasons.INVALID_ENVIRONMENT,
        '"download" (read everything back)',
    ),
    "a variable without a name": (env(EnvVar(name="")), reasons.INVALID_ENVIRONMENT, "''"),
    "a variable with an equals sign": (env(EnvVar(name="A=B")), reasons.INVALID_ENVIRONMENT, "without '='"),
    "a variable in another script": (env(EnvVar(name="GRÖSSE")), reasons.INVALID_ENVIRONMENT, "ASCII"),
    "a variable with a line break at its end": (env(EnvVar(name="A\n")), reasons.INVALID_ENVIRONMENT, r"'A\n'"),
    "a variable of ours": (
        env(EnvVar(name="DATAMOVER_RUN_ID", value="x")),
        reasons.INVALID_ENVIRONMENT,
        "another name",
    ),
    "value and valueFrom": (
        env(EnvVar(name="A", value="x", value_from=EnvVarSource(secret_key_ref=SECRET_KEY))),
        reasons.INVALID_ENVIRONMENT,
        "remove one of them",
    ),
    "valueFrom nothing": (env(EnvVar(name="A", value_from=EnvVarSource())), reasons.INVALID_ENVIRONMENT, "exactly one"),
    "valueFrom two sources": (
        env(EnvVar(name="A", value_from=EnvVarSource(secret_key_ref=SECRET_KEY, config_map_key_ref=SECRET_KEY))),
        reasons.INVALID_ENVIRONMENT,
        "exactly one",
    ),
    "valueFrom a file": (
        env(
            EnvVar(name="A", value_from=EnvVarSource(file_key_ref=FileKeySelector(volume_name="v", path="p", key="k")))
        ),
        reasons.INVALID_ENVIRONMENT,
        "no volume for that",
    ),
}


@pytest.mark.parametrize("case", GOOD)
def test_a_good_spec(case: str) -> None:
    assert check_spec(GOOD[case]) is None


@pytest.mark.parametrize("case", BAD)
def test_a_bad_spec(case: str) -> None:
    bad, reason, fragment = BAD[case]
    found = check_spec(bad)
    assert found.reason == reason
    assert fragment in found.message


REFERENCES = {
    "none": (None, "ghcr.io/qjoly/datamover-rclone:latest"),
    "the default": (Image(), "ghcr.io/qjoly/datamover-rclone:latest"),
    "a tag": (Image(repository="x/y", tag="v1"), "x/y:v1"),
    "a digest": (Image(repository="x/y", tag=DIGEST), f"x/y@{DIGEST}"),
}


@pytest.mark.parametrize("case", REFERENCES)
def test_image_reference(case: str) -> None:
    image, expected = REFERENCES[case]
    assert image_reference(image) == expected


@given(st.text(max_size=300))
def test_quoted_text_is_short_and_has_no_control_characters(text: str) -> None:
    shown = quote(text)
    assert len(text) > 60 or eval(shown) == text
    assert "\n" not in shown
    assert "\x1b" not in shown


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=300))
def test_no_text_whatsoever_breaks_the_check(name: str, repository: str, variable: str) -> None:
    found = check_spec(
        spec(source_pvc=name, image=Image(repository=repository), additional_env=(EnvVar(name=variable),))
    )
    assert found is None or (found.reason and found.message)
