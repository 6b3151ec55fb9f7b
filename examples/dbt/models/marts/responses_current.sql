-- The responses that Prolific still exports.

select responses.*
from {{ ref('stg_prolific__responses') }} as responses
where {{ prolific_export.not_withdrawn('responses') }}
