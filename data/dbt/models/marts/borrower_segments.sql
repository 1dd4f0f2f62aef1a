select
    state,
    home_ownership,
    income_band,
    count(*) as loan_count,
    cast(sum(funded_amount) as decimal(38, 2)) as funded_amount,
    cast(sum(total_paid) as decimal(38, 2)) as total_paid,
    cast(sum(case when is_charged_off then 1 else 0 end) as bigint) as charged_off_count,
    cast(round(sum(case when is_charged_off then 1 else 0 end) / count(*), 6) as double) as charged_off_share,
    cast(round(sum(annual_income) / nullif(count(annual_income), 0), 2) as double) as mean_annual_income,
    cast(round(sum(interest_rate * funded_amount) / nullif(sum(funded_amount), 0), 6) as double) as weighted_interest_rate
from {{ ref('int_loans') }}
group by state, home_ownership, income_band
