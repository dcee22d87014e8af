"""Runs a plugin's file or folder anew, under a name of its own beside older versions of it.

Three things that `importlib.reload` does not do: submodules are new as well, bytecode caches are
never read (they tell edits apart by whole seconds), and the running version is left alone. A
package may import itself by its public name (`from acme.words import …`): inside, that name
means this version.
"""

import builtins
import ctypes
import itertools
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TypeVar

PREFIX = "_instabot_plugin_"
_numbers = itertools.count(1)

T = TypeVar("T")


class _Source(SourceFileLoader):
    """Compiles the text as it is now, and gives it an `__import__` that knows its own name."""

    def get_code(self, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code

    def exec_module(self, module: ModuleType) -> None:
        private = module.__name__.partition(".")[0]
        public = private.removeprefix(PREFIX).partition("_")[2]
        module.__dict__["__builtins__"] = vars(builtins) | {
            "__import__": _own_import(public, private)
        }
        super().exec_module(module)


def _own_import(public: str, private: str) -> Callable[..., ModuleType]:
    def import_(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top, dot, rest = name.partition(".")
        if level == 0 and top == public:
            name = private + dot + rest
        return builtins.__import__(name, globals, locals, fromlist or (), level)

    return import_


class _Finder(MetaPathFinder):
    """Finds submodules of our versions; a new FileFinder each time, for it caches listings."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(PREFIX):
            return None
        kinds = ((_Source, SOURCE_SUFFIXES), (ExtensionFileLoader, EXTENSION_SUFFIXES))
        finders = (FileFinder(folder, *kinds) for folder in path or ())
        return next((spec for finder in finders if (spec := finder.find_spec(fullname))), None)


_finder = _Finder()


class Version:
    """One version of a plugin's code. `name` is what `sys.modules` calls it."""

    def __init__(self, path: Path) -> None:
        public = "".join(c if c.isalnum() else "_" for c in path.stem)
        self.name = f"{PREFIX}{next(_numbers)}_{public}"
        self._path = path

    def run(self) -> ModuleType:
        """Execute it. Raises whatever its code raises (SystemExit too), or OSError."""
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)
        folder = self._path.is_dir()
        file = str(self._path / "__init__.py" if folder else self._path)
        loader = _Source(self.name, file)
        spec = spec_from_file_location(
            self.name,
            file,
            loader=loader,
            submodule_search_locations=[str(self._path)] if folder else None,
        )
        if spec is None:
            raise ImportError(f"{file} cannot be imported")
        module = module_from_spec(spec)
        sys.modules[self.name] = module
        loader.exec_module(module)
        return module

    def forget(self) -> None:
        """Take it out of `sys.modules`; functions that are still running keep their code."""
        inside = self.name + "."
        for name in [n for n in sys.modules if n == self.name or n.startswith(inside)]:
            sys.modules.pop(name, None)


def within(seconds: float, work: Callable[[], T]) -> T:
    """Run foreign code in a thread of its own; return its value or raise what it raised.

    Raises TimeoutError when it is not done in time. The thread is then asked to end, which
    works for Python code; one that waits inside C is left behind as a daemon.
    """
    value: list[T] = []
    raised: list[BaseException] = []

    def body() -> None:
        try:
            value.append(work())
        except BaseException as error:
            # Foreign code at import may raise anything, SystemExit included.
            raised.append(error)

    thread = threading.Thread(target=body, name="plugin load", daemon=True)
    thread.start()
    thread.join(seconds)
    if value:
        return value[0]
    if raised:
        raise raised[0]
    _interrupt(thread)
    raise TimeoutError(f"still loading after {seconds:g} s")


def _interrupt(thread: threading.Thread) -> None:
    # https://docs.python.org/3/c-api/init.html#c.PyThreadState_SetAsyncExc
    ident = ctypes.c_ulong(thread.ident or 0)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(SystemExit))
