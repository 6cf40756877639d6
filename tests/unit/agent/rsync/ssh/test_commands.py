"""What a client of the destination may ask for, and what it may try."""

import pytest

from datamover.agent.rsync.ssh.commands import Blocks, Refused, Server, Shutdown, read_request

PERMITTED = {
    "shutdown 0": Shutdown(0),
    "shutdown 23": Shutdown(23),
    "datamover-blocks": Blocks(),
    "rsync --server -vlogDtprze.iLsfxCIvu . .": Server(("-vlogDtprze.iLsfxCIvu",), "", sends=False),
    "rsync --server -logDtprSHAze.iLsfxCIvu --delete --numeric-ids . /": Server(
        ("-logDtprSHAze.iLsfxCIvu", "--delete", "--numeric-ids"), "", sends=False
    ),
    "rsync --server -lHogDtpAXrxSze.iLsfxCIvu --log-format=%i --delete-after --force . data/./sub/": Server(
        ("-lHogDtpAXrxSze.iLsfxCIvu", "--log-format=%i", "--delete-after", "--force"), "data/sub", sends=False
    ),
    "rsync --server --sender -de.LsfxCIvu . ./": Server(("-de.LsfxCIvu",), "", sends=True),
    "/usr/bin/rsync --server -e.iLsfxCIvu . .": Server(("-e.iLsfxCIvu",), "", sends=False),
    # words of a shell are a path like any other: no shell sees them
    "rsync --server -r . $(id)": Server(("-r",), "$(id)", sends=False),
    "rsync --server --timeout=30 -re30.1 . .": Server(("--timeout=30", "-re30.1"), "", sends=False),
}


@pytest.mark.parametrize("command", PERMITTED)
def test_what_clients_send_by_themselves_is_permitted(command: str) -> None:
    assert read_request(command) == PERMITTED[command]


ATTACKS = [
    # another program, or a shell
    "", "   ", "sh", "/bin/sh -i", "bash -c id", "id", "cat /keys/destination", "scp -t /", "scp -f /etc/shadow", "sftp-server",
    "/usr/lib/openssh/sftp-server", "internal-sftp", "python3", "diskrsync --target /dev/block", "true", "env", "rsyncx --server -r . .",
    "/tmp/rsync --server -r . .", "../rsync --server -r . .", "sudo rsync --server -r . .", "FOO=1 rsync --server -r . .",
    # words of a shell around what is permitted
    "rsync --server -r . .; id", "rsync --server -r . . && id", "rsync --server -r . . | sh", "rsync --server -r . . > /etc/passwd",
    "rsync --server -r . `id` x", "rsync --server -r . . #", "shutdown 0; id", "shutdown 0 && id", "shutdown $(id)",
    "rsync --server -r . .\nid", "'rsync --server' -r . .", "rsync --server -r . 'a", "rsync \\",
    # not a server, or a daemon with a configuration of the client's
    "rsync", "rsync -a /data/ /tmp/x", "rsync --daemon", "rsync --server --daemon .", "rsync --server --daemon --config=/data/x .", "rsync --version",
    "rsync --sender --server -r . .", "rsync -a --server . .",
    # paths that lead out of the volume, or several
    "rsync --server -r . ..", "rsync --server -r . ../keys", "rsync --server -r . a/../../keys", "rsync --server --sender -r . /../keys/",
    "rsync --server -r . a b", "rsync --server -r .", "rsync --server --sender -r . . /keys/destination", "rsync --server -r",
    # options that name files or programs, that hide arguments, that follow links
    "rsync --server -r --rsync-path=/bin/sh . .", "rsync --server -r --rsh=/bin/sh . .", "rsync --server -s", "rsync --server -rse.iLsfxCIvu . .",
    "rsync --server --secluded-args . .", "rsync --server --protect-args . .", "rsync --server -r --files-from=/keys/destination . .",
    "rsync --server -r --temp-dir=/tmp . .", "rsync --server -r --temp-dir /tmp . .", "rsync --server -r --backup-dir=/tmp . .", "rsync --server -b . .x .",
    "rsync --server -r --partial-dir=/keys . .", "rsync --server -r --link-dest=/keys . .", "rsync --server -r --copy-dest=/keys . .",
    "rsync --server -r --compare-dest=../keys . .", "rsync --server -r --log-file=/data/log . .", "rsync --server -r --password-file=/keys/destination . .",
    "rsync --server -r --write-devices . .", "rsync --server -r --copy-devices . .", "rsync --server -r --exclude-from=/keys/destination . .",
    "rsync --server -r --include-from=/x . .", "rsync --server -r --filter=merge_/keys/destination . .", "rsync --server -r --write-batch=x . .",
    "rsync --server -r --early-input=/keys/destination . .", "rsync --server -r --log-format=/x . .", "rsync --server -r --copy-as=nobody . .",
    "rsync --server -rK . .", "rsync --server -r --keep-dirlinks . .", "rsync --server -r --copy-links . .", "rsync --server -M--rsh=x . .",
    "rsync --server --sender -rL . .", "rsync --server --sender -rk . .", "rsync --server --sender -r --copy-dirlinks . .",
    "rsync --server --sender -r --remove-source-files . .", "rsync --server --sender -r --copy-unsafe-links . .", "rsync --server -e/bin/sh . .",
    "rsync --server -ressh . .", "rsync --server - . .", "rsync --server -- . .", "rsync --server -r=x . .", "rsync --server -r\u0660 . .",
    # orders
    "shutdown", "shutdown -1", "shutdown 256", "shutdown 0 0", "shutdown 1e2", "shutdown 00000", "shutdown ٣", "shutdown now", "Shutdown 0", "/sbin/shutdown 0",
    "datamover-blocks /dev/sda", "datamover-blocks;id", "datamover-blocks --help",
    # size
    "rsync --server " + "-r " * 5000 + ". .", "x\0y",
]  # fmt: skip


@pytest.mark.parametrize("command", ATTACKS, ids=range(len(ATTACKS)))
def test_whatever_else_a_client_tries_is_refused(command: str) -> None:
    with pytest.raises(Refused) as refused:
        read_request(command)
    assert str(refused.value)
