"""`datamover upload`: its flags, and what they become."""

import re
import sys
from pathlib import Path
from typing import Final

import click

from datamover.cli.credentials import credential_options
from datamover.cli.forms import output_option
from datamover.cli.namespaces import parse_namespace

_CHECKSUM: Final = re.compile(r"sha256:[0-9a-fA-F]{64}")
_EXIT_CODES = """
\b
Exit codes:
  0    the DataVolume is Succeeded, and what arrived is what was read
  1    it was refused, cut, or not taken; the last line says why
  2    there is nothing to upload to, or the file cannot be read
  4    --timeout has passed
  130  interrupted; nothing of it counts, begin anew
"""


def _check_checksum(context: click.Context, option: click.Parameter, text: str | None) -> str:
    del context, option
    if text and not _CHECKSUM.fullmatch(text):
        raise click.BadParameter("write sha256: and 64 hexadecimal digits")
    return text or ""


@click.command(epilog=_EXIT_CODES, short_help="Send a disk to a DataVolume with the source upload.")
@click.argument("name")
@click.argument("path", metavar="FILE", type=click.Path(dir_okay=False, allow_dash=True))
@click.option(
    "-n", "--namespace", metavar="NAME", callback=parse_namespace, help="Namespace. [default: that of the context]"
)
@credential_options
@click.option(
    "--server",
    metavar="URL",
    help="Reach the receiver here, as through a port-forward, an ingress or a load balancer: https://HOST[:PORT]. [default: through the API server]",
)
@click.option(
    "--ca",
    "authority",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Certificates (PEM) that vouch for --server where something else than the receiver answers there. [default: the receiver's own]",
)
@click.option(
    "--checksum",
    metavar="sha256:HEX",
    callback=_check_checksum,
    help="What the file must be: the receiver refuses anything else.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=300.0,
    show_default=True,
    help="Wait so long for the DataVolume to be ready for the upload, and afterwards to be Succeeded. The upload itself has all the time.",
)
@click.option(
    "--retries",
    type=click.IntRange(0, 100),
    default=3,
    show_default=True,
    help="Send it so often again when it is cut.",
)
@output_option("text")
def upload(
    name: str,
    path: str,
    namespace: str | None,
    kubeconfig: Path | None,
    context: str | None,
    server: str | None,
    authority: Path | None,
    checksum: str,
    timeout: float,
    retries: int,
    output: str,
) -> None:
    """Send FILE ('-': standard input) to DataVolume NAME, which has the source `upload`, and wait until it is Succeeded.

    The file is a disk: raw, gz, xz, or qcow2; or a tar, where the DataVolume's contentType is archive. You need the right to get
    the Secret of the upload, and to create services/proxy unless --server is given. For example: datamover upload vm-disk ./fedora.raw.xz
    """
    from datamover.cli.upload import UploadRequest, perform

    sys.exit(
        perform(
            UploadRequest(
                kubeconfig=kubeconfig,
                context=context,
                namespace=namespace,
                name=name,
                path=path,
                server=server,
                authority=authority,
                checksum=checksum.lower(),
                timeout=timeout,
                retries=retries,
                machine=output == "json",
            )
        )
    )
