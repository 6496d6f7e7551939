"""bpf(2), and an assembler for its programs."""
