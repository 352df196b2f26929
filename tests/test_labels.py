"""Each label that code, tests and pages cite is defined in this repository; no page outside of it is named."""

from __future__ import annotations

import functools
import re
from pathlib import Path

from tests.test_readme import anchors

ROOT = Path(__file__).parents[1]
FAULTS, THREATS = ROOT / "tests" / "faults" / "README.md", ROOT / "tests" / "security" / "THREATS.md"
#: Where each kind of label is defined: an anchor of that name stands there.
DEFINED = {"F": FAULTS, "R": FAULTS, "B": FAULTS, "G": FAULTS, "T": THREATS, "H": THREATS}
FACTS = ROOT / "kernel_bridge_magic" / "FACTS.md"
#: Pages of a design that no clone has, as they were cited.
OUTSIDE = re.compile(r"\b(?:INTERFACE|HOUSE|ARCHITECTURE)\b|\b(?:FACTS|FAULTS|WORDS),? (?:head |[A-Z])?\d")
FILES = [
    path
    for folder in ("kernel_bridge_magic", "tests", "notebooks", ".github", ".ci", ".")
    for path in sorted((ROOT / folder).glob("*" if folder == "." else "**/*"))
    if path.suffix in {".py", ".md", ".toml", ".yml", ".yaml", ".ipynb"} or path.name == "run"
]


def wrong_in(path: Path) -> list[str]:
    """What a file cites that is not there."""
    text = path.read_text("utf-8")
    labels = set(re.findall(r"(?<![\w#%\\-])([FRBGTH])(\d{1,2})\b", text))
    wrong = [f"{kind}{number}" for kind, number in labels if f"{kind}{number}".lower() not in defined(DEFINED[kind])]
    wrong += [f"FACTS.md#{it}" for it in re.findall(r"FACTS\.md#([\w-]+)", text) if it not in headings()]
    if path != Path(__file__):
        wrong += [match[0] for match in OUTSIDE.finditer(text)]
    return wrong


@functools.cache
def defined(page: Path) -> set[str]:
    return set(re.findall(r'<a id="(\w+)"></a>', page.read_text("utf-8")))


@functools.cache
def headings() -> set[str]:
    return anchors(FACTS.read_text("utf-8"))


def test_each_label_is_defined() -> None:
    assert not {str(path.relative_to(ROOT)): wrong for path in FILES if (wrong := wrong_in(path))}
