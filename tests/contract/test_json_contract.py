from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import pytest

from kernel_bridge_magic.contract import json_contract
from kernel_bridge_magic.errors import AmbiguousKernel, BadMatch, Fate, OwnKernel, fate_error, remote_error
from kernel_bridge_magic.models import Kernel, KernelSpec, Origin, Server, Session
from kernel_bridge_magic.reports import Checkup, Listing, ServerReport, Step
from kernel_bridge_magic.results import Copied, RemoteResult, RemoteValue

SCHEMA: dict[str, Any] = json.loads(Path(json_contract.__file__).with_name("contract.schema.json").read_text("utf-8"))
SERVER = Server("http://127.0.0.1:8888/", "lab", Origin("http", "127.0.0.1", 8888, "/"))
KERNEL = Kernel(
    "3f9c1c0e",
    "python3",
    KernelSpec("python3", "Python 3", "python"),
    "idle",
    None,
    1,
    (Session("a.ipynb", "a.ipynb"),),
    SERVER,
)
CLAIM = dataclasses.replace(KERNEL, claimed=True)
ERROR = {"output_type": "error", "ename": "E", "evalue": "v", "traceback": []}
MODELS = {
    "ok": json_contract.result_model(
        RemoteResult("ok", Fate.OK, KERNEL, [], RemoteValue({"text/plain": "1"}), None, 0.5)
    ),
    "no text": json_contract.result_model(RemoteResult("ok", Fate.OK, KERNEL, [], RemoteValue({"image/png": "x"}))),
    "raised": json_contract.result_model(
        RemoteResult("error", Fate.FAILED, KERNEL, [ERROR], None, remote_error("E", "v", ["\x1b[31mE\x1b[0m: v"]))
    ),
    "died": json_contract.result_model(
        RemoteResult("error", Fate.DIED, KERNEL, [], None, fate_error(Fate.DIED, "gone", kernel="a"), missing=None)
    ),
    "bad": json_contract.failure(BadMatch("bad")),
    "refused": json_contract.failure(fate_error(Fate.NOT_RUN, "busy", kernel="a"), KERNEL),
    "not up": json_contract.failure(fate_error(Fate.UNKNOWN, "not up", kernel="a"), KERNEL),
    "own": json_contract.failure(OwnKernel("own", KERNEL)),
    "ambiguous": json_contract.failure(AmbiguousKernel("two", [("a.ipynb", KERNEL), ("3f9c", KERNEL)])),
    "list": json_contract.listing_model(
        Listing((KERNEL,), (ServerReport(SERVER, 1), ServerReport(SERVER, 0, "no")), claims=(CLAIM,)), [KERNEL]
    ),
    "servers": json_contract.servers_model(Listing((), (ServerReport(SERVER, 0, "no", "do"),), (), ("a note",))),
    "copied": json_contract.copied_model(
        KERNEL, Copied("x", 1, 9, "a note"), "int", file="-", replaced=True, seconds=1.0
    ),
    **{action: json_contract.action_model(KERNEL, action, 0.5) for action in ("restarted", "shut down", "started")},
    "interrupt": json_contract.interrupt_model(KERNEL, interrupted=False),
    "checks": json_contract.checks_model([Checkup(SERVER, (Step("DNS", None, "seen"), Step("TCP", False, "x", "y")))]),
}


@functools.cache
def validator() -> Any:
    """What checks models by the schema: imported where it is used, since that takes long, and built once."""
    import jsonschema

    return jsonschema.Draft202012Validator(SCHEMA)


def test_a_kernel_that_did_not_come_up_is_not_called_safe() -> None:
    assert MODELS["not up"]["fate"] == "unknown" and MODELS["refused"]["fate"] == "not run"


def test_the_schema_is_a_schema() -> None:
    validator().check_schema(SCHEMA)
    assert SCHEMA["$defs"]["version"]["const"] == json_contract.VERSION


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_as_the_schema_says(name: str) -> None:
    validator().validate(json.loads(json.dumps(MODELS[name])))


@pytest.mark.parametrize("name", MODELS)
def test_the_schema_would_notice_what_is_missing_or_of_another_type(name: str) -> None:
    for field in MODELS[name]:
        for broken in ({**MODELS[name], field: object}, {k: v for k, v in MODELS[name].items() if k != field}):
            model = {key: {} if value is object else value for key, value in broken.items()}
            assert not validator().is_valid(model), (field, broken.get(field, "missing"))


def test_a_claim_is_selected_by_its_server_alone() -> None:
    assert [item["select"] for item in MODELS["list"]["claims"]] == [f"{SERVER.name}::{KERNEL.id}"]


def test_every_documented_field_is_printed_and_every_printed_one_documented() -> None:
    definitions = SCHEMA["$defs"]
    assert set(MODELS["ok"]) == set(definitions["exec"]["properties"])
    assert set(MODELS["list"]) == set(definitions["list"]["properties"])
    assert set(MODELS["ok"]["kernel"]) == set(definitions["kernel"]["properties"])
    assert set(MODELS["raised"]["error"]) == set(definitions["error"]["properties"])
    assert set(MODELS["list"]["servers"][0]) == set(definitions["server"]["properties"])
    assert set(MODELS["servers"]["servers"][0]) == set(definitions["server"]["properties"])


@pytest.mark.parametrize("name", ["list", "servers"])
def test_a_server_is_told_of_with_all_that_its_table_shows(name: str) -> None:
    server = MODELS[name]["servers"][0]
    words = {"source": "added", "version": None, "auth": "none", "trust": "sandboxed", "url": SERVER.url, "name": "lab"}
    assert words.items() <= server.items()


@pytest.mark.parametrize("source", ["runtime", "added", "saved", "config", "option"])
def test_the_schema_knows_every_source(source: str) -> None:
    server = dataclasses.replace(SERVER, source=source, version="2.21.1")
    model = json_contract.servers_model(Listing((), (ServerReport(server, auth="password"),)))
    validator().validate(json.loads(json.dumps(model)))


def test_a_traceback_comes_without_colours() -> None:
    assert MODELS["raised"]["error"] == {"kind": "remote", "name": "E", "message": "v", "traceback": ["E: v"]}


def test_candidates_say_how_to_select_them() -> None:
    assert [item["select"] for item in MODELS["ambiguous"]["candidates"]] == ["a.ipynb", "3f9c"]
    assert MODELS["list"]["kernels"][0]["select"] == "a.ipynb"


@pytest.mark.parametrize(
    ("message", "ask"),
    [
        ("'a' matches 2 kernels, so nothing was run", "Use one of:"),
        ("12 kernels are running", "Choose one: kernel-bridge exec NAME -c CODE"),
    ],
)
def test_what_is_said_of_candidates_is_a_sentence(message: str, ask: str) -> None:
    error = AmbiguousKernel(message, [("a", KERNEL)], remedy=ask)
    assert str(error) == f"{message}. {ask}"
    told = json_contract.failure(error)["error"]["message"]
    assert told == f"{message}. Give the 'select' of one of 'candidates' as MATCH"


def test_what_was_cut_is_told() -> None:
    result = RemoteResult("ok", Fate.OK, KERNEL, [], truncated=True, output_characters=17)
    assert [json_contract.result_model(result, file)["output_file"] for file in ("/a/file", "")] == ["/a/file", None]
    model = json_contract.result_model(result)
    assert (model["truncated"], model["output_characters"]) == (True, 17)
    assert [MODELS["bad"][name] for name in ("truncated", "output_characters", "output_file")] == [False, 0, None]


def test_a_failure_names_the_kernel_that_was_found() -> None:
    assert MODELS["bad"]["kernel"] is None
    for name in ("refused", "own"):
        assert MODELS[name]["kernel"] == json_contract.kernel_model(KERNEL, KERNEL.id)


@pytest.mark.parametrize(
    ("evalue", "language", "fate"),
    [("0", "python", "ok"), ("", "", "ok"), ("1", "python", "failed"), ("0", "ruby", "failed"), ("exit", "", "failed")],
)
def test_python_code_that_exits_with_0_is_ok(evalue: str, language: str, fate: str) -> None:
    kernel = Kernel("k", "k", KernelSpec("k", "K", language))
    result = RemoteResult("error", Fate.FAILED, kernel, [ERROR], None, remote_error("SystemExit", evalue))
    model = json_contract.result_model(result)
    assert (model["fate"], model["outputs"], model["error"] is None) == (fate, [ERROR], fate == "ok")
