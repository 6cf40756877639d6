"""A real Kubernetes cluster of one node on this machine, without a registry and without a Docker daemon.

    python -m cluster up            build what is missing, start, wait until it is ready, print the kubeconfig
    python -m cluster status        what runs, since when, with how much memory
    python -m cluster load FILE...  bring images (docker-archive files) to the node
    python -m cluster down          stop everything and take away all that it made

(with tools/ on PYTHONPATH; `make cluster-up`, `cluster-status` and `cluster-down` do that)

All parts are what a cluster is made of: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kube-proxy, containerd,
CoreDNS, the external CSI provisioner and snapshotter, the snapshot controller. Only the storage driver is ours (tools/kubernetes/storage);
`csi-sanity` judges it. The parts run as plain processes of this machine, the Pods in containers.

Rooms: `layout` paths and addresses; `directory` whose the directory is, and its end; `certificates` and `credentials` who may call whom;
`machine` what the machine must have; `network` the Pods' network; `mounts` and `processes` what the kernel knows of the cluster; `daemons`
processes that outlive this program; `control_plane`, `node` and `storage` how each part is started; `archive` images without a builder; `images` and
`velero` what the tests bring to the node; `manifests` what is applied at the start; `rig` the order of it all.

Caveats: NetworkPolicies are accepted and not enforced (the bridge plugin has no such thing). etcd does not sync to disk: the cluster
survives the end of its processes, not that of the machine. Nobody watches the parts: one that ends stays away until the next `up`.
"""
