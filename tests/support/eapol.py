"""wpa_supplicant's EAP peer with a RADIUS client of its own (Debian's eapoltest), one run per call."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

EAPOL_TEST = shutil.which("eapol_test")
MISSING = "apt-get install eapoltest"


@dataclass(frozen=True)
class Outcome:
    """`accepted`: Access-Accept, and keys that both sides derived alike unless the method makes none."""

    accepted: bool
    output: str

    @property
    def keys_match(self) -> bool:
        return "MPPE keys OK: 1" in self.output


def network(eap: str, identity: str, **fields: str | int) -> str:
    """A network block; strings are quoted unless they are Paths made to strings by the caller."""
    lines = ["network={", "  key_mgmt=IEEE8021X", "  eapol_flags=0", f"  eap={eap}", f'  identity="{identity}"']
    lines += [f"  {key}={value}" if isinstance(value, int) else f'  {key}="{value}"' for key, value in fields.items()]
    return "\n".join([*lines, "}", ""])


async def eapol_test(
    directory: Path, port: int, block: str, *more: str, secret: str = "testing123", timeout_s: int = 5
) -> Outcome:
    """Run it once against 127.0.0.1. `more` are further arguments, such as -N."""
    assert EAPOL_TEST is not None, MISSING
    path = directory / "eapol.conf"
    path.write_text(block)
    process = await asyncio.create_subprocess_exec(
        *(EAPOL_TEST, "-c", str(path), "-a", "127.0.0.1", "-p", str(port), "-s", secret, "-t", str(timeout_s), *more),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), timeout_s + 10)
    text = output.decode(errors="replace")
    return Outcome(process.returncode == 0 and text.rstrip().endswith("SUCCESS"), text)
