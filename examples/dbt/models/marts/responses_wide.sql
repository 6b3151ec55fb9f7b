-- One row per response, one column per question.

{{ prolific_export.wide_responses() }}
