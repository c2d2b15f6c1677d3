"""A data set's card: what is in it, and where all of it comes from, down to the models and files it began with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from tutelage import __version__
from tutelage.data.formats.item import Format
from tutelage.disk import dump_json, file_hash, is_file, visible
from tutelage.errors import StoreError
from tutelage.inputs import Selected, Source
from tutelage.store import Artifact, flatten, is_artifact


def card(file: Path, rows: Source, form: Format, num: int, counts: Mapping[str, int]) -> str:
    """Return a README.md for the Hub: its header, what the rows are, and the provenance.

    No licence is named: it is that of the texts, which whoever publishes them has to know.
    """
    lines = [
        "---",
        "tags: [tutelage, synthetic]",
        "configs:",
        "- config_name: default",
        f"  data_files: {dump_json(file.name)}",
        "---",
        "",
        f"# {visible(file.name)}",
        "",
        f"{num:,} rows in the format `{form.name}`: {form.says}.",
        f"Written by tutelage {__version__}; SHA-256 of the file: `{file_hash(file)}`.",
        "",
    ]
    left_out = {what: n for what, n in counts.items() if n}
    if left_out:
        lines += ["Not written:", "", *(f"- {n:,} {visible(what)}" for what, n in left_out.items()), ""]
    lines += ["## Where it is from", ""]
    lines += _source(rows) or _file(rows)
    return "\n".join(lines) + "\n"


def _file(rows: Source) -> list[str]:
    known = f" (SHA-256 `{file_hash(Path(rows.path))}`)" if is_file(rows.path) else ""
    return [f"- `{visible(Path(rows.path).name)}`{known}"]


def _source(rows: Source) -> list[str]:
    made = rows.artifact()
    if made is None:
        return []
    usual = {name: field.default for name, field in Selected.model_fields.items()}
    taken = {key: value for key, value in rows.selected().items() if value != usual[key]}
    said = [f"Of the first, these were taken: `{dump_json(taken)}`.", ""] if taken else []
    return [*said, *(line for each in ancestors(made) for line in _about(each))]


def ancestors(made: Artifact) -> Iterator[Artifact]:
    """Yield an artifact and those it was made of, as far as they are still there; each once, the latest first."""
    waiting, seen = [made], set()
    while waiting:
        each = waiting.pop(0)
        if each.record.fingerprint in seen:
            continue
        seen.add(each.record.fingerprint)
        yield each
        for given in each.record.inputs.values():
            if given.artifact is not None and is_artifact(given.path):
                try:
                    waiting.append(Artifact.open(given.path))
                except StoreError:  # of another version: its fingerprint is named all the same
                    continue


def _about(made: Artifact) -> Iterator[str]:
    record = made.record
    yield f"### {record.stage}: {record.label}-{record.fingerprint[:8]}"
    yield ""
    yield f"- fingerprint `{record.fingerprint}`, content `{record.content}`, finished {record.finished_at}"
    for name, given in record.inputs.items():
        what = f"artifact `{given.artifact}`" if given.artifact else f"`{visible(Path(given.path).name)}`"
        yield f"- {name}: {what}"
    settings = {k: v for k, v in flatten(record.identity).items() if v not in (None, (), []) and k != "stage"}
    yield f"- settings: `{visible(dump_json(settings))}`"
    counts = ", ".join(f"{n:,} {visible(what)}" for what, n in record.counts.items() if n)
    yield f"- counts: {counts or 'none'}"
    if record.bill is not None:
        paid = record.bill.paid
        dollars = "price unknown" if paid.dollars is None else f"${paid.dollars:.4f}"
        yield f"- paid: {paid.requests:,} replies, {paid.tokens:,} tokens, {dollars}"
    yield f"- code: {', '.join(f'{name} {version}' for name, version in record.code.items())}"
    yield ""
