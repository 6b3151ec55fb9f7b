-- The uploaded files that Prolific still exports, each with its question and response.

with answers as (  -- if several answers name a file, the first response
    select
        data_collection_id,
        file_path,
        min(response_id) as response_id
    from {{ ref('answers_current') }}
    where file_path is not null
    group by data_collection_id, file_path
)

select
    files.data_collection_id,
    files.path,
    files.uri,
    files.file_name,
    files.content_type,
    files.size_bytes,
    files.sha256,
    instructions.description as question,
    files.instruction_id,
    answers.response_id,
    files.submission_id,
    files.participant_id,
    files.task_id,
    responses.submitted_at
from {{ ref('stg_prolific__files') }} as files
left join answers
    on
        answers.data_collection_id = files.data_collection_id
        and answers.file_path = files.path
left join {{ ref('responses_current') }} as responses
    on
        responses.data_collection_id = answers.data_collection_id
        and responses.response_id = answers.response_id
left join {{ ref('stg_prolific__instructions') }} as instructions
    on
        instructions.data_collection_id = files.data_collection_id
        and instructions.instruction_id = files.instruction_id
where {{ prolific_export.not_withdrawn('files') }}
