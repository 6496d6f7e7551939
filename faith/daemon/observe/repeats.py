"""The limit of messages that are alike: whoever causes them must not be able to fill a disk."""

from __future__ import annotations

from collections import Counter

MOST = 20
"""Messages of the same form that are logged in a second."""
PERIOD = 1.0
"""Seconds in which they are counted."""


class Repeats:
    """Counts messages by their form, the text before arguments are filled in.

    ``now`` is any clock that only goes forward, in seconds.
    """

    def __init__(self) -> None:
        self._until = 0.0
        self._counts: Counter[str] = Counter()

    def admits(self, form: str, now: float) -> bool:
        """Return whether one more message of this form is to be logged; count it."""
        if now >= self._until and not self.left_out:
            self._counts.clear()
            self._until = now + PERIOD
        self._counts[form] += 1
        return self._counts[form] <= MOST

    @property
    def left_out(self) -> bool:
        """Return whether a message was left out that `summary` has not returned yet."""
        return any(count > MOST for count in self._counts.values())

    def is_due(self, now: float) -> bool:
        """Return whether it is time to log the summary of what was left out."""
        return now >= self._until and self.left_out

    def summary(self) -> dict[str, int]:
        """Return how many messages of each form were left out, and begin anew."""
        counts, self._counts = self._counts, Counter()
        self._until = 0.0
        return {form: count - MOST for form, count in counts.items() if count > MOST}
