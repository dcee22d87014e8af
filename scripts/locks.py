"""Do the lock files hold all that pyproject.toml asks for? Offline, and quick.

A requirement counts as locked when its package is there, in a version that it allows, with a
hash. `requirements/main.lock` is checked for [project], `dev.lock` for the groups as well.
"""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent


def locked(name: str) -> dict[str, list[str]]:
    """Package → versions in a lock file (several where they differ by platform)."""
    versions: dict[str, list[str]] = {}
    text = (ROOT / "requirements" / f"{name}.lock").read_text()
    for entry in re.split(r"\n(?=\S)", text):
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", entry)
        if match and "--hash=sha256:" in entry:
            versions.setdefault(canonicalize_name(match[1]), []).append(match[2])
    return versions


def grouped(groups: dict[str, Any], name: str) -> list[str]:
    """A dependency group's requirements, included groups too (PEP 735)."""
    found: list[str] = []
    for item in groups[name]:
        found += grouped(groups, item["include-group"]) if isinstance(item, dict) else [item]
    return found


def missing(requirements: list[str], lock: str) -> list[str]:
    """Sentences about requirements that the lock does not meet."""
    versions, wrong = locked(lock), []
    for text in requirements:
        requirement = Requirement(text)
        have = versions.get(canonicalize_name(requirement.name), [])
        if not have or not all(requirement.specifier.contains(v, True) for v in have):
            said = ", ".join(have) or "nothing"
            wrong.append(f"{lock}.lock has {said} for {text}; compile it again")
    return wrong


def main() -> int:
    """Print what is wrong → the exit code."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"]
    wrong = missing(wanted, "main")
    wrong += missing([*wanted, *grouped(project["dependency-groups"], "dev")], "dev")
    wrong += missing(project["build-system"]["requires"], "build")
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
