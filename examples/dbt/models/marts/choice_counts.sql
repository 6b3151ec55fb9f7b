-- How often each choice was chosen.

with choices as (
    select *
    from {{ ref('answers_current') }}
    where
        instruction_type in (
            'multiple_choice',
            'multiple_choice_with_free_text',
            'multiple_choice_with_unit',
            'star_rating'
        )
        and value is not null
),

answered as (
    select
        data_collection_id,
        instruction_id,
        max(question) as question,
        count(distinct response_id) as response_count
    from choices
    group by data_collection_id, instruction_id
),

counted as (
    select
        data_collection_id,
        instruction_id,
        value,
        coalesce(max(value_label), value) as answer,
        count(distinct response_id) as responses
    from choices
    group by data_collection_id, instruction_id, value
)

select
    counted.data_collection_id,
    counted.instruction_id,
    answered.question,
    counted.value,
    counted.answer,
    counted.responses,
    cast(round(100.0 * counted.responses / answered.response_count, 1) as double precision)
        as percent
from counted
inner join answered
    on
        answered.data_collection_id = counted.data_collection_id
        and answered.instruction_id = counted.instruction_id
