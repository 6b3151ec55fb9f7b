"""An Airflow DAG: one mapped task per data collection, each with its own state.

README.md in this folder lists the requirements.
"""

from __future__ import annotations

import json
import os
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

from airflow.sdk import dag, task


@dag(
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    # Two runs at once would move the same bookmarks.
    max_active_runs=1,
)
def prolific_exports() -> None:
    """Load every data collection of PROLIFIC_COLLECTION_IDS."""

    @task
    def ids() -> list[str]:
        """Return the ids; they may change between runs."""
        return list(json.loads(os.environ["PROLIFIC_COLLECTION_IDS"]))

    @task(
        max_active_tis_per_dagrun=4,
        retries=2,
        retry_delay=timedelta(minutes=1),
        retry_exponential_backoff=True,
        execution_timeout=timedelta(hours=2),
    )
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

    load.expand(data_collection_id=ids())


prolific_exports()
