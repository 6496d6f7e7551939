"""Memory shared by several processes: counters and leases."""
