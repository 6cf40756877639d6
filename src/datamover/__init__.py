"""datamover moves the data of Kubernetes volumes safely."""

__version__ = "0.1.0"
