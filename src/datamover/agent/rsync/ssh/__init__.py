"""rsync over ssh: a source that runs rsync through ssh, and a destination that is an sshd with one command."""
