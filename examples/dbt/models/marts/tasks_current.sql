-- The tasks of the batches that Prolific still exports.

select tasks.*
from {{ ref('stg_prolific__tasks') }} as tasks
where {{ prolific_export.not_withdrawn('tasks') }}
