"""The evaluators of alpaca_eval: their prompts, parsers and decoding, read from its files without importing it.

Nothing of it is copied here. An evaluator is a folder with a `configs.yaml`, beside the other evaluators; it is
found in an installed `alpaca_eval`, or given as a path. Replies are read as alpaca_eval 0.6.6 reads them, with one
exception: a ranking that gives both completions one rank is a tie, where alpaca_eval sees a win of the first.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tutelage.config import Tree, load_yaml
from tutelage.critic.parse import INVALID, Heard, Parser, Read, letters, of_probability
from tutelage.critic.template import Template
from tutelage.errors import ConfigError
from tutelage.records import Role

HOW_TO_GET_IT = (
    "evaluators of alpaca_eval are read from the installed package (pip install 'tutelage[alpaca_eval]') or from a "
    "folder: give its path, such as evaluators_configs/alpaca_eval_gpt4"
)
FIELDS = ("instruction", "output_1", "output_2")
PROVIDERS = {
    "openai_completions": "openai",
    "anthropic_completions": "anthropic_2023",
    "bedrock_anthropic_completions": "bedrock",
}
"""Which preset reaches the models of an evaluator. Others (vllm, cohere, ...) need an address from the user."""
_DEFAULT_PARSER = "regex_parser"


def _installed() -> Path | None:
    """The folder of all evaluators of the installed package."""
    found = find_spec("alpaca_eval")
    places = list(found.submodule_search_locations or ()) if found else []
    return Path(places[0]) / "evaluators_configs" if places else None


def names() -> list[str]:
    """Return the evaluators that the installed package has; none if it is not installed."""
    folder = _installed()
    return sorted(p.parent.name for p in folder.glob("*/configs.yaml")) if folder else []


def folder_of(name_or_path: str) -> Path | None:
    """Return the folder of an evaluator, or None if there is none of that name or path."""
    if "/" in name_or_path or name_or_path in (".", ".."):
        folder = Path(name_or_path)
    elif (installed := _installed()) and re.fullmatch(r"[\w.+-]+", name_or_path):
        folder = installed / name_or_path
    else:
        return None
    return folder if (folder / "configs.yaml").is_file() else None


def read_config(folder: Path) -> Tree:
    """Return the settings of an evaluator, as its configs.yaml states them.

    Raises:
        ConfigError: the file is broken, or it is an evaluator that cannot be matched: one that asks about several
            pairs in one prompt, or a pool of several annotators.
    """
    path = folder / "configs.yaml"
    annotators = load_yaml(path)
    if len(annotators) != 1:
        raise ConfigError(
            f"{path}: a pool of {len(annotators)} annotators ({', '.join(map(str, annotators))}); one evaluator at a "
            "time can be asked: label with each, then tutelage panel"
        )
    config = next(iter(annotators.values()))
    if not isinstance(config, dict) or not isinstance(config.get("completions_kwargs"), dict):
        raise ConfigError(f"{path}: expected prompt_template, fn_completions and completions_kwargs")
    if int(config.get("batch_size") or 1) != 1:
        raise ConfigError(
            f"{path}: asks about {config['batch_size']} pairs in one prompt, so that a verdict depends on its "
            "neighbours; only evaluators with batch_size 1 can be used"
        )
    return config


def read_template(folder: Path, config: Tree) -> Template:
    """Return an evaluator's prompt. It is split into messages before anything is filled in.

    Raises:
        ConfigError: the file is not there, or a field of a pairwise prompt is missing.
    """
    path = folder.parent / str(config.get("prompt_template"))
    if not path.is_file():
        path = folder / str(config.get("prompt_template"))
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder}/configs.yaml: prompt_template {path}: cannot be read ({error})") from None
    missing = [f"{{{field}}}" for field in FIELDS if f"{{{field}}}" not in text]
    if missing:
        raise ConfigError(f"{path}: the field {', '.join(missing)} does not occur in it")
    return Template(folder.name, _messages(text), FIELDS, strips=True)


def _messages(text: str) -> tuple[tuple[Role, str], ...]:
    if "<|im_start|>" not in text:  # a prompt for a completion API; the marks of its turns are no text
        plain = re.sub(r"\A\s*Human:|Assistant:\s*\Z", "", text)
        return (("user", plain.strip()),)
    found: list[tuple[Role, str]] = []
    for turn in text.split("<|im_start|>")[1:]:
        header, _, rest = turn.partition("\n")
        role: Role = "system" if header.startswith("system") else "assistant" if "assistant" in header else "user"
        found.append((role, rest.split("<|im_end|>", 1)[0].strip()))
    return tuple(found)


def decoding(config: Tree) -> Tree:
    """Return temperature, top_p, max_tokens, top_logprobs and tool, as the evaluator's decoder would send them."""
    asked = config["completions_kwargs"]
    limits = [asked[name] for name in ("max_tokens", "max_tokens_to_sample", "max_new_tokens") if name in asked]
    is_openai = config.get("fn_completions") == "openai_completions"
    tools = asked.get("tools") or []
    return {
        "max_tokens": int(limits[0]) if limits else 2048,
        "temperature": asked.get("temperature", 0.7),
        "top_p": asked.get("top_p", 1.0) if is_openai else None,
        "top_logprobs": asked.get("top_logprobs") if asked.get("logprobs") else None,
        "tool": tools[0]["function"] if tools else None,
    }


# ---- parsers ----------------------------------------------------------------------------------------


def parser_of(folder: Path, config: Tree) -> Parser:
    """Return the evaluator's parser.

    Raises:
        ConfigError: a parser that is not known here.
    """
    name = config.get("fn_completion_parser", _DEFAULT_PARSER)
    settings = config.get("completion_parser_kwargs") or {}
    where = f"{folder}/configs.yaml: fn_completion_parser"
    if name == "logprob_parser":
        return _logprob_parser(where, settings)
    steps = settings.get("parsers_to_kwargs", {}) if name == "pipeline_meta_parser" else {name: settings}
    chain = [_step(where, step, kwargs or {}) for step, kwargs in steps.items()]

    def read(heard: Heard) -> Read:
        found: list[Any] = [heard.text]
        try:
            for step in chain:
                found = [each for value in found for each in step(value)]
        except (ValueError, SyntaxError, KeyError, IndexError, TypeError, RecursionError, MemoryError):
            return INVALID  # whatever the parser trips over, the reply is no verdict
        return of_preference(found[0]) if len(found) == 1 else INVALID

    return read


def of_preference(value: Any) -> Read:
    """Return what alpaca_eval's number says: 1 the first, 2 the second, between them a probability, 0 a tie."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return INVALID
    if value in (0, 1.5):
        return Read("TIE")
    if value in (1, 2):
        return Read("FIRST" if value == 1 else "SECOND")
    return of_probability(2 - value) if 1 < value < 2 else INVALID


def _logprob_parser(where: str, settings: Mapping[str, Any]) -> Parser:
    numerator = str(settings.get("numerator_token"))
    others = [str(token) for token in settings.get("denominator_tokens", ()) if str(token) != numerator]
    if len(others) != 1:
        raise ConfigError(f"{where}: logprob_parser with {len(others) + 1} tokens; expected two")
    place = settings.get("log_prob_index", "batch")
    return letters(
        numerator, others[0], None if place == "batch" else int(place), bool(settings.get("is_binarize", True))
    )


def _step(where: str, name: str, settings: Mapping[str, Any]) -> Callable[[Any], list[Any]]:
    match name:
        case "regex_parser":
            patterns = [(key, re.compile(text)) for key, text in settings["outputs_to_match"].items()]
            return lambda text: _regex(text, patterns)
        case "ranking_parser":
            return lambda text: _ranking(text, str(settings.get("model_1_name", "model_1")))
        case "json_parser":
            return lambda text: _json(text, settings.get("annotation_key"))
        case "lmsys_parser":
            return _two_scores
        case "replace_parser":
            return lambda text: [settings["replacer"].get(text, settings.get("default_replacer", text))]
        case "eval_parser":
            return lambda text: _as_list(ast.literal_eval(text))
    raise ConfigError(f"{where}: {name!r} is not known here")


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _regex(text: str, patterns: list[tuple[Any, re.Pattern[str]]]) -> list[Any]:
    found: list[Any] = []
    while True:  # the first match of any pattern, then on from its end in what is left, as alpaca_eval does
        matches = [
            (match.start(), place, match) for place, (_, p) in enumerate(patterns) if (match := p.search(text))
        ]
        if not matches:
            return found
        _, place, match = min(matches, key=lambda each: each[:2])
        found.append(patterns[place][0])
        text = text[max(match.end(), 1) :]


def _ranking(value: Any, first: str) -> list[Any]:
    ranked = ast.literal_eval(value) if isinstance(value, str) else value
    ranked = [ranked] if isinstance(ranked, dict) else list(ranked)
    own, *_ = [each["rank"] for each in ranked if each["model"] == first]
    if own not in (1, 2):
        return [None]
    others = [each["rank"] for each in ranked if each["model"] != first]
    return [0 if own in others else int(own)]


def _json(text: str, key: str | None) -> list[Any]:
    if "```json" in text:
        fenced = re.search(r"```json(.*?)```", text, re.DOTALL)
        text = fenced[1] if fenced else ""
    loaded = json.loads(text)
    return [each if key is None else each[key] for each in _as_list(loaded)]


def _two_scores(text: str) -> list[Any]:
    numbers = [float(number) for number in text.split("\n")[0].replace(",", " ").split(" ")]
    if len(numbers) != 2:
        return [None]
    first, second = numbers
    return [1 if first > second else 2 if first < second else 0 if first == second else None]
