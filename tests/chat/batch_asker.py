"""A process that asks in batches, to be killed by tests: batch_asker.py PROVIDER URL FOLDER NUM [SETTINGS].

SETTINGS is JSON: settings of the endpoint, and `die_at`, the name of a function that is not called any more for the
`die_after`-th time: the process is killed instead. Prints what came of it as JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from asking import questions
from tutelage.chat import BatchClient, Budget, ChatReply, Endpoint, batch, batch_calls


def be_quick() -> None:
    """Wait for milliseconds where it would be seconds."""
    batch_calls.FIRST_PAUSE_SECONDS = 0.01
    batch.CREATE_AGAIN_SECONDS = (0.05, 0.05)
    batch.FIND_AGAIN_SECONDS = (0.05, 0.1)
    batch.DOWNLOAD_AGAIN_SECONDS = (0.02, 0.02)


def die_at(name: str, after: int) -> None:
    """Let the `after`-th call of the function MODULE:CLASS.NAME be the end."""
    module, _, path = name.partition(":")
    owner = getattr(importlib.import_module(module), path.partition(".")[0])
    method, real = path.partition(".")[2], getattr(owner, path.partition(".")[2])
    calls: list[Any] = []

    def called(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) >= after:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)

    setattr(owner, method, called)


def main() -> None:
    provider, url, folder, num, *more = sys.argv[1:]
    settings = json.loads(more[0]) if more else {}
    be_quick()
    if name := settings.pop("die_at", None):
        die_at(name, settings.pop("die_after", 1))
    budget = Budget(**settings.pop("budget", {}))
    own = {"sends_temperature": False} if provider == "anthropic" else {}
    endpoint = Endpoint.model_validate(
        {"provider": provider, "model": "stub", "base_url": url, "timeout_seconds": 30.0} | own | settings
    )
    root = Path(folder)
    client = BatchClient(
        endpoint,
        root / "replies.jsonl",
        root / "batches.jsonl",
        payer="me",
        budget=budget,
        ask_again=(),
        poll_seconds=0.02,
    )
    try:
        replies = client.ask(questions(int(num)), lambda index, reply: None, lambda note: None)
    except KeyboardInterrupt:
        print("interrupted")
        sys.exit(130)
    right = sum(isinstance(r, ChatReply) and r.text == f"you said: question {i}" for i, r in enumerate(replies))
    bill = client.bill()
    print(json.dumps({"right": right, "paid": bill.paid.model_dump(), "lost": bill.lost.model_dump()}))


if __name__ == "__main__":
    main()
