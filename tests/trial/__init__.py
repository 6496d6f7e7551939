"""The trial of the Debian package, which scripts/try-package runs in a booted tree."""
