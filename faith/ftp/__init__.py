"""FTP through a translator: the control connection, octets in and events out (RFC 6384).

No socket, clock or log is in here.  Whoever has them makes one :class:`Translator` for each control
connection, and does what the events say, in their order::

    alg = Translator(V6_TO_V4, client=…, mapped=…, source=…)    # addresses as numbers
    do(alg.from_client(data, urgent))       # urgent: the last octet of data was TCP urgent data
    do(alg.from_server(data))
    do(alg.listening(port))                 # where the listener of OpenPassive or OpenActive is,
    do(alg.refused(reason))                 # or why there is none
    do(alg.client_ended())                  # by FIN or reset: nothing more comes from there
    do(alg.server_ended())
    do(alg.overdue())                       # the server is silent while alg.doubts

``ToClient``, ``ToServer``
    send these octets.
``OpenPassive(listener, port)``
    listen at the mapped address for the client, and nobody else; connect who comes to that port of
    the server's.
``OpenActive(listener, port)``
    listen at the source address for the server, and nobody else; connect who comes, from the mapped
    address, to that port of the client's.
``CloseData(listener)``
    close the listener of that number if nobody has come.
``GoTransparent``
    AUTH was accepted.  From here on the streams may bypass the translator, or go through it
    unchanged.  Data connections are no longer announced.
``Hangup``
    close the control connection when everything is sent.
``Log``
    tell the operator.

An event that asks for a listener is the last of its list, and ``listening`` or ``refused`` has to
follow.  ``GoTransparent`` and ``Hangup`` are the last of theirs, too.

A listener is for one connection.  It lives until that comes, until ``CloseData``, until the control
connection has ended, or for a time of the I/O side's choice, 30 seconds at least (§12).  Accepted
connections live for themselves.

**Back-pressure.**  Read the client while ``wants_client``, the server while ``wants_server``, and
either of them no more while octets for the other wait to be sent.  What is kept is then less than
one line (``telnet.LIMIT``) each way, and the last that was fed.

**Ends.**  What a peer has said without a line end before its end is a line.  Its FIN is to be sent
on when everything before it was: when ``client_is_through``, or ``server_is_through``.

**Doubts.**  Servers leave commands unanswered, or answer in ways that are no replies.  While
``doubts`` is true, the reply that is waited for may have passed for another command's.  Call
``overdue`` when the server has been silent for a while then, or the client waits forever.

How RFC 6384 is read, where it leaves a choice:

* EPSV is always put as PASV (§6, SHOULD).  To pass it on takes "positive knowledge" that the server
  takes no harm, and would gain nothing: only the port counts, and a relay opens its own.
* The address in a 227 is ignored (§6, SHOULD): the server is that of the control connection.
* EPRT is translated (§7.2, MAY).  An address that is not the client's own is refused and not passed
  on, because that is how a server is made to connect to somebody else (RFC 2577).
* PASV and PORT of an IPv6 client are refused, which §10 would pass on: what they mean is an address
  that the client does not have, and whoever asks for that waits for nothing.  Where translation is
  disabled (ALGS DISABLE64) they pass.
* LPSV and LPRT (RFC 1639), of which the RFC says nothing, are translated likewise.
* LANG is not monitored (§5.1, the second way): the server speaks as it was asked to, and the few
  lines of the ALG's own are ASCII, which RFC 2640 wants understood everywhere.
* Every command that goes no further becomes a NOOP, and the reply to that becomes ours (§12), so
  that replies keep their order.  Any 2yz or 5yz will do for 200: some servers have no NOOP, or want
  a login first.
* An ABOR has as many replies as the server likes: RFC 959 has two during a transfer, the 426 of
  that and a 226, and pure-ftpd has none.
* Other commands during a transfer are answered at once, afterwards or never: a client that goes on
  after the transfer waits for nothing more, and neither do we.
* A 229 in reply to PASV, and a 227 to EPSV, tell a port as well as the right one.
* After AUTH the client is not read until the server has replied (§5): what it sent behind the AUTH
  passes untouched if that is accepted, and is translated if it is not.
* A server that calls the client's default port (§8, MAY) finds nobody listening.
* From IPv4 to IPv6 (RFC 2766 §6.1) it is the same with the parts exchanged, without ALGS.

A line ends with LF; CR NUL LF does not end one.  A command that is too long, or has a NUL or a line
feed within, is refused.
"""

from __future__ import annotations

from faith.ftp.direction import V4_TO_V6, V6_TO_V4, Direction
from faith.ftp.events import (
    CloseData,
    Event,
    GoTransparent,
    Hangup,
    Log,
    OpenActive,
    OpenPassive,
    ToClient,
    ToServer,
)
from faith.ftp.translator import Translator

__all__ = [
    "V4_TO_V6",
    "V6_TO_V4",
    "CloseData",
    "Direction",
    "Event",
    "GoTransparent",
    "Hangup",
    "Log",
    "OpenActive",
    "OpenPassive",
    "ToClient",
    "ToServer",
    "Translator",
]
