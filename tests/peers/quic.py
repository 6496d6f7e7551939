"""A server and a client of QUIC: ``quic.py serve ADDRESS PORT CERT KEY``, ``quic.py ask ...``.

The server sends back what it gets, the client says how much of a megabyte came back unharmed.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.server import serve
from aioquic.quic.configuration import QuicConfiguration

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
    configuration = QuicConfiguration(alpn_protocols=ALPN)
    configuration.verify_mode = ssl.CERT_NONE
    data = os.urandom(SIZE)
    async with connect(address, port, configuration=configuration) as connection:
        reader, writer = await connection.create_stream()
        writer.write(data)
        writer.write_eof()
        came = await reader.read()
    print(f"{len(came)} octets, {'the same' if came == data else 'others'}")


if __name__ == "__main__":
    command, address, port, *files = sys.argv[1:]
    if command == "serve":
        asyncio.run(_serve(address, int(port), *files))
    else:
        asyncio.run(_ask(address, int(port)))
