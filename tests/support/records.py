"""What a long run gave, kept beside the tests: the run writes it, with its date and command."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

README = Path(__file__).parents[1] / "security" / "README.md"
HEAD = """# What the long runs gave

Each of these takes minutes; CI runs a short version of the same test. A long run writes its numbers here itself.
"""


class Record(Protocol):
    """Keep the numbers of this run in the place of the last one's."""

    def __call__(self, **numbers: object) -> None: ...


def keep(test: str, command: str, numbers: dict[str, object]) -> str:
    """Write a run's numbers into the README; give them as a table."""
    rows = "\n".join(f"| {name.replace('_', ' ')} | {value} |" for name, value in numbers.items())
    table = f"| | |\n|---|---|\n{rows}"
    section = f"## {test}\n\n{datetime.now(UTC):%Y-%m-%d}: `{command}`\n\n{table}\n"
    text = README.read_text(encoding="utf-8") if README.exists() else HEAD
    old = re.search(rf"^## {re.escape(test)}\n.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    text = text[: old.start()] + section + "\n" + text[old.end() :] if old else f"{text}\n{section}"
    README.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    return f"\n{section}"
