"""Upgrades in place: the next program tried, executed, and given what this one holds."""
