"""What can go wrong with a measurement, apart from what the lab raises."""

from __future__ import annotations

from faith.errors import FaithError


class MeasureError(FaithError):
    """What was measured did not work well enough for its figure to mean anything."""
