//! Reading a file that the disk cannot read everywhere: what is around a bad sector is worth having.
//!
//! A file of which nothing can be read has lost nothing, unless it is all in one sector; nor has one that could not be read
//! for a moment only. That is an error, and is tried again.

use std::io;

use super::DiskFile;
use crate::client::journal::Source;

/// What is lost at once where a disk cannot be read, in bytes: a page of the system's cache, which is a sector or more.
const SECTOR: u64 = 4096;
/// What stands for a byte that cannot be read: no frame begins with many of it.
const UNREADABLE: u8 = 0xFF;
/// In how many other places a disk is tried that cannot be read in one.
const ELSEWHERE: u64 = 8;

/// A file that is read up to some place.
pub(super) struct Reader<'a, F> {
    file: &'a mut F,
    end: u64,
    /// Where the sectors begin that could not be read.
    unreadable: Vec<u64>,
}

impl<'a, F: DiskFile> Reader<'a, F> {
    /// A reader of all of it.
    pub(super) fn new(file: &'a mut F) -> Self {
        Self::up_to(file, u64::MAX)
    }

    /// A reader of what comes before `end`.
    pub(super) fn up_to(file: &'a mut F, end: u64) -> Self {
        Self { file, end, unreadable: Vec::new() }
    }

    /// What is wrong with what was read, if it is not so any more: then everything is to be read again.
    pub(super) fn was_unreadable(&mut self) -> Option<io::Error> {
        let unreadable = self.unreadable.clone();
        let is_readable = unreadable.into_iter().any(|sector| self.is_readable(sector));
        is_readable.then(|| io::Error::other("it could not be read everywhere for a moment"))
    }

    /// Whether a sector can be read, all of it: the disk's own may be smaller.
    fn is_readable(&mut self, sector: u64) -> bool {
        self.file.read_full_at(sector, &mut [0; SECTOR as usize]).is_ok()
    }

    /// Reads sector by sector where not all can be read; `error` is what was wrong with all at once.
    fn read_around(&mut self, offset: u64, bytes: &mut [u8], error: io::Error) -> io::Result<usize> {
        let length = self.file.length()?;
        let mut filled = 0;
        let mut bad = Vec::new();
        while filled < bytes.len() && offset + (filled as u64) < length {
            let at = offset + filled as u64;
            let sector = at - at % SECTOR;
            let left = (sector + SECTOR).min(length) - at;
            let step = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - filled);
            let piece = &mut bytes[filled..filled + step];
            match self.file.read_full_at(at, piece) {
                Ok(read) if read < step => return Ok(filled + read),
                Ok(_) => {}
                Err(error) if !is_of_the_disk(&error) => return Err(error),
                Err(_) => {
                    piece.fill(UNREADABLE);
                    bad.push(sector);
                }
            }
            filled += step;
        }
        bad.retain(|sector| !self.unreadable.contains(sector));
        self.unreadable.extend(bad);
        if self.unreadable.is_empty() || self.is_readable_elsewhere(length) { Ok(filled) } else { Err(error) }
    }

    fn is_readable_elsewhere(&mut self, length: u64) -> bool {
        let sectors = (0..length.div_ceil(SECTOR)).map(|number| number * SECTOR);
        let others = sectors.filter(|sector| !self.unreadable.contains(sector));
        let others: Vec<u64> = others.collect();
        if self.unreadable.len() <= 1 && others.is_empty() {
            // All is in one sector. The device's key was read from the same disk.
            return true;
        }
        let step = (others.len() as u64).div_ceil(ELSEWHERE).max(1);
        let mut some = others.into_iter().step_by(usize::try_from(step).unwrap_or(usize::MAX));
        some.any(|sector| self.is_readable(sector))
    }
}

/// Whether an error says that the disk cannot read what is there. Any other, of a network, of rights, of memory, says
/// nothing about it.
pub(super) fn is_of_the_disk(error: &io::Error) -> bool {
    const BAD: &[i32] = if cfg!(windows) {
        // ERROR_CRC, ERROR_SECTOR_NOT_FOUND, ERROR_READ_FAULT, ERROR_DEVICE_HARDWARE_ERROR and ERROR_IO_DEVICE.
        &[23, 27, 30, 483, 1117]
    } else if cfg!(any(target_os = "linux", target_os = "android")) {
        // EIO; and ENODATA, EBADMSG and EILSEQ, by which drivers and file systems tell a bad medium and a wrong checksum.
        &[5, 61, 74, 84]
    } else {
        // EIO.
        &[5]
    };
    error.raw_os_error().is_some_and(|code| BAD.contains(&code))
}

impl<F: DiskFile> Source for Reader<'_, F> {
    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        // What comes after the end is not known to be anything.
        let left = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = bytes.len().min(left);
        let bytes = &mut bytes[..length];
        match self.file.read_full_at(offset, bytes) {
            Err(error) if is_of_the_disk(&error) => self.read_around(offset, bytes, error),
            read => read,
        }
    }

    fn unreadable(&self) -> Vec<u64> {
        self.unreadable.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    /// A file of some sectors, each filled with its number; some of its bytes cannot be read so many times more.
    #[derive(Debug)]
    struct Failing {
        sectors: u8,
        fails: Vec<(Range<u64>, u32)>,
        code: i32,
    }

    impl Failing {
        fn new(sectors: u8, fails: Vec<(Range<u64>, u32)>) -> Self {
            Self { sectors, fails, code: if cfg!(windows) { 23 } else { 5 } }
        }
    }

    fn sector(number: u64) -> Range<u64> {
        number * SECTOR..(number + 1) * SECTOR
    }

    impl DiskFile for Failing {
        fn length(&mut self) -> io::Result<u64> {
            Ok(u64::from(self.sectors) * SECTOR)
        }

        fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
            let end = (offset + bytes.len() as u64).min(u64::from(self.sectors) * SECTOR);
            for (bad, times) in &mut self.fails {
                if *times > 0 && bad.start < end && offset < bad.end {
                    *times -= 1;
                    return Err(io::Error::from_raw_os_error(self.code));
                }
            }
            let read = usize::try_from(end.saturating_sub(offset)).expect("small");
            bytes[..read].iter_mut().zip(offset..).for_each(|(byte, at)| *byte = (at / SECTOR) as u8);
            Ok(read)
        }

        fn write_at(&mut self, _: u64, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn set_length(&mut self, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn sync_data(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// Reads all of a file that is asked for from the middle of its first sector; gives what was read of each sector.
    fn read(file: &mut Failing) -> (io::Result<Vec<u8>>, usize, bool) {
        let mut reader = Reader::new(file);
        let mut bytes = vec![0; 10 * SECTOR as usize];
        let read = reader.read_at(SECTOR / 2, &mut bytes);
        let sectors =
            read.map(|read| bytes[..read].chunks(SECTOR as usize).map(|sector| sector[sector.len() - 1]).collect());
        let unreadable = reader.unreadable().len();
        (sectors, unreadable, reader.was_unreadable().is_some())
    }

    #[test]
    fn what_is_around_a_sector_that_cannot_be_read_is_read() {
        let mut file = Failing::new(4, vec![(sector(2), u32::MAX)]);
        let (read, unreadable, was_unreadable) = read(&mut file);
        // Each of these pieces ends in the middle of the next sector.
        assert_eq!(read.expect("read"), [1, UNREADABLE, 3, 3]);
        assert_eq!((unreadable, was_unreadable), (1, false));
    }

    #[test]
    fn disk_that_cannot_be_read_anywhere_has_lost_nothing() {
        let mut file = Failing::new(3, (0..3).map(|number| (sector(number), u32::MAX)).collect());
        assert!(read(&mut file).0.is_err());
    }

    #[test]
    fn sector_that_cannot_be_read_is_told_from_a_disk_that_cannot_by_what_can_be_read_elsewhere() {
        let mut file = Failing::new(3, vec![(sector(0), u32::MAX)]);
        let mut reader = Reader::new(&mut file);
        let mut header = [0; 16];
        assert_eq!(reader.read_at(0, &mut header).ok(), Some(16));
        assert_eq!((header, reader.unreadable()), ([UNREADABLE; 16], vec![0]));
    }

    #[test]
    fn what_could_not_be_read_for_a_moment_is_to_be_read_again() {
        // Once with all the others, and once alone.
        let mut file = Failing::new(4, vec![(sector(2), 2)]);
        let (_, unreadable, was_unreadable) = read(&mut file);
        assert_eq!((unreadable, was_unreadable), (1, true));
        let (read, unreadable, _) = read(&mut file);
        assert_eq!((read.expect("read"), unreadable), (vec![1, 2, 3, 3], 0));
    }

    #[test]
    fn journal_that_a_disk_cannot_read_elsewhere_than_before_is_not_found_to_be_the_same() {
        let found = |lost| {
            let mut file = Failing::new(4, vec![(lost, u32::MAX)]);
            crate::client::journal::read(&mut Reader::new(&mut file), &mut |_| {}).expect("a damaged journal")
        };
        assert_eq!(found(sector(1)), found(sector(1)));
        assert_ne!(found(sector(1)), found(sector(2)));
    }

    #[test]
    fn sector_of_the_disk_that_is_smaller_than_what_is_lost_with_it_stays_unreadable() {
        let bad = SECTOR + 512..SECTOR + 1024;
        let mut file = Failing::new(4, vec![(bad, u32::MAX)]);
        let (read, unreadable, was_unreadable) = read(&mut file);
        assert_eq!(read.expect("read"), [UNREADABLE, 2, 3, 3]);
        assert_eq!((unreadable, was_unreadable), (1, false));
    }

    #[test]
    fn journal_that_is_all_in_one_bad_sector_is_lost_and_no_more() {
        let mut file = Failing::new(1, vec![(sector(0), u32::MAX)]);
        let mut bytes = [0; 2 * SECTOR as usize];
        let mut reader = Reader::new(&mut file);
        assert_eq!(reader.read_at(0, &mut bytes).ok(), Some(SECTOR as usize));
        assert_eq!((bytes[0], reader.unreadable().len(), reader.was_unreadable().is_some()), (UNREADABLE, 1, false));
    }

    #[cfg(unix)]
    #[test]
    fn error_that_says_nothing_about_the_disk_is_no_bad_sector() {
        // EACCES, ENOMEM and, on Linux, ESTALE.
        for code in [13, 12, 116] {
            let mut file = Failing { code, ..Failing::new(4, vec![(sector(2), u32::MAX)]) };
            let (read, unreadable, _) = read(&mut file);
            assert_eq!((read.expect_err("not read").raw_os_error(), unreadable), (Some(code), 0));
        }
    }
}
