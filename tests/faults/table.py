"""The table of faults in README.md: what the tests saw in one run, written by that run.

`KERNEL_BRIDGE_FAULTS=1 pytest tests/faults` writes it; add `-m "long or not long"` for the long runs' table, too.
Rows of faults that the run did not meet are kept as they are, with their own date.
"""

from __future__ import annotations

import json
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from kernel_bridge_magic.fate.patience import SilenceStep
from kernel_bridge_magic.fate.rules import CELL, CONNECTION, RULES, SIGNS, Row
from tests.faults.goals import BAD_INPUT, GOALS

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
README = HERE / "README.md"

#: What each fault is.
FAULTS = {
    1: "kernel killed",
    2: "the cell ends its process",
    3: "kernel dies at every start",
    4: "restarted by another client",
    5: "the same, cell ignores signals",
    6: "the same, our cell queued",
    7: "kernel deleted",
    8: "`quit()` in the cell",
    9: "kernel stopped (SIGSTOP)",
    10: "GIL held by native code",
    11: "server ended (SIGTERM)",
    12: "server killed",
    13: "server restarted, same token",
    14: "server restarted, new token",
    15: "server stopped (SIGSTOP)",
    16: "disk full, home read-only",
    17: "TCP reset in mid-run, alone",
    18: "the same, another client attached",
    19: "another client connects while we are away",
    20: "cell ends while we are away",
    21: "half-open connection (NAT forgot it)",
    22: "partition, shorter than patience",
    23: "partition, longer than patience: tried until `reconnect_timeout` is over, 5 minutes",
    24: "slow link, 10 kB/s",
    25: "latency 300 ms each way",
    26: "proxy drops idle connections",
    27: "close codes",
    28: "messages that are none",
    29: "frames that are none",
    30: "unsigned, wrongly signed, replayed (ZMQ)",
    31: "idle before reply, output after it",
    32: "messages twice after a replay",
    33: "other clients' messages",
    34: "server's rate limit",
    35: "one message of 100 MB",
    36: "a flood of small messages",
    37: "whoever shows output is slow",
    38: "laptop sleeps",
    39: "clock jumps",
    40: "kernel busy for others",
    41: "aborted by another's error",
    42: "Ctrl-C once, twice",
    43: "local kernel ends in mid-run",
    44: "fork in the local kernel",
    45: "two threads, one kernel",
    46: "twenty clients, one kernel",
    47: "DNS fails",
    48: "output after idle",
}

#: Where the tests are that make a fault happen and do not belong here, or why this machine cannot make it happen.
ELSEWHERE = {
    29: "tests/transports/test_websocket.py::test_a_frame_that_is_none_ends_the_connection_at_once",
    30: "tests/transports/test_zmq.py::test_messages_that_the_kernel_did_not_sign_are_dropped_and_counted, "
    "tests/transports/test_zmq.py::test_messages_that_are_replayed_are_dropped_and_counted",
    47: "tests/servers/test_rest.py::test_name_that_is_not_known, tests/access/test_sockets.py::test_ipv6, "
    "tests/access/test_sockets.py::test_a_silent_address_does_not_hide_the_next",
}

#: What of a fault cannot be made to happen here, and why.
NOT_HERE = {
    38: "nothing puts this machine to sleep: the clocks that go apart and the dead connection are made by the test",
    47: "no address here swallows packets: a name that is not known, and a listener whose queue is full",
}


@dataclass
class Seen:
    """One fault, met: when it was told, in seconds after it, the bound that must hold, and the words."""

    fault: int
    seconds: float | None
    bound: float | None
    told: str
    test: str = ""
    date: str = ""

    def __post_init__(self) -> None:
        self.date = self.date or time.strftime("%Y-%m-%d")


def load() -> dict[str, dict[str, object]]:
    return dict(json.loads(RESULTS.read_text())) if RESULTS.exists() else {}


def save(seen: list[Seen], long_runs: dict[str, dict[str, object]]) -> None:
    """Add what one run saw to what is kept, and write README.md anew."""
    kept = load()
    # Of what one run saw of a fault the slowest counts.
    for one in sorted(seen, key=lambda one: (one.seconds or 0.0) / (one.bound or 1.0)):
        kept[f"F{one.fault}"] = asdict(one)
    kept |= {f"long {name}": row for name, row in long_runs.items()}
    RESULTS.write_text(json.dumps(kept, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    README.write_text(render(kept))


def render(kept: dict[str, dict[str, object]]) -> str:
    lines = [
        "# Faults, met",
        "",
        "Written by `KERNEL_BRIDGE_FAULTS=1 python -m pytest tests/faults` (see table.py), not by hand.",
        f"Python {platform.python_version()}, Linux.",
        "",
        "Faults are numbered [F](#the-faults), the rules that meet them [R](#the-rules), bad input [B](#bad-input),",
        "goals [G](#the-goals). Code and tests cite them by these numbers.",
        "",
        "## The faults",
        "",
        "Each is made to happen with real kernels, servers and sockets: what was told, how soon, and its bound.",
        "",
        "| # | fault | told after | within | told | test | date |",
        "|---|---|---|---|---|---|---|",
    ]
    for number, name in FAULTS.items():
        row = kept.get(f"F{number}")
        if row is None:
            why = "not met yet" if number not in ELSEWHERE else ""
            told = ". ".join(part for part in (why, NOT_HERE.get(number, "")) if part)
            lines.append(f"| {label('F', number)} | {name} | | | {told} | {tests_of(number, '')} | |")
            continue
        seconds, bound = row["seconds"], row["bound"]
        after = f"{seconds:.1f} s" if isinstance(seconds, float | int) else "–"
        within = f"{bound:g} s" if isinstance(bound, float | int) else "–"
        told = ". ".join(part for part in (str(row["told"]), NOT_HERE.get(number, "")) if part).replace("|", "\\|")
        test = tests_of(number, str(row.get("test", "")))
        lines.append(f"| {label('F', number)} | {name} | {after} | {within} | {told} | {test} | {row['date']} |")
    lines += [
        "",
        "## The rules",
        "",
        "Made of kernel_bridge_magic/fate/rules.py; tests/fate/test_rules.py plays each row.",
        "",
    ]
    lines += rules()
    lines += [
        "",
        "## Bad input",
        "",
        "It is answered in one line, without a traceback; nothing is sent. tests/test_bad_input.py names the tests.",
        "",
        "| # | input | answer |",
        "|---|---|---|",
    ]
    lines += [f"| {label('B', number)} | {what} | {answer} |" for number, (what, answer) in BAD_INPUT.items()]
    lines += ["", "## The goals", "", "| # | what must be reached |", "|---|---|"]
    lines += [f"| {label('G', number)} | {goal} |" for number, goal in GOALS.items()]
    long_rows = {key.removeprefix("long "): row for key, row in kept.items() if key.startswith("long ")}
    if long_rows:
        lines += ["", "## Long runs", "", "| what | result | command | date |", "|---|---|---|---|"]
        for name, row in sorted(long_rows.items()):
            lines.append(f"| {name} | {row['result']} | `{row['command']}` | {row['date']} |")
    return "\n".join(lines) + "\n"


def rules() -> list[str]:
    """The rules as lines of Markdown."""
    lines = ["| rule | says | kept in |", "|---|---|---|"]
    lines += [f'| <a id="{name.lower()}"></a>{name} | {says} | {module}.py |' for name, (says, module) in RULES.items()]
    lines += ["", "What a cell's watch makes of what comes. Seconds count from the last thing that comes.", ""]
    lines += ["| rule | cell is | what comes | after | then |", "|---|---|---|---|---|"]
    for row in CELL:
        lines.append(
            f"| {row.rule} | {row.state} | {', '.join(c.value for c in row.comes)} | {_in(row)} | {_then(row)} |"
        )
    lines += ["", "What is a sign of the kernel's end (R4).", "", "| message on IOPub | means |", "|---|---|"]
    lines += [f"| {message} | {sign.value} |" for message, sign in SIGNS.items()]
    lines += ["", "What is done about a connection on which nothing is heard.", ""]
    lines += ["| rule | cell under way | a new connection | silent for | then |", "|---|---|---|---|---|"]
    for one in CONNECTION:
        running, answered = "yes" if one.running else "no", "is answered" if one.answered else "is not answered"
        then = one.step.value if isinstance(one.step, SilenceStep) else f"says “{one.step} …”"
        slept = "; this machine slept for 8 h" if one.slept else ""
        lines.append(f"| {one.rule} | {running} | {answered}{slept} | {one.seconds:g} s | {then} |")
    return lines


def _in(row: Row) -> str:
    return f"{row.seconds:g} s" if row.seconds else "at once"


def _then(row: Row) -> str:
    parts = []
    if row.fate is not None:
        parts.append(f"*{row.fate}*")
    if row.asks is not None:
        parts.append(row.asks.value.partition(",")[0])
    if row.says:
        parts.append("says that it is queued" if row.says == "Queued" else f"says “… {row.says} …”")
    return "; ".join(parts)


def label(kind: str, number: int) -> str:
    """A label with its anchor."""
    return f'<a id="{kind.lower()}{number}"></a>{kind}{number}'


def tests_of(number: int, seen: str) -> str:
    """The tests that make a fault happen, as links are written in text."""
    names = [name for name in (seen, *ELSEWHERE.get(number, "").split(", ")) if name]
    return ", ".join(f"`{name.removeprefix('tests/faults/')}`" for name in names)
