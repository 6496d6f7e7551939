"""Names: DNS64, tested against dnspython and against real servers."""
