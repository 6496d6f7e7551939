"""The daemon: a privileged supervisor, unprivileged workers, and their observation."""
