"""The TCP service: sessions, and the plane that moves their bytes."""
