-- The answers that Prolific still exports.
--
-- A response always comes with all its answers. If it comes again with fewer values, the surplus
-- rows keep the time of the earlier export.

with answers as (
    select
        answers.*,
        max(answers.exported_at) over (
            partition by answers.data_collection_id, answers.response_id
        ) as last_exported_at
    from {{ ref('stg_prolific__answers') }} as answers
    where {{ prolific_export.not_withdrawn('answers') }}
)

select
    answers.data_collection_id,
    answers.response_id,
    answers.instruction_id,
    answers.answer_index,
    answers.exported_at,
    answers.submission_id,
    answers.participant_id,
    answers.task_id,
    answers.instruction_type,
    coalesce(instructions.description, answers.question) as question,
    answers.value,
    answers.value_number,
    answers.value_boolean,
    answers.value_label,
    answers.unit,
    answers.explanation,
    answers.file_path,
    answers.raw
from answers
left join {{ ref('stg_prolific__instructions') }} as instructions
    on
        instructions.data_collection_id = answers.data_collection_id
        and instructions.instruction_id = answers.instruction_id
where answers.exported_at = answers.last_exported_at
