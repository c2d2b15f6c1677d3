"""Optional dependencies: there, or one sentence on how to get them."""

from __future__ import annotations

from importlib.util import find_spec

from tutelage.errors import MissingExtraError

_PACKAGES = {"train": ("torch", "transformers", "safetensors", "jinja2"), "plot": ("matplotlib",)}


def require(extra: str, what: str) -> None:
    """Check that the packages of `extra` are installed, without importing them.

    Args:
        extra: train or plot, as in `pip install 'tutelage[train]'`.
        what: who needs them, for the message.

    Raises:
        MissingExtraError: names the packages and the command that installs them.
    """
    missing = [name for name in _PACKAGES[extra] if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"{what} needs {', '.join(missing)}, not installed here: pip install 'tutelage[{extra}]'"
        )
