"""The version of this program: the only place that has it (pyproject.toml reads it from here).

A constant, because importlib.metadata takes 25 ms to import, more than inetd mode takes to start.
"""

from __future__ import annotations

VERSION = "0.1.0"
