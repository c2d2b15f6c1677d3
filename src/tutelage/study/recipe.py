"""A study's recipe: who teaches, who criticises, who judges, which arms there are, and how often each is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tutelage.chat import Budget, Endpoint
from tutelage.config import Folder, Group, StageConfig, Tree, build, load_yaml, merge_words
from tutelage.data.leaks import Leakage
from tutelage.data.split import Size
from tutelage.errors import ConfigError
from tutelage.findings import Feedback, Rule
from tutelage.generate.settings import Drawing
from tutelage.inputs import Model, Prompts, Rows
from tutelage.records import digest
from tutelage.stages.asking import Asking
from tutelage.stages.dpo import Config as DpoConfig
from tutelage.stages.judging import Critic, Judging
from tutelage.stages.label import Config as LabelConfig
from tutelage.stages.prefer import Config as PreferConfig
from tutelage.stages.sample import Config as SampleConfig
from tutelage.stages.sft import Config as SftConfig
from tutelage.stages.teach import Config as TeachConfig

_NAME = r"^[\w.+-]{1,60}$"
OWN = "teacher"
"""As an arm's critic: its own teacher."""
SHIPPED = Path(__file__).parent.parent / "presets" / "study"
"""Recipes that come with the package: `tutelage study miniature`."""


class Teacher(Group):
    """A model that is asked, or completions that are there already."""

    shorthand: ClassVar[str | None] = "endpoint"
    endpoint: Endpoint | None = Field(None, description="the model that is asked")
    completions: Rows | None = Field(None, description="what it wrote, if it need not be asked")

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.endpoint is None) == (self.completions is None):
            raise ValueError("give endpoint (a model to ask) or completions (what it wrote), one of them")
        return self

    @property
    def says_it_is(self) -> str:
        """What the teacher is, for people."""
        if self.endpoint is not None:
            return self.endpoint.model
        assert self.completions is not None
        return self.completions.author or self.completions.path


class World(Group):
    """Prompts of the miniature world, to train on and to evaluate on."""

    num_prompts: int = Field(1500, ge=40, description="to train on", json_schema_extra={"unit": "prompts"})
    num_evaluation: int = Field(500, ge=10, description="held out", json_schema_extra={"unit": "prompts"})
    seed: int = Field(0, ge=0, le=2**31 - 2, description="of the prompts")


class Evaluation(Group):
    """What all arms are compared with, and on which prompts; the same for every arm and seed."""

    prompts: Prompts | None = Field(None, description="to evaluate on; null: those of the baseline, or held_out")
    held_out: Size = Field(0.0, description="of the training prompts, kept apart to evaluate on: a fraction or count")
    baseline: Rows | None = Field(None, description="completions of the opponent, such as text_davinci_003's")
    teacher: str | None = Field(None, description="this teacher is the opponent, asked about the evaluated prompts")
    seed: int = Field(1000, ge=0, le=2**31 - 1, description="of its completions: not those that are learnt")

    @model_validator(mode="after")
    def _has_one_opponent(self) -> Self:
        if (self.baseline is None) == (self.teacher is None):
            raise ValueError("give baseline (completions) or teacher (asked for them), one of them")
        if self.prompts is not None and self.held_out:
            raise ValueError("give prompts or held_out, not both")
        return self


class Arm(Group):
    """One way to train the student. Settings that are lists under `axes` make one arm for each value."""

    teacher: str = Field(description="whose completions SFT learns: a name under teachers")
    fraction: float = Field(1.0, gt=0, le=1, description="of the prompts, those whose completions SFT learns")
    feedback: Feedback = Field(
        "none",
        description="on the student's completions of the other prompts. dpo: learns the critic's preferences; "
        "best_of_n: SFT on the completions that the critic chose; shuffled: dpo with random labels",
    )
    pairs: Literal["own", "teacher"] = Field(
        "own",
        description="what the critic compares: completions of the student's own; or each of them with the teacher's "
        "of the same prompt, as the paper's code did (they are asked for, or taken from its file)",
    )
    critic: str | None = Field(
        None, description=f"a name under critics; {OWN}: the arm's own teacher; null: the only one"
    )
    model: str | None = Field(None, description="the student before: a name under models; null: the only one")
    sft: dict[str, Any] = Field({}, description="settings of this arm alone, laid over those of the recipe")
    sample: dict[str, Any] = Field({}, description="the same")
    label: dict[str, Any] = Field({}, description="the same")
    prefer: dict[str, Any] = Field({}, description="the same")
    dpo: dict[str, Any] = Field({}, description="the same; of best_of_n, its second SFT")
    axes: dict[str, list[Any]] = Field(
        {}, description="dotted keys with lists of values, such as dpo.loss.beta: [0.05, 0.1]; one arm for each"
    )


class Evaluating(StageConfig, Asking):
    """How completions are drawn for evaluation, and how pairs are shown to the judges."""

    judging: Judging = Judging()
    drawing: Drawing = Drawing()


class StudyRecipe(Group):
    """Arms that differ in one thing, from one frozen split, and what they are compared in."""

    name: str = Field("study", pattern=_NAME, description="label of all artifacts")
    artifacts: Folder = Field(Path("artifacts"), description="folder that holds all artifacts")
    out: Path | None = Field(None, description="folder for study.json, the report and figures; null: study-NAME")
    models: dict[str, Model] = Field(min_length=1, description="students before training, by names of yours")
    prompts: Prompts | None = Field(None, description="to train on")
    miniature: World | None = Field(None, description="prompts of the miniature world in place of prompts")
    evaluation: Evaluation
    leakage: Leakage = Leakage()
    budget: Budget = Budget()
    teachers: dict[str, Teacher] = Field(min_length=1, description="by names of yours, the weaker first")
    critics: dict[str, Critic] = Field({}, description="by names of yours; they label training pairs")
    judges: dict[str, Critic] = Field(
        min_length=1, description="by names of yours; they decide win rates, the first one the verdict"
    )
    own_completions: dict[str, str] = Field(
        {}, description="of a critic, the teacher whose completions are its own; known where both are one model"
    )
    allow_self_judging: bool = Field(False, description="let a judge be the model that was the critic")
    seeds: tuple[int, ...] = Field(
        (0, 1, 2), min_length=1, description="each arm is trained once for each; of training, samples and orders"
    )
    split_seed: int = Field(
        0,
        ge=0,
        le=2**31 - 1,
        description="of the order of prompts that fractions are taken in; the same for all arms",
    )
    sft_fraction: float = Field(0.1, gt=0, lt=1, description="of the default arms: the paper's 10 %")
    sft_small: dict[str, Any] = Field(
        {}, description="of the default arms that learn sft_fraction: settings laid over sft, such as {epochs: 9}"
    )
    arms: dict[str, Arm] = Field({}, description="by names of yours; none: the paper's comparison with its controls")
    comparisons: tuple[tuple[str, str], ...] = Field(
        (), description="[first, second] arms; none: what feedback adds, and what it is to be held against"
    )
    match: Rule = Field(
        "prompts", description="what arms are equal in for the verdict; the report shows prompts, dollars and tokens"
    )
    margin: float = Field(
        3.0,
        gt=0,
        description="the smallest gain of interest: an interval wholly below it is no gain",
        json_schema_extra={"unit": "points"},
    )
    agreement_pairs: int = Field(
        100, ge=0, description="labelled pairs of each arm that the judges are asked about as well; 0: none"
    )
    shown: int = Field(50, ge=0, description="comparisons with their texts in the report")
    teach: TeachConfig = TeachConfig()
    sft: SftConfig = SftConfig()
    sample: SampleConfig = SampleConfig()
    label: LabelConfig = LabelConfig()
    prefer: PreferConfig = PreferConfig()
    dpo: DpoConfig = DpoConfig()
    evaluate: Evaluating = Evaluating()
    workers: int = Field(
        1, ge=1, le=64, description="stages that run at once, each in a process", json_schema_extra={"runtime": True}
    )

    @model_validator(mode="after")
    def _settings_are_the_studys(self) -> Self:
        problems = []
        for stage in _SET_BY_STUDY:
            problems += set_by_study(stage, getattr(self, stage).model_dump(exclude_unset=True), f"{stage}.")
        if self.sft_small and self.arms:
            problems.append("sft_small: read by the default arms; give sft to an arm that is to have its own")
        if len(set(self.seeds)) < len(self.seeds):
            problems.append(f"seeds: {list(self.seeds)} has one of them twice")
        if wrong := [seed for seed in self.seeds if not 0 <= seed < 2**31]:
            problems.append(f"seeds: found {wrong[0]}; expected numbers from 0 to {2**31 - 1}")
        if (self.prompts is None) == (self.miniature is None):
            problems.append("give prompts (to train on) or miniature (its prompts), one of them")
        if self.miniature is not None and (self.evaluation.prompts or self.evaluation.held_out):
            problems.append("evaluation.prompts: miniature has prompts to evaluate on; leave it and held_out out")
        if self.evaluation.teacher is not None and not (
            self.miniature or self.evaluation.prompts or self.evaluation.held_out
        ):
            problems.append("evaluation.teacher: on which prompts? give evaluation.prompts or evaluation.held_out")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def folder(self) -> Path:
        """Where the report goes."""
        return self.out or Path(f"study-{self.name}")

    @classmethod
    def load(cls, path: Path, words: Sequence[str] = ()) -> StudyRecipe:
        """Read a recipe, or one that comes with the package (`miniature`), and lay `words` over it.

        Raises:
            ConfigError: names every key that is wrong.
        """
        shipped = SHIPPED / f"{path}.yaml"
        if not path.exists() and len(path.parts) == 1 and not path.suffix and shipped.is_file():
            path = shipped
        recipe = build(cls, merge_words(cls, load_yaml(path), words), f"{path}")
        recipe.check_names()
        return recipe

    def check_names(self) -> None:
        """Refuse names that name nothing, and a judge that is the critic.

        Raises:
            ConfigError: names the key, and what there is.
        """
        problems = []
        if (name := self.evaluation.teacher) is not None and name not in self.teachers:
            problems.append(_unknown("evaluation.teacher", name, "teachers", self.teachers))
        for critic, teacher in self.own_completions.items():
            problems += (
                [] if critic in self.critics else [_unknown("own_completions", critic, "critics", self.critics)]
            )
            if teacher not in self.teachers:
                problems.append(_unknown(f"own_completions.{critic}", teacher, "teachers", self.teachers))
        judges: dict[str, str] = {}
        for name, judge in self.judges.items():
            other = judges.setdefault(digest(judge.identity()), name)
            if other != name:
                problems.append(f"judges.{name}: the same as judges.{other}; leave one of them out")
        for name in (*self.teachers, *self.critics, *self.judges, *self.models):
            if name in (OWN, "NAME") or not set(name) <= ALLOWED:
                problems.append(f"{name!r}: no name for a model of a study; letters, digits, . + - and _ make one")
        if problems:
            raise ConfigError("\n  ".join([f"study {self.name}: {len(problems)} problem(s)", *problems]))


ALLOWED = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-")
"""Characters of the names of arms and models: they end up in labels and folders."""
_COMMON = {"label": "name", "artifacts": "artifacts"}
_SET_BY_STUDY: Mapping[str, Mapping[str, str]] = {
    "teach": _COMMON | {"teacher": "teachers", "share": "fraction of an arm", "share_seed": "split_seed"},
    "sft": _COMMON | {"seed": "seeds", "share": "fraction of an arm", "share_seed": "split_seed"},
    "sample": _COMMON | {"seed": "seeds", "share": "fraction of an arm", "share_seed": "split_seed"},
    "label": _COMMON | {"critic": "critics", "seed": "seeds"},
    "prefer": _COMMON | {"seed": "seeds", "shuffled": "feedback: shuffled of an arm"},
    "dpo": _COMMON | {"seed": "seeds"},
    "evaluate": _COMMON | {"judging.seed": "seeds"},
}


def set_by_study(stage: str, given: Tree, where: str) -> list[str]:
    """Return a sentence for each setting among those `given` for a stage that the study itself sets."""
    return [
        f"{where}{key}: set by the study; give {instead}"
        for key, instead in _SET_BY_STUDY[stage].items()
        if _has(given, key)
    ]


def _has(tree: Any, key: str) -> bool:
    name, _, rest = key.partition(".")
    return isinstance(tree, dict) and name in tree and (not rest or _has(tree[name], rest))


def _unknown(key: str, name: str, where: str, known: Mapping[str, object]) -> str:
    return f"{key}: found {name!r}; expected a name under {where} ({', '.join(known) or 'there is none'})"


def laid_over(config: StageConfig, changes: Tree) -> Tree:
    """Return the settings that were given for `config`, with `changes` over them, group by group."""

    def merge(base: Any, over: Any) -> Any:
        if not (isinstance(base, dict) and isinstance(over, dict)):
            return over
        return base | {key: merge(base.get(key), value) for key, value in over.items()}

    merged: Tree = merge(config.model_dump(exclude_unset=True, mode="json"), changes)
    return merged
