-- Written by `python -m scripts.docs` from the columns of the tap.
{%- set loaded = prolific_export.loaded_columns('files') %}

select
    {{ prolific_export.column('data_collection_id', 'text', loaded) }},
    {{ prolific_export.column('path', 'text', loaded) }},
    {{ prolific_export.column('export_id', 'text', loaded) }},
    {{ prolific_export.column('exported_at', 'time', loaded) }},
    {{ prolific_export.column('submission_id', 'text', loaded) }},
    {{ prolific_export.column('participant_id', 'text', loaded) }},
    {{ prolific_export.column('instruction_id', 'text', loaded) }},
    {{ prolific_export.column('task_id', 'text', loaded) }},
    {{ prolific_export.column('file_name', 'text', loaded) }},
    {{ prolific_export.column('content_type', 'text', loaded) }},
    {{ prolific_export.column('size_bytes', 'integer', loaded) }},
    {{ prolific_export.column('crc32', 'text', loaded) }},
    {{ prolific_export.column('modified_at', 'time', loaded) }},
    {{ prolific_export.column('sha256', 'text', loaded) }},
    {{ prolific_export.column('uri', 'text', loaded) }}
from {{ source('prolific', 'files') }}
where {{ prolific_export.not_deleted(loaded) }}
