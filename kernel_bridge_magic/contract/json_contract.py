"""The JSON that `--json` prints, field by field. Pure; `contract.schema.json` says the same as a JSON Schema.

Within one `VERSION` fields may be added; none is removed or changes its meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from kernel_bridge_magic.errors import (
    AmbiguousKernel,
    Fate,
    FateError,
    FateUnknown,
    KernelBridgeError,
    OwnKernel,
    RemoteError,
)
from kernel_bridge_magic.matching.selectors import selector
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.reports import Checkup, Listing, ServerReport
from kernel_bridge_magic.results import Copied, RemoteResult
from kernel_bridge_magic.text import visible, without_colours

VERSION = 1
#: the text of `SystemExit` for None, 0 and False; for `sys.exit()` it is empty
_WELL = frozenset({"", "None", "0", "False"})


def kernel_model(kernel: Kernel, select: str = "") -> dict[str, Any]:
    """Return one kernel; its `select`, given as `--kernel-match`, means it alone."""
    return {
        "id": kernel.id,
        "name": kernel.title,
        "paths": list(kernel.paths),
        "kernelspec": kernel.name,
        "display_name": kernel.display_name,
        "language": kernel.language,
        "state": kernel.state,
        "last_activity": kernel.last_activity.isoformat() if kernel.last_activity else None,
        "connections": kernel.connections,
        "server": kernel.server.name if kernel.server else None,
        "url": kernel.server.url if kernel.server else None,
        "own": kernel.is_yours,
        "this_kernel": kernel.is_this_kernel,
        "select": select,
    }


def _server_model(report: ServerReport) -> dict[str, Any]:
    return {
        "name": report.server.name,
        "url": report.server.url,
        "source": report.server.known_by,
        "kernels": report.kernels,
        "version": report.server.version or None,
        "auth": report.auth,
        "trust": report.server.trust,
        "problem": report.problem or None,
        "remedy": report.remedy or None,
    }


def servers_model(listing: Listing) -> dict[str, Any]:
    """Return what `servers --json` prints: every known server, and what is wrong in the configuration."""
    servers = [_server_model(report) for report in listing.servers]
    return _found(servers=servers, notes=list(listing.notes))


def checks_model(checkups: Sequence[Checkup]) -> dict[str, Any]:
    """Return what `servers --check --json` prints; `status` is `error` where a step failed."""
    checks = [
        {
            "name": checkup.server.name,
            "url": checkup.server.url,
            "ok": checkup.ok,
            "steps": [
                {"name": step.name, "ok": step.ok, "seen": step.seen, "remedy": step.remedy or None}
                for step in checkup.steps
            ],
        }
        for checkup in checkups
    ]
    return _found(status="ok" if all(checkup.ok for checkup in checkups) else "error", checks=checks)


def interrupt_model(kernel: Kernel, *, interrupted: bool) -> dict[str, Any]:
    """Return what `interrupt --json` prints; `interrupted` is false for a kernel that was idle."""
    return _found(kernel=kernel_model(kernel, kernel.id), interrupted=interrupted)


def action_model(kernel: Kernel, action: str, seconds: float) -> dict[str, Any]:
    """Return what `restart --json`, `shutdown --json` and `start --json` print.

    `action` is what was done to the kernel: `restarted`, `shut down` or `started`.
    """
    return _found(kernel=kernel_model(kernel, kernel.id), action=action, seconds=round(seconds, 6))


def copied_model(
    kernel: Kernel, copied: Copied, kind: str, *, file: str | None, replaced: bool, seconds: float, **value: Any
) -> dict[str, Any]:
    """Return what `get --json` and `put --json` print. `kind` is the variable's type, and how much there is of it.

    `file` is where it was written to, or read from. `value` has the value under that name, where it is printed.
    """
    variable = {
        "name": copied.name,
        "type": kind,
        "size": copied.size,
        "note": copied.note or None,
        "replaced": replaced,
    }
    model = kernel_model(kernel, kernel.id)
    return _found(kernel=model, variable=variable, file=file, **value, seconds=round(seconds, 6))


def listing_model(listing: Listing, kernels: list[Kernel]) -> dict[str, Any]:
    """Return what `list --json` prints.

    That is `kernels` of the listing, every server that was asked, and what sandboxed servers list under ids of yours.
    """
    return _found(
        kernels=[kernel_model(kernel, selector(kernel, listing.kernels)) for kernel in kernels],
        servers=[_server_model(report) for report in listing.servers],
        claims=[kernel_model(kernel, selector(kernel, ())) for kernel in listing.claims],
    )


def _found(*, status: str = "ok", **fields: Any) -> dict[str, Any]:
    return {"version": VERSION, "status": status, **fields, "error": None}


def has_exited_well(result: RemoteResult) -> bool:
    """Return whether Python code ended itself with success: `sys.exit()`, `sys.exit(0)`.

    Only the text of the value is known, so that the string "0" counts as the number.
    """
    error, language = result.error, result.kernel.language
    is_python = language in ("", "python")  # "": not known of a kernel that only a connection file names
    return is_python and isinstance(error, RemoteError) and error.ename == "SystemExit" and error.evalue in _WELL


def result_model(result: RemoteResult, output_file: str = "") -> dict[str, Any]:
    """Return what `exec --json` prints when the cell was sent; `output_file` is the file with all printed text."""
    error = None if has_exited_well(result) else result.error
    updates = [{"display_id": it.display_id, "data": it.data, "metadata": it.metadata} for it in result.updates]
    return _outcome(
        result.kernel,
        error,
        fate=str(Fate.OK if error is None else result.fate),
        started=result.started,
        outputs=result.outputs,
        truncated=result.truncated,
        output_characters=result.output_characters,
        output_file=output_file or None,
        result=result.value.text if result.value is not None else None,
        seconds=round(result.seconds, 6),
        missing=result.missing,
        updates=updates,
    )


def results_model(results: Iterable[RemoteResult], seconds: float) -> dict[str, Any]:
    """Return what `exec --all --json` prints: what `exec --json` prints of each kernel, in the listing's order.

    `status` is `ok` where it is for all. `seconds` is how long it took in all.
    """
    models = [result_model(result) for result in results]
    status = "ok" if all(model["status"] == "ok" for model in models) else "error"
    return _found(status=status, results=models, seconds=round(seconds, 6))


def failure(error: KernelBridgeError, kernel: Kernel | None = None) -> dict[str, Any]:
    """Return what `--json` prints when nothing was sent.

    `kernel` is the kernel that was found, if it failed after that. `candidates` are filled where MATCH means several.
    """
    if kernel is None and isinstance(error, OwnKernel):
        kernel = error.kernel
    several = error.candidates if isinstance(error, AmbiguousKernel) else ()
    candidates = [kernel_model(candidate, select) for select, candidate in several]
    fate = Fate.UNKNOWN if isinstance(error, FateUnknown) else Fate.NOT_RUN
    return _outcome(kernel, error, fate=str(fate), candidates=candidates)


def _outcome(kernel: Kernel | None, error: KernelBridgeError | None, **known: Any) -> dict[str, Any]:
    """Return what became of a cell: what is said of one that was not sent, with the fields `known` in its place."""
    return {
        "version": VERSION,
        "status": "ok" if error is None else "error",
        "fate": str(Fate.NOT_RUN),
        "started": False,
        "kernel": None if kernel is None else kernel_model(kernel, kernel.id),
        "outputs": [],
        "truncated": False,
        "output_characters": 0,
        "output_file": None,
        "result": None,
        "error": None if error is None else _error_model(error),
        "seconds": 0.0,
        "missing": 0,
        "updates": [],
        "candidates": [],
        **known,
    }


def _error_model(error: KernelBridgeError) -> dict[str, Any]:
    """Return an error; its `kind` is `remote`, `fate` or `bridge`. A remote traceback has no colours."""
    if isinstance(error, RemoteError):
        traceback = [without_colours(line) for line in error.traceback]
        return {"kind": "remote", "name": error.ename, "message": error.evalue, "traceback": traceback}
    if isinstance(error, AmbiguousKernel):
        # Elsewhere the candidates stand below it.
        message = f"{visible(error.problem)}. Give the 'select' of one of 'candidates' as MATCH"
        return {"kind": "bridge", "name": type(error).__name__, "message": message, "traceback": []}
    kind = "fate" if isinstance(error, FateError) else "bridge"
    return {"kind": kind, "name": type(error).__name__, "message": str(error), "traceback": []}
