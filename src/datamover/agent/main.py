"""`datamover-agent`: one attempt to move one volume, inside a mover container or on its own.

`datamover-agent apply-manifest` is for people: see `files.restoration`.
"""

import os
import sys
from contextlib import suppress

from datamover.agent import shell


def main() -> int:
    """Run one attempt in this process's environment, or the subcommand that is named; return the exit code."""
    name = os.path.basename(sys.argv[0])  # noqa: PTH119 - start-up budget
    # sshd calls a user's shell by its name, a login shell with a dash before it
    if name.removeprefix("-") == "datamover-agent-login":
        from datamover.agent.rsync.ssh import login

        return login.main(sys.argv[1:])
    match sys.argv[1:]:
        case ["apply-manifest", *arguments]:
            from datamover.agent.files import restoration

            return restoration.main(arguments)
        case ["forced-command", folder]:
            from datamover.agent.rsync.ssh import forced

            return forced.main([folder], os.environ)
        case ["receive-blocks", folder]:
            from datamover.agent.rsync import devices

            return devices.main(folder)
        case arguments:
            engine = _choose_engine(arguments)
    if engine is None:
        return _usage(sys.argv[1])
    return shell.run(engine, os.environ, stream=sys.stdout.buffer)


def _choose_engine(arguments: list[str]) -> shell.Engine | None:
    """Return the engine for this attempt, None for words that name none: the one place of the agent that knows which there are."""
    match arguments:
        case []:
            from datamover.agent.rclone import entry
        case ["rclone"]:
            from datamover.agent.rclone_conf import entry
        case ["rsync"]:
            from datamover.agent.rsync.ssh import entry
        case ["rsync-tls"]:
            from datamover.agent.rsync.tls import entry
        case ["importer"]:
            from datamover.agent.importer import entry
        case ["restore"]:
            from datamover.agent.restore import entry
        case ["verify"]:
            from datamover.agent.verification import entry
        case ["restic", *actions]:
            from datamover.agent.restic.entry import engine_for

            return engine_for(actions)
        case _:
            return None
    return entry.prepare


_USAGE = """\
Usage: datamover-agent [rclone|rsync|rsync-tls|importer|restore|verify]
       datamover-agent restic [unlock] backup [prune]
       datamover-agent restic restore
       datamover-agent apply-manifest MANIFEST DIRECTORY

One attempt to move one volume (or, with `importer`, to fill the disk of a DataVolume; with `restore`, to bring a point of a bucket back into a volume; with `verify`,
to compare one with its manifest, which moves nothing): with rclone to a
DataMover's destination, or with the engine that is named. It takes no options: everything is environment, as the operator gives it to a mover's container.

  DATAMOVER_ROOT         where /data and /config are to be found, / by default
  BUCKET_HOST, BUCKET_PORT, BUCKET_NAME, TLS_HOST, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
                         the destination, the keys of a DataMover's Secret
  DATAMOVER_OWNER_PVC    the volume that the mirror is of

All of them, and the exit codes, are in docs/mover.md. `apply-manifest` gives restored files their modes, owners, times and links again.
"""


def _usage(word: str) -> int:
    """Answer what is no attempt. Nothing is moved for a word that was meant otherwise."""
    asked = word in ("-h", "--help")
    stream = sys.stdout if asked else sys.stderr
    with suppress(OSError):
        stream.write(
            _USAGE if asked else f"datamover-agent: {word!a} is no argument that there is: see datamover-agent --help\n"
        )
        stream.flush()
    return 0 if asked else 2


if __name__ == "__main__":
    sys.exit(main())
