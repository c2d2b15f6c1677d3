"""Good rows of every format that holds preferences, made by hand; by the format's name."""

from __future__ import annotations

from typing import Any

_USER, _GOOD, _BAD = (
    {"role": role, "content": text}
    for role, text in (("user", "Name a colour."), ("assistant", "Red."), ("assistant", "Seven."))
)

EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "annotations": [
        {
            "instruction": f"Say something about {preference}.",
            "output_1": "The baseline's.",
            "generator_1": "baseline",
            "output_2": "The policy's.",
            "generator_2": "policy",
            "annotator": "judge",
            "preference": preference,
        }
        for preference in (1, 2, 0, 1.5, 1.25, 1.75, 1.0, 2.0, None, -1)
    ],
    "hh": [
        {"chosen": f"{said}\n\nAssistant: Red.", "rejected": f"{said}\n\nAssistant:  Seven.\n"}
        for said in (
            "\n\nHuman: Name a colour.",
            "\n\nHuman: Who says Human: hello?\n\nAssistant: I do.\nHuman: no turn\n\nHuman:  Name a colour. ",
        )
    ],
    "shp": [
        {
            "history": "How do I boil an egg?",
            "human_ref_A": "In water.",
            "human_ref_B": "In a bowl.",
            "labels": label,
            "score_A": 10 if label else 2,
            "score_B": 2 if label else 10,
            "score_ratio": 5.0,
        }
        for label in (1, 0)
    ],
    "stackexchange": [
        {
            "qid": 1,
            "question": "<p>How do I print in <code>Python</code>?</p>",
            "answers": [
                {"answer_id": 1, "author": "ann", "pm_score": 5, "selected": True, "text": "<p>With print.</p>"},
                {"answer_id": 2, "author": "bob", "pm_score": 1, "selected": False, "text": "<p>By hand.</p>"},
                {"answer_id": 3, "author": "cyd", "pm_score": 1, "selected": False, "text": "<p>Not.</p>"},
            ],
            "date": "2020/01/01",
            "metadata": ["https://example.org"],
        }
    ],
    "ultrafeedback": [
        {
            "prompt": "Name a colour.",
            "chosen": [_USER, _GOOD],
            "rejected": [_USER, _BAD],
            "score_chosen": 8.5,
            "score_rejected": score,
        }
        for score in (2.0, 8.5)
    ]
    + [
        {
            "prompt": "Name a colour.",
            "chosen": "Human: Name a colour.\n\nAssistant: Red.",
            "rejected": "Human: Name a colour.\n\nAssistant: Seven.",
            "score_chosen": 1.0,
            "score_rejected": 2.0,
        }
    ],
    "trl_preference": [
        {"prompt": "Name a colour.", "chosen": "Red.", "rejected": "Seven."},
        {"prompt": [_USER], "chosen": [_GOOD], "rejected": [_BAD]},
        {"chosen": [_USER, _GOOD], "rejected": [_USER, _BAD]},
        {"instruction": "Name a colour", "input": "of blood", "chosen": "Red.", "rejected": "Seven."},
    ],
    "trl_kto": [
        {"prompt": "Name a colour.", "completion": "Red.", "label": True},
        {"prompt": "Name a colour.", "completion": "Seven.", "label": False},
        {"prompt": [_USER], "completion": [_BAD | {"content": "Eight."}], "label": False},
        {"prompt": [_USER], "completion": [_GOOD | {"content": "Blue."}], "label": True},
    ],
    "pandalm": [
        {
            "idx": 0,
            "cmp_key": "bloom-7b_llama-7b",
            "instruction": "Shorten this.",
            "input": "A long sentence.",
            "response1": "Long.",
            "response2": "A sentence.",
            "annotator1": votes[0],
            "annotator2": votes[1],
            "annotator3": votes[2],
        }
        for votes in ((1, 1, 2), (2, 0, 2), (0, 0, 1), (0, 1, 2))
    ],
    "rankings": [
        {"instruction": "Name", "input": "a colour.", "response1": "Red.", "response2": "7", "preference": said}
        for said in ("(a)", "(b)", "equal")
    ]
    + [
        {
            "key": "Below is an instruction that describes a task. Write.\n\n### Instruction:\nName\n\n### Input:\n"
            "a colour.\n\n### Response: ",
            "value": {"sentences": [["Red.", "7"], ["Blue.", "7"]]},
        }
    ],
    "responses": [
        {"instruction": "Name a colour", "input": "of blood.", "responses": ["Red.", "Dark red."]},
        {"instruction": "Name a colour.", "input": "", "response1": "Red.", "response2": "Blue."},
    ],
}
