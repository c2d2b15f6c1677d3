"""Where the base model that comes with the package lies."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from tutelage.errors import ModelError


def base_path() -> Path:
    """Return the Hugging Face folder of the pre-trained miniature student.

    Raises:
        ModelError: the package was installed without it.
    """
    path = Path(str(resources.files("tutelage.miniature") / "base"))
    if not (path / "model.safetensors").is_file():
        raise ModelError(
            f"{path}: the miniature's base model is missing; make it again with `tutelage miniature build out={path}`"
        )
    return path
