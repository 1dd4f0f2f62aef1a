-- No version of a loan's status begins before the one before it has ended, and only the last has no end.
select loan_key
from (
    select
        loan_key,
        dbt_valid_from,
        dbt_valid_to,
        lead(dbt_valid_from) over (partition by loan_key order by version_number) as next_valid_from
    from {{ ref('loan_status_history') }}
) as versions
where
    dbt_valid_to < dbt_valid_from
    or (next_valid_from is not null and (dbt_valid_to is null or dbt_valid_to > next_valid_from))
