"""The node: keeps volumes as directories and runs Pods as child processes. A client of any API server.

Next to the embedded store and next to a real kube-apiserver it stands where kubelet, scheduler, CSI driver, external-provisioner
and external-snapshotter would stand. It never claims isolation that it does not give: see `localkube.node.names.LIMITS`.
"""
