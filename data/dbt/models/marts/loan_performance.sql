select
    issue_month,
    grade,
    term_months,
    count(*) as loan_count,
    cast(sum(case when meets_credit_policy then 0 else 1 end) as bigint) as outside_policy_count,
    cast(sum(funded_amount) as decimal(38, 2)) as funded_amount,
    cast(sum(principal_paid) as decimal(38, 2)) as principal_paid,
    cast(sum(interest_paid) as decimal(38, 2)) as interest_paid,
    cast(sum(case when is_charged_off then 1 else 0 end) as bigint) as charged_off_count,
    cast(round(sum(case when is_charged_off then 1 else 0 end) / count(*), 6) as double) as charged_off_share,
    round(cast(sum(interest_rate * funded_amount) as double) / nullif(cast(sum(funded_amount) as double), 0), 6) as weighted_interest_rate
from {{ ref('int_loans') }}
group by issue_month, grade, term_months
