"""Point-in-time copies of volumes: names, binding rules and builders. Pure."""
