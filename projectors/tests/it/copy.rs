//! COPY in the binary format: what arrives in the tables is what was given.

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use projectors::copy::{Columns, Copies};
use rand::{Rng, SeedableRng, rngs::StdRng};
use rust_decimal::Decimal;
use service_kit::testing::TestDatabase;
use uuid::Uuid;

const SEED: u64 = 20_261_121;
const ROWS: usize = 2_000;
const COLUMNS: Columns = Columns {
    table: "copied",
    names: "id, whole, small, amount, fixed, on_day, at, flag, words, printed",
};

type Row = (
    Option<Uuid>,
    Option<i64>,
    i16,
    Option<Decimal>,
    Decimal,
    Option<NaiveDate>,
    DateTime<Utc>,
    bool,
    Option<String>,
    String,
);

fn row(random: &mut StdRng) -> Row {
    let decimal = |random: &mut StdRng| {
        // Of every length: a few places are as likely as all.
        let mantissa = i128::from_be_bytes(random.random()) >> random.random_range(32..128);
        let scale = random.random_range(0..=28);
        Decimal::from_i128_with_scale(mantissa.clamp(-(1 << 95), 1 << 95), scale)
    };
    let epoch = DateTime::<Utc>::UNIX_EPOCH;
    let words = ["", "\\N", "tab\tline\nreturn\r", "Müller & Søn 🙂", "\\."];
    (
        random.random_bool(0.8).then(|| Uuid::from_u128(random.random())),
        random.random_bool(0.8).then(|| random.random()),
        random.random(),
        random.random_bool(0.9).then(|| decimal(random)),
        Decimal::new(random.random_range(-1_000_000_000..1_000_000_000), 4),
        random.random_bool(0.8).then(|| {
            NaiveDate::from_ymd_opt(1582, 10, 15).expect("a day") + Days::new(random.random_range(0..400_000))
        }),
        epoch + TimeDelta::microseconds(random.random_range(-9_000_000_000_000_000..9_000_000_000_000_000)),
        random.random(),
        random
            .random_bool(0.8)
            .then(|| words[random.random_range(0..words.len())].to_owned()),
        format!("acc_{}", random.random::<u32>()),
    )
}

#[tokio::test]
async fn values_of_every_kind_arrive_as_they_were_given() {
    println!("seed {SEED}");
    let database = TestDatabase::create().await;
    let pool = database.superuser().await;
    let mut tx = pool.begin().await.expect("a transaction");
    sqlx::query(
        "create temporary table copied (number serial, id uuid, whole bigint, small smallint, amount numeric,
            fixed numeric(34, 4), on_day date, at timestamptz, flag boolean, words text, printed text)",
    )
    .execute(&mut *tx)
    .await
    .expect("a table");
    let mut random = StdRng::seed_from_u64(SEED);
    let given: Vec<Row> = (0..ROWS).map(|_| row(&mut random)).collect();
    let mut copies = Copies::default();
    let mut rows = copies.rows_of(COLUMNS);
    for (id, whole, small, amount, fixed, on, at, flag, words, printed) in &given {
        rows.maybe_id(*id).maybe_number(*whole).small_number(*small);
        rows.maybe_amount(*amount).amount(*fixed).maybe_day(*on).instant(*at);
        rows.flag(*flag).maybe_text(words.as_deref()).printed(printed).end();
    }
    copies.send(&mut tx).await.expect("the rows are taken");
    copies.send(&mut tx).await.expect("nothing is left to send");
    let statement = format!("select {} from copied order by number", COLUMNS.names);
    let arrived: Vec<Row> = sqlx::query_as(&statement).fetch_all(&mut *tx).await.expect("rows");
    assert_eq!(arrived.len(), given.len());
    for (arrived, given) in arrived.iter().zip(&given) {
        assert_eq!(arrived, given);
    }
    // The scale is kept too, and the server reads the same number from the digits as from the text.
    let texts: Vec<Option<String>> = sqlx::query_scalar("select amount::text from copied order by number")
        .fetch_all(&mut *tx)
        .await
        .expect("texts");
    for (text, (_, _, _, amount, ..)) in texts.iter().zip(&given) {
        // Postgres has no negative zero.
        let wanted = amount.map(|amount| if amount.is_zero() { amount.abs() } else { amount }.to_string());
        assert_eq!(*text, wanted);
    }
    tx.rollback().await.expect("a rollback");
    database.drop().await;
}
