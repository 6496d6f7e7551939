"""Flows in the kernel: the tc program that translates them, its maps, and where it is attached."""
