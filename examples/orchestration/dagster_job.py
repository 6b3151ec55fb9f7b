"""A Dagster job: one op per data collection, each with its own state.

README.md in this folder lists the requirements.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from dagster import (
    Backoff,
    Definitions,
    DynamicOut,
    DynamicOutput,
    RetryPolicy,
    ScheduleDefinition,
    job,
    multiprocess_executor,
    op,
)


@op(out=DynamicOut(str))
def ids() -> Iterator[DynamicOutput[str]]:
    """Yield the ids; they may change between runs."""
    for id_ in json.loads(os.environ["PROLIFIC_COLLECTION_IDS"]):
        yield DynamicOutput(id_, mapping_key=id_.replace("-", "_"))


@op(retry_policy=RetryPolicy(max_retries=2, delay=60, backoff=Backoff.EXPONENTIAL))
def load(data_collection_id: str) -> None:
    """Run the tap for one data collection."""
    project = Path(os.environ["MELTANO_PROJECT_ROOT"])
    # Two runs of one extractor would write to the same files in .meltano. Each run gets its own
    # folder, with links to the installed plugins.
    with TemporaryDirectory() as own:
        for plugins in ("extractors", "loaders"):
            (Path(own) / plugins).symlink_to(project / ".meltano" / plugins)
        suffix = f"--state-id-suffix={data_collection_id}"
        subprocess.run(
            ["meltano", "run", suffix, "tap-prolific-export", "target-postgres"],
            cwd=project,
            env={
                **os.environ,
                # Required: else the state would be deleted with that folder.
                "MELTANO_STATE_BACKEND_URI": os.environ["MELTANO_STATE_BACKEND_URI"],
                "MELTANO_SYS_DIR_ROOT": own,
                "TAP_PROLIFIC_EXPORT_COLLECTION_IDS": json.dumps([data_collection_id]),
            },
            check=True,
        )


@job(executor_def=multiprocess_executor.configured({"max_concurrent": 4}))
def prolific_exports() -> None:
    """Load every data collection of PROLIFIC_COLLECTION_IDS."""
    ids().map(load)


definitions = Definitions(
    jobs=[prolific_exports],
    schedules=[ScheduleDefinition(job=prolific_exports, cron_schedule="@daily")],
)
