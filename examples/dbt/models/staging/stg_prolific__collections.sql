-- Written by `python -m scripts.docs` from the columns of the tap.
{%- set loaded = prolific_export.loaded_columns('collections') %}

select
    {{ prolific_export.column('data_collection_id', 'text', loaded) }},
    {{ prolific_export.column('export_id', 'text', loaded) }},
    {{ prolific_export.column('exported_at', 'time', loaded) }},
    {{ prolific_export.column('data_collection_method', 'text', loaded) }},
    {{ prolific_export.column('name', 'text', loaded) }},
    {{ prolific_export.column('workspace_id', 'text', loaded) }},
    {{ prolific_export.column('status', 'text', loaded) }},
    {{ prolific_export.column('schema_version', 'text', loaded) }},
    {{ prolific_export.column('created_at', 'time', loaded) }},
    {{ prolific_export.column('created_by', 'text', loaded) }},
    {{ prolific_export.column('last_modified_at', 'time', loaded) }},
    {{ prolific_export.column('last_modified_by', 'text', loaded) }},
    {{ prolific_export.column('task_details', 'json', loaded) }},
    {{ prolific_export.column('datasets', 'json', loaded) }},
    {{ prolific_export.column('layout', 'json', loaded) }},
    {{ prolific_export.column('instruction_count', 'integer', loaded) }},
    {{ prolific_export.column('exported_response_count', 'integer', loaded) }},
    {{ prolific_export.column('exported_file_count', 'integer', loaded) }},
    {{ prolific_export.column('archive_bytes', 'integer', loaded) }},
    {{ prolific_export.column('export_filter', 'json', loaded) }},
    {{ prolific_export.column('full_exported_at', 'time', loaded) }},
    {{ prolific_export.column('additional_fields', 'json', loaded) }}
from {{ source('prolific', 'collections') }}
where {{ prolific_export.not_deleted(loaded) }}
