"""Free ports on the loopback interface, and the probe that says a server listens."""

import asyncio
import socket

HOST = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """`count` different TCP ports that nobody listens on right now.

    They are all held while the last is chosen, so that one call never names a port twice.
    """
    held: list[socket.socket] = []
    try:
        for _ in range(count):
            sock = socket.socket()
            held.append(sock)
            sock.bind((HOST, 0))
        return [sock.getsockname()[1] for sock in held]
    finally:
        for sock in held:
            sock.close()


def free_port() -> int:
    """One free TCP port."""
    return free_ports(1)[0]


async def listens(port: int, host: str = HOST) -> bool:
    """Whether a TCP connection to the port is accepted right now."""
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True
