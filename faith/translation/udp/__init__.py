"""The rules of UDP flows: limits, shares, times and filters, of which inetd mode needs nothing."""
