"""The few controllers that a cluster would bring: Jobs, volume binding, protection, owner-reference collection, namespaces.

Started with the embedded world only; a real cluster has kube-controller-manager. Clients of any API server.
"""
