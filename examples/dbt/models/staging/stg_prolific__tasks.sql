-- Written by `python -m scripts.docs` from the columns of the tap.
{%- set loaded = prolific_export.loaded_columns('tasks') %}

select
    {{ prolific_export.column('data_collection_id', 'text', loaded) }},
    {{ prolific_export.column('task_id', 'text', loaded) }},
    {{ prolific_export.column('export_id', 'text', loaded) }},
    {{ prolific_export.column('exported_at', 'time', loaded) }},
    {{ prolific_export.column('datapoint', 'json', loaded) }},
    {{ prolific_export.column('additional_fields', 'json', loaded) }}
from {{ source('prolific', 'tasks') }}
where {{ prolific_export.not_deleted(loaded) }}
