"""The Velero plugin: a program that a Velero server starts and asks over gRPC. The only room that knows gRPC, and of the extra `velero`."""
