"""DataVolumes where no CDI is: a claim is made, filled, and watched until its data are there."""
