"""``faith demo``: a network of three hosts on this machine, and what passes through it."""
