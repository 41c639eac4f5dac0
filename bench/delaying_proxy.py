"""
A TCP proxy on loopback that delays each direction, as a server some distance away would.

It delays every chunk by the same time and never waits between chunks, so it limits no bandwidth.
Run as a program it serves one target until its standard input closes:
``python -m bench.delaying_proxy SOCKET-OR-PORT DELAY_US``; it prints its port.
"""

import asyncio
import contextlib
import selectors
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

CHUNK: Final = 262_144
NANOSECOND: Final = 1e-9


class _Direction(asyncio.Protocol):
    """Hands what one side sends to the other side, later."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.other: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()
        self.early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self.delay_s, self._pass_on, data)

    def connection_lost(self, _: Exception | None) -> None:
        asyncio.get_running_loop().call_later(self.delay_s, self._close_other)

    def _pass_on(self, data: bytes) -> None:
        if self.other.done():
            self.other.result().write(data)
        else:
            self.early.append(data)

    def join(self, other: asyncio.Transport) -> None:
        """Name the other side, once it is connected."""
        self.other.set_result(other)
        for data in self.early:
            other.write(data)
        self.early.clear()

    def _close_other(self) -> None:
        if self.other.done():
            self.other.result().close()


async def _serve(target: str, delay_s: float) -> None:
    loop = asyncio.get_running_loop()

    class Incoming(_Direction):
        """A client's side; connects to the target."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.task = loop.create_task(self._connect())

        async def _connect(self) -> None:
            if target.isdigit():
                upstream, outgoing = await loop.create_connection(
                    lambda: _Direction(delay_s), "127.0.0.1", int(target)
                )
            else:
                upstream, outgoing = await loop.create_unix_connection(
                    lambda: _Direction(delay_s), target
                )
            assert isinstance(self.transport, asyncio.Transport)
            outgoing.join(self.transport)
            self.join(upstream)

    listening = await loop.create_server(lambda: Incoming(delay_s), "127.0.0.1", 0)
    print(listening.sockets[0].getsockname()[1], flush=True)
    closed = loop.create_future()
    threading.Thread(
        target=lambda: (
            sys.stdin.read(),
            loop.call_soon_threadsafe(closed.set_result, None),
        ),
        daemon=True,
    ).start()
    await closed


@contextlib.contextmanager
def delaying_proxy(target: Path | int, delay_us: int) -> Iterator[int]:
    """Run the proxy in a process of its own; yields its port."""
    command = [sys.executable, "-m", "bench.delaying_proxy", str(target), str(delay_us)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield int(process.stdout.readline())
        process.stdin.close()
        process.wait(10)


def main() -> None:
    """Serve until standard input closes."""
    target, delay_us = sys.argv[1], int(sys.argv[2])
    # select() takes microseconds; epoll's whole milliseconds would turn 1.25 into 2.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    loop.run_until_complete(_serve(target, delay_us * 1e-6))


if __name__ == "__main__":
    main()
