"""``faith explain``: the way of one connection, step by step, and where it ends."""
