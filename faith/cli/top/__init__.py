"""``faith top``: the sessions of a running faithd with their rates, and how it is."""
