"""What serves TCP: sessions, and the plane that moves their bytes."""
