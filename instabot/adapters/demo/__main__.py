"""`python -m instabot.adapters.demo [HOST [PORT]]`: serve until interrupted."""

import asyncio
import contextlib
import sys

from instabot.adapters.demo.server import serve


async def main(host: str, port: int) -> None:
    """Serve, and say where in one line on stdout."""
    server = await serve(host, port)
    sys.stdout.write(f"irc://{host}:{server.port}/#demo\n")
    sys.stdout.flush()
    await server.forever()


if __name__ == "__main__":
    words = sys.argv[1:]
    if len(words) > 2 or not all(word.isdigit() for word in words[1:]):
        raise SystemExit("usage: python -m instabot.adapters.demo [HOST [PORT]]")
    host = words[0] if words else "127.0.0.1"
    port = int(words[1]) if len(words) > 1 else 6667
    with contextlib.suppress(KeyboardInterrupt):
        try:
            asyncio.run(main(host, port))
        except (OSError, OverflowError) as error:
            raise SystemExit(f"cannot listen on {host}:{port}: {error}") from None
