"""The environment of the container, read once. Pure. Names are those of `datamover.api.importer`; paths are below `DATAMOVER_ROOT`."""

from collections.abc import Mapping

import msgspec

from datamover.agent.environment import Reader, is_run_id
from datamover.agent.errors import Misconfigured
from datamover.agent.importer import addresses, checksum, headers
from datamover.agent.importer.addresses import Address
from datamover.agent.importer.checksum import Checksum
from datamover.agent.importer.headers import Header
from datamover.api import importer, transfer


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an attempt is told from outside. Times in seconds, sizes in bytes, paths absolute.

    `address` is None where nothing is fetched; `user` and `password` are the keys of an S3 server, or those of basic authentication. `size` 0: what
    the volume holds.
    """

    run_id: str
    source: str
    address: Address | None
    region: str
    user: str
    password: str
    headers: tuple[Header, ...]
    any_certificate: bool
    checksum: Checksum | None
    archive: bool
    block: bool
    source_block: bool
    size: int
    preallocate: bool
    poll: bool
    root: str
    deadline: float
    grace: float
    outage_limit: float
    converter: str
    notices: tuple[str, ...] = ()

    def place(self, path: str) -> str:
        """Return where a path of the container is here."""
        return f"{self.root}{path}"

    @property
    def is_s3(self) -> bool:
        """Whether requests are signed."""
        return self.source == importer.S3 and bool(self.user)


def read_settings(environ: Mapping[str, str], *, token: str) -> Settings:
    """Return the settings, or raise Misconfigured with every variable that is wrong. `token` stands in for a run's id."""
    read = Reader(environ)
    run_id = read.text(transfer.RUN_ID, f"run-{token}")
    if not is_run_id(run_id):
        read.problems.append(f"{transfer.RUN_ID} is {run_id!r}; use letters, digits, '.', '_' and '-', at most 128")
    source = _one_of(read, importer.SOURCE, importer.SOURCES)
    address, region = _address(read, source)
    user, password = read.text(importer.ACCESS_KEY_ID), read.text(importer.SECRET_KEY)
    if address is not None and not user:
        user, password = address.user, address.password
    content = _one_of(read, importer.CONTENT_TYPE, importer.CONTENT_TYPES, default=importer.KUBEVIRT)
    mode = _one_of(read, importer.VOLUME_MODE, importer.VOLUME_MODES, default=importer.FILESYSTEM)
    source_mode = _one_of(read, importer.SOURCE_VOLUME_MODE, importer.VOLUME_MODES, default=importer.FILESYSTEM)
    if content == importer.ARCHIVE and importer.BLOCK in {mode, source_mode}:
        read.problems.append(
            "an archive has files, and a Block volume takes none; write Filesystem or another content type"
        )
    settings = Settings(
        run_id=run_id,
        source=source,
        address=address,
        region=region,
        user=user,
        password=password,
        headers=_headers(read),
        any_certificate=read.switch(importer.INSECURE_SKIP_VERIFY),
        checksum=_checksum(read),
        archive=content == importer.ARCHIVE,
        block=mode == importer.BLOCK,
        source_block=source_mode == importer.BLOCK,
        size=int(read.number(importer.TARGET_SIZE, 0, low=0, high=1 << 60)),
        preallocate=read.switch(importer.PREALLOCATION),
        poll=read.switch(importer.POLL),
        root=read.text(transfer.ROOT, "/").rstrip("/"),
        deadline=read.number(transfer.DEADLINE, 0, low=0, high=1e9),
        grace=read.number(transfer.GRACE_PERIOD, transfer.DEFAULT_GRACE_PERIOD, low=0, high=3600),
        outage_limit=read.number(transfer.OUTAGE_LIMIT, transfer.DEFAULT_OUTAGE_LIMIT, low=1, high=1e6),
        converter=read.text(importer.QEMU_IMG),
        notices=tuple(read.notices),
    )
    if settings.poll and source not in {importer.HTTP, importer.S3}:
        read.problems.append(f"{importer.POLL} is true, and nobody can be asked about a source of {source}")
    if read.problems:
        raise Misconfigured(f"The importer's environment is wrong: {'; '.join(read.problems)}.")
    return settings


def _one_of(read: Reader, name: str, words: tuple[str, ...], *, default: str = "") -> str:
    word = read.text(name, default)
    if word not in words:
        read.problems.append(f"{name} is {word!r}; write one of {', '.join(words)}")
    return word


def _address(read: Reader, source: str) -> tuple[Address | None, str]:
    if source not in {importer.HTTP, importer.S3}:
        return None, ""
    text = read.text(importer.URL)
    if not text:
        read.problems.append(f"{importer.URL} is not set; name what is to be read in spec.source.{source}.url")
        return None, ""
    try:
        if source == importer.S3:
            return addresses.parse_object(text, region=read.text(importer.REGION))
        return addresses.parse(text), ""
    except addresses.AddressError as error:
        read.problems.append(f"the URL in spec.source.{source}.url cannot be used: {error}")
        return None, ""


def _headers(read: Reader) -> tuple[Header, ...]:
    try:
        return headers.parse_list(read.text(importer.EXTRA_HEADERS))
    except headers.HeaderError as error:
        read.problems.append(f"a header in {importer.EXTRA_HEADERS} cannot be sent: {error}")
        return ()


def _checksum(read: Reader) -> Checksum | None:
    text = read.text(importer.CHECKSUM)
    if not text:
        return None
    try:
        return checksum.parse(text)
    except ValueError as error:
        read.problems.append(f"{importer.CHECKSUM} cannot be used: {error}")
        return None
