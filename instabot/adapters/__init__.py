"""Adapters, one for each protocol, found by the scheme of a network's URL.

They register under the entry point group `instabot.adapters`: ours through the same door as
anybody's. Only the one that is asked for is imported.
"""

from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, metadata

from instabot.adapters.base import Adapter
from instabot.errors import BadInput

GROUP = "instabot.adapters"


def installed() -> list[str]:
    """The schemes for which there is an adapter, sorted. Imports none of them."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def find(url: str) -> type[Adapter]:
    """The adapter class for a network's URL, or for a scheme alone.

    Raises BadInput naming what is installed, and the extra that brings what is missing.
    """
    scheme = url.partition(":")[0].strip().lower()
    point = next(iter(entry_points(group=GROUP, name=scheme)), None)
    if point is None:
        known = ", ".join(f"{name}://" for name in installed())
        raise BadInput(f"no adapter for {scheme or url!r}://; there is {known}{_hint(scheme)}")
    return _load(point)


def _load(point: EntryPoint) -> type[Adapter]:
    try:
        adapter: type[Adapter] = point.load()
    except (ImportError, AttributeError) as error:
        raise BadInput(
            f"the adapter for {point.name}:// cannot be loaded: {error}{_hint(point.name)}"
        ) from None
    return adapter


def _hint(scheme: str) -> str:
    try:
        extras = metadata("instabot").get_all("Provides-Extra") or []
    except PackageNotFoundError:
        extras = []
    if scheme in extras:
        return f"; `pip install 'instabot[{scheme}]'` brings it"
    return "; others come as packages with an entry point in " + GROUP
