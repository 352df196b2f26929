"""Each label that code, tests and pages cite is defined in this repository; no page outside of it is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_label_is_defined(path: Path) -> None:
    text = path.read_text("utf-8")
    for kind, number in re.findall(r"(?<![\w#%\\-])([FRBGTH])(\d{1,2})\b", text):
        page = DEFINED[kind]
        assert f'<a id="{kind.lower()}{number}"></a>' in page.read_text("utf-8"), f"{kind}{number} is not defined"
    for anchor in re.findall(r"FACTS\.md#([\w-]+)", text):
        assert anchor in anchors(FACTS.read_text("utf-8")), f"FACTS.md#{anchor} is not there"
    assert path == Path(__file__) or not (named := OUTSIDE.search(text)), named
