"""Finds plugins, and exchanges them while the backend runs.

They come from entry points `instabot.plugins`, and from a folder (`--plugins DIR`): each `*.py`,
and each package in it, that holds one `Plugin` or several at its top level; names that begin
with `_` or `.` are left alone. Whatever fails is left out (or stays at its older version) and is
reported once; a plugin never stops the backend.

`load` and `check` run foreign code and wait for it: call them off the loop, one at a time. They
hand over one immutable tuple, which the service takes between two messages.
"""

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from instabot.backend.fresh import Version, within
from instabot.backend.sources import (
    Plugins,
    Problem,
    detail,
    mark,
    plugins_of,
    reason,
    report,
)
from instabot.commands import Plugin
from instabot.errors import BadInput, InstabotError

GROUP = "instabot.plugins"
LIMIT = 5.0
"""Seconds that a plugin may take to load."""


@dataclass(slots=True)
class _Source:
    """A file or package of the folder. `mark` is the state of its files at the last try.

    `points` are the (module, attribute) of entry points that lie in it; without any, every
    Plugin at the top level counts.
    """

    path: Path
    points: list[tuple[str, str]] = field(default_factory=list)
    mark: str = ""
    plugins: Plugins = ()
    versions: list[Version] = field(default_factory=list)
    missing: bool = False


@dataclass(frozen=True, slots=True)
class _Candidate:
    plugins: Plugins
    version: Version


class Loader:
    """`verify` is given each set before it is used, and raises when it cannot be
    (two commands of one name, say); two plugins of one name are refused already."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        verify: Callable[[Plugins], object] = lambda plugins: None,
        report: Callable[[Problem], None] = report,
        points: Iterable[metadata.EntryPoint] | None = None,
        limit: float = LIMIT,
    ) -> None:
        if folder is not None and not folder.is_dir():
            raise BadInput(f"{folder} is not a folder; --plugins wants one that holds plugins")
        self._folder = folder.resolve() if folder else None
        self._verify = verify
        self._report = report
        self._points = metadata.entry_points(group=GROUP) if points is None else points
        self._limit = limit
        self._installed: Plugins = ()
        self._pinned: dict[Path, list[tuple[str, str]]] = {}
        self._sources: dict[Path, _Source] = {}
        self._candidates: dict[Path, _Candidate] = {}
        self._owners: dict[str, str] = {}
        self._problems: dict[str, Problem] = {}
        self.plugins: Plugins = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong at present."""
        return tuple(self._problems.values())

    def owner(self, module: str) -> str:
        """The plugin (or `a+b`) that a module belongs to, or ''. Safe in any thread."""
        while module:
            if name := self._owners.get(module):
                return name
            module = module.rpartition(".")[0]
        return ""

    def owner_of_file(self, file: str) -> str:
        """The plugin (or `a+b`) that a source file belongs to, or ''."""
        for module, name in self._owners.items():
            home = getattr(sys.modules.get(module), "__file__", None) or ""
            folder = home.removesuffix("__init__.py")
            if file == home or (folder != home and file.startswith(folder)):
                return name
        return ""

    def load(self) -> Plugins:
        """The first set: entry points in the order of their names, then the folder's."""
        seen = {(point.name, point.value): point for point in self._points}
        for _, point in sorted(seen.items()):
            if home := self._home(point):
                self._pinned.setdefault(home, []).append((point.module, point.attr))
            else:
                self._install(point)
        self.plugins = self._installed
        self.check()
        return self.plugins

    def check(self) -> bool:
        """Compare the folder with what is loaded, load what is new; True when the set changed.

        A file must be missing at two checks in a row to count as deleted, for editors replace
        files by way of a moment without.
        """
        before = self.plugins
        try:
            found = {path: mark(path) for path in self._scan()}
        except OSError as error:
            self._fail(str(self._folder), str(error), kept=bool(before))
            return False
        self._solved(str(self._folder))
        self._drop(found)
        for path, state in found.items():
            source = self._sources.setdefault(path, _Source(path, self._pinned.get(path, [])))
            source.missing = False
            if source.mark != state:
                source.mark = state
                self._try(source)
        self._settle()
        self.plugins = self._with({})
        return self.plugins != before

    async def watch(
        self, swap: Callable[[Plugins], None], stop: asyncio.Event, every: float = 1.0
    ) -> None:
        """Check once in `every` seconds; `swap` is called on the loop with each new set."""
        loop = asyncio.get_running_loop()
        # A thread of its own: the common pool may be full of slow commands.
        with ThreadPoolExecutor(1, "reload") as pool:
            while not stop.is_set():
                if await loop.run_in_executor(pool, self.check):
                    swap(self.plugins)
                try:
                    async with asyncio.timeout(every):
                        await stop.wait()
                except TimeoutError:
                    continue

    # -- entry points ------------------------------------------------------------------------

    def _home(self, point: metadata.EntryPoint) -> Path | None:
        """The file or package that holds this entry point, where that lies in the folder."""
        try:
            spec = find_spec(point.module.partition(".")[0])
        except (ImportError, ValueError):
            return None
        places = [*(spec.submodule_search_locations or ()), spec.origin or ""] if spec else []
        for place in filter(None, places[:1]):
            path = Path(place).resolve()
            if self._folder and path.is_relative_to(self._folder):
                return path
        return None

    def _install(self, point: metadata.EntryPoint) -> None:
        source = f"entry point {point.name}"
        try:
            plugin = within(self._limit, point.load)
            if not isinstance(plugin, Plugin):
                raise BadInput(f"{point.value} is a {type(plugin).__name__}, not a Plugin")
            self._accept((*self._installed, plugin))
        except BaseException as error:
            # Foreign code: its module may raise anything at all when it is imported.
            self._fail(source, reason(error, None), detail=detail(error))
            return
        self._installed = (*self._installed, plugin)
        self._own(point.module, (plugin,))

    # -- the folder --------------------------------------------------------------------------

    def _scan(self) -> Iterator[Path]:
        yield from sorted(path for path in self._pinned if path.exists())
        for path in sorted(self._folder.iterdir()) if self._folder else ():
            if path.name.startswith(("_", ".")) or path in self._pinned:
                continue
            if path.suffix == ".py" or (path / "__init__.py").is_file():
                yield path

    def _drop(self, found: Iterable[Path]) -> None:
        for path in [path for path in self._sources if path not in found]:
            source = self._sources[path]
            if not source.missing:
                source.missing = True
                continue
            del self._sources[path]
            self._discard(path)
            self._solved(path.name)
            for version in source.versions:
                version.forget()

    def _try(self, source: _Source) -> None:
        """Run the new version beside the old one; it becomes a candidate."""
        version = Version(source.path)
        try:
            plugins = within(self._limit, lambda: plugins_of(version, source.points))
        except BaseException as error:
            # Foreign code: its module may raise anything at all when it is imported.
            version.forget()
            self._discard(source.path)
            why = reason(error, source.path)
            self._fail(source.path.name, why, bool(source.plugins), detail(error))
        else:
            self._discard(source.path)
            self._candidates[source.path] = _Candidate(plugins, version)

    def _discard(self, path: Path) -> None:
        if candidate := self._candidates.pop(path, None):
            candidate.version.forget()

    def _settle(self) -> None:
        """Adopt every candidate that fits: all together, else one by one.

        One that clashes waits: it is adopted when what it clashes with is gone.
        """
        if not self._candidates or self._adopt(self._candidates):
            return
        while any(self._adopt({p: c}) for p, c in sorted(self._candidates.items())):
            pass
        for path, candidate in self._candidates.items():
            try:
                self._accept(self._with({path: candidate}))
            except (InstabotError, ValueError, TypeError) as error:
                self._fail(path.name, str(error), bool(self._sources[path].plugins))

    def _adopt(self, chosen: dict[Path, _Candidate]) -> bool:
        try:
            self._accept(self._with(chosen))
        except (InstabotError, ValueError, TypeError):
            return False
        for path, candidate in list(chosen.items()):
            source = self._sources[path]
            # Calls that still run may import lazily: the version before this one stays.
            for version in source.versions[:-1]:
                version.forget()
            source.versions = [*source.versions[-1:], candidate.version]
            source.plugins = candidate.plugins
            self._own(candidate.version.name, candidate.plugins)
            self._solved(path.name)
            del self._candidates[path]
        return True

    def _with(self, chosen: dict[Path, _Candidate]) -> Plugins:
        plugins = list(self._installed)
        for path in sorted(self._sources):
            of = chosen[path].plugins if path in chosen else self._sources[path].plugins
            plugins += of
        return tuple(plugins)

    def _accept(self, plugins: Plugins) -> None:
        names = [plugin.name for plugin in plugins]
        for name in names:
            if names.count(name) > 1:
                raise BadInput(f"there is another plugin named {name}")
        self._verify(plugins)

    # -- telling -----------------------------------------------------------------------------

    def _own(self, module: str, plugins: Sequence[Plugin]) -> None:
        # Replaced as a whole: the watchdog's thread reads it.
        named = {plugin.name: None for plugin in plugins}
        if known := self._owners.get(module):
            named = dict.fromkeys([*known.split("+"), *named])
        self._owners = {**self._owners, module: "+".join(named)}

    def _fail(self, source: str, reason: str, kept: bool = False, detail: str = "") -> None:
        known = self._problems.get(source)
        self._problems[source] = Problem(source, reason, kept, detail)
        if known is None or known.reason != reason:
            self._report(self._problems[source])

    def _solved(self, source: str) -> None:
        self._problems.pop(source, None)
