use std::cell::Cell;

use nirantar_brokers::AccessToken;

use super::super::EnvFormat;
use super::*;

fn store(path: &Path) -> FileStore<EnvFormat> {
    FileStore::new(path, EnvFormat::new("ZERODHA"))
}

fn token(token: &str) -> Change {
    Change { access_token: Some(AccessToken::new(token)), ..Change::default() }
}

fn refuse(kind: io::ErrorKind) -> impl Fn(NamedTempFile, &Path) -> io::Result<()> {
    move |_, _| Err(kind.into())
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_new_file_is_made_with_its_folder_and_nothing_is_left_beside_it_but_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/.env");
    assert_eq!(store(&path).read().unwrap_err(), StoreError::NotFound { path: path.clone() });
    let written = store(&path).write(&token("t")).unwrap();
    assert!(written.created && !written.in_place && !written.merged);
    assert_eq!(written.stored, store(&path).read().unwrap());
    assert_eq!(names(folder_of(&path)), [".env", ".env.lock"]);
}

#[cfg(unix)]
#[test]
fn a_new_file_is_private_and_an_existing_one_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    store(&path).write(&token("one")).unwrap();
    assert_eq!(mode(), 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    store(&path).write(&token("two")).unwrap();
    assert_eq!(mode(), 0o640);
}

#[cfg(unix)]
#[test]
fn a_write_goes_through_symlinks_and_leaves_them() {
    let folder = tempfile::tempdir().unwrap();
    let (real, middle, link) =
        (folder.path().join("real/token.env"), folder.path().join("middle"), folder.path().join(".env"));
    std::os::unix::fs::symlink("real/token.env", &middle).unwrap();
    std::os::unix::fs::symlink(&middle, &link).unwrap();
    assert!(store(&link).write(&token("t")).unwrap().created, "also where the target is not there yet");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&real).unwrap(), "ZERODHA_ACCESS_TOKEN=t\n");
    assert_eq!(follow(&link).unwrap().names, [link.clone(), middle, real]);
}

#[cfg(unix)]
#[test]
fn symlinks_in_a_circle_are_an_error_and_not_a_hang() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("b", folder.path().join("a")).unwrap();
    std::os::unix::fs::symlink("a", folder.path().join("b")).unwrap();
    let error = store(&folder.path().join("a")).write(&token("t")).unwrap_err();
    assert!(error.to_string().ends_with("its symlinks lead in a circle"), "{error}");
    assert!(store(&folder.path().join("a")).read().is_err());
}

#[test]
fn where_a_rename_is_refused_the_file_is_overwritten_and_that_is_said() {
    for kind in [io::ErrorKind::ResourceBusy, io::ErrorKind::CrossesDevices, io::ErrorKind::PermissionDenied] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        fs::write(&path, "a long text that goes away").unwrap();
        let replaced = replace(&path, refuse(kind), |_| Ok("short".to_owned())).unwrap();
        assert_eq!(replaced, Replaced { in_place: true, merged: false, created: false });
        assert_eq!(fs::read_to_string(&path).unwrap(), "short");
        assert_eq!(names(folder.path()), [".env", ".env.lock"], "no temporary file stays");
    }
}

#[test]
fn another_failure_leaves_the_old_text_and_no_temporary_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    fs::write(&path, "old").unwrap();
    let error = replace(&path, refuse(io::ErrorKind::StorageFull), |_| Ok("new".to_owned())).unwrap_err();
    assert!(matches!(error, StoreError::NotWritable { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(names(folder.path()), [".env", ".env.lock"]);
}

#[test]
fn what_a_killed_writer_left_goes_with_the_next_write_and_another_stores_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    for name in [".env.nirantar-a1b2c3.tmp", ".other.nirantar-a1b2c3.tmp", ".env.nirantar-kept"] {
        fs::write(folder.path().join(name), "ZERODHA_ACCESS_TOKEN=half").unwrap();
    }
    store(&path).write(&token("new")).unwrap();
    assert_eq!(names(folder.path()), [".env", ".env.lock", ".env.nirantar-kept", ".other.nirantar-a1b2c3.tmp"]);
}

#[test]
fn a_writer_that_ignores_the_lock_loses_nothing() {
    for in_place in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        fs::write(&path, "ZERODHA_ACCESS_TOKEN=old\n").unwrap();
        let calls = Cell::new(0);
        let change = |before: &str| {
            calls.set(calls.get() + 1);
            if calls.get() == 1 {
                // Right between our read and our rename.
                fs::write(&path, "ZERODHA_ACCESS_TOKEN=old\nFYERS_ACCESS_TOKEN=theirs\n").unwrap();
            }
            Ok(EnvFormat::new("ZERODHA").apply(before, &token("ours")).unwrap())
        };
        let replaced = if in_place {
            replace(&path, refuse(io::ErrorKind::ResourceBusy), change)
        } else {
            replace(&path, rename, change)
        };
        assert_eq!(replaced.unwrap(), Replaced { in_place, merged: true, created: false });
        assert_eq!(fs::read_to_string(&path).unwrap(), "ZERODHA_ACCESS_TOKEN=ours\nFYERS_ACCESS_TOKEN=theirs\n");
    }
}

#[test]
fn a_writer_that_never_stops_is_given_up_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    let calls = Cell::new(0);
    let error = replace(&path, rename, |before| {
        calls.set(calls.get() + 1);
        fs::write(&path, calls.get().to_string()).unwrap();
        Ok(format!("{before} and ours"))
    })
    .unwrap_err();
    assert!(error.to_string().ends_with("another program keeps changing it"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), calls.get().to_string());
}

#[test]
fn writers_that_honour_the_lock_queue_and_none_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    std::thread::scope(|scope| {
        for prefix in ["ZERODHA", "FYERS", "UPSTOX"] {
            let path = &path;
            scope.spawn(move || {
                let store = FileStore::new(path, EnvFormat::new(prefix));
                for round in 0..10 {
                    assert!(!store.write(&token(&format!("{prefix}-{round}"))).unwrap().merged);
                }
            });
        }
    });
    for prefix in ["ZERODHA", "FYERS", "UPSTOX"] {
        let stored = FileStore::new(&path, EnvFormat::new(prefix)).read().unwrap();
        assert_eq!(stored.access_token, Some(AccessToken::new(format!("{prefix}-9"))));
    }
}

#[test]
fn a_reader_sees_the_old_or_the_new_text_and_nothing_between() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    let text = |letter: &str| format!("ZERODHA_ACCESS_TOKEN={}\n", letter.repeat(100_000));
    fs::write(&path, text("a")).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 0..20 {
                store(&path).write(&token(&["b", "a"][round % 2].repeat(100_000))).unwrap();
            }
        });
        while !writer.is_finished() {
            let seen = fs::read_to_string(&path).unwrap();
            assert!(seen == text("a") || seen == text("b"), "torn after {} bytes", seen.len());
        }
    });
}

#[test]
fn what_is_no_text_file_of_ours_is_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    fs::write(&path, b"A=1\nB=\xff\xfe").unwrap();
    let shown = store(&path).read().unwrap_err().to_string();
    assert_eq!(shown, format!("{}:2: expected UTF-8 text", path.display()));
    let before = fs::read(&path).unwrap();
    assert!(store(&path).write(&token("t")).is_err());
    assert_eq!(fs::read(&path).unwrap(), before);

    fs::write(&path, vec![b'\n'; 1_100_000]).unwrap();
    assert!(store(&path).read().unwrap_err().to_string().ends_with("it is larger than 1 MiB"));
    let shown = store(folder.path()).read().unwrap_err().to_string();
    assert!(shown.ends_with("it is not a regular file"), "{shown}");
}

#[test]
fn a_secret_never_appears_in_an_error_or_a_debug_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    let texts = [
        "ZERODHA_ACCESS_TOKEN=sentinel\nZERODHA_ACCESS_TOKEN=sentinel",
        "ZERODHA_ACCESS_TOKEN='sentinel",
        "ZERODHA_ACCESS_TOKEN=\"sentinel\" sentinel",
        "ZERODHA_TOKEN_EXPIRES_AT=sentinel",
        "sentinel",
        "sentinel==",
        "sentinel sentinel=1",
        "sentinel='1",
        "ZERODHA_ACCESS_TOKEN=sentinel\nZERODHA_API_SECRET=sentinel\nZERODHA_REFRESH_TOKEN=sentinel",
    ];
    for text in texts {
        fs::write(&path, text).unwrap();
        let change = token("sentinel");
        let (read, write) = (store(&path).read(), store(&path).write(&change));
        let error = read.as_ref().err().map(ToString::to_string);
        let shown = format!("{read:?} {write:?} {error:?} {change:?} {:?}", store(&path));
        assert!(!shown.contains("sentinel"), "{shown}");
    }
}

#[test]
fn what_a_program_writes_into_the_file_we_are_replacing_is_found_and_merged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    fs::write(&path, "MINE=1\n").unwrap();
    let during = |file: NamedTempFile, real: &Path| {
        if fs::read_to_string(real).unwrap().contains("OURS") {
            return rename(file, real);
        }
        // It has opened and emptied the file before our rename, and fills it after.
        let mut script = File::create(real).unwrap();
        rename(file, real)?;
        script.write_all(b"MINE=1\nSCRIPT=2\n")
    };
    let replaced = replace(&path, during, |before| Ok(format!("{before}OURS=3\n"))).unwrap();
    assert!(replaced.merged);
    assert_eq!(fs::read_to_string(&path).unwrap(), "MINE=1\nSCRIPT=2\nOURS=3\n");
}
