"""One restore of a point into a directory: from a bucket to files as they were. Knows no cluster."""
