"""``faith demo``: a network of three hosts on this machine, with connections through it."""
