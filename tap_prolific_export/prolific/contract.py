"""What the client and the stand-in of the tests both know of Prolific's API, as data.

``scripts/contract.py`` says what the tap relies on beyond that.
"""

from __future__ import annotations

API = "/api/v1"
# Templates: `kind` is the value of a `Kind`.
DATA_COLLECTIONS = f"{API}/data-collection/{{kind}}"
DATA_COLLECTION = f"{DATA_COLLECTIONS}/{{id}}"
INSTRUCTIONS = f"{DATA_COLLECTION}/instructions"
EXPORTS = f"{DATA_COLLECTION}/export"
EXPORT = f"{EXPORTS}/{{export_id}}"

# The life of an export job.
GENERATING = "generating"
COMPLETE = "complete"
FAILED = "failed"
# A job with any other status may still be generated, also if the status is unknown.
ENDED = frozenset({COMPLETE, FAILED})

# The newer generation allows this many jobs per data collection, over all filters.
MAX_JOBS = 10
