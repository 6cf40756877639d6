"""The engine rclone: mirrors and timestamped copies of a volume in an S3 bucket."""
