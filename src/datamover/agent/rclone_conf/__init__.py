"""The engine `rclone` of ReplicationSources and ReplicationDestinations: a plain mirror by the user's own rclone.conf, with nothing of ours in it."""
