"""Memory that several processes share: counters and leases."""
