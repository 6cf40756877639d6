"""The words: typed resources, names, reasons and validation. No I/O."""
