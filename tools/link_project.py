"""Puts the checkout on the virtual environment's path and makes .venv/bin/headend, without a build step.

An editable install would need the build backend fetched outside the lock; a .pth file and one script do not.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

SCRIPT = """#!{python}
import sys

from controller.app.cli import main

sys.exit(main())
"""


def main() -> None:
    Path(sysconfig.get_path("purelib"), "headend-checkout.pth").write_text(f"{ROOT}\n")
    script = Path(sysconfig.get_path("scripts"), "headend")
    script.write_text(SCRIPT.format(python=Path(sysconfig.get_path("scripts"), "python")))
    script.chmod(0o755)


if __name__ == "__main__":
    main()
