-- The values of an answer are numbered from 1. Fails for each answer that lacks one of them.

select data_collection_id, response_id, instruction_id, max(answer_index), count(*)
from {{ ref('answers_current') }}
group by data_collection_id, response_id, instruction_id
having max(answer_index) <> count(*)
