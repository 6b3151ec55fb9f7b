-- Written by `python -m scripts.docs` from the columns of the tap.
{%- set loaded = prolific_export.loaded_columns('answers') %}

select
    {{ prolific_export.column('data_collection_id', 'text', loaded) }},
    {{ prolific_export.column('response_id', 'text', loaded) }},
    {{ prolific_export.column('instruction_id', 'text', loaded) }},
    {{ prolific_export.column('answer_index', 'integer', loaded) }},
    {{ prolific_export.column('export_id', 'text', loaded) }},
    {{ prolific_export.column('exported_at', 'time', loaded) }},
    {{ prolific_export.column('submission_id', 'text', loaded) }},
    {{ prolific_export.column('participant_id', 'text', loaded) }},
    {{ prolific_export.column('task_id', 'text', loaded) }},
    {{ prolific_export.column('instruction_type', 'text', loaded) }},
    {{ prolific_export.column('question', 'text', loaded) }},
    {{ prolific_export.column('value', 'text', loaded) }},
    {{ prolific_export.column('value_number', 'number', loaded) }},
    {{ prolific_export.column('value_boolean', 'boolean', loaded) }},
    {{ prolific_export.column('value_label', 'text', loaded) }},
    {{ prolific_export.column('unit', 'text', loaded) }},
    {{ prolific_export.column('explanation', 'text', loaded) }},
    {{ prolific_export.column('file_path', 'text', loaded) }},
    {{ prolific_export.column('raw', 'json', loaded) }}
from {{ source('prolific', 'answers') }}
where {{ prolific_export.not_deleted(loaded) }}
