-- What the marts share: who a loan belongs with, and what has become of it.
select
    *,
    loan_status = 'Charged Off' as is_charged_off,
    loan_status = 'Fully Paid' as is_fully_paid,
    case
        when annual_income is null then 'unknown'
        when annual_income < 25000 then 'under 25k'
        when annual_income < 50000 then '25k to 50k'
        when annual_income < 75000 then '50k to 75k'
        when annual_income < 100000 then '75k to 100k'
        when annual_income < 150000 then '100k to 150k'
        else '150k and more'
    end as income_band,
    -- Months from funding to the last payment: 0 where nothing was ever paid, or a payment is dated before the loan.
    cast(
        greatest(
            coalesce(
                (extract(year from last_payment_month) - extract(year from issue_month)) * 12
                + extract(month from last_payment_month) - extract(month from issue_month),
                0
            ),
            0
        ) as integer
    ) as months_paid
from {{ ref('stg_loans') }}
