"""A small IRC server of our own, for `instabot up --demo`: nothing to install, no network.

`irc.server` of the library was tried first: one thread per client that polls without rest, one
byte that is not UTF-8 ends a connection, its replies lack the client's nick so that irssi and
WeeChat do not understand them. It says of itself that it is no server for the public; this one
is for people on this machine, and takes any bytes from them.
"""

from instabot.adapters.demo.server import Server, serve

__all__ = ["Server", "serve"]
