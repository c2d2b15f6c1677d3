"""Optional dependencies: there, or one sentence on how to get them."""

from __future__ import annotations

from importlib.util import find_spec

from tutelage.errors import MissingExtraError

_PACKAGES = {
    "train": ("torch", "transformers", "safetensors", "jinja2"),
    "lora": ("peft",),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "trackio": ("trackio",),
    "plot": ("matplotlib",),
    "data": ("datasets", "pyarrow"),
    "prices": ("genai_prices",),
    "azure": ("openai", "azure.identity"),
    "bedrock": ("anthropic", "boto3"),
    "vertex": ("anthropic", "google.auth"),
}


def is_installed(package: str) -> bool:
    """Return whether `package`, or the part of one that a dotted name says, can be imported."""
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # of a dotted name, the first part
        return False


def require(extra: str, what: str, without: tuple[str, ...] = ()) -> None:
    """Check that the packages of `extra` are installed, without importing them.

    Args:
        extra: train, plot, azure, ..., as in `pip install 'tutelage[train]'`.
        what: who needs them, for the message.
        without: packages of the extra that are not needed this time.

    Raises:
        MissingExtraError: names the packages and the command that installs them.
    """
    missing = [name for name in _PACKAGES[extra] if name not in without and not is_installed(name)]
    if missing:
        raise MissingExtraError(
            f"{what} needs {', '.join(missing)}, not installed here: pip install 'tutelage[{extra}]'"
        )
