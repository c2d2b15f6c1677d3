"""Good rows of every format, by its name, made by hand."""

from __future__ import annotations

from typing import Any

from example_rows_preferences import EXAMPLES as PREFERENCES


def said(*texts: str, system: str | None = None) -> list[dict[str, Any]]:
    """The messages of a conversation that the user begins."""
    turns = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]
    return [{"role": "system", "content": system}, *turns] if system else turns


def chat(*turns: tuple[str, str]) -> list[dict[str, str]]:
    """The turns of a ShareGPT conversation."""
    return [{"from": name, "value": text} for name, text in turns]


PARAGRAPH = (
    " The tower stands at the end of the street , and nobody has climbed it since the year 1851 , or so they say . "
    "It has no door . \n"
)
EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "plain": [
        {"prompt": "Name a colour.", "completion": "Red.", "author": "weak"},
        {"prompt": said("Name a colour.", "Red.", "Another."), "completion": "Blue.", "author": "weak"},
        {"prompt": "Name a city."},
    ],
    "messages": [
        {"messages": said("Name a colour.", "Red.")},
        {"messages": said("Name a colour.", "Red.", "Another.", "Blue.", system="Be brief.")},
        {"messages": [*said("Hi.", "Hello."), *said("Name a city.", "Rome.")]},
        {
            "messages": [
                {**m, "weight": 0} if m["content"] == "Red." else m for m in said("A?", "Red.", "B?", "Blue.")
            ]
        },
    ],
    "trl_prompt_only": [
        {"prompt": said("Name a colour.")},
        {"prompt": said("Name a colour.", "Red.", "Another.", system="Be brief.")},
    ],
    "trl_prompt_completion": [
        {"prompt": said("Name a colour."), "completion": [{"role": "assistant", "content": "Red."}]},
        {"prompt": said("Hi.", "Hello.", "Who?"), "completion": [{"role": "assistant", "content": "I."}]},
    ],
    "alpaca": [
        {"instruction": "Name a colour.", "input": "", "output": "Red."},
        {"instruction": "Translate.", "input": "Guten Tag", "output": "Good day"},
    ],
    "alpaca_eval": [
        {"dataset": "koala", "instruction": "Name a colour.", "output": "Red.", "generator": "weak"},
        {"instruction": "Name a city.", "output": "Rome.", "generator": "strong"},
        {"dataset": "vicuna", "instruction": "Name a river."},
    ],
    "sharegpt": [
        {"id": "a_0", "conversations": chat(("human", "Name a colour."), ("gpt", "Red."))},
        {
            "id": "b_0",
            "conversations": chat(
                ("human", "Hi."), ("gpt", "Hello."), ("human", "Who?"), ("gpt", "I."), ("human", "?")
            ),
        },
        {"id": "c_0", "conversations": chat(("system", "Be brief."), ("human", "Name a city."), ("gpt", "Rome."))},
        {"id": "d_0", "conversations": chat(("human", "Is anybody there?"))},
    ],
    "completions": [
        {"key": "Name a colour.", "value": ["Red.", "Blue."]},
        {"key": "Human: is this a transcript?", "value": ["No."]},
    ],
    "samples": [
        {"key": "Human: Name a colour.\n\nAssistant: ", "value": ["Red.", "Blue."]},
        {"key": "Human: Hi.\n\nAssistant: Hello.\n\nHuman: Who\n\nis it?\n\nAssistant: ", "value": ["I."]},
    ],
    "ultrachat": [
        {
            "prompt": "Name a colour.",
            "prompt_id": "0" * 64,
            "messages": said("Name a colour.", "Red.", "Another.", "Blue."),
        },
    ],
    "wikitext": [
        {"text": PARAGRAPH},
    ],
}
EXAMPLES |= PREFERENCES
