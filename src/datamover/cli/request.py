"""What is wrong with a `datamover run` before anything is started. Pure."""

from pathlib import Path
from typing import Any, cast

from datamover.api.cdi.data_import_cron import DATA_IMPORT_CRONS
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.cli.manifests import ManifestError, Source, runnables
from datamover.cli.upload_files import UploadFile
from datamover.cli.volumes import Volume, find_clash


def check_request(
    sources: tuple[Source, ...], volumes: tuple[Volume, ...], *, state: Path, uploads: tuple[UploadFile, ...] = ()
) -> None:
    """Say what is wrong with a request before anything is started. Raises ManifestError."""
    if not runnables(sources):
        found = ", ".join(dict.fromkeys(source.manifest["kind"] for source in sources)) or "nothing"
        raise ManifestError(
            f"no DataMover, ReplicationSource, ReplicationDestination or DataVolume among the objects ({found}), so there is nothing to run: "
            "give the file of one with -f, and check how its kind is spelt"
        )
    _refuse_crons(sources)
    _refuse_doubled(sources, volumes)
    clash = find_clash(volumes, state) or _find_upload_fault(uploads, sources)
    if clash is not None:
        raise ManifestError(clash)


def _refuse_crons(sources: tuple[Source, ...]) -> None:
    """What imports again and again has no end that could be waited for."""
    cron = next((source for source in sources if source.manifest["kind"] == DATA_IMPORT_CRONS.kind), None)
    if cron is not None:
        raise ManifestError(
            f"{cron.place}: DataImportCron {cron.manifest['metadata']['name']} imports again and again, and this command ends: give a DataVolume as "
            "its template says, or apply it to a world that stays (datamover local up)"
        )


def _refuse_doubled(sources: tuple[Source, ...], volumes: tuple[Volume, ...]) -> None:
    given = {volume.name for volume in volumes}
    for source in runnables(sources):
        name = source.manifest["metadata"]["name"]
        if source.manifest["kind"] == DATA_VOLUMES.kind and name in given:
            raise ManifestError(
                f"{source.place}: the claim {name} is to be filled by a DataVolume and is a directory of yours (--volume {name}=…): leave out one, "
                "for what is filled is written over"
            )


def _find_upload_fault(uploads: tuple[UploadFile, ...], sources: tuple[Source, ...]) -> str | None:
    """Return what is wrong with these files and the DataVolumes among the objects together; None when all is well."""
    names = [upload.name for upload in uploads]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        return f"--upload names {', '.join(doubled)} more than once: give each DataVolume one file"
    waiting: dict[str, str] = {}
    for source in runnables(sources):
        if source.manifest["kind"] == DATA_VOLUMES.kind and "upload" in _fields(
            _fields(source.manifest, "spec"), "source"
        ):
            waiting[source.manifest["metadata"]["name"]] = source.place
    unknown = sorted(set(names) - waiting.keys())
    if unknown:
        return f"--upload {unknown[0]}: there is no DataVolume {unknown[0]} with the source `upload` among the objects"
    for name, place in waiting.items():
        if name not in names:
            return f"{place}: DataVolume {name} is filled by an upload: say with which file, --upload {name}=FILE"
    return None


def _fields(found: dict[str, Any], name: str) -> dict[str, Any]:
    """Return what lies in a field, nothing where that is no mapping: the server checks it."""
    inner = found.get(name)
    return cast("dict[str, Any]", inner) if isinstance(inner, dict) else {}
