"""SOCKS and HTTP proxies, pure: octets of clients and servers in, events out.

No socket, clock or log is in here.  Whoever has them makes one machine for each client, chosen by
the client's first octet, and does what the events say, in their order::

    machine = protocol(first_octets)(rules)     # Socks5, Socks4 or HttpProxy; or UnknownProtocol
    do(machine.from_client(data))
    do(machine.user_checked(good))              # answers CheckUser: None is "not even looked at"
    do(machine.connected((host, port)))         # answers Dial: the server has answered; host and
                                                # port are the address it is connected from
    do(machine.failed(why))                     # answers Dial: a reason, details behind a colon
    do(machine.client_ended(why))               # FIN (reasons.CLOSED), or how else it ended
    machine.awaits_request, machine.is_idle     # it is the client's turn; nothing of it has come
    do(machine.overdue())                       # it did not ask in time

HttpProxy alone::

    do(machine.from_server(data))
    do(machine.server_ended(why))
    machine.client_body, machine.server_body    # octets that may be moved past the machine, now
    do(machine.body_moved("client", count))     # they were, to the other side; or "server"
    machine.date = octets                       # of what is fed next, for Date
    machine.rules = other_rules                 # for the next request

SOCKS alone::

    do(machine.connected((host, port)))         # answers Bind and Associate: where the socket is
    do(machine.accepted((host, port)))          # who came to the socket of Bind

``ToClient``, ``ToServer``
    send these octets.
``CheckUser``
    answer by ``user_checked``.
``Dial``, ``Bind``, ``Associate``
    answer by ``connected`` or ``failed``.
``Tunnel``
    the machine has done its part: send *early* to the server and *late* to the client, then carry
    both streams as they are.
``LeaveServer``
    end the session with the server, as *why* says.  It comes before a Dial to another one, too.
``Refused``
    the machine refused a request: count and record it.  What ``failed`` says is not repeated.
``HangUp``
    end the client's connection when everything is sent; by a reset if *cut*: an answer is not whole
    and nothing else would tell the client.

An event that asks for an answer is the last of its list, and the answer has to follow before
anything else but the client's end.  ``Tunnel`` and ``HangUp`` are the last of theirs, and nothing
follows them.

**Back-pressure.**  Read the client while ``wants_client``, the server while ``wants_server``, and
neither while octets for the other side wait to be sent.  What is kept is then less than one head
(``http_head.LIMIT``) on each side, and what was fed last.

**State.**  ``state()`` is fit for JSON, and ``restore()`` of a machine just made by the same rules
goes on from there; never between CheckUser and its answer.  What a Dial asked for is dialled anew.

How the RFCs are read, where they leave a choice:

* GSSAPI, which RFC 1928 asks for, is not offered; a client that offers a password where none is
  needed is welcome, and the password not looked at.
* Names are those of hosts, as A-labels.  A name that ends in a number is an address or refused:
  ``127.1`` and ``0x7f.1`` are addresses to some (inet_aton(3)), and names to others.
* A timeout is "TTL expired" to SOCKS, a name that does not resolve "host unreachable".
* A loop is answered 502, with ``proxy_loop_detected`` (RFC 9209 §2.3); 508 is WebDAV's.  What rules
  deny is 403 and not 502, because to ask again does not help.
* A request with a body that is not read ends the connection; so does one that is malformed.
* HTTP/1.0 is persistent on neither side (RFC 9112 §C.2.2).
* A 407 of a server is answered 502: nobody but the proxy asks for the proxy's password.
* WebSocket is the only upgrade that is passed on: with h2c (RFC 9113 §3.1, deprecated) requests
  would pass that nobody looked at.
* An answer to CONNECT has no Date: those of servers, and the proxy's own, have one (RFC 9110
  §6.6.1).
* A request without user and password is answered 407, and that is all: most programs ask without
  them first, because they do not know that the proxy needs them.
"""
