-- Written by `python -m scripts.docs` from the columns of the tap.
{%- set loaded = prolific_export.loaded_columns('instructions') %}

select
    {{ prolific_export.column('data_collection_id', 'text', loaded) }},
    {{ prolific_export.column('instruction_id', 'text', loaded) }},
    {{ prolific_export.column('export_id', 'text', loaded) }},
    {{ prolific_export.column('exported_at', 'time', loaded) }},
    {{ prolific_export.column('type', 'text', loaded) }},
    {{ prolific_export.column('description', 'text', loaded) }},
    {{ prolific_export.column('position', 'integer', loaded) }},
    {{ prolific_export.column('page', 'integer', loaded) }},
    {{ prolific_export.column('answer_key', 'text', loaded) }},
    {{ prolific_export.column('options', 'json', loaded) }},
    {{ prolific_export.column('answer_limit', 'integer', loaded) }},
    {{ prolific_export.column('unit_options', 'json', loaded) }},
    {{ prolific_export.column('default_unit', 'text', loaded) }},
    {{ prolific_export.column('unit_position', 'text', loaded) }},
    {{ prolific_export.column('validation', 'json', loaded) }},
    {{ prolific_export.column('accepted_file_types', 'json', loaded) }},
    {{ prolific_export.column('max_file_size_mb', 'number', loaded) }},
    {{ prolific_export.column('min_file_count', 'integer', loaded) }},
    {{ prolific_export.column('max_file_count', 'integer', loaded) }},
    {{ prolific_export.column('max_stars', 'integer', loaded) }},
    {{ prolific_export.column('helper_text', 'text', loaded) }},
    {{ prolific_export.column('placeholder_text_input', 'text', loaded) }},
    {{ prolific_export.column('created_at', 'time', loaded) }},
    {{ prolific_export.column('created_by', 'text', loaded) }},
    {{ prolific_export.column('additional_fields', 'json', loaded) }}
from {{ source('prolific', 'instructions') }}
where {{ prolific_export.not_deleted(loaded) }}
