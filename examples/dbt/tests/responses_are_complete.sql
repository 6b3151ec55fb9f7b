-- The loader lost or repeated rows if `responses` does not have as many as the tap says that it
-- read. Fails for each such data collection.

select
    collections.data_collection_id,
    collections.exported_response_count,
    count(responses.response_id) as loaded
from {{ ref('stg_prolific__collections') }} as collections
left join {{ ref('stg_prolific__responses') }} as responses
    on
        responses.data_collection_id = collections.data_collection_id
        and responses.exported_at >= collections.exported_at
group by collections.data_collection_id, collections.exported_response_count
having count(responses.response_id) < collections.exported_response_count
