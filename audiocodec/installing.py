"""What to type to install what is missing: the package is in no index while one works in a checkout of it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]


def advice(extra: str) -> str:
    """A command that installs an extra of this package, from the checkout that it runs from, where it does."""
    if (CHECKOUT / "setup.cfg").is_file():
        return f'pip install -e "{CHECKOUT}[{extra}]"'
    return f'pip install "audiocodec[{extra}]"'


def package_folder(name: str) -> Path | None:
    """Folder of an installed package, which is not imported; None: it is not installed."""
    spec = find_spec(name)
    return Path(next(iter(spec.submodule_search_locations))) if spec and spec.submodule_search_locations else None
