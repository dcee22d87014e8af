"""`python -m instabot.demo_server PORT`: the demo's IRC server as a child of `instabot up`."""

import asyncio
import sys

from instabot.adapters.demo import serve

HOST = "127.0.0.1"


async def main(port: int) -> None:
    """Serve until stdin closes, which is when `up` is gone."""
    server = await serve(HOST, port)
    sys.stdout.write(f"ready: demo irc://{HOST}:{server.port}\n")
    sys.stdout.flush()
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    await reader.read()
    await server.close()


if __name__ == "__main__":
    try:
        asyncio.run(main(int(sys.argv[1])))
    except OSError as error:
        raise SystemExit(f"the demo server cannot listen: {error}") from None
