"""IRC: RFC 1459/2812 and what of IRCv3 (https://ircv3.net/irc/) helps a bot to lose nothing.

The package `irc` is used here and nowhere else, and only behind `connection.py`, which takes
away what would let one bad line end a link.
"""

from instabot.adapters.irc.adapter import IRC

__all__ = ["IRC"]
