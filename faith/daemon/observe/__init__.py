"""Observation of the daemon: messages, records, health and metrics."""
