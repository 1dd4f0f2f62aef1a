select
    state,
    home_ownership,
    income_band,
    count(*) as loan_count,
    cast(sum(case when meets_credit_policy then 0 else 1 end) as bigint) as outside_policy_count,
    cast(sum(funded_amount) as decimal(38, 2)) as funded_amount,
    cast(sum(total_paid) as decimal(38, 2)) as total_paid,
    cast(sum(case when is_charged_off then 1 else 0 end) as bigint) as charged_off_count,
    cast(round(sum(case when is_charged_off then 1 else 0 end) / count(*), 6) as double) as charged_off_share,
    round(cast(sum(annual_income) as double) / nullif(count(annual_income), 0), 2) as mean_annual_income,
    round(cast(sum(interest_rate * funded_amount) as double) / nullif(cast(sum(funded_amount) as double), 0), 6) as weighted_interest_rate
from {{ ref('int_loans') }}
group by state, home_ownership, income_band
