"""A folder like those of alpaca_eval's evaluators; the prompt is ours."""

from __future__ import annotations

from pathlib import Path


def evaluator_folder(root: Path, prompt: str, first: str, second: str) -> Path:
    """Write an evaluator named `mine` that reads replies by two patterns, and return its folder."""
    folder = root / "evaluators" / "mine"
    folder.mkdir(parents=True)
    (folder / "prompt.txt").write_text(f"<|im_start|>user\n{prompt}<|im_end|>")
    (folder / "configs.yaml").write_text(
        "mine:\n  prompt_template: mine/prompt.txt\n  fn_completions: openai_completions\n"
        "  completions_kwargs: {model_name: gpt-9, max_tokens: 7, temperature: 0}\n"
        f"  completion_parser_kwargs: {{outputs_to_match: {{1: '{first}', 2: '{second}'}}}}\n"
    )
    return folder
