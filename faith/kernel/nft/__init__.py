"""Tables of nftables: their rules, the guards, and the reservation of prefixes."""
