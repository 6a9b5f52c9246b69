//! The file of a recording: opened for one writer, whole at its end.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use nirantar_brokers::recording::{Reader, RecordingError, Torn, header};

use super::RecordError;

/// Opens it behind its last whole block, and locks it. A new one gets its header.
pub(super) fn open(path: &Path, broker: &str) -> Result<(File, Option<Torn>), RecordError> {
    let failed = |why| RecordError::File { file: path.to_path_buf(), why };
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(RecordError::InUse { file: path.to_path_buf() }),
        // A file system without locks: nobody else can be kept out.
        Err(TryLockError::Error(why)) => tracing::warn!("{}: cannot be locked: {why}", path.display()),
    }
    let header = header(broker).map_err(|bad| failed(std::io::Error::other(bad)))?;
    let mut there = Vec::with_capacity(header.len());
    (&file).take(header.len() as u64).read_to_end(&mut there).map_err(failed)?;
    let (end, torn) = if there.len() < header.len() && header.starts_with(&there) {
        // New, or of a process that was killed at once.
        (0, None)
    } else {
        file.rewind().map_err(failed)?;
        let bad = |why| match why {
            RecordingError::Unreadable(why) => failed(why),
            why => RecordError::NotARecording { file: path.to_path_buf(), why },
        };
        let reader = Reader::new(BufReader::with_capacity(1 << 16, &file)).map_err(bad)?;
        if reader.broker() != broker {
            let (found, wanted) = (reader.broker().to_owned(), broker.to_owned());
            return Err(RecordError::OtherBroker { file: path.to_path_buf(), found, wanted });
        }
        reader.find_end().map_err(bad)?
    };
    file.set_len(end).and_then(|()| file.seek(SeekFrom::End(0))).map_err(failed)?;
    if end == 0 {
        file.write_all(&header).and_then(|()| file.sync_all()).map_err(failed)?;
    }
    Ok((file, torn))
}
