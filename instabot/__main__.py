"""`python -m instabot`, which is how `instabot up` starts its children."""

import sys

from instabot.cli import main

if __name__ == "__main__":
    sys.exit(main())
