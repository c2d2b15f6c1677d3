"""Makes the environments that the peers run in: `.peers/sdks` and `.peers/alpaca_eval`, beside this file.

python benchmarks/chat/peers.py
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CONSTRAINTS = HERE.parents[1] / "constraints.txt"

# alpaca_eval 0.6.6 asks for no upper bounds, and does not run with the newest of these: it imports pkg_resources,
# cannot add a row to a cache that pandas 3 has read, and passes what scikit-learn 1.10 no longer takes.
PEERS: dict[str, tuple[str, ...]] = {
    "sdks": ("openai[aiohttp]", "anthropic[aiohttp]"),
    "alpaca_eval": ("alpaca_eval==0.6.6", "datasets==5.2.0", "setuptools<82", "pandas<3", "scikit-learn<1.10"),
}


def make(name: str, wanted: tuple[str, ...]) -> None:
    """Make one environment anew, with the versions of constraints.txt where that names them."""
    folder = HERE / ".peers" / name
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
    """Make all environments."""
    for name, wanted in PEERS.items():
        make(name, wanted)


if __name__ == "__main__":
    main()
