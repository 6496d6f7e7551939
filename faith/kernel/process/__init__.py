"""Capabilities and confinement of processes."""
