"""The command line of the stub server: the arguments of `StubServer`, spelt as options."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import Any

from stub_faults import BATCH_FAULTS, FAULTS, seeded
from stub_model import Latency, Reply, echo


def _load_reply(spec: str) -> Reply:
    path, _, name = spec.partition(":")
    module_spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    reply: Reply = getattr(module, name)
    return reply


def _latency(spec: str) -> Latency:
    least, comma, most = spec.partition(",")
    return (float(least), float(most)) if comma else float(least)


def _shares(spec: str) -> dict[str, float]:
    return {name: float(share) for name, _, share in (word.partition("=") for word in spec.split(",") if word)}


def _parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=_shares, default={}, help="name=share,... of: " + ", ".join(FAULTS))
    parser.add_argument("--reply", type=_load_reply, default=echo, help="file.py:function")
    parser.add_argument("--models", default="stub", help="name,...")
    parser.add_argument("--api-key", default=None)
    parser.add_argument("--latency", type=_latency, default=0.0, help="seconds, or least,most")
    parser.add_argument("--retry-after", default="1")
    parser.add_argument("--log", type=Path, default=None, help="file that gets a JSON line for every request")
    parser.add_argument("--requests-per-minute", type=float, default=None)
    parser.add_argument("--burst", type=int, default=None)
    parser.add_argument("--max-in-flight", type=int, default=None)
    parser.add_argument("--cached-tokens", type=int, default=0)
    parser.add_argument("--batch-seconds", type=float, default=0.2)
    parser.add_argument("--batch-limit", type=int, default=50_000)
    parser.add_argument(
        "--batch-faults", type=_shares, default={}, help=f"as --faults, of: {', '.join(BATCH_FAULTS)}"
    )
    return parser


def options(description: str) -> dict[str, Any]:
    """Return what the command line gives, as arguments of `StubServer`."""
    given = vars(_parser(description).parse_args())
    for kind, shares in (("fault", given.pop("faults")), ("batch_fault", given.pop("batch_faults"))):
        given[kind] = seeded(given["seed"], **shares)
    return given | {"models": tuple(given["models"].split(","))}
