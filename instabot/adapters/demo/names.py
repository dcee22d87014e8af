"""How the demo server's names compare."""


def fold(name: str) -> str:
    """CASEMAPPING=ascii, as the server's 005 says."""
    return "".join(c.lower() if c.isascii() else c for c in name)
