"""``python -m bench``, which scripts/bench runs."""

from __future__ import annotations

import sys

from bench.command import main

sys.exit(main(sys.argv[1:]))
