"""The brain of the kernel path: decides on first packets, follows flows until they end."""
