"""Collection of completed DataVolumes: their claims are handed over, and they go. Beside a CDI nothing else of them is touched."""
