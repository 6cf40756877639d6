"""The API server of the embedded world. `apiserver.ApiServer` is what the rest of the program uses; the other modules are its parts."""
