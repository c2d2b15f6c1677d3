"""Rows -> a data set on the Hugging Face Hub: one Parquet file, and the card that says where it is from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from tutelage.data.card import card
from tutelage.data.formats.item import Format, Row
from tutelage.data.writing import write_rows
from tutelage.errors import ConfigError, DataError
from tutelage.extras import require
from tutelage.inputs import Source

FILE = "train.parquet"


def push(
    name: str, private: bool, rows: Source, form: Format, written: Callable[[Counter[str]], Iterable[Row]]
) -> str:
    """Make the data set `name` if it is not there, and put rows and card into it in one commit; return where it is.

    Raises:
        DataError: there is nothing to write; the Hub cannot be reached, or refuses.
        ConfigError: HF_HUB_OFFLINE is set.
        MissingExtraError: without the data extra.
    """
    require("data", "tutelage export push=")
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if constants.HF_HUB_OFFLINE:
        raise ConfigError("push: HF_HUB_OFFLINE is set, so the Hub is not to be reached; unset it, or give out=")
    with TemporaryDirectory() as folder:
        counts: Counter[str] = Counter()
        num = write_rows(Path(folder, FILE), written(counts))
        if num == 0:
            why = "; ".join(f"{n:,} {what}" for what, n in counts.items() if n) or "it has no rows"
            raise DataError(f"{rows.path}: nothing in it can be written as {form.name}: {why}")
        Path(folder, "README.md").write_text(card(Path(folder, FILE), rows, form, num, counts), "utf-8")
        hub = HfApi(library_name="tutelage")
        try:
            where = hub.create_repo(name, repo_type="dataset", private=private, exist_ok=True)
            message = f"{num} rows in the format {form.name}"
            done = hub.upload_folder(
                repo_id=where.repo_id, folder_path=folder, repo_type="dataset", commit_message=message
            )
        except HFValidationError as error:
            raise ConfigError(f"push={name}: {error}") from None
        except HfHubHTTPError as error:
            raise DataError(f"push={name}: the Hub refuses: {_brief(error)}; is `hf auth login` done?") from None
        except Exception as error:  # of the library's own transport, whose errors have no common class of Python's
            raise DataError(f"push={name}: the Hub cannot be reached ({_brief(error)})") from None
    return f"{done.repo_url if hasattr(done, 'repo_url') else where}: {num:,} rows in the format {form.name}"


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
