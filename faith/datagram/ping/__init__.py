"""Pings relayed, both ways."""
