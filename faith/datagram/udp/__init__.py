"""UDP relayed: flows, both ways, and the errors about them."""
