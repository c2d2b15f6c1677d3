"""What a stage takes: files of rows, artifacts of earlier stages, and models. Each knows its own content.

An input's identity is its content (for an artifact also its fingerprint), never its path: a moved file is
the same input, an edited one is another.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tutelage.config import Group, Tree
from tutelage.disk import file_hash, is_file, is_folder
from tutelage.errors import DataError, ModelError, StoreError
from tutelage.places import data_hash, find, is_data_set
from tutelage.store import Artifact, InputRecord, is_artifact

Part = Literal["sft", "preference", "validation", "evaluation"]
"""What the prompts of a split are for."""
SHIPPED = resources.files("tutelage") / "miniature" / "base"
"""The folder of the model that is named 'miniature'."""


class Input(Group):
    """A thing on disk (or on the Hub) that a stage reads."""

    shorthand: ClassVar[str | None] = "path"
    path: str = Field(min_length=1, description="where it is")

    def artifact(self) -> Artifact | None:
        """Return the artifact this is, or None if it is something else."""
        return Artifact.open(self.path) if is_artifact(self.path) else None

    def record(self) -> InputRecord:
        """Return what `record.json` says of this input."""
        made = self.artifact()
        return InputRecord(path=self.path, artifact=made.record.fingerprint if made else None)

    def records(self, name: str) -> dict[str, InputRecord]:
        """Return what `record.json` says of this input, which is called `name`."""
        return {name: self.record()}

    def require(self, *stages: str) -> Artifact:
        """Return the artifact, which must come from one of `stages`."""
        if is_file(self.path):
            raise DataError(f"{self.path}: is a file; expected an artifact folder made by {' or '.join(stages)}")
        made = Artifact.open(self.path)
        if made.record.stage not in stages:
            ready = made.record.stage in ("import", "label", "panel") and "prefer" in stages
            to_do = f"; `tutelage prefer verdicts={self.path}` makes one of its verdicts" if ready else ""
            raise StoreError(
                f"{self.path}: was made by {made.record.stage}; expected an artifact of {' or '.join(stages)}{to_do}"
            )
        return made


class Selected(Input):
    """An input of which a part of the prompts is taken, with all rows that belong to them."""

    part: Part | None = Field(None, description="only prompts of this part of a split")
    part_of: str | None = Field(None, description="artifact of split that part is meant of; null: path is one")
    fraction: float = Field(1.0, gt=0, le=1, description="of the prompts, taken by a seeded order of its own")
    fraction_seed: int = Field(0, ge=0, le=2**31 - 1, description="of that order, for max_prompts too")
    max_prompts: int | None = Field(None, ge=1, description="at most so many prompts, the first of that order")

    @model_validator(mode="after")
    def _part_is_named(self) -> Self:
        if self.part_of is not None and self.part is None:
            raise ValueError("part_of is given without part; say which part of the split is taken: part=sft")
        return self

    def records(self, name: str) -> dict[str, InputRecord]:
        """Return what `record.json` says of this input, and of the split that it is a part of."""
        split = {} if self.part_of is None else {f"{name}.part_of": Input(path=self.part_of).record()}
        return super().records(name) | split

    def asked_for(self) -> str:
        """Say which part is taken, for the end of a message; nothing if all of it is."""
        said = [f"part={self.part}"] if self.part is not None else []
        said += [f"fraction={self.fraction:g}"] if self.fraction < 1 else []
        said += [f"max_prompts={self.max_prompts}"] if self.max_prompts is not None else []
        return f" (asked for: {', '.join(said)})" if said else ""

    def selected(self) -> Tree:
        """Return what identity says of the part that is taken."""
        names = ("part", "fraction", "fraction_seed", "max_prompts")
        tree = {name: getattr(self, name) for name in names}
        return tree if self.part_of is None else tree | {"part_of": _identity_of(Artifact.open(self.part_of))}


class Finished(Selected):
    """An artifact of an earlier stage."""

    path: str = Field(min_length=1, description="an artifact folder")

    def identity(self) -> Tree:
        """Return what the artifact is, and what of it is taken."""
        return _identity_of(Artifact.open(self.path)) | self.selected()


class Several(Group):
    """Artifacts of an earlier stage, two or more, in the order given."""

    shorthand: ClassVar[str | None] = "paths"
    paths: tuple[str, ...] = Field(min_length=2, description="artifact folders, two or more: [FOLDER,FOLDER]")

    def each(self) -> tuple[Finished, ...]:
        """Return them one by one."""
        return tuple(Finished(path=path) for path in self.paths)

    def identity(self) -> Tree:
        """Return what each of the artifacts is."""
        return {str(number): each.identity() for number, each in enumerate(self.each(), 1)}

    def records(self, name: str) -> dict[str, InputRecord]:
        """Return what `record.json` says of them."""
        return {f"{name}.{number}": each.record() for number, each in enumerate(self.each(), 1)}


class Prompts(Selected):
    """Prompts: of an artifact, or of rows from elsewhere, in any known format."""

    preset_group: ClassVar[str | None] = "data"
    preset_optional: ClassVar[tuple[str, ...]] = ("author",)
    path: str = Field(
        min_length=1,
        description="an artifact folder; a file (.jsonl, .json, .csv, .tsv, .parquet; of texts .gz too); a folder of "
        "such files, or one that datasets saved; a name on the Hugging Face Hub. What is not there is looked for "
        "below the folder that $TUTELAGE_DATA names",
    )
    format: str | None = Field(
        None,
        description="how the rows are written (tutelage data formats lists them); null: recognised by its fields",
    )
    subset: str | None = Field(
        None, description="of a data set: its configuration, or folder of files; null: the only one"
    )
    split: str | None = Field(None, description="of a data set, such as train; null: the only one, or train")
    revision: str | None = Field(None, description="of a data set on the Hub: branch, tag or commit; null: main")
    header: tuple[str, ...] = Field((), description="names of the columns of a .csv or .tsv without a line of them")
    prompt_field: str | None = Field(None, description="field that holds the prompt; null: the format's own")
    num_turns: int | None = Field(
        None, ge=1, description="assistant turns of a conversation that are read; null: as the format says"
    )
    without: tuple[str, ...] = Field((), description="texts; a row that contains one is skipped, and counted")
    max_words: int | None = Field(None, ge=1, description="longest prompt; longer ones are skipped, and counted")
    max_chars: int | None = Field(None, ge=1, description="the same in characters")

    def identity(self) -> Tree:
        """Return the artifact's fingerprint, or the file's hash and how it is read; and what of it is taken.

        Of a data set of the Hub it is the name and the commit that is really read.
        """
        made = self.artifact()
        if made is not None:
            return _identity_of(made) | self.selected()
        names = set(type(self).model_fields) - set(Selected.model_fields)
        return {name: _plain(getattr(self, name)) for name in sorted(names)} | self._content() | self.selected()

    def _content(self) -> Tree:
        place = find(self.path, self.revision)
        if place.commit is not None:
            return {"path": self.path, "revision": place.commit}
        if is_folder(place.path) and not is_data_set(place.path):
            Artifact.open(place.path)  # explains what is missing
        return {"content": data_hash(place)}


class Rows(Prompts):
    """Prompts with completions: an artifact, or rows from elsewhere."""

    completion_field: str | None = Field(None, description="field that holds the completion; null: the format's own")
    author_field: str | None = Field(None, description="field that says who wrote it; null: the format's own")
    author: str | None = Field(None, description="who wrote the completions, whatever the rows say")


class Pairs(Prompts):
    """Pairs of completions: an artifact of label, evaluate or import, or rows from elsewhere that compare two."""

    path: str = Field(
        min_length=1,
        description="an artifact of label, evaluate or import; or a file or data set of preferences in any known "
        "format, such as alpaca_eval's annotations: output_1, output_2, and if known generator_1 and _2, score_1 and "
        "_2, preference",
    )
    chosen_field: str | None = Field(
        None, description="field that holds the better completion; null: the format's own"
    )
    rejected_field: str | None = Field(None, description="field that holds the worse one; null: the format's own")


class Source(Rows, Pairs):
    """Rows from elsewhere: prompts, completions, or preferences."""


class Pretrained(Input):
    """What both kinds of Hugging Face model have in common; a stage takes one of them."""

    word: ClassVar[str]
    """The key that it is given under."""
    holds: ClassVar[str]
    made_by: ClassVar[tuple[str, ...]]
    """The stages whose artifacts hold one."""
    archive_name: ClassVar[str]
    """What the research code calls its weights in the folder of a run."""

    revision: str | None = Field(None, description="branch, tag or commit on the Hub; null: main")
    chat_format: str | None = Field(
        None,
        description="how turns are written: human_assistant, chatml, original (the research code's), or a .jinja "
        "file; null: the chat template stored with the model",
    )
    archive: str | None = Field(
        None,
        description="weights of the research code, which take the place of the model's own: its policy.pt (of a "
        "reward model: checkpoint.pt) or the folder of it; it wrote turns as chat_format=original does",
    )

    def identity(self) -> Tree:
        """Return the artifact's fingerprint, the hash of the folder's files, or the Hub name and revision.

        Raises:
            ModelError: no such folder or archive.
        """
        weights = {} if self.archive is None else {"archive": file_hash(self.archive_file())}
        return self._identity() | weights

    def _identity(self) -> Tree:
        chat_format = self.chat_format
        if chat_format is not None and chat_format.endswith(".jinja") and is_file(chat_format):
            chat_format = file_hash(Path(chat_format))
        made = self.artifact()
        if made is not None:
            return _identity_of(made) | {"chat_format": chat_format}
        if is_folder(self.folder()):
            return {"content": folder_hash(Path(self.folder())), "chat_format": chat_format}
        if self.path.startswith((".", "/", "~")) or self.path.endswith("/"):
            raise ModelError(f"{self.path}: no such model folder")
        return {"path": self.path, "revision": self.revision, "chat_format": chat_format}

    def author(self) -> str:
        """Return how completions of this model are signed: by what it is, not by where it lies or its label."""
        made = self.artifact()
        if made is not None:
            return f"{made.record.stage}-{made.record.fingerprint[:8]}"
        if self.archive is not None:
            return f"archive-{file_hash(self.archive_file())[:8]}"
        content = self.identity().get("content")
        return f"model-{content[:8]}" if content else self.path

    def archive_file(self) -> Path:
        """Return the file that `archive` names.

        Raises:
            ModelError: none is named, there is no such file, or the model is an artifact and so has its weights.
        """
        if self.archive is None:
            raise ModelError(f"{self.path}: no archive is given")
        if self.artifact() is not None:
            raise ModelError(
                f"{self.path}: an artifact has weights of its own, {self.word}.archive={self.archive} has others; "
                "give one of the two (an archive goes with the model it was trained from)"
            )
        path = Path(self.archive, self.archive_name) if is_folder(self.archive) else Path(self.archive)
        if not is_file(path):
            raise ModelError(f"{path}: no such file; {self.word}.archive is the research code's {self.archive_name}")
        return path

    def folder(self) -> str:
        """Return what `from_pretrained` takes: the checkpoint of an artifact, a folder, or a Hub name.

        Raises:
            ModelError: an artifact without a checkpoint.
        """
        made = self.artifact()
        if made is None:
            return str(SHIPPED) if self.path == "miniature" else self.path
        if made.record.checkpoint is None or made.record.stage not in self.made_by:
            raise ModelError(
                f"{self.path}: a {made.record.stage} artifact holds no {self.holds}; "
                f"give one made by {' or '.join(self.made_by)}, a model folder, or a Hub name"
            )
        return str(made.path / made.record.checkpoint.path)


class Model(Pretrained):
    """A Hugging Face causal language model."""

    word, holds, made_by, archive_name = "model", "language model", ("sft", "dpo"), "policy.pt"
    preset_group: ClassVar[str | None] = "model"
    path: str = Field(
        min_length=1,
        description="an artifact of sft or dpo, a model folder, a name on the Hugging Face Hub, or "
        "'miniature' (the small base model that comes with the package)",
    )


class RewardModel(Pretrained):
    """A Hugging Face sequence classifier with one label, which scores a completion alone."""

    word, holds, made_by, archive_name = "reward_model", "reward model", ("reward",), "checkpoint.pt"
    path: str = Field(
        min_length=1, description="an artifact of reward, a model folder, or a name on the Hugging Face Hub"
    )


def _identity_of(made: Artifact) -> Tree:
    """What was asked for, and what came of it: made again elsewhere, it may hold other rows or weights."""
    return {"artifact": made.record.fingerprint, "content": made.record.content}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def folder_hash(folder: Path) -> str:
    """Return a hash over the names and contents of the model files in `folder`."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")):
        total.update(f"{path.name}:{file_hash(path)}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()
