-- The loans of one year and term, month by month after funding: how many have made their last payment by then.
with loans as (
    select
        cast(extract(year from issue_month) as integer) as vintage_year,
        term_months,
        months_paid,
        is_charged_off,
        is_fully_paid,
        funded_amount
    from {{ ref('int_loans') }}
),

vintages as (
    select
        vintage_year,
        term_months,
        count(*) as loan_count,
        sum(funded_amount) as funded_amount,
        max(months_paid) as last_month
    from loans
    group by vintage_year, term_months
),

ended as (
    select
        vintage_year,
        term_months,
        months_paid as months_on_book,
        sum(case when is_charged_off then 1 else 0 end) as charged_off,
        sum(case when is_fully_paid then 1 else 0 end) as fully_paid,
        sum(case when is_charged_off then funded_amount else 0 end) as charged_off_amount
    from loans
    group by vintage_year, term_months, months_paid
),

months as (
    select distinct
        vintages.vintage_year,
        vintages.term_months,
        all_months.months_on_book,
        vintages.loan_count,
        vintages.funded_amount
    from vintages
    inner join (select distinct months_on_book from ended) as all_months
        on all_months.months_on_book <= vintages.last_month
),

running as (
    select
        months.vintage_year,
        months.term_months,
        months.months_on_book,
        months.loan_count,
        months.funded_amount,
        sum(coalesce(ended.charged_off, 0)) over up_to as charged_off_count,
        sum(coalesce(ended.fully_paid, 0)) over up_to as fully_paid_count,
        sum(coalesce(ended.charged_off_amount, 0)) over up_to as charged_off_amount
    from months
    left join ended
        on
            months.vintage_year = ended.vintage_year
            and months.term_months = ended.term_months
            and months.months_on_book = ended.months_on_book
    window up_to as (
        partition by months.vintage_year, months.term_months
        order by months.months_on_book
        rows between unbounded preceding and current row
    )
)

select
    vintage_year,
    term_months,
    cast(months_on_book as integer) as months_on_book,
    loan_count,
    cast(charged_off_count as bigint) as charged_off_count,
    cast(fully_paid_count as bigint) as fully_paid_count,
    cast(charged_off_amount as decimal(38, 2)) as charged_off_amount,
    cast(round(charged_off_count / loan_count, 6) as double) as charged_off_share,
    -- As doubles: Spark divides decimals of 38 digits to six digits only, and engines cut or round the last one.
    round(cast(charged_off_amount as double) / nullif(cast(funded_amount as double), 0), 6) as charged_off_amount_share
from running
