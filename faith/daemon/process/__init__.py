"""Processes: an event loop, channels, a pool of workers, the control socket; no configuration."""
