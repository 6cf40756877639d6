"""The API store of the embedded world: `apiserver.ApiServer` is its face, everything else its rooms."""
