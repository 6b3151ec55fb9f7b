{# Fails for each row for which a condition does not hold. #}
{% test is_true(model, condition) %}
select *
from {{ model }}
where ({{ condition }}) is not true
{% endtest %}
