-- A loan's status, and since when at the latest the source knew it. A status that is dated before the last version of the
-- history is told of that one's date, so that no version ends before it began.
with known as (
    select
        loan_key,
        count(*) as versions,
        max(dbt_valid_from) as last_from,
        max(dbt_valid_to) as last_to
    from {{ source('history', 'loan_status_history') }}
    group by loan_key
)

select
    loans.loan_key,
    loans.loan_status,
    cast(coalesce(known.versions, 0) + 1 as integer) as version_number,
    greatest(
        loans.issue_month,
        coalesce(loans.last_payment_month, loans.issue_month),
        coalesce(loans.last_credit_pull_month, loans.issue_month),
        coalesce(known.last_from, loans.issue_month),
        coalesce(known.last_to, loans.issue_month)
    ) as status_as_of
from {{ ref('stg_loans') }} as loans
left join known on loans.loan_key = known.loan_key
