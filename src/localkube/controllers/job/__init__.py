"""The Job controller: batch/v1 Jobs to Pods, with retries, deadlines, failure policies and conditions as Kubernetes has them."""
