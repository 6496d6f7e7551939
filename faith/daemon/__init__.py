"""The daemon: a privileged supervisor, unprivileged workers, and what an operator sees of them."""
