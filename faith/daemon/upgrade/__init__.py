"""Upgrades in place: the next program tried, executed, and given the state of this one."""
