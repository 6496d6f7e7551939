"""Translation of UDP, both ways: flows, and the errors about them."""
