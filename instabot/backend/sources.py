"""Reading one plugin's file or folder: its state on disk, its plugins, and what is wrong in it."""

import hashlib
import os
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import structlog

from instabot.backend.fresh import Version
from instabot.commands import Plugin
from instabot.errors import BadInput, InstabotError

log = structlog.get_logger(__name__)

Plugins = tuple[Plugin, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """A plugin that could not be loaded. `kept`: its older version goes on."""

    source: str
    reason: str
    kept: bool = False
    detail: str = ""


def report(problem: Problem) -> None:
    """Log it: what everybody wants to happen with a Problem at least."""
    text = "a plugin keeps its older version" if problem.kept else "a plugin is left out"
    log.error(text, source=problem.source, why=problem.reason, detail=problem.detail)


def plugins_of(version: Version, points: Sequence[tuple[str, str]]) -> Plugins:
    module = version.run()
    if points:
        found = [_at(version, name, attribute) for name, attribute in points]
    else:
        found = list(vars(module).values())
    plugins = tuple({id(p): p for p in found if isinstance(p, Plugin)}.values())
    if not plugins:
        raise BadInput('there is no Plugin at its top level (plugin = Plugin("NAME"))')
    return plugins


def _at(version: Version, name: str, attribute: str) -> object:
    """What an entry point means within this version."""
    _, dot, rest = name.partition(".")
    value: object = import_module(version.name + dot + rest)
    for part in attribute.split("."):
        value = getattr(value, part)
    return value


def mark(path: Path) -> str:
    """Tells two states of a file, or of a package's `*.py`, apart by what they hold.

    Times and sizes would miss a second edit within the file system's clock tick.
    """
    digest = hashlib.blake2b()
    for file in [path] if path.is_file() else _sources(path):
        digest.update(f"\0{file}\0".encode(errors="surrogateescape"))
        try:
            digest.update(file.read_bytes())
        except OSError as error:
            digest.update(str(error).encode())
    return digest.hexdigest()


def _sources(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__pycache__")))
        yield from (Path(root, file) for file in sorted(files) if file.endswith(".py"))


def reason(error: BaseException, path: Path | None) -> str:
    """One line: what went wrong, and where in the plugin."""
    if isinstance(error, SyntaxError):
        return f"{error.msg} ({Path(error.filename or '?').name}, line {error.lineno})"
    text = str(error) if isinstance(error, InstabotError | TimeoutError) else ""
    text = text or f"{type(error).__name__}: {error}".removesuffix(": ")
    frames = traceback.extract_tb(error.__traceback__)
    inside = [f for f in frames if path and Path(f.filename).is_relative_to(path)]
    where = f" ({Path(inside[-1].filename).name}, line {inside[-1].lineno})" if inside else ""
    return text.replace("\n", " ") + where


def detail(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).rstrip()
