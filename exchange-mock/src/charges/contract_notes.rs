//! Contract notes worked by hand from the published rates, each line to the paisa.
//!
//! Read each test beside `rates.csv`: the comment in it is the whole working, so that it can be followed with a pencil.
//! `tv` is the turnover of both sides. The rounding rule: each line once, half up, to the paisa; brokerage by order; GST
//! of the rounded brokerage, transaction charge and SEBI fee (see the module's own words).

use nirantar_brokers::Exchange::{Bse, Nfo, Nse};
use nirantar_brokers::Side::{Buy, Sell};
use nirantar_brokers::{Price, Quantity};
use proptest::prelude::*;

use super::Segment::{Delivery, Exercise, Futures, Intraday, Options};
use super::*;

/// Order, side, quantity, price in paise.
type Told = (usize, Side, u64, i64);
use nirantar_brokers::Side;

fn tariff(broker: &str) -> Tariff {
    Tariff::new(ChargeTable::built_in(), broker).unwrap()
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn feed(day: &mut DayCharges, exchange: Exchange, segment: Segment, trades: &[Told]) {
    let mut orders = std::collections::BTreeMap::new();
    for (order, side, quantity, paise) in trades {
        let worth = Price::from_paise(*paise).times(Quantity::new(*quantity)).unwrap();
        let before = orders.entry(*order).or_insert(Money::ZERO);
        day.fill(Fill { exchange, segment, side: *side, worth, before: *before }).unwrap();
        *before = *before + worth;
    }
}

/// The lines of the only column: brokerage, STT, exchange, SEBI, stamp, GST, depository; and the total.
fn note(broker: &str, date: &str, exchange: Exchange, segment: Segment, trades: &[Told]) -> (Vec<String>, String) {
    let mut charges = tariff(broker).day(day(date));
    feed(&mut charges, exchange, segment, trades);
    told(&charges)
}

fn told(charges: &DayCharges) -> (Vec<String>, String) {
    let note = charges.note();
    assert_eq!(note.total(), charges.total(), "what was counted on the way is what the note comes to");
    let [column] = note.columns[..] else { panic!("{} columns", note.columns.len()) };
    (Item::ALL.map(|item| column.charges.of(item).to_string()).to_vec(), note.total().to_string())
}

fn lines(all: &str, total: &str) -> (Vec<String>, String) {
    (all.split_whitespace().map(str::to_owned).collect(), total.to_owned())
}

#[test]
fn note_1_zerodha_intraday_after_april_2026() {
    // RELIANCE: bought 100 x 1450.00 = 145,000.00, sold 100 x 1460.50 = 146,050.00, tv 291,050.00
    // brokerage  0.03% of 145,000 = 43.50, of 146,050 = 43.815: both above the cap       20 + 20 = 40.00
    // STT        0.025% of 146,050.00                                                    36.5125 = 36.51
    // exchange   307 a crore of 291,050.00                                              8.935235 =  8.94
    // SEBI       10 a crore of 291,050.00                                                0.29105 =  0.29
    // stamp      0.003% of 145,000.00                                                                4.35
    // GST        18% of 40.00 + 8.94 + 0.29 = 49.23                                       8.8614 =  8.86
    let made = note("zerodha", "2026-11-20", Nse, Intraday, &[(1, Buy, 100, 145_000), (2, Sell, 100, 146_050)]);
    assert_eq!(made, lines("40.00 36.51 8.94 0.29 4.35 8.86 0.00", "98.95"));
}

#[test]
fn note_2_zerodha_intraday_on_the_last_day_of_march_2026() {
    // SBIN: bought 10 x 850.00 = 8,500.00, sold 10 x 853.35 = 8,533.50, tv 17,033.50
    // brokerage  0.03% of 8,500 = 2.55, of 8,533.50 = 2.56005 = 2.56                                 5.11
    // STT        0.025% of 8,533.50                                                     2.133375 =  2.13
    // exchange   307 a crore of 17,033.50                                             0.52292845 =  0.52
    // SEBI       10 a crore of 17,033.50                                               0.0170335 =  0.02
    // stamp      0.003% of 8,500.00, half a paisa goes up                                  0.255 =  0.26
    // GST        18% of 5.11 + 0.52 + 0.02 = 5.65                                          1.017 =  1.02
    let made = note("zerodha", "2026-03-31", Nse, Intraday, &[(1, Buy, 10, 85_000), (2, Sell, 10, 85_335)]);
    assert_eq!(made, lines("5.11 2.13 0.52 0.02 0.26 1.02 0.00", "9.06"));
}

#[test]
fn note_3_zerodha_delivery_bought() {
    // TCS: bought 25 x 3,120.40 = 78,010.00
    // brokerage  none on delivery                                                                    0.00
    // STT        0.1% of 78,010.00                                                                  78.01
    // exchange   307 a crore                                                            2.394907 =  2.39
    // SEBI       10 a crore                                                              0.07801 =  0.08
    // stamp      0.015%                                                                  11.7015 = 11.70
    // GST        18% of 2.39 + 0.08 = 2.47                                                0.4446 =  0.44
    let made = note("zerodha", "2026-11-20", Nse, Delivery, &[(1, Buy, 25, 312_040)]);
    assert_eq!(made, lines("0.00 78.01 2.39 0.08 11.70 0.44 0.00", "92.62"));
}

#[test]
fn note_4_zerodha_delivery_sold() {
    // TCS: sold 25 x 3,150.00 = 78,750.00, out of the demat account
    // STT        0.1% of 78,750.00                                                                  78.75
    // exchange   307 a crore                                                            2.417625 =  2.42
    // SEBI       10 a crore                                                              0.07875 =  0.08
    // stamp      the buyer's                                                                         0.00
    // GST        18% of 2.42 + 0.08 = 2.50                                                           0.45
    // depository one scrip, 13.00 + 18%                                                             15.34
    let mut charges = tariff("zerodha").day(day("2026-11-20"));
    feed(&mut charges, Nse, Delivery, &[(1, Sell, 25, 315_000)]);
    charges.deliver(Nse, true).unwrap();
    assert_eq!(told(&charges), lines("0.00 78.75 2.42 0.08 0.00 0.45 15.34", "97.04"));
    charges.deliver(Nse, false).unwrap();
    assert_eq!(charges.total().to_string(), "81.70", "bought back: nothing leaves");
}

#[test]
fn note_5_fyers_delivery_both_ways_before_march_2026() {
    // INFY: bought 40 x 1,520.25 = 60,810.00; ITC: sold 7 x 410.15 = 2,871.05; tv 63,681.05
    // brokerage  0.3% of 60,810 = 182.43, capped at 20; of 2,871.05 = 8.61315 = 8.61                28.61
    // STT        0.1% of 63,681.05                                                      63.68105 = 63.68
    // exchange   297 + 10 a crore of 63,681.05                                       1.955008235 =  1.96
    // SEBI       10 a crore of 63,681.05                                              0.06368105 =  0.06
    // stamp      0.015% of 60,810.00                                                      9.1215 =  9.12
    // GST        18% of 28.61 + 1.96 + 0.06 = 30.63                                       5.5134 =  5.51
    // depository one scrip, 3.50 + 18%                                                               4.13
    let mut charges = tariff("fyers").day(day("2026-02-27"));
    feed(&mut charges, Nse, Delivery, &[(1, Buy, 40, 152_025), (2, Sell, 7, 41_015)]);
    charges.deliver(Nse, true).unwrap();
    assert_eq!(told(&charges), lines("28.61 63.68 1.96 0.06 9.12 5.51 4.13", "113.07"));
}

/// A stock future, the same trades before and after the change of STT.
const STOCK_FUTURE: &[Told] = &[(1, Sell, 500, 145_530), (2, Buy, 500, 144_805)];

#[test]
fn note_6_upstox_stock_future_before_april_2026() {
    // One lot: sold 500 x 1,455.30 = 727,650.00, bought 500 x 1,448.05 = 724,025.00, tv 1,451,675.00
    // brokerage  0.05% of either is above the cap                                        20 + 20 = 40.00
    // STT        0.02% of 727,650.00                                                               145.53
    // exchange   183 a crore of 1,451,675.00                                          26.5656525 = 26.57
    // SEBI       10 a crore of 1,451,675.00                                             1.451675 =  1.45
    // stamp      0.002% of 724,025.00                                                    14.4805 = 14.48
    // GST        18% of 40.00 + 26.57 + 1.45 = 68.02                                     12.2436 = 12.24
    let made = note("upstox", "2026-03-27", Nfo, Futures, STOCK_FUTURE);
    assert_eq!(made, lines("40.00 145.53 26.57 1.45 14.48 12.24 0.00", "240.27"));
}

#[test]
fn note_7_upstox_stock_future_from_april_2026() {
    // As note 6, but STT 0.05% of 727,650.00 = 363.825, half a paisa up                            363.83
    let made = note("upstox", "2026-04-01", Nfo, Futures, STOCK_FUTURE);
    assert_eq!(made, lines("40.00 363.83 26.57 1.45 14.48 12.24 0.00", "458.57"));
}

#[test]
fn note_8_zerodha_index_future_after_april_2026() {
    // NIFTY, a lot of 65: bought at 25,912.40 = 1,684,306.00, sold at 25,960.10 = 1,687,406.50, tv 3,371,712.50
    // brokerage                                                                          20 + 20 =  40.00
    // STT        0.05% of 1,687,406.50                                                 843.70325 = 843.70
    // exchange   183 a crore of 3,371,712.50                                         61.70233875 =  61.70
    // SEBI       10 a crore of 3,371,712.50                                            3.3717125 =   3.37
    // stamp      0.002% of 1,684,306.00                                                 33.68612 =  33.69
    // GST        18% of 40.00 + 61.70 + 3.37 = 105.07                                    18.9126 =  18.91
    let made = note("zerodha", "2026-08-03", Nfo, Futures, &[(1, Buy, 65, 2_591_240), (2, Sell, 65, 2_596_010)]);
    assert_eq!(made, lines("40.00 843.70 61.70 3.37 33.69 18.91 0.00", "1001.37"));
}

#[test]
fn note_9_fyers_index_future_of_2025() {
    // NIFTY, a lot of 75: bought at 24,800.00 = 1,860,000.00, sold at 24,755.25 = 1,856,643.75, tv 3,716,643.75
    // brokerage                                                                          20 + 20 =  40.00
    // STT        0.02% of 1,856,643.75                                                 371.32875 = 371.33
    // exchange   173 + 10 a crore of 3,716,643.75                                   68.014580625 =  68.01
    // SEBI       10 a crore                                                           3.71664375 =   3.72
    // stamp      0.002% of 1,860,000.00                                                             37.20
    // GST        18% of 40.00 + 68.01 + 3.72 = 111.73                                    20.1114 =  20.11
    let made = note("fyers", "2025-06-16", Nfo, Futures, &[(1, Buy, 75, 2_480_000), (2, Sell, 75, 2_475_525)]);
    assert_eq!(made, lines("40.00 371.33 68.01 3.72 37.20 20.11 0.00", "540.37"));
}

/// An index option, the same trades before and after the change of STT.
const INDEX_OPTION: &[Told] = &[(1, Buy, 130, 14_235), (2, Sell, 130, 15_580)];

#[test]
fn note_10_zerodha_index_option_on_the_last_day_of_march_2026() {
    // NIFTY call, two lots of 65: bought 130 x 142.35 = 18,505.50, sold 130 x 155.80 = 20,254.00, tv 38,759.50
    // brokerage  20 an order                                                                        40.00
    // STT        0.10% of 20,254.00                                                       20.254 = 20.25
    // exchange   3,553 a crore of 38,759.50                                          13.77125035 = 13.77
    // SEBI       10 a crore of 38,759.50                                               0.0387595 =  0.04
    // stamp      0.003% of 18,505.50                                                    0.555165 =  0.56
    // GST        18% of 40.00 + 13.77 + 0.04 = 53.81                                      9.6858 =  9.69
    let made = note("zerodha", "2026-03-31", Nfo, Options, INDEX_OPTION);
    assert_eq!(made, lines("40.00 20.25 13.77 0.04 0.56 9.69 0.00", "84.31"));
}

#[test]
fn note_11_zerodha_index_option_from_april_2026() {
    // As note 10, but STT 0.15% of 20,254.00                                              30.381 = 30.38
    let made = note("zerodha", "2026-04-01", Nfo, Options, INDEX_OPTION);
    assert_eq!(made, lines("40.00 30.38 13.77 0.04 0.56 9.69 0.00", "94.44"));
}

#[test]
fn note_12_an_option_that_ends_worthless_costs_what_buying_it_did() {
    // NIFTY put: bought 65 x 12.40 = 806.00; nothing is sold or exercised
    // brokerage                                                                                     20.00
    // exchange   3,553 a crore of 806.00                                               0.2863718 =  0.29
    // SEBI       10 a crore of 806.00                                                   0.000806 =  0.00
    // stamp      0.003% of 806.00                                                        0.02418 =  0.02
    // GST        18% of 20.00 + 0.29 + 0.00 = 20.29                                       3.6522 =  3.65
    let made = note("zerodha", "2026-11-17", Nfo, Options, &[(1, Buy, 65, 1_240)]);
    assert_eq!(made, lines("20.00 0.00 0.29 0.00 0.02 3.65 0.00", "23.96"));
}

#[test]
fn notes_13_to_15_an_option_that_is_exercised() {
    // NIFTY call held to its end, 118.55 in the money: 65 x 118.55 = 7,705.75
    // STT        0.15% of 7,705.75 from 2026-04-01, of whoever held it                 11.558625 = 11.56
    let held = &[(1, Buy, 65, 11_855)];
    let made = note("zerodha", "2026-11-17", Nfo, Exercise, held);
    assert_eq!(made, lines("0.00 11.56 0.00 0.00 0.00 0.00 0.00", "11.56"));
    // STT        0.125% of 7,705.75 before                                             9.6321875 =  9.63
    let made = note("zerodha", "2026-03-24", Nfo, Exercise, held);
    assert_eq!(made, lines("0.00 9.63 0.00 0.00 0.00 0.00 0.00", "9.63"));
    // FYERS' writer pays no STT; brokerage 20.00, GST 18% of it 3.60
    let made = note("fyers", "2026-11-17", Nfo, Exercise, &[(1, Sell, 65, 11_855)]);
    assert_eq!(made, lines("20.00 0.00 0.00 0.00 0.00 3.60 0.00", "23.60"));
}

#[test]
fn note_16_an_order_in_parts_pays_the_brokerage_of_one() {
    // One order: 100 x 500.00 and again 100 x 500.00 = 100,000.00 bought
    // brokerage  0.03% of 100,000 = 30, capped at 20 (by part it would be 15 + 15)                  20.00
    // exchange   307 a crore of 100,000.00                                                           3.07
    // SEBI       10 a crore                                                                          0.10
    // stamp      0.003% of 100,000.00                                                                3.00
    // GST        18% of 20.00 + 3.07 + 0.10 = 23.17                                       4.1706 =  4.17
    let made = note("zerodha", "2026-11-20", Nse, Intraday, &[(1, Buy, 100, 50_000), (1, Buy, 100, 50_000)]);
    assert_eq!(made, lines("20.00 0.00 3.07 0.10 3.00 4.17 0.00", "30.34"));
}

#[test]
fn note_17_upstox_delivery_on_bse() {
    // bought 12 x 1,000.50 = 12,006.00
    // brokerage  20 an order                                                                        20.00
    // STT        0.1%                                                                     12.006 = 12.01
    // exchange   375 a crore                                                            0.450225 =  0.45
    // SEBI       10 a crore                                                             0.012006 =  0.01
    // stamp      0.015%                                                                   1.8009 =  1.80
    // GST        18% of 20.00 + 0.45 + 0.01 = 20.46                                       3.6828 =  3.68
    let made = note("upstox", "2026-11-20", Bse, Delivery, &[(1, Buy, 12, 100_050)]);
    assert_eq!(made, lines("20.00 12.01 0.45 0.01 1.80 3.68 0.00", "37.95"));
}

#[test]
fn note_18_zerodha_intraday_of_2021() {
    // RELIANCE: sold 10 x 1,950.00 = 19,500.00, bought 10 x 1,941.55 = 19,415.50, tv 38,915.50
    // brokerage  0.03% of 19,500 = 5.85, of 19,415.50 = 5.82465 = 5.82                              11.67
    // STT        0.025% of 19,500.00, half a paisa up                                      4.875 =  4.88
    // exchange   0.00345% of 38,915.50                                                1.34258475 =  1.34
    // SEBI       10 a crore                                                            0.0389155 =  0.04
    // stamp      0.003% of 19,415.50                                                    0.582465 =  0.58
    // GST        18% of 11.67 + 1.34 + 0.04 = 13.05                                        2.349 =  2.35
    let made = note("zerodha", "2021-04-12", Nse, Intraday, &[(1, Sell, 10, 195_000), (2, Buy, 10, 194_155)]);
    assert_eq!(made, lines("11.67 4.88 1.34 0.04 0.58 2.35 0.00", "20.86"));
}

#[test]
fn a_note_has_a_column_for_each_exchange_and_segment() {
    let mut charges = tariff("zerodha").day(day("2026-11-20"));
    feed(&mut charges, Nse, Intraday, &[(1, Buy, 100, 145_000), (2, Sell, 100, 146_050)]);
    feed(&mut charges, Nfo, Options, INDEX_OPTION);
    let note = charges.note();
    let columns: Vec<_> = note.columns.iter().map(|column| (column.exchange, column.segment, column.orders)).collect();
    assert_eq!(columns, [(Nse, Intraday, 2), (Nfo, Options, 2)]);
    // Notes 1 and 11.
    assert_eq!((note.total(), charges.total()), ("193.39".parse().unwrap(), "193.39".parse().unwrap()));
    assert_eq!(note.charges().stt.to_string(), "66.89");
}

#[test]
fn duties_to_the_rupee_is_a_setting() {
    let mut charges = tariff("zerodha").rounding(Rounding::to_the_rupee()).day(day("2026-11-20"));
    feed(&mut charges, Nse, Intraday, &[(1, Buy, 100, 145_000), (2, Sell, 100, 146_050)]);
    // Note 1 with STT 36.5125 = 37 and stamp 4.35 = 4.
    assert_eq!(told(&charges), lines("40.00 37.00 8.94 0.29 4.00 8.86 0.00", "99.09"));
}

#[test]
fn a_day_that_is_not_covered_is_an_error_and_counts_nothing() {
    for (broker, date, exchange, segment, words) in [
        ("zerodha", "2021-03-31", Nse, Intraday, "the charge table has no rates of the broker for 2021-03-31"),
        ("zerodha", "2024-09-30", Bse, Intraday, "the charge table has no rates of BSE for 2024-09-30"),
        ("upstox", "2024-09-30", Nse, Intraday, "the charge table has no rates of the broker for 2024-09-30"),
        ("zerodha", "2026-11-20", Exchange::Mcx, Futures, "the charge table has no rates of MCX for 2026-11-20"),
    ] {
        let mut charges = tariff(broker).day(day(date));
        let worth = Money::from_rupees(1_000);
        let refused = charges.fill(Fill { exchange, segment, side: Sell, worth, before: Money::ZERO }).unwrap_err();
        assert_eq!(refused.to_string(), words);
        assert_eq!(charges.covers(exchange, segment), Err(refused));
        assert_eq!((charges.note().columns.len(), charges.total()), (0, Money::ZERO));
    }
    assert_eq!(
        Tariff::new(ChargeTable::built_in(), "nobody").unwrap_err().to_string(),
        "the charge table has no broker `nobody`: expected one of fyers, upstox, zerodha"
    );
}

proptest! {
    /// What was counted fill by fill is what the whole day comes to, in whatever order orders were filled.
    #[test]
    fn the_order_of_the_day_does_not_matter(
        trades in proptest::collection::vec((0usize..4, 1u64..500, 1i64..500_000), 1..20),
        broker in prop::sample::select(vec!["zerodha", "upstox", "fyers"]),
        segment in prop::sample::select(Segment::ALL.to_vec()),
    ) {
        // An order has one side.
        let trades: Vec<Told> =
            trades.into_iter().map(|(no, quantity, paise)| (no, if no % 2 == 0 { Buy } else { Sell }, quantity, paise)).collect();
        let mut turned = trades.clone();
        turned.reverse();
        let [one, two] = [&trades, &turned].map(|trades| {
            let mut charges = tariff(broker).day(day("2026-11-20"));
            feed(&mut charges, Nfo, segment, trades);
            charges
        });
        prop_assert_eq!(one.note(), two.note());
        prop_assert_eq!(one.total(), one.note().total());
        for column in one.note().columns {
            for item in Item::ALL {
                let line = column.charges.of(item);
                prop_assert!(line >= Money::ZERO && line.units() % 100 == 0, "{item} {line}");
            }
        }
    }

    /// Sums saturate: no number makes it panic.
    #[test]
    fn no_sum_however_large_makes_it_panic(worths in proptest::collection::vec((any::<i64>(), any::<i64>(), any::<bool>()), 1..9)) {
        let mut charges = tariff("fyers").day(day("2026-11-20"));
        for (worth, before, buy) in worths {
            let (worth, before) = (Money::from_units(worth), Money::from_units(before));
            let _ = charges.fill(Fill { exchange: Nse, segment: Delivery, side: if buy { Buy } else { Sell }, worth, before });
            let _ = (charges.deliver(Nse, buy), charges.note(), charges.total());
        }
    }
}
