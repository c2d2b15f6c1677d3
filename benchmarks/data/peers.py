"""Makes the environment that the other readers of JSON run in: `.peers/readers`, beside this file.

python benchmarks/data/peers.py
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CONSTRAINTS = HERE.parents[1] / "constraints.txt"
WANTED = ("datasets==5.2.0", "ijson==3.6.0", "orjson==3.13.0")


def main() -> None:
    """Make the environment anew."""
    folder = HERE / ".peers" / "readers"
    python = folder / "bin" / "python"
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install"]
    else:
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
        install = [uv, "pip", "install", "--compile-bytecode", "--python", str(python)]
    subprocess.run([*install, "--quiet", "-c", str(CONSTRAINTS), *WANTED], check=True)
    print(f"peers: made {folder} with {', '.join(WANTED)}")


if __name__ == "__main__":
    main()
