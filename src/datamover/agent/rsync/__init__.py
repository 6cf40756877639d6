"""The engines that speak rsync: what rsync-tls and rsync over ssh share, and each of them."""
