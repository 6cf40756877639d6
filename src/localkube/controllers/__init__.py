"""What kube-controller-manager would do: Jobs, binding of volumes and their protection. Clients of the API server.

Started with the embedded world only. Garbage collection and the deletion of namespaces are the API server's own here (`localkube.store.background`).
"""
