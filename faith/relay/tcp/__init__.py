"""TCP sessions: accepted, judged, dialled, and moved by the plane."""
