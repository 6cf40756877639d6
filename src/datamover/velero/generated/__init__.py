"""Messages of Velero's plugin protocol, generated from `../proto` by `make protos`. Not edited by hand."""
