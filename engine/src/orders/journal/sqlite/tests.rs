use std::collections::BTreeMap;

use nirantar_brokers::{Book, BrokerOrderId, OrderStatus, Price, Quantity};
use proptest::prelude::*;
use rusqlite::types::Value;

use super::super::tests_support::{any_record, every_kind, id, record, request};
use super::super::{CommandKind, What};
use super::*;
use crate::session::Generation;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// The files of a folder that belong to the journal's own content: not the lock, nor SQLite's shared memory.
fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let named = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    named
        .filter(|(name, path)| path.is_file() && !name.ends_with(".lock") && !name.ends_with("-shm"))
        .map(|(name, path)| (name, std::fs::read(path).unwrap()))
        // SQLite makes an empty log on opening; that is no content.
        .filter(|(name, bytes)| !(name.ends_with("-wal") && bytes.is_empty()))
        .collect()
}

fn filled(file: &Path, count: u64) -> Vec<Record> {
    let mut journal = SqliteJournal::open(file).unwrap();
    let kinds = every_kind();
    let records: Vec<Record> =
        (0..count).map(|number| record(number, kinds[number as usize % kinds.len()].clone())).collect();
    for record in &records {
        journal.append(record).unwrap();
    }
    journal.sync().unwrap();
    records
}

#[test]
fn what_was_synced_is_there_for_the_next_engine_and_what_was_not_is_gone() {
    let folder = folder();
    let file = folder.path().join("new/deeper/journal.db");
    let mut records = filled(&file, 30);
    let mut journal = SqliteJournal::open(&file).unwrap();
    assert_eq!(journal.read().unwrap(), records);
    let more = record(99, What::NotSent);
    journal.append(&more).unwrap();
    assert_eq!(read_records(&file).unwrap(), records, "not synced, not seen");
    drop(journal);
    let mut journal = SqliteJournal::open(&file).unwrap();
    assert_eq!(journal.read().unwrap(), records, "a death before the sync loses it");
    journal.append(&more).unwrap();
    journal.sync().unwrap();
    records.push(more);
    assert_eq!(read_records(&file).unwrap(), records, "while the writer still has it");
    drop(journal);
    assert_eq!(read_records(&file).unwrap(), records);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn two_engines_never_share_a_journal_by_whatever_name() {
    let folder = folder();
    let file = folder.path().join("journal.db");
    let first = SqliteJournal::open(&file).unwrap();
    let error = SqliteJournal::open(&file).unwrap_err();
    assert!(matches!(error, JournalError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("stop that one first"), "{error}");
    #[cfg(unix)]
    {
        let other = folder.path().join("other.db");
        std::os::unix::fs::symlink(&file, &other).unwrap();
        assert!(matches!(SqliteJournal::open(&other), Err(JournalError::InUse { .. })));
    }
    drop(first);
    SqliteJournal::open(&file).unwrap();
}

#[test]
fn a_newer_journal_is_refused_with_what_to_do_and_left_as_it_was() {
    let folder = folder();
    let file = folder.path().join("journal.db");
    filled(&file, 3);
    Connection::open(&file).unwrap().execute_batch("PRAGMA user_version = 2").unwrap();
    let before = bytes(folder.path());
    for error in [SqliteJournal::open(&file).unwrap_err(), read_records(&file).unwrap_err()] {
        assert_eq!(error, JournalError::Newer { file: error_file(&error), format: 2 });
        assert!(error.to_string().contains("update nirantar"), "{error}");
    }
    assert_eq!(bytes(folder.path()), before);
}

fn error_file(error: &JournalError) -> PathBuf {
    match error {
        JournalError::Newer { file, .. } | JournalError::Corrupt { file, .. } => file.clone(),
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_no_journal_is_refused_and_left_as_it_was() {
    let sqlite = |sql: &str| {
        let folder = folder();
        let file = folder.path().join("x.db");
        Connection::open(&file).unwrap().execute_batch(sql).unwrap();
        std::fs::read(file).unwrap()
    };
    let mark = format!("PRAGMA application_id = {}", check::APPLICATION_ID);
    for (what, content) in [
        ("empty", Vec::new()),
        ("text", b"[account]\nname = \"main\"\n".to_vec()),
        ("a torn header", b"SQLite format 3\0\x10\0".to_vec()),
        ("somebody else's", sqlite("CREATE TABLE record (seq INTEGER PRIMARY KEY)")),
        ("without a format", sqlite(&format!("{mark}; CREATE TABLE record (seq INTEGER PRIMARY KEY)"))),
        ("without its table", sqlite(&format!("{mark}; PRAGMA user_version = 1; CREATE TABLE other (x)"))),
        (
            "without its columns",
            sqlite(&format!("{mark}; PRAGMA user_version = 1; CREATE TABLE record (seq INTEGER PRIMARY KEY, at TEXT)")),
        ),
    ] {
        let folder = folder();
        let file = folder.path().join("journal.db");
        std::fs::write(&file, &content).unwrap();
        for error in [SqliteJournal::open(&file).unwrap_err(), read_records(&file).unwrap_err()] {
            assert!(matches!(error, JournalError::Corrupt { .. }), "{what}: {error}");
            assert!(error.to_string().contains("move it away"), "{what}: {error}");
        }
        assert_eq!(bytes(folder.path()), BTreeMap::from([("journal.db".to_owned(), content)]), "{what}");
    }
}

#[test]
fn a_log_that_lost_its_journal_is_not_played_into_a_new_one() {
    let folder = folder();
    let file = folder.path().join("journal.db");
    std::fs::write(beside(&file, "-wal"), b"left behind").unwrap();
    let before = bytes(folder.path());
    let error = SqliteJournal::open(&file).unwrap_err();
    assert!(matches!(error, JournalError::Corrupt { .. }) && error.to_string().contains("journal.db-wal"), "{error}");
    assert_eq!(bytes(folder.path()), before);
}

#[test]
fn a_journal_with_damaged_pages_is_refused_and_left_as_it_was() {
    let folder = folder();
    let file = folder.path().join("journal.db");
    filled(&file, 400);
    let mut content = std::fs::read(&file).unwrap();
    for byte in content.iter_mut().skip(4096) {
        *byte ^= 0x5a;
    }
    std::fs::write(&file, &content).unwrap();
    let before = bytes(folder.path());
    let error = SqliteJournal::open(&file).unwrap_err();
    assert!(matches!(error, JournalError::Corrupt { .. }), "{error}");
    assert_eq!(bytes(folder.path()), before);
}

#[test]
fn a_record_that_was_tampered_with_is_named_and_left_as_it_was() {
    for (sql, words) in [
        ("UPDATE record SET detail = '{\"generation\":-1}' WHERE seq = 3", "record 3"),
        ("UPDATE record SET what = 'sold' WHERE seq = 3", "`sold` is no kind of record"),
        ("UPDATE record SET at = 'yesterday' WHERE seq = 2", "`yesterday` is no time"),
        ("UPDATE record SET book = 'mine' WHERE seq = 2", "`mine` is no book"),
        ("UPDATE record SET order_id = 'not ours!' WHERE seq = 2", "not ours!"),
        ("UPDATE record SET detail = x'00ff' WHERE seq = 2", "record 2"),
        ("DELETE FROM record WHERE seq = 2", "records between 1 and 3 are missing"),
    ] {
        let folder = folder();
        let file = folder.path().join("journal.db");
        filled(&file, 12);
        Connection::open(&file).unwrap().execute_batch(sql).unwrap();
        let before = bytes(folder.path());
        let error = SqliteJournal::open(&file).unwrap().read().unwrap_err();
        assert!(matches!(error, JournalError::Corrupt { .. }) && error.to_string().contains(words), "{sql}: {error}");
        assert_eq!(read_records(&file).map_err(|error| error.to_string().contains(words)), Err(true));
        assert_eq!(bytes(folder.path()), before, "{sql}");
    }
}

#[test]
fn a_refused_journal_keeps_its_log_too() {
    let folder = folder();
    let file = folder.path().join("journal.db");
    filled(&file, 2);
    // A writer that dies leaves its log: as it was then, both files.
    let died = tempfile::tempdir().unwrap();
    let mut journal = SqliteJournal::open(&file).unwrap();
    journal.append(&record(5, What::NotSent)).unwrap();
    journal.sync().unwrap();
    journal.connection.execute_batch("UPDATE record SET what = 'sold' WHERE seq = 3").unwrap();
    let copy = died.path().join("journal.db");
    for ending in ["", "-wal"] {
        std::fs::copy(beside(&file, ending), beside(&copy, ending)).unwrap();
    }
    let before = bytes(died.path());
    assert!(before["journal.db-wal"].len() > 4096, "the third record is in the log only");
    let error = SqliteJournal::open(&copy).unwrap().read().unwrap_err();
    assert!(error.to_string().contains("record 3"), "{error}");
    assert_eq!(bytes(died.path()), before);
}

#[test]
fn after_a_failure_nothing_more_is_taken() {
    let folder = folder();
    let file = folder.path().join("journal.db");
    let records = filled(&file, 2);
    let mut journal = SqliteJournal::open(&file).unwrap();
    // As a full disk would: no page more than there are.
    journal.connection.execute_batch("PRAGMA max_page_count = 1").unwrap();
    let long = record(7, What::Answer("x".repeat(1 << 20)));
    let error = journal.append(&long).unwrap_err();
    assert!(error.to_string().contains("the disk is full, make room"), "{error}");
    journal.connection.execute_batch("PRAGMA max_page_count = 100000").unwrap();
    assert_eq!(journal.append(&record(8, What::NotSent)), Err(error.clone()), "it would come after a hole");
    assert_eq!(journal.sync(), Err(error));
    drop(journal);
    assert_eq!(SqliteJournal::open(&file).unwrap().read().unwrap(), records);
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_is_said() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder();
    let closed = folder.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o555)).unwrap();
    let opened = SqliteJournal::open(&closed.join("journal.db"));
    if std::fs::write(closed.join("probe"), "").is_ok() {
        println!("skipped: this user may write everywhere");
        opened.unwrap();
    } else {
        let error = opened.unwrap_err().to_string();
        assert!(error.contains("cannot be written") && error.contains("closed/journal.db.lock"), "{error}");
    }
    // A file where a folder should be: nobody may write there.
    std::fs::write(folder.path().join("file"), "").unwrap();
    let error = SqliteJournal::open(&folder.path().join("file/journal.db")).unwrap_err();
    assert!(matches!(error, JournalError::NotWritten(_)), "{error}");
}

#[test]
fn a_trader_reads_the_latest_state_of_each_order_with_plain_sql() {
    let folder = folder();
    let file = folder.path().join("journal.db");
    let mut journal = SqliteJournal::open(&file).unwrap();
    let sending = || What::Sending { generation: Generation(1), command: CommandKind::Place };
    let cancelling = || What::Sending { generation: Generation(1), command: CommandKind::Cancel };
    let state = |status, filled, price| What::State {
        status,
        quantity: None,
        broker_id: Some(BrokerOrderId::new("2611")),
        filled: Quantity::new(filled),
        average_price: Price::from_paise(price),
        message: Some("as told".to_owned()),
    };
    let external = What::External { request: request(), broker_id: BrokerOrderId::new("77") };
    let story: Vec<(u64, What)> = vec![
        (1, What::Intent(request())),
        (1, sending()),
        (2, What::Intent(request())),
        (2, sending()),
        (2, What::NotSent),
        (3, What::Intent(request())),
        (3, sending()),
        (3, state(OrderStatus::Accepted, 0, 0)),
        (3, state(OrderStatus::Open, 2, 195_005)),
        (3, cancelling()),
        (3, What::NotSent),
        (4, external),
    ];
    for (number, what) in story {
        journal.append(&record(number, what)).unwrap();
    }
    let mut paper = record(5, What::Intent(request()));
    paper.book = Book::Paper;
    journal.append(&paper).unwrap();
    journal.sync().unwrap();
    let reader = Connection::open(&file).unwrap();
    let sql =
        "SELECT id, book, instrument, side, quantity, status, filled, average_price, broker_id, message FROM orders";
    let mut statement = reader.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| {
        let shown = |column| match row.get_unwrap::<_, Value>(column) {
            Value::Null => "-".to_owned(),
            Value::Integer(number) => number.to_string(),
            Value::Text(text) => text,
            other => panic!("{other:?}: no float and no blob"),
        };
        Ok((0..10).map(shown).collect::<Vec<_>>().join(" "))
    });
    let rows: Vec<String> = rows.unwrap().map(Result::unwrap).collect();
    let line = |number, rest: &str| format!("{} {rest}", id(number));
    let expected = [
        line(1, "live NSE:RELIANCE buy 5 sent 0 0.00 - -"),
        line(2, "live NSE:RELIANCE buy 5 journalled 0 0.00 - -"),
        line(3, "live NSE:RELIANCE buy 5 open 2 1950.05 2611 as told"),
        line(4, "live NSE:RELIANCE buy 5 unknown 0 0.00 77 -"),
        line(5, "paper NSE:RELIANCE buy 5 journalled 0 0.00 - -"),
    ];
    assert_eq!(rows, expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn any_records_come_back_in_their_order(records in prop::collection::vec(any_record(), 0..20)) {
        let folder = folder();
        let file = folder.path().join("journal.db");
        let mut journal = SqliteJournal::open(&file).unwrap();
        for record in &records {
            journal.append(record).unwrap();
        }
        journal.sync().unwrap();
        prop_assert_eq!(journal.read().unwrap(), records.clone());
        drop(journal);
        prop_assert_eq!(read_records(&file).unwrap(), records);
    }
}
