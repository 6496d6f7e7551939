"""Translation of pings, both ways."""
