-- The newest date that a loan or the history of loans knows.
select max(status_as_of) as newest_date from {{ ref('int_loan_status') }}
union all
select max(dbt_valid_from) as newest_date from {{ source('history', 'loan_status_history') }}
union all
select max(dbt_valid_to) as newest_date from {{ source('history', 'loan_status_history') }}
