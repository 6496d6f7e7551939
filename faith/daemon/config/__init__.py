"""The configuration: files read strictly, and what comes of them as values."""
