"""The embedded world put together: what the commands `run`, `demo`, `state` and `local up` need. No other room imports localkube."""
