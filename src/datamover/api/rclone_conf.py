"""The words between the operator and the rclone mover of a ReplicationSource or ReplicationDestination. Names are an interface. Pure."""

from typing import Final

CONFIG: Final = "RCLONE_CONFIG"
"""Where the Secret's `rclone.conf` lies."""
SECTION: Final = "RCLONE_CONFIG_SECTION"
DESTINATION_PATH: Final = "RCLONE_DEST_PATH"
MOUNT_PATH: Final = "MOUNT_PATH"

PREFIX: Final = "RCLONE_"
"""Keys of the Secret that begin so are variables of the mover."""
CONFIG_KEY: Final = "rclone.conf"
ACL_FILE: Final = "permissions.facl"
"""The object beside the mirrored files that has the modes, owners and ACLs of all of them, as `getfacl -R` writes them."""
