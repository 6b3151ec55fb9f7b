-- Fails for each data collection with fewer rows in `instructions` than it has questions. Questions
-- that are no longer asked may add rows.

select
    collections.data_collection_id,
    collections.instruction_count,
    count(instructions.instruction_id) as loaded
from {{ ref('stg_prolific__collections') }} as collections
left join {{ ref('stg_prolific__instructions') }} as instructions
    on instructions.data_collection_id = collections.data_collection_id
group by collections.data_collection_id, collections.instruction_count
having count(instructions.instruction_id) < collections.instruction_count
