module datamover.invalid/deploy/images/plugin

go 1.26.0
