-- Written by `python -m scripts.docs` from the columns of the tap.
{%- set loaded = prolific_export.loaded_columns('responses') %}

select
    {{ prolific_export.column('data_collection_id', 'text', loaded) }},
    {{ prolific_export.column('response_id', 'text', loaded) }},
    {{ prolific_export.column('export_id', 'text', loaded) }},
    {{ prolific_export.column('exported_at', 'time', loaded) }},
    {{ prolific_export.column('submission_id', 'text', loaded) }},
    {{ prolific_export.column('participant_id', 'text', loaded) }},
    {{ prolific_export.column('study_id', 'text', loaded) }},
    {{ prolific_export.column('task_id', 'text', loaded) }},
    {{ prolific_export.column('submitted_at', 'time', loaded) }},
    {{ prolific_export.column('answers', 'answers', loaded) }},
    {{ prolific_export.column('additional_fields', 'json', loaded) }}
from {{ source('prolific', 'responses') }}
where {{ prolific_export.not_deleted(loaded) }}
