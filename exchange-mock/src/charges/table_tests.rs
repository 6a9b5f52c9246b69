//! What the reader of the table refuses, and in which words.

use nirantar_brokers::Exchange;
use proptest::prelude::*;

use super::table::{BadTable, ChargeTable};
use super::*;

const HEADER: &str = "from,to,by,segment,side,item,rate,cap,mark,source";
/// A whole table of one day's rates and no end.
const LAW: &str = "\
2024-10-01,,law,delivery intraday futures options exercise,both,stt,0.1%,,C,a
2024-10-01,,law,delivery intraday futures options exercise,both,sebi,10/cr,,S,a
2024-10-01,,law,delivery intraday futures options exercise,both,stamp,0.01%,,S,a
2024-10-01,,law,delivery intraday futures options exercise,both,gst,18%,,S,a";
const NSE: &str = "2024-10-01,,NSE,delivery intraday futures options exercise,both,exchange,297/cr,,C,a";
const BROKER: &str = "\
2024-10-01,,house,delivery intraday futures options exercise,both,brokerage,0.03%,20,S,a
2024-10-01,,house,delivery,sell,dp,15,,S,a";

fn read(rows: &str) -> Result<ChargeTable, BadTable> {
    ChargeTable::read(format!("{HEADER}\n{rows}\n").as_bytes())
}

fn refused(rows: &str) -> String {
    read(rows).unwrap_err().to_string()
}

#[test]
fn the_built_in_table_is_whole_and_knows_three_brokers() {
    let table = ChargeTable::read(include_bytes!("rates.csv")).unwrap();
    assert_eq!(table.brokers().collect::<Vec<_>>(), ["fyers", "upstox", "zerodha"]);
    assert_eq!(&table, &*ChargeTable::built_in());
}

#[test]
fn a_row_that_cannot_be_read_is_named_by_line_and_column() {
    for (from, to, words) in [
        (
            "297/cr",
            "-1%",
            "line 2, column rate: `-1%` is not a rate of 0 or more, in parts of the sum: 0.1%, 297/cr or 0",
        ),
        ("297/cr", "NaN", "line 2, column rate: `NaN` is not a rate of 0 or more"),
        ("297/cr", "", "line 2, column rate: `` is not a rate of 0 or more"),
        ("297/cr", "20", "line 2, column rate: `20` is not a rate of 0 or more, in parts"),
        (
            "options",
            "warrants",
            "line 2, column segment: `delivery intraday futures warrants exercise` is not delivery, intraday",
        ),
        ("both", "long", "line 2, column side: `long` is not buy, sell or both"),
        (",exchange,", ",stt,", "line 2, column item: `stt` is not exchange, which is what an exchange takes"),
        ("NSE", "NSX", "line 2, column by: `NSX` is not law, an exchange (NSE, BSE) or a broker's name"),
        ("2024-10-01", "1.10.2024", "line 2, column from: `1.10.2024` is not a date yyyy-mm-dd"),
        ("01,,NSE", "01,2024-09-30,NSE", "line 2, column to: `2024-09-30` is not a date on or after `from`"),
        (",C,a", ",X,a", "line 2, column mark: `X` is not C, S or U"),
        (",C,a", ",C,", "line 2, column source: `` is not a source"),
        ("cr,,C", "cr,20,C", "line 2, column cap: `20` is not rupees above 0, of brokerage only"),
        (",C,a", ",C", "line 2: 9 columns, expected 10"),
    ] {
        let said = refused(&NSE.replace(from, to));
        assert!(said.starts_with(words), "{said}\n{words}");
    }
    let said = refused(&BROKER.replace("delivery,sell,dp", "intraday,sell,dp"));
    assert!(said.starts_with("line 3, column segment: `intraday sell` is not delivery sell"), "{said}");
    let said = refused(&BROKER.replace("dp,15", "dp,1%"));
    assert!(said.starts_with("line 3, column rate: `1%` is not rupees for a scrip"), "{said}");
    let said = refused(&BROKER.replace(",20,", ",-20,"));
    assert!(said.starts_with("line 2, column cap: `-20`"), "{said}");
    let said = ChargeTable::read(b"timestamp,ltp\n").unwrap_err().to_string();
    assert!(said.starts_with("line 1: the header is `timestamp,ltp`, expected `from,to,by"), "{said}");
}

#[test]
fn a_hole_an_overlap_and_a_rate_left_out_are_refused_with_the_row_named() {
    let ended = NSE.replace("01,,", "01,2025-03-31,");
    let later = |from: &str| NSE.replace("2024-10-01", from);
    assert!(read(&format!("{ended}\n{}", later("2025-04-01"))).is_ok());
    assert_eq!(
        refused(&format!("{ended}\n{}", later("2025-04-03"))),
        "line 3: `NSE delivery buy exchange` starts on 2025-04-03, and line 2 ends on 2025-03-31: no rate for the days between"
    );
    assert_eq!(
        refused(&format!("{ended}\n{}", later("2025-03-31"))),
        "line 3: `NSE delivery buy exchange` overlaps line 2, which ends on 2025-03-31"
    );
    // Two rows without an end, and one that stands twice.
    let said = refused(&format!("{NSE}\n{}", later("2025-04-01")));
    assert_eq!(said, "line 3: `NSE delivery buy exchange` overlaps line 2, which has no end");
    assert!(refused(&format!("{NSE}\n{NSE}")).starts_with("line 3: `NSE delivery buy exchange` overlaps line 2"));
    // Left out altogether, or known later, or no longer, than the rest.
    let said = refused(&LAW.lines().filter(|line| !line.contains(",stamp,")).collect::<Vec<_>>().join("\n"));
    let words =
        "line 2: `law` has rates from here on, and no row for `delivery buy stamp`: if it is not levied, say so with 0";
    assert_eq!(said, words);
    let said = refused(&LAW.replace(
        "2024-10-01,,law,delivery intraday futures options exercise,both,sebi",
        "2024-10-02,,law,delivery intraday futures options exercise,both,sebi",
    ));
    assert_eq!(
        said,
        "line 3: `law delivery buy sebi` starts on 2024-10-02, and line 2 on 2024-10-01: no rate for the days between"
    );
    let said = refused(&LAW.replace(
        "01,,law,delivery intraday futures options exercise,both,gst",
        "01,2025-03-31,law,delivery intraday futures options exercise,both,gst",
    ));
    assert_eq!(
        said,
        "line 5: `law delivery buy gst` ends on 2025-03-31, and line 2 has no end: no rate for the days between"
    );
    assert!(refused(&BROKER.replace("both", "buy")).contains("no row for `delivery sell brokerage`"));
    // One bill has one rate of GST.
    let two = LAW.replace(
        "both,gst,18%,,S,a",
        "buy,gst,18%,,S,a\n2024-10-01,,law,delivery intraday futures options exercise,sell,gst,12%,,S,a",
    );
    assert_eq!(refused(&two), "line 6: `law delivery gst` must be one rate for both sides: write `both`");
}

#[test]
fn a_table_of_ones_own_is_used_as_it_stands() {
    let table = Arc::new(read(&format!("# mine\n{LAW}\n{NSE}\n{BROKER}")).unwrap());
    let tariff = Tariff::new(table, "house").unwrap();
    let date = "2030-01-01".parse().unwrap();
    assert_eq!(tariff.day(date).covers(Exchange::Nfo, Segment::Futures), Ok(()));
    assert_eq!(
        tariff.day(date).covers(Exchange::Bse, Segment::Delivery).unwrap_err().to_string(),
        "the charge table has no rates of BSE for 2030-01-01"
    );
    assert_eq!(tariff.broker(), "house");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), header in any::<bool>()) {
        let mut all = if header { format!("{HEADER}\n").into_bytes() } else { Vec::new() };
        all.extend(bytes);
        let _ = ChargeTable::read(&all);
    }

    /// Whatever rows are left of a whole table, what is read covers each payee's days without a gap.
    #[test]
    fn what_is_read_has_no_silent_zero(
        kept in prop::collection::vec(any::<bool>(), 90),
        day in 0i64..2_400,
    ) {
        let whole = std::str::from_utf8(include_bytes!("rates.csv")).unwrap();
        let mut lines = whole.lines().filter(|line| !line.starts_with('#'));
        let mut text = format!("{}\n", lines.next().unwrap());
        // Mostly kept, or nothing would be left to be read.
        for (line, kept) in lines.zip(kept.chunks(3).cycle()) {
            if kept.iter().any(|kept| *kept) || line.contains(",law,") {
                text.push_str(line);
                text.push('\n');
            }
        }
        let Ok(table) = ChargeTable::read(text.as_bytes()) else { return Ok(()) };
        let date: NaiveDate = "2021-04-01".parse().unwrap();
        let date = date + chrono::TimeDelta::days(day);
        for broker in table.brokers() {
            let tariff = Tariff::new(Arc::new(table.clone()), broker).unwrap();
            let built_in = Tariff::new(ChargeTable::built_in(), broker).unwrap();
            for exchange in [Exchange::Nse, Exchange::Bse, Exchange::Nfo] {
                for segment in Segment::ALL {
                    let (one, two) = (tariff.day(date), built_in.day(date));
                    if one.covers(exchange, segment).is_ok() {
                        prop_assert_eq!(two.covers(exchange, segment), Ok(()));
                    }
                }
            }
        }
    }
}
