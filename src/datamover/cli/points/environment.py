"""From a Secret in a file, or the documented variables, to the environment in which a bucket is opened.

ManifestError    the file cannot be used; the message names it and the fix, never a value (law L8)
"""

import base64
import os
from collections.abc import Mapping
from typing import Final, TextIO, cast

from datamover.api import transfer
from datamover.cli.manifests import ManifestError, read_manifests
from datamover.cli.points.place import Place
from kubekit.words.meta import Manifest

ADVICE: Final = "put it into the Secret that --secret names, or into the environment"
_OURS: Final = "DATAMOVER_"
_CREDENTIALS: Final = ("AWS_", "RCLONE_")
_LOCATION: Final = frozenset(
    {
        transfer.BUCKET_HOST,
        transfer.BUCKET_NAME,
        transfer.BUCKET_PORT,
        transfer.TLS_HOST,
        transfer.CA_CERT,
        transfer.CUSTOM_PATH_PREFIX,
    }
)


def read_environment(place: Place, environ: Mapping[str, str], *, stdin: TextIO) -> dict[str, str]:
    """Return the environment in which the bucket is opened. Raises ManifestError.

    With a Secret no credentials come from the environment, nor anything about the place where the Secret names the bucket. What a key of
    a Secret may not do in a mover it may not do here: run programs, or set variables of the mover's own.
    """
    found = dict(environ)
    if place.secret is not None:
        secret = read_secret(place.secret, name=place.secret_name, stdin=stdin)
        found = {
            name: value
            for name, value in found.items()
            if not name.startswith(_CREDENTIALS) and not (transfer.BUCKET_NAME in secret and name in _LOCATION)
        } | secret
    if place.prefix is not None:
        found[transfer.CUSTOM_PATH_PREFIX] = place.prefix
    return found


def read_secret(file: str, *, name: str | None, stdin: TextIO) -> dict[str, str]:
    """Return the keys of a Secret as variables: `data` decoded, `stringData` over it, as a cluster stores it. Raises ManifestError."""
    shown = "standard input" if file == "-" else file
    if not file:
        raise ManifestError("--secret names no file: give the one with the backup's Secret, or leave the option out")
    if file != "-" and os.path.isdir(file):  # noqa: PTH112 - a name of any bytes
        raise ManifestError(f"{shown}: is a directory: name the file in it that holds the backup's Secret")
    secrets = [
        source.manifest
        for source in read_manifests((file,), stdin=stdin, namespace="default")
        if source.manifest["kind"] == "Secret"
    ]
    if name is not None:
        secrets = [secret for secret in secrets if secret["metadata"]["name"] == name]
    if not secrets:
        which = f"Secret {name}" if name is not None else "Secret"
        raise ManifestError(f"{shown}: holds no {which}: give the file of the one that the backup uses (secretName)")
    if len(secrets) > 1:
        names = ", ".join(sorted(secret["metadata"]["name"] for secret in secrets))
        raise ManifestError(f"{shown}: holds {len(secrets)} Secrets ({names}): say which with --secret-name")
    return _variables(secrets[0], shown)


def _variables(secret: Manifest, shown: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in cast("dict[str, str]", secret.get("data") or {}).items():
        try:
            found[key] = base64.b64decode(value).decode("utf-8")
        except ValueError:
            raise ManifestError(f"{shown}: Secret.data.{key} is no text: it would be no variable of a mover") from None
    found |= cast("dict[str, str]", secret.get("stringData") or {})
    for key, value in found.items():
        if "\0" in key or "=" in key or "\0" in value:
            raise ManifestError(f"{shown}: the Secret's key {key!r} cannot be a variable: remove it")
        if transfer.runs_programs(key):
            raise ManifestError(f"{shown}: the Secret's key {key} can make a program run: a Secret may not do that")
    return {key: value for key, value in found.items() if not key.startswith(_OURS)}
