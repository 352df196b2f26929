"""All that is measured."""

from __future__ import annotations

from tests.benchmarks import cells, commands, completion, fanout, listing, loading, variables

ROWS = [*loading.ROWS, *commands.ROWS, *listing.ROWS, *cells.ROWS, *fanout.ROWS, *variables.ROWS, *completion.ROWS]
