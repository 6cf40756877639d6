"""The words of group cdi.kubevirt.io: DataVolume and what belongs to it. Pure."""
