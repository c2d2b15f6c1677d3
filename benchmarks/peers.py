"""Makes the environments that the peers of a benchmark run in: `.peers/NAME`, beside the benchmark.

python benchmarks/peers.py chat|data|train
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CONSTRAINTS = HERE.parent / "constraints.txt"

# What constraints.txt names comes in the version that it names: the peers and we compute on the same libraries.
# alpaca_eval 0.6.6 asks for no upper bounds, and does not run with the newest of these: it imports pkg_resources,
# cannot add a row to a cache that pandas 3 has read, and passes what scikit-learn 1.10 no longer takes.
PEERS: dict[str, dict[str, tuple[str, ...]]] = {
    "chat": {
        "sdks": ("openai[aiohttp]", "anthropic[aiohttp]"),
        "alpaca_eval": ("alpaca_eval==0.6.6", "datasets==5.2.0", "setuptools<82", "pandas<3", "scikit-learn<1.10"),
    },
    "data": {"readers": ("datasets==5.2.0", "ijson==3.6.0", "orjson==3.13.0")},
    "train": {"trl": ("torch==2.13.0", "trl==1.16.0", "datasets==5.2.0", "transformers", "accelerate")},
}


def make(folder: Path, wanted: tuple[str, ...]) -> None:
    """Make one environment anew."""
    python = folder / "bin" / "python"
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install"]
    else:
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
        install = [uv, "pip", "install", "--compile-bytecode", "--python", str(python)]
    subprocess.run([*install, "--quiet", "-c", str(CONSTRAINTS), *wanted], check=True)
    print(f"peers: made {folder} with {', '.join(wanted)}")


def main() -> None:
    """Make the environments of the benchmark that is named."""
    if sys.argv[1:2] == [] or sys.argv[1] not in PEERS:
        sys.exit(f"usage: python benchmarks/peers.py {'|'.join(PEERS)}")
    for name, wanted in PEERS[sys.argv[1]].items():
        make(HERE / sys.argv[1] / ".peers" / name, wanted)


if __name__ == "__main__":
    main()
