"""Packages and images, as they are installed and run."""
