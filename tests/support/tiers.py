"""Which tier each test belongs to, by its file and its fixtures. No test says it itself.

`unit` opens no socket and starts no process, and a guard holds it to that. `local` has scripted servers, and the one
Jupyter server of its process with a kernel that all share. `real` has kernels and servers of its own. `browser` needs
Chromium. `long` is the one marker of these that a test has itself; it then has no other.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

#: What opens no socket and starts no process: folders, and files.
UNIT = (
    *("access/", "contract/", "display/", "fate/", "matching/", "protocol/", "remote_code/", "sanitize/"),
    *(
        "bridge/test_meanings.py",
        "bridge/test_pump.py",
        "cli/test_arguments.py",
        "cli/test_files.py",
        "cli/test_parser.py",
    ),
    *("cli/test_outcome.py", "ipython/test_cells.py", "ipython/test_variables.py"),
    *("connection/test_answers.py", "connection/test_cell.py", "connection/test_introspection.py"),
    *("connection/test_sending.py", "discovery/test_claims.py", "faults/test_table.py", "ipython/test_line_parser.py"),
    *("ipython/test_config.py", "ipython/test_fronts.py", "ipython/test_options.py", "ipython/test_screens.py"),
    *("ipython/test_autoremote.py", "ipython/test_routing.py"),
    *("jobs/test_consent.py", "jobs/test_results.py", "jobs/test_together.py", "benchmarks/test_harness.py"),
    *("servers/test_entries.py", "support/test_turns.py", "transfer/test_names.py", "transfer/test_refusals.py"),
    *("transfer/test_summary.py", "transfer/test_variables.py"),
    *("test_choices.py", "test_errors.py", "test_faces.py", "test_floors.py"),
    *("test_hints.py", "test_labels.py", "test_mirror.py", "test_models.py", "test_reports.py", "test_results.py"),
    *("test_text.py", "test_way.py", "transports/test_inbox.py", "transports/test_message_socket.py"),
    *("transports/test_router.py", "transports/test_threads.py", "transports/test_timing.py"),
)
#: What stands there and is `local` all the same: files, and single tests.
LOCAL = (
    *("access/test_descriptors.py", "access/test_linux.py", "access/test_peers.py"),
    *("access/test_sockets.py", "access/test_vault.py::test_a_secret_that_cannot_be_used_is_in_no_traceback"),
    *("access/test_proxies.py::test_a_cell_runs_through_a_proxy_that_sees_no_secret",),
    *("access/test_proxies.py::test_a_proxy_that_refuses_is_one_sentence",),
    *("access/test_proxies.py::test_a_proxy_that_drips_is_not_waited_for",),
    *("access/test_vault.py::test_a_secret_in_a_url_is_in_no_traceback", "display/test_overflow.py"),
    # they import what they copy, and start processes
    *("remote_code/test_codec.py", "remote_code/test_codec_arrow.py", "remote_code/test_codec_columns.py"),
    *("remote_code/test_codec_extension.py", "remote_code/test_codec_numpy.py", "remote_code/test_codec_pandas.py"),
    *("remote_code/test_codec_pictures.py", "remote_code/test_codec_polars.py", "remote_code/test_codec_refusals.py"),
    *("remote_code/test_codec_standard.py", "remote_code/test_shared_file.py"),
    *("matching/test_selectors.py::test_a_real_shell_gives_a_selector_back",),
    *("sanitize/test_html.py::test_a_table_of_pandas_is_shown_as_a_table",),  # imports pandas
)
#: Where kernels and servers are started, and stopped, for each test or file.
REAL = (
    *("cli/test_get_put.py", "cli/test_main.py", "cli/test_many.py", "cli/test_demo.py"),
    *("bridge/test_children.py", "cli/test_lifecycle.py"),
    *("connection/test_durable.py", "faults/"),
    *("discovery/test_standalone.py", "ipython/test_many.py", "support/test_hangs.py"),
    *("security/", "test_nbclient.py", "test_notebooks.py", "test_quiet.py", "test_readme.py", "test_terminal.py"),
    *(
        "test_terminal_autoremote.py",
        "test_terminal_many.py",
        "transfer/test_environments.py",
        "transfer/test_languages.py",
    ),
)
#: Fixtures that have a kernel which the test may end.
REAL_FIXTURES = {"own_kernel", "spare_kernels"}
#: Fixtures that have a server.
LOCAL_FIXTURES = {"jupyter_server"}

#: The audit events of what `unit` does not do. A pair of connected sockets inside the process is none of it.
_EVENTS = {
    *("socket.bind", "socket.connect", "socket.getaddrinfo", "socket.sendto"),
    *("subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"),
}


def tier_of(nodeid: str, fixtures: set[str]) -> str:
    """Return the tier of a test: `unit`, `local`, `real` or `browser`."""
    name = nodeid.removeprefix("tests/")
    if name.startswith("browser/"):
        return "browser"
    if can_be_unit(nodeid) and not name.startswith(LOCAL) and not fixtures & (LOCAL_FIXTURES | REAL_FIXTURES):
        return "unit"
    return "real" if (name.startswith(REAL) and not can_be_unit(nodeid)) or fixtures & REAL_FIXTURES else "local"


def can_be_unit(nodeid: str) -> bool:
    """Return whether a file may have tests of the tier `unit`."""
    name = nodeid.removeprefix("tests/")
    return name.startswith(UNIT) and name not in LOCAL


def has_unit(folder: str) -> bool:
    """Return whether a folder, with a slash at its end, may have tests of the tier `unit`."""
    name = folder.removeprefix("tests/")
    return name.startswith(UNIT) or any(it.startswith(name) for it in UNIT)


class Tiers:
    """A pytest plugin: gives each test its tier, runs the fast ones unless told otherwise, and guards `unit`."""

    def __init__(self) -> None:
        self._seen: list[str] = []
        self._others: set[int] | None = None  # threads that earlier tests left behind; None while none is guarded

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        if not config.option.markexpr:
            named = config.args_source is pytest.Config.ArgsSource.ARGS
            everything = named or os.environ.get("CI") == "true"
            config.option.markexpr = "not long" if everything else "unit or local"
        # An audit hook stays until the process ends, and hears all that happens: it asks first whether it is wanted.
        sys.addaudithook(self._look)
        self._watch_zmq()

    def pytest_ignore_collect(self, collection_path: Path, config: pytest.Config) -> bool | None:
        """Do not import what cannot be wanted: that takes longer than the tests of the tier `unit`."""
        name = collection_path.relative_to(config.rootpath).as_posix()
        if not is_unit_only(config) or not name.startswith("tests/"):
            return None
        wanted = has_unit(f"{name}/") if collection_path.is_dir() else can_be_unit(name)
        return None if wanted else True

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            fixtures = set(getattr(item, "fixturenames", ()))
            if item.get_closest_marker("long") is None:
                item.add_marker(tier_of(item.nodeid, fixtures))
            if "own_kernel" in fixtures:
                item.add_marker("own_kernel")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        with self._guarded(item):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        with self._guarded(item):
            return (yield)

    @contextlib.contextmanager
    def _guarded(self, item: pytest.Item) -> Iterator[None]:
        """Fail a test of the tier `unit` that opens a socket or starts a process."""
        if item.get_closest_marker("unit") is None:
            yield
            return
        self._seen.clear()
        self._others = {thread.ident or 0 for thread in threading.enumerate()} - {threading.get_ident()}
        try:
            yield
        finally:
            self._others = None
        assert not self._seen, f"no test of the tier `unit`, see {__name__}: {self._seen[0]}"

    def _look(self, event: str, args: tuple[object, ...]) -> None:
        if self._others is not None and event in _EVENTS:
            self._note(f"{event} {args[:3]!r:.80}")

    def _note(self, what: str) -> None:
        if self._others is not None and threading.get_ident() not in self._others:
            self._seen.append(what)

    def _watch_zmq(self) -> None:
        """See the sockets of ZMQ, too: no audit event tells of them."""
        original = zmq.Context.socket

        def socket(*args: Any, **options: Any) -> Any:
            self._note("a socket of ZMQ")
            return original(*args, **options)

        zmq.Context.socket = socket  # type: ignore[method-assign]


def is_unit_only(config: pytest.Config) -> bool:
    """Return whether nothing but the tier `unit` is to run."""
    return bool(config.option.markexpr == "unit")
