"""The table of threats is true; and the threats that have no better place."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kernel_bridge_magic.connection.copying import Copying
from kernel_bridge_magic.errors import BadOption
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.remote_code import displayhook_patch, languages, record, spool, variables
from kernel_bridge_magic.transfer.variables import Variables, variables_with
from tests.security.threats import NOT_HERE, OPEN, README, THREATS, render
from tests.support.servers import JupyterServer, private_env

ROOT = Path(__file__).parents[2]
HOSTILE = (
    '"); import os #',
    "'''",
    "\\",
    "{0}",
    "%s",
    "\n1 / 0",
    "\u2028",
    "\N{PILE OF POO}",
    "]]>",
    "__import__('os')",
)


def test_the_table_is_made_and_not_written_by_hand() -> None:
    assert README.read_text("utf-8") == render()


@pytest.mark.parametrize("number", range(1, 36))
def test_each_threat_is_met_or_has_its_reason(number: int) -> None:
    assert (number in THREATS) != (number in NOT_HERE)
    for name in (*THREATS.get(number, ("", ()))[1], *OPEN.get(number, ("",))[1:]):
        file, _, test = name.partition("::")
        assert f"def {test}(" in (ROOT / file).read_text("utf-8"), f"there is no {name}"


def shape(content: dict[str, Any]) -> list[str]:
    """The syntax of all code in a request, also of that in its literals, without the values of the others."""

    class Blank(ast.NodeTransformer):
        inside = 0

        def visit_Constant(self, node: ast.Constant) -> ast.AST:
            if not self.inside and isinstance(node.value, str):  # the files, and the call of a function of theirs
                return blank(node.value, 1)
            return ast.Constant(type(node.value).__name__)

    def blank(code: str, inside: int) -> ast.AST:
        visitor = Blank()
        visitor.inside = inside
        made: ast.AST = visitor.visit(ast.parse(code))
        return made

    codes = [content["code"], *content["user_expressions"].values()]
    return [ast.dump(blank(code, 0)) for code in codes]


def test_t21_the_code_that_we_send_is_constant_but_for_literals() -> None:
    for constant in (displayhook_patch.arm, displayhook_patch.disarm, record.question, spool.drop):
        assert constant() == constant()
    for hostile in HOSTILE:
        assert shape(dict(spool.arm(hostile))) == shape(dict(spool.arm("client_2")))
        assert shape(dict(spool.fetch(hostile, 7))) == shape(dict(spool.fetch("client_2", 0)))


def fixed(content: Mapping[str, Any], function: str) -> tuple[str, str]:
    """What a request about variables has besides the values: its code, and its expression without the JSON.

    The JSON is one literal, and it is all that may differ.
    """
    (expression,) = content["user_expressions"].values()
    text = ast.parse(expression, mode="eval")
    (given,) = [
        node.args[0]
        for node in ast.walk(text)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "loads"
    ]
    assert isinstance(given, ast.Constant) and isinstance(given.value, str)
    assert isinstance(json.loads(given.value), list)
    given.value = ""
    assert function in expression
    return content["code"], ast.dump(text)


@given(st.text(), st.text())
@example(HOSTILE[0], HOSTILE[1])
@example(HOSTILE[4], HOSTILE[5])
def test_t21_the_code_that_copies_variables_is_constant(name: str, place: str) -> None:
    def requests(name: str, place: str, number: int) -> list[tuple[str, str]]:
        order = variables.Order({place: name}, number, number, folder=place)
        return [
            fixed(variables.ask(variables.give([name, place], place, order)), "give"),
            fixed(variables.bind(place, [number], number, order, data=name), "bind"),
            fixed(variables.bind(place, [number], number, order, place=[place]), "bind"),
            fixed(variables.expect(name, number), "make_room"),
            fixed(variables.post(name, number, number, number), "post"),
            fixed(variables.piece(name, number, number), "piece"),
            fixed(variables.checksum(name, number), "checksum"),
            fixed(variables.fill(name, number, number, place), "fill"),
            fixed(variables.drop(name), "drop"),
        ]

    assert requests(name, place, 7) == requests("df", "client_2", 10**12)
    assert languages.r_request([name], [place], 7)["code"] == languages.r_request(["x"], None, 10**12)["code"]
    words = languages.bash_words([name], {name: place})
    assert re.fullmatch("p:[A-Za-z0-9+/=]*:[A-Za-z0-9+/=]*", words)
    asked = languages.bash_request(words)["code"]
    assert asked.replace(words, "", 1) == languages.bash_request()["code"]


@pytest.mark.parametrize(
    "asked", [Variables(wanted={"df": "df"}, pickles=True), variables_with({"a": 1}, pickles=True)]
)
def test_t19_a_kernel_that_is_not_one_s_own_is_not_trusted_with_pickles(asked: Variables) -> None:
    transport: Any = None  # nothing is sent
    with pytest.raises(BadOption, match="--pickle is for kernels that are yours"):
        Copying(transport, Kernel(id="1"), asked)


def test_t31_nothing_of_ours_listens_and_an_import_opens_no_socket(
    jupyter_server: JupyterServer, shared_kernel: str, tmp_path: Path
) -> None:
    code = f"""
import socket, sys
real = socket.socket.__init__
opened = []
socket.socket.__init__ = lambda self, *a, **k: (opened.append(1), real(self, *a, **k))[1]
import kernel_bridge_magic
assert not opened, "a socket at import"
from kernel_bridge_magic import connect, kernels
import psutil
kernels()
for transport_name in ("zmq", "ws"):
    with connect({shared_kernel!r}, transport=transport_name) as kernel:
        assert kernel.execute("6 * 7").text == "42"
        listening = [c for c in psutil.Process().net_connections("all") if c.status == psutil.CONN_LISTEN]
        assert not listening, listening
assert opened
print("none")
"""
    env = private_env(tmp_path, jupyter_server.runtime_dir)
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("none\n", "")
