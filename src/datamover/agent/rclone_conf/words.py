"""What people are told about an attempt of this engine. Pure. Sentences of causes, by reason: where users have rclone.conf and fields of a
ReplicationSource in the place of a DataMover's variables. `{place}` is the remote path, `{endpoint}` the remote.
"""

from collections.abc import Mapping

from datamover.agent.files.walk import Tally
from datamover.agent.rclone_conf.modes import LIMIT
from datamover.api import amounts, rclone_conf, transfer
from datamover.api.names import ALLOW_EMPTY_ANNOTATION

_BOTH: Mapping[str, str] = {
    transfer.REASON_WRONG_CREDENTIALS: "The server of {endpoint} does not accept the credentials: check the keys, passwords and tokens in its section of"
    " rclone.conf, in the Secret that rcloneConfig names.",
    transfer.REASON_ACCESS_DENIED: "The credentials of {endpoint} are known, but they may not do this at {place}: they need the rights to list, get, put"
    " and delete there.",
    transfer.REASON_BUCKET_NOT_FOUND: "There is no {place}: create the bucket or folder, or correct rcloneDestPath, or the address in rclone.conf.",
    transfer.REASON_SERVER_UNREACHABLE: "The server of {endpoint} cannot be reached: check its address in rclone.conf, network policies, proxies and the"
    " server itself.",
    transfer.REASON_TLS_UNTRUSTED: "The certificate of {endpoint}'s server is not trusted, not valid now, or for another name: put the certificate of the"
    " authority that signed it where spec.rclone.customCA names it, or correct the address in rclone.conf.",
    transfer.REASON_TLS_MISMATCH: "The server of {endpoint} does not speak what the address in rclone.conf says: correct http or https there, and the port.",
    transfer.REASON_NOT_S3: "What answers for {endpoint} is no S3 server but something else, such as a web page, a console or a proxy's login: check the"
    " address in rclone.conf.",
    transfer.REASON_TOO_LARGE: "The server of {endpoint}, or a proxy before it, takes no request of that size: raise its limit, or send smaller parts"
    " (upload_cutoff and chunk_size in rclone.conf).",
    transfer.REASON_SERVER_ERROR: "The server of {endpoint} fails, is overloaded, or does not know what it is asked for: look at its own log, and lower"
    " RCLONE_TRANSFERS or set RCLONE_TPSLIMIT in the Secret.",
    transfer.REASON_INVALID_CONFIGURATION: "rclone or the server does not accept a setting: correct the section of {endpoint} in rclone.conf, rcloneDestPath,"
    " or the RCLONE_ variables of the Secret.",
    transfer.REASON_OUT_OF_MEMORY: "rclone was killed, as the kernel does when a container reaches its memory limit, or the node's memory runs out. Raise"
    " moverResources.limits.memory, or lower RCLONE_TRANSFERS and RCLONE_CHECKERS in the Secret.",
    transfer.REASON_OBJECT_LOCKED: "Objects at {place} are locked (object lock, retention or a legal hold), so they may be neither replaced nor deleted before"
    " their time. Let whoever owns the bucket lift that.",
}
_OF_SOURCE: Mapping[str, str] = {
    transfer.REASON_SOURCE_UNREADABLE: "Files cannot be read by the mover; everything else was moved and nothing was deleted. Give its user the right to read"
    " them (moverSecurityContext), or allow privileged movers in the namespace.",
    transfer.REASON_SOURCE_CHANGED: "Files changed while they were read. Use copyMethod Snapshot or Clone, or stop what writes.",
}
_OF_DESTINATION: Mapping[str, str] = {
    transfer.REASON_SOURCE_UNREADABLE: "Files of the volume cannot be written, or the remote's be read, by the mover. Give its user the right to write them"
    " (moverSecurityContext), or allow privileged movers in the namespace.",
    transfer.REASON_SOURCE_CHANGED: "Files at {place} changed while they were read: another synchronisation is writing them. Try again when it is done.",
    transfer.REASON_NO_SPACE: "No space left on device: the volume is full. Give it a larger capacity, or make room in it; what arrived stays.",
    transfer.REASON_NAME_REFUSED: "The volume's file system does not take some of the names at {place}. Rename them.",
}


def sentences(*, is_source: bool) -> Mapping[str, str]:
    """Return the sentences by reason."""
    return {**_BOTH, **(_OF_SOURCE if is_source else _OF_DESTINATION)}


def refuse_empty_source(place: str) -> str:
    """Return why an empty volume is not mirrored, and the way out."""
    return (
        f"The volume has no file, and {place} has some: an empty volume would delete all of them. Nothing was moved or deleted. Look whether the volume"
        f" is the right one; if it is meant to be empty, set the annotation {ALLOW_EMPTY_ANNOTATION} to true on the ReplicationSource."
    )


def refuse_empty_remote(place: str) -> str:
    """Return why an empty remote is not mirrored into the volume, and the way out."""
    return (
        f"There is no file at {place}, and the volume has some: the restore would delete all of them. Nothing was moved or deleted. Check rcloneDestPath"
        f" and the section; if that is meant, set the annotation {ALLOW_EMPTY_ANNOTATION} to true on the ReplicationDestination."
    )


def about_source(tally: Tally, *, links: bool) -> list[str]:
    """Return what of the volume will not be at the destination, without full stops."""
    lines: list[str] = []
    if tally.symlinks and not links:
        lines.append(
            f"{amounts.count(tally.symlinks, 'symbolic link')} left out: RCLONE_LINKS or RCLONE_COPY_LINKS in the Secret says what becomes of them"
        )
    if tally.special:
        lines.append(
            f"{amounts.count(tally.special, 'special file')} (fifo, socket, device) left out: {', '.join(tally.special_names)}"
        )
    if tally.unreadable:
        lines.append(f"{amounts.count(tally.unreadable, 'path')} cannot be read: {', '.join(tally.unreadable_names)}")
    return lines


def about_own_file() -> str:
    """Return what is told of a file of the user's that has the name of the file of ACLs."""
    return f"{rclone_conf.ACL_FILE} at the top of the volume is left out: the file of modes and ACLs has that name at the destination"


def about_link(error: OSError) -> str:
    """Return what is told of a link that stands where the remote has a folder, and cannot be removed."""
    return (
        f"A symbolic link in the volume stands where the remote has a folder, and cannot be removed: {error.strerror}. Nothing was moved. Remove the link, or give the"
        " mover's user the right to (moverSecurityContext)."
    )


def about_size() -> str:
    """Return what is told of a file of ACLs that is too large to be read."""
    return (
        f"{rclone_conf.ACL_FILE} is larger than {amounts.size(LIMIT)} and is not read, so that what is restored has modes, owners and ACLs of new files: apply"
        " it by `setfacl --restore`, or divide the volume"
    )


def about_hashes() -> str:
    """Return what is told where files cannot be compared by checksum."""
    return "the remote has no checksums that the volume's files could be compared by, so size and time of change decide (RCLONE_CHECKSUM: false)"


def about_sizes(place: str) -> str:
    """Return what is told where files can be compared by their size only."""
    return (
        f"{place} keeps neither checksums nor times of files, so they are compared by their size alone, and a change that leaves it as it was is NOT moved"
        " (RCLONE_IGNORE_TIMES: true in the Secret moves everything, each time)"
    )
