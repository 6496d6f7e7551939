"""A server and a client of QUIC: ``quic.py serve ADDRESS PORT CERT KEY``, ``quic.py ask ...``.

The server sends back what it gets, the client says how much of a megabyte came back unharmed.
``quic.py ask ADDRESS PORT PROXY PROXYPORT`` asks through a proxy, by UDP ASSOCIATE of SOCKS5.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from ipaddress import ip_address
from typing import cast

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

SIZE = 1 << 20
ALPN = ["echo"]


def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async def answer() -> None:
        writer.write(await reader.read())
        writer.write_eof()

    tasks.add(asyncio.get_running_loop().create_task(answer()))


tasks: set[asyncio.Task[None]] = set()


async def _serve(address: str, port: int, certificate: str, key: str) -> None:
    configuration = QuicConfiguration(alpn_protocols=ALPN, is_client=False)
    configuration.load_cert_chain(certificate, key)
    await serve(address, port, configuration=configuration, stream_handler=_answer)
    print("serving", flush=True)
    await asyncio.Event().wait()


async def _ask(address: str, port: int) -> None:
    async with connect(address, port, configuration=_configuration()) as connection:
        await _compare(connection)


def _configuration() -> QuicConfiguration:
    configuration = QuicConfiguration(alpn_protocols=ALPN)
    configuration.verify_mode = ssl.CERT_NONE
    return configuration


async def _compare(connection: QuicConnectionProtocol) -> None:
    data = os.urandom(SIZE)
    reader, writer = await connection.create_stream()
    writer.write(data)
    writer.write_eof()
    came = await reader.read()
    print(f"{len(came)} octets, {'the same' if came == data else 'others'}")


class ByProxy(asyncio.DatagramProtocol, asyncio.DatagramTransport):
    """The datagrams of a *connection* with one server, behind the header of RFC 1928 section 7."""

    def __init__(self, connection: QuicConnectionProtocol, address: str, port: int) -> None:
        self._connection = connection
        self._server = address, port
        packed = ip_address(address).packed
        kind = 1 if len(packed) == 4 else 4
        self._header = bytes((0, 0, 0, kind)) + packed + port.to_bytes(2, "big")
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self._connection.connection_made(self)

    def datagram_received(self, data: bytes, addr: object) -> None:
        if data.startswith(self._header):
            self._connection.datagram_received(data[len(self._header) :], self._server)

    def sendto(self, data: object, addr: object = None) -> None:
        assert isinstance(data, bytes)
        assert self._transport is not None
        self._transport.sendto(self._header + data)

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


async def _ask_by_proxy(address: str, port: int, proxy: str, proxy_port: int) -> None:
    reader, writer = await asyncio.open_connection(proxy, proxy_port)
    writer.write(b"\5\1\0" + b"\5\3\0\1" + bytes(6))
    assert await reader.readexactly(2) == b"\5\0"
    version, reply, _, kind = await reader.readexactly(4)
    assert (version, reply) == (5, 0)
    bound = await reader.readexactly({1: 6, 4: 18}[kind])
    at = str(ip_address(bound[:-2])), int.from_bytes(bound[-2:], "big")
    connection = QuicConnectionProtocol(QuicConnection(configuration=_configuration()))
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: ByProxy(connection, address, port), remote_addr=at)
    connection.connect((address, port))
    await connection.wait_connected()
    await _compare(connection)
    connection.close()
    await connection.wait_closed()
    writer.close()


if __name__ == "__main__":
    command, address, port, *files = sys.argv[1:]
    if command == "serve":
        asyncio.run(_serve(address, int(port), *files))
    elif files:
        proxy, proxy_port = files
        asyncio.run(_ask_by_proxy(address, int(port), proxy, int(proxy_port)))
    else:
        asyncio.run(_ask(address, int(port)))
