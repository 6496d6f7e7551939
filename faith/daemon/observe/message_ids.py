"""The MESSAGE_ID of each kind of record, and of messages about the log (systemd.journal-fields(7)).

They never change, so that ``journalctl MESSAGE_ID=`` finds them in every journal; faithd(8) lists
them.
"""

from __future__ import annotations

SESSION_START = "session start"
SESSION_END = "session end"
FLOW_START = "flow start"
FLOW_END = "flow end"
REFUSAL = "refusal"
LEFT_OUT = "left out"
LINES_LOST = "lines lost"

MESSAGE_IDS = {
    SESSION_START: "258e68f0a84c47eaa9e37720723af1c8",
    SESSION_END: "c4e234fbf9bb4abd905bb8f8c5f4580c",
    FLOW_START: "bce780abd9394b4e9eb3d93143729b07",
    FLOW_END: "b5d707b3b22d48378721dbabf6b3989b",
    REFUSAL: "9885e5a0d3e64a1fa987c7dec45f6139",
    LEFT_OUT: "44a7c58b4a2b45acbafeba65e1453b28",
    LINES_LOST: "1c03b6d4434a4147b3020db669703032",
}
