"""``faithd``: two programs in one command, neither of which imports what only the other needs."""

from __future__ import annotations

import sys


def main() -> int:
    """Run inetd mode or the daemon, depending on the command line; return the exit status."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--inetd"]:
        from faith.relay.inetd import inetd

        return inetd.main(arguments[1:])
    from faith.cli import serve, standard_output

    try:
        return serve.main(arguments)
    finally:
        standard_output.finish()


if __name__ == "__main__":
    sys.exit(main())
