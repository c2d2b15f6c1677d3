"""Words -> stages. Prints; no logic. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from tutelage import __version__
from tutelage.errors import ConfigError, TutelageError
from tutelage.stages import WHAT

COMMANDS = {
    "study": "arms x seeds from one recipe, and a verdict: did the feedback help? (tutelage study miniature)",
    "bandit": "the paper's synthetic experiment (Figure 6), with its picture and a page to play with; seconds",
    "run": "the whole road from one recipe: tutelage run recipe.yaml [key=value ...]",
    "compare": "is one policy better than another? tutelage compare A B [C ...] [--json]",
    "power": "how small a difference can n prompts show? tutelage power n=805 [--json]",
    "cache": "tutelage cache stats|export|prune: the replies that are kept, what they cost, which can go",
    "data": "tutelage data formats|show|lint|leaks|tokens: look at data before anything is done with it",
    "export": "an artifact, or a file of any format -> a file (or a data set on the Hub) that another program takes",
    "winrate": "AlpacaEval's figures of a file of annotations: tutelage winrate annotations.json [--json]",
    "trace": "follow one prompt through all artifacts: tutelage trace <prompt id>",
    "miniature": "tutelage miniature build|prompts|pairs: make its base model, or prompts or pairs of its world",
    "train": "the original's spelling: tutelage train loss=sft|dpo ... is tutelage sft|dpo ...",
}
OPTIONS = {name: ("--json",) for name in ("winrate", "compare", "power")} | {"study": ("--dry-run", "--report")}
EPILOG = """\
Settings are key=value words: tutelage dpo model=artifacts/2-sft/run-1a2b3c4d loss.beta=0.1
tutelage <command> --help lists every key with its default, unit and meaning.
The artifact that a stage makes is printed to standard output, everything else to standard error."""


def _commands_text() -> str:
    table = {**WHAT, **COMMANDS}
    return "\n".join(f"  {name:<10} {what}" for name, what in table.items())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status: 0 done, 2 a mistake that the message explains, 130 stopped."""
    words = list(sys.argv[1:] if argv is None else argv)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    signal.signal(signal.SIGTERM, _stop)
    if os.environ.get("RANK", "0") != "0":  # one of several that torchrun started: the first one talks
        os.environ["TUTELAGE_QUIET"] = "1"
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
    try:
        _dispatch(words)
    except TutelageError as error:
        from tutelage.disk import visible

        # it quotes names and texts of foreign files, which must not move the cursor
        print("error:", "\n".join(map(visible, str(error).split("\n"))), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; what was done is kept, and the same command goes on from there", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `tutelage trace ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE  # as a program that the closed pipe had ended
    return 0


def _stop(number: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt


def _dispatch(words: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="tutelage",
        usage="tutelage <command> [key=value ...]",
        description="Align language models with AI feedback, and find out whether the feedback helped.\n\n"
        f"commands:\n{_commands_text()}",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tutelage {__version__}")
    if not words or words[0].startswith("-"):
        parser.parse_args(words)
        parser.print_help()
        return
    command, rest = words[0], words[1:]
    wants_help = any(word in ("-h", "--help") for word in rest)
    wants_estimate = "--estimate" in rest and (command in WHAT or command == "run")
    rest = [word for word in rest if word not in ("-h", "--help") and not (wants_estimate and word == "--estimate")]
    bad = [word for word in rest if word.startswith("-") and word not in OPTIONS.get(command, ())]
    if bad:
        raise ConfigError(
            f"{bad[0]}: there are no options but --help (and --estimate for stages and run, --json for winrate, "
            "compare and power, --dry-run and --report for study); settings are key=value words"
        )
    if command == "train" and wants_help:
        print(f"tutelage train loss=sft|dpo [key=value ...]\n  {COMMANDS['train']}; see their --help")
        return
    if command == "train":
        command, rest = _original_spelling(rest)
    if command in WHAT:
        _stage(command, rest, wants_help, wants_estimate)
    elif command == "run":
        _run(rest, wants_help, wants_estimate)
    elif command in COMMANDS:
        handlers: dict[str, Callable[[list[str], bool], None]] = {
            "bandit": _bandit,
            "study": _study,
            "cache": _cache,
            "data": _data,
            "export": _export,
            "trace": _trace,
            "miniature": _miniature,
            "winrate": _winrate,
            "compare": _compare,
            "power": _power,
        }
        handlers[command](rest, wants_help)
    else:
        import difflib

        near = difflib.get_close_matches(command, [*WHAT, *COMMANDS], 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{command!r} is no command{hint} (tutelage --help lists them)")


def _stage(name: str, words: list[str], wants_help: bool, wants_estimate: bool) -> None:
    from tutelage import stages

    stage = stages.get(name)
    if wants_help:
        from tutelage.help import stage_help

        print(stage_help(stage))
        return
    if wants_estimate:
        from tutelage import estimate
        from tutelage.chat.estimate import table

        print("\n".join(table(estimate.of_stage(stage, *stage.configure(words)))))
        return
    artifact = stage.run(*stage.configure(words))
    if artifact.record.win_rate is not None:
        from tutelage.progress import say
        from tutelage.stages.evaluate import in_words

        for line in in_words(artifact):
            say(line)
    print(artifact.path)


def _original_spelling(words: list[str]) -> tuple[str, list[str]]:
    loss = [word.partition("=")[2] for word in words if word.startswith("loss=")]
    if loss[:1] == ["sft"]:
        return "sft", [word for word in words if not word.startswith("loss=")]
    if loss:
        return "dpo", words
    raise ConfigError("tutelage train: give loss=sft or loss=dpo, or call tutelage sft or tutelage dpo")


def _run(words: list[str], wants_help: bool, wants_estimate: bool) -> None:
    from pathlib import Path

    from tutelage import pipeline

    if wants_help or not words:
        from tutelage.help import group_help

        print(group_help(pipeline.Recipe, "tutelage run recipe.yaml [key=value ...]"))
        return
    if "=" in words[0]:
        raise ConfigError(f"tutelage run: the first word is the recipe's path, found {words[0]!r}")
    recipe = pipeline.Recipe.load(Path(words[0]), words[1:])
    if wants_estimate:
        from tutelage import estimate
        from tutelage.chat.estimate import table

        print("\n".join(table(estimate.of_road(recipe))))
        return
    road = pipeline.run(recipe)
    print("\n".join(pipeline.summary(road)))


def _cache(words: list[str], wants_help: bool) -> None:
    from tutelage.chat import cache

    _action("cache", cache.ACTIONS, words, wants_help)


def _data(words: list[str], wants_help: bool) -> None:
    from tutelage.data import commands
    from tutelage.stages.tokens import TokensConfig, tokens

    # which knows models and their tokenizers, as `data` does not
    _action("data", {**commands.ACTIONS, "tokens": (TokensConfig, tokens)}, words, wants_help)


def _export(words: list[str], wants_help: bool) -> None:
    from tutelage.config import build, merge_words
    from tutelage.data.export import USAGE, ExportConfig, export
    from tutelage.help import group_help

    if wants_help:
        print(group_help(ExportConfig, f"{USAGE}\n  {COMMANDS['export']}"))
        return
    print(export(build(ExportConfig, merge_words(ExportConfig, {}, words), "tutelage export")))


def _trace(words: list[str], wants_help: bool) -> None:
    from pathlib import Path

    from tutelage.report.trace import trace

    usage = "tutelage trace <prompt id, or its beginning> [artifacts=artifacts]"
    settings = dict(word.split("=", 1) for word in words if "=" in word)
    ids = [word for word in words if "=" not in word]
    if wants_help:
        print(usage)
        return
    if len(ids) != 1 or settings.keys() - {"artifacts"}:
        raise ConfigError(f"expected one prompt id: {usage}")
    for line in trace(Path(settings.get("artifacts", "artifacts")), ids[0]):
        print(line)


def _study(words: list[str], wants_help: bool) -> None:
    from pathlib import Path

    from tutelage.help import group_help
    from tutelage.study import commands
    from tutelage.study.recipe import StudyRecipe

    options = [word for word in words if word.startswith("-")]
    words = [word for word in words if word not in options]
    if words[:1] == ["paper"]:
        _paper(words[1:], wants_help)
        return
    if wants_help or not words:
        print(group_help(StudyRecipe, commands.HELP))
        return
    if len(options) > 1:
        raise ConfigError(f"tutelage study: {' and '.join(options)} are two things; give one")
    if "=" in words[0]:
        raise ConfigError(
            f"tutelage study: the first word is the recipe's path, found {words[0]!r}: {commands.USAGE}"
        )
    recipe = StudyRecipe.load(Path(words[0]), words[1:])
    print(commands.dry_run(recipe) if options == ["--dry-run"] else commands.run(recipe, options == ["--report"]))


def _paper(words: list[str], wants_help: bool) -> None:
    from tutelage.config import build, merge_words
    from tutelage.help import group_help
    from tutelage.study.published import PaperConfig, paper

    if wants_help:
        print(group_help(PaperConfig, "tutelage study paper [out=paper] [study=FOLDER]"))
        return
    print(paper(build(PaperConfig, merge_words(PaperConfig, {}, words), "tutelage study paper")))


def _bandit(words: list[str], wants_help: bool) -> None:
    from tutelage.bandit.settings import Config
    from tutelage.config import build, merge_words
    from tutelage.help import group_help

    if wants_help:
        print(group_help(Config, f"tutelage bandit [key=value ...]\n  {COMMANDS['bandit']}"))
        return
    from tutelage.bandit import command  # numpy comes with it

    print(command.run(build(Config, merge_words(Config, {}, words), "tutelage bandit")))


def _miniature(words: list[str], wants_help: bool) -> None:
    from tutelage.miniature import commands

    _action("miniature", commands.ACTIONS, words, wants_help)


def _winrate(words: list[str], wants_help: bool) -> None:
    from pathlib import Path

    from tutelage.config import build, merge_words
    from tutelage.disk import dump_json
    from tutelage.help import group_help
    from tutelage.measure import commands

    if wants_help:
        print(group_help(commands.WinrateConfig, f"{commands.USAGE}\n  {COMMANDS['winrate']}"))
        return
    path, *settings = [word for word in words if word != "--json"] or [""]
    if path.partition("=")[0] in ("", *commands.WinrateConfig.model_fields):
        raise ConfigError(f"tutelage winrate: the first word is the path of the annotations: {commands.USAGE}")
    config = build(commands.WinrateConfig, merge_words(commands.WinrateConfig, {}, settings), "tutelage winrate")
    report = commands.winrate(Path(path), config)
    print(dump_json(report.as_json()) if "--json" in words else report.text())


def _compare(words: list[str], wants_help: bool) -> None:
    from pathlib import Path

    from tutelage.config import build, merge_words
    from tutelage.disk import dump_json
    from tutelage.help import group_help
    from tutelage.measure.comparing import USAGE, CompareConfig, compare_files

    if wants_help:
        print(group_help(CompareConfig, f"{USAGE}\n  {COMMANDS['compare']}"))
        return
    # A path may hold an equals sign, so a word is a setting unless something of that name is there.
    settings = [word for word in words if "=" in word and not Path(word).exists()]
    paths = [Path(word) for word in words if word not in settings and word != "--json"]
    config = build(CompareConfig, merge_words(CompareConfig, {}, settings), "tutelage compare")
    found = compare_files(paths, config)
    print(dump_json(found.as_json()) if "--json" in words else found.text())


def _power(words: list[str], wants_help: bool) -> None:
    from tutelage.config import build, merge_words
    from tutelage.disk import dump_json
    from tutelage.help import group_help
    from tutelage.measure import power

    if wants_help:
        print(group_help(power.PowerConfig, f"tutelage power [key=value ...] [--json]\n  {COMMANDS['power']}"))
        return
    settings = [word for word in words if word != "--json"]
    config = build(power.PowerConfig, merge_words(power.PowerConfig, {}, settings), "tutelage power")
    print(dump_json(power.tree(config)) if "--json" in words else power.text(config))


def _action(
    command: str, actions: Mapping[str, tuple[Any, Callable[[Any], object]]], words: list[str], wants_help: bool
) -> None:
    """Run one of a command's actions: the first word names it, the others are its settings."""
    from tutelage.config import build, merge_words, nearest
    from tutelage.help import group_help

    name = words[0] if words else ""
    if name not in actions and not wants_help:
        near = nearest(name, list(actions))
        known = ", ".join(actions)
        raise ConfigError(f"tutelage {command}: expected one of {known}{near} (--help says what they take)")
    if wants_help:
        for each, (config, _) in actions.items() if name not in actions else [(name, actions[name])]:
            print(group_help(config, f"tutelage {command} {each} [key=value ...]"), end="\n\n")
        return
    config, act = actions[name]
    print(act(build(config, merge_words(config, {}, words[1:]), f"tutelage {command} {name}")))
