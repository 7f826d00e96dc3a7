//! What touches several ranges: reads and deletions by pages, and gets that are cut and put together again.
//!
//! Each range is read at one timestamp, however many pages it takes and whether it is split meanwhile or not; there is no snapshot
//! over several ranges.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use holdfast_types::{Key, KeyRange, Request, Response, Row, ScanMode, Timestamp, VersionedValue, limits};

use super::event::{CallId, Effort};

/// An answer that does not fit the request: a defect of the store, or of another version.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misfit(pub String);

/// What a range held of a scan when its first page was read: all of it is read at the timestamp of that page.
///
/// Whether its keys have been split over two ranges since does not matter: both still have what was there at that timestamp.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScanPart {
    /// The timestamp.
    pub at: Timestamp,
    /// Forward: the first key behind the part. Reverse: its first key. `None`: the part ends with the scan.
    pub until: Option<Key>,
}

impl ScanPart {
    /// True when what is left of a scan begins in the part.
    fn goes_on(&self, rest: &KeyRange, reverse: bool) -> bool {
        match (&self.until, reverse) {
            (None, _) => true,
            (Some(until), false) => rest.start < *until,
            (Some(until), true) => rest.end.as_ref().is_none_or(|end| until < end),
        }
    }
}

/// Reads rows page by page, over any number of ranges, in either direction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScanPager {
    /// What is still to be read; `None`: nothing.
    rest: Option<KeyRange>,
    reverse: bool,
    /// The timestamp for all ranges, when the caller named one.
    at: Option<Timestamp>,
    /// The part that the next page belongs to; `None`: it begins one.
    part: Option<ScanPart>,
    page_rows: u32,
    page_bytes: u32,
    rows_left: u64,
    mode: ScanMode,
    /// Rows of all pages that were counted and not brought.
    counted: u64,
    /// The timestamp of the last page.
    read_at: Option<Timestamp>,
}

impl ScanPager {
    /// Reads the rows in `bounds`, at most `max_rows` of them. Bounds without a key give no rows.
    #[must_use]
    pub fn new(bounds: KeyRange, reverse: bool, at: Option<Timestamp>, max_rows: Option<u64>) -> Self {
        Self {
            rest: (!bounds.is_empty()).then_some(bounds),
            reverse,
            at,
            part: None,
            page_rows: limits::MAX_SCAN_ROWS,
            page_bytes: limits::MAX_SCAN_BYTES,
            rows_left: max_rows.unwrap_or(u64::MAX),
            mode: ScanMode::Rows,
            counted: 0,
            read_at: None,
        }
    }

    /// What the pages that are asked for from here on bring of their rows.
    #[must_use]
    pub fn with_mode(mut self, mode: ScanMode) -> Self {
        self.set_mode(mode);
        self
    }

    /// What the pages that are asked for from here on bring of their rows.
    pub fn set_mode(&mut self, mode: ScanMode) {
        self.mode = mode;
    }

    /// Bounds each page; 0 and what is beyond the limits of a page are cut to them.
    #[must_use]
    pub fn with_pages(mut self, rows: u32, bytes: u32) -> Self {
        self.page_rows = rows.clamp(1, limits::MAX_SCAN_ROWS);
        self.page_bytes = bytes.clamp(1, limits::MAX_SCAN_BYTES);
        self
    }

    /// Goes on within a part that another pager began.
    #[must_use]
    pub fn within(mut self, part: Option<ScanPart>) -> Self {
        let (rest, reverse) = (self.rest.as_ref(), self.reverse);
        self.part = part.filter(|part| rest.is_some_and(|rest| part.goes_on(rest, reverse)));
        self
    }

    /// What to ask for the next page; `None`: all is read.
    #[must_use]
    pub fn next_request(&self) -> Option<Request> {
        let bounds = self.rest.clone().filter(|_| self.rows_left > 0)?;
        let max_rows = u32::try_from(self.rows_left).unwrap_or(u32::MAX).min(self.page_rows);
        let at = self.at.or(self.part.as_ref().map(|part| part.at));
        let (reverse, max_bytes, mode) = (self.reverse, self.page_bytes, self.mode);
        Some(Request::Scan { bounds, reverse, max_rows, max_bytes, at, mode })
    }

    /// Takes the answer and gives its rows; those of a count are in [`ScanPager::counted`]. An empty page with more to come is possible.
    pub fn take(&mut self, response: Response) -> Result<Vec<Row>, Misfit> {
        let Response::Scanned { mut rows, counted, resume, at, within } = response else {
            return Err(Misfit("a page of rows was expected".into()));
        };
        if counted > 0 && self.mode != ScanMode::Count {
            return Err(Misfit(format!("{counted} rows were counted that were asked for")));
        }
        let read = u64::from(counted).saturating_add(rows.len() as u64);
        self.rows_left = self.rows_left.saturating_sub(read);
        // An older store brings whole rows, whatever was asked for.
        match self.mode {
            ScanMode::Rows => {}
            ScanMode::Keys => rows.iter_mut().for_each(|row| row.value.value = Bytes::new()),
            ScanMode::Count => {
                self.counted = self.counted.saturating_add(read);
                rows = Vec::new();
            }
        }
        self.read_at = Some(at);
        self.rest = match (self.rest.take(), resume) {
            (Some(rest), Some(resume)) => advance(rest, resume, self.reverse)?,
            _ => None,
        };
        // A part that was begun ends where it ended then: a split has left both of its sides with the timestamp.
        let begun = self.part.take().or_else(|| {
            let KeyRange { start, end } = *within?;
            let until = if self.reverse { Some(start) } else { end };
            Some(ScanPart { at, until })
        });
        self.part = begun.filter(|part| self.rest.as_ref().is_some_and(|rest| part.goes_on(rest, self.reverse)));
        Ok(rows)
    }

    /// Rows that were counted so far.
    #[must_use]
    pub fn counted(&self) -> u64 {
        self.counted
    }

    /// The timestamp that the last page was read at; `None`: none was.
    #[must_use]
    pub fn read_at(&self) -> Option<Timestamp> {
        self.read_at
    }

    /// The part that the next page belongs to, for going on later; `None`: it begins one.
    #[must_use]
    pub fn part(&self) -> Option<&ScanPart> {
        self.part.as_ref()
    }

    /// What is still to be read, for going on later; `None`: nothing.
    #[must_use]
    pub fn rest(&self) -> Option<&KeyRange> {
        self.rest.as_ref().filter(|_| self.rows_left > 0)
    }
}

/// Deletes a range of keys page by page, over any number of ranges. Each page is atomic and a write of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeletePager {
    rest: Option<KeyRange>,
    deleted: u64,
}

impl DeletePager {
    /// Deletes all keys in `bounds`.
    #[must_use]
    pub fn new(bounds: KeyRange) -> Self {
        Self { rest: (!bounds.is_empty()).then_some(bounds), deleted: 0 }
    }

    /// What to ask for the next page; `None`: all is deleted.
    #[must_use]
    pub fn next_request(&self) -> Option<Request> {
        let bounds = self.rest.clone()?;
        Some(Request::DeleteRange { bounds, max_keys: limits::DELETE_RANGE_PAGE_KEYS })
    }

    /// Takes the answer.
    pub fn take(&mut self, response: &Response) -> Result<(), Misfit> {
        let Response::RangeDeleted { deleted, resume, .. } = response else {
            return Err(Misfit("a deleted page was expected".into()));
        };
        self.deleted += u64::from(*deleted);
        self.rest = match (self.rest.take(), resume) {
            (Some(rest), Some(resume)) => advance(rest, resume.clone(), false)?,
            _ => None,
        };
        Ok(())
    }

    /// Keys deleted so far.
    #[must_use]
    pub fn deleted(&self) -> u64 {
        self.deleted
    }

    /// What is still to be deleted; `None`: nothing.
    #[must_use]
    pub fn rest(&self) -> Option<&KeyRange> {
        self.rest.as_ref()
    }
}

/// What is left of `rest` when the next page begins (reversed: ends) at `resume`. A page that makes no way would never end.
fn advance(rest: KeyRange, resume: Key, reverse: bool) -> Result<Option<KeyRange>, Misfit> {
    let moves = match reverse {
        false => resume > rest.start && rest.end.as_ref().is_none_or(|end| resume <= *end),
        true => resume >= rest.start && rest.is_before_end(&resume),
    };
    if !moves {
        return Err(Misfit(format!("a page of {rest:?} says that the next one is at {resume}")));
    }
    let rest = match reverse {
        false => KeyRange { start: resume, end: rest.end },
        true => KeyRange { start: rest.start, end: Some(resume) },
    };
    Ok((!rest.is_empty()).then_some(rest))
}

/// Puts the parts of a get together.
#[derive(Clone, Debug)]
pub(crate) struct Gather {
    values: Vec<Option<VersionedValue>>,
    missing: usize,
    /// What ended parts took.
    pub(crate) effort: Effort,
    /// The parts under way.
    pub(crate) parts: BTreeSet<CallId>,
}

impl Gather {
    pub(crate) fn new(keys: usize) -> Self {
        Self { values: vec![None; keys], missing: keys, effort: Effort::default(), parts: BTreeSet::new() }
    }

    /// Takes the answer of a part whose keys stand at `positions` of the whole.
    pub(crate) fn take(&mut self, positions: &[usize], response: Response) -> Result<(), Misfit> {
        match response {
            Response::Got { values } if values.len() == positions.len() => {
                self.missing -= values.len();
                for (position, value) in positions.iter().zip(values) {
                    self.values[*position] = value;
                }
                Ok(())
            }
            _ => Err(Misfit(format!("{} values were expected", positions.len()))),
        }
    }

    /// The answer to the whole, when no key is missing any more.
    pub(crate) fn answer(&mut self) -> Option<Response> {
        (self.missing == 0).then(|| Response::Got { values: std::mem::take(&mut self.values) })
    }
}

/// The keys of a get by the range that `range_of` says they are in, each with its position; `None` when all are in one.
pub(crate) fn cut<R: Ord>(keys: &[Key], range_of: impl Fn(&Key) -> R) -> Option<Vec<Vec<usize>>> {
    let mut groups: BTreeMap<R, Vec<usize>> = BTreeMap::new();
    for (position, key) in keys.iter().enumerate() {
        groups.entry(range_of(key)).or_default().push(position);
    }
    (groups.len() > 1).then(|| groups.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fixture::{bounds, key, row};

    /// Three ranges: up to g, up to p, to the end; one row for each of a, g, h, p.
    fn serve(request: &Request) -> Response {
        let Request::Scan { bounds, reverse, max_rows, .. } = request else { panic!("a scan") };
        let cuts = [key("a"), key("g"), key("p"), key("zz")];
        let range = cuts.windows(2).map(|cut| KeyRange { start: cut[0].clone(), end: Some(cut[1].clone()) });
        let end = bounds.end.clone().unwrap();
        let within = |range: &KeyRange| match reverse {
            false => range.contains(&bounds.start),
            true => range.start < end && end <= range.end.clone().unwrap(),
        };
        let range = { range }.find(within).unwrap();
        let mut keys: Vec<&str> =
            ["a", "g", "h", "p"].into_iter().filter(|k| range.contains(&key(k)) && bounds.contains(&key(k))).collect();
        if *reverse {
            keys.reverse();
        }
        let (limit, all) = (usize::try_from(*max_rows).unwrap(), keys.len());
        keys.truncate(limit);
        let rows: Vec<Row> = keys.iter().map(|k| row(k)).collect();
        let stopped = rows.last().filter(|_| rows.len() < all).map(|r| r.key.clone());
        let resume = match (reverse, stopped) {
            (false, Some(last)) => Some(last.next()),
            (true, Some(last)) => Some(last),
            (false, None) => range.end.filter(|range_end| *range_end < end),
            (true, None) => Some(range.start).filter(|start| *start > bounds.start),
        };
        Response::Scanned { rows, counted: 0, resume, at: Timestamp(1), within: None }
    }

    /// A leader whose newest write has this timestamp answers what it read of a part.
    fn page(user: &str, resume: Option<&str>, now: u64, at: Option<Timestamp>, within: KeyRange) -> Response {
        let at = at.unwrap_or(Timestamp(now));
        let (rows, counted, resume) = (vec![row(user)], 0, resume.map(key));
        Response::Scanned { rows, counted, resume, at, within: Some(Box::new(within)) }
    }

    fn asked_at(pager: &ScanPager) -> Option<Timestamp> {
        let Some(Request::Scan { at, .. }) = pager.next_request() else { panic!("a page is missing") };
        at
    }

    #[test]
    fn all_pages_of_a_range_are_read_at_the_timestamp_of_its_first_and_the_next_range_at_its_own() {
        for (reverse, first, second, third, begins) in [(false, "b", "c", "m", "m"), (true, "x", "w", "l", "n")] {
            let mut pager = ScanPager::new(bounds("a", Some("z")), reverse, None, None);
            assert_eq!(asked_at(&pager), None);
            let part = if reverse { bounds(begins, Some("z")) } else { bounds("a", Some(begins)) };
            pager.take(page(first, Some(second), 5, None, part.clone())).unwrap();
            assert_eq!(asked_at(&pager), Some(Timestamp(5)), "the range was written to meanwhile");
            pager.take(page(second, Some(begins), 9, asked_at(&pager), part)).unwrap();
            assert_eq!(asked_at(&pager), None, "the next range has a timestamp of its own");
            let part = if reverse { bounds("a", Some(begins)) } else { bounds(begins, Some("z")) };
            pager.take(page(third, Some(if reverse { "k" } else { "n" }), 7, None, part)).unwrap();
            assert_eq!(asked_at(&pager), Some(Timestamp(7)));
        }
    }

    #[test]
    fn a_range_that_is_split_under_a_scan_is_read_to_its_old_end_at_one_timestamp() {
        for reverse in [false, true] {
            let (first, next, cut, behind) = if reverse { ("x", "w", "m", "e") } else { ("b", "c", "m", "r") };
            let mut pager = ScanPager::new(bounds("a", Some("z")), reverse, None, None);
            pager.take(page(first, Some(next), 5, None, bounds("a", Some("z")))).unwrap();
            let side = |left| if left { bounds("a", Some("m")) } else { bounds("m", Some("z")) };
            pager.take(page(next, Some(cut), 9, asked_at(&pager), side(!reverse))).unwrap();
            assert_eq!(asked_at(&pager), Some(Timestamp(5)), "the other side goes on where the first ended");
            let carried = pager.part().cloned();
            pager.take(page(cut, Some(behind), 9, asked_at(&pager), side(reverse))).unwrap();
            assert_eq!(asked_at(&pager), Some(Timestamp(5)));
            let later = ScanPager::new(pager.rest().unwrap().clone(), reverse, None, None).within(carried);
            assert_eq!(asked_at(&later), Some(Timestamp(5)), "so does a reader who broke off");
        }
    }

    #[test]
    fn a_timestamp_that_the_caller_names_is_that_of_all_ranges() {
        let mut pager = ScanPager::new(bounds("a", Some("z")), false, Some(Timestamp(3)), None);
        pager.take(page("b", Some("m"), 5, asked_at(&pager), bounds("a", Some("m")))).unwrap();
        assert_eq!(asked_at(&pager), Some(Timestamp(3)));
    }

    fn read(mut pager: ScanPager) -> (Vec<String>, usize) {
        let (mut keys, mut pages) = (vec![], 0);
        while let Some(request) = pager.next_request() {
            let rows = pager.take(serve(&request)).unwrap();
            keys.extend(rows.iter().map(|r| String::from_utf8(r.key.user_key().to_vec()).unwrap()));
            pages += 1;
        }
        (keys, pages)
    }

    #[test]
    fn a_scan_goes_over_three_ranges_in_both_directions() {
        let all = bounds("a", Some("z"));
        let (keys, pages) = read(ScanPager::new(all.clone(), false, None, None));
        assert_eq!((keys.join(""), pages), ("aghp".to_owned(), 3));
        let (keys, pages) = read(ScanPager::new(all.clone(), true, None, None));
        assert_eq!((keys.join(""), pages), ("phga".to_owned(), 3));
        let (keys, _) = read(ScanPager::new(all.clone(), false, None, None).with_pages(1, 1));
        assert_eq!(keys.join(""), "aghp");
        let (keys, _) = read(ScanPager::new(all.clone(), true, None, None).with_pages(1, 1));
        assert_eq!(keys.join(""), "phga");
        let (keys, _) = read(ScanPager::new(all, true, None, Some(2)));
        assert_eq!(keys.join(""), "ph");
    }

    /// What `serve` is: it knows nothing of modes.
    #[test]
    fn whole_rows_of_an_older_store_become_what_was_asked_for() {
        for (reverse, limit, expected) in [(false, None, 4), (true, None, 4), (false, Some(3), 3), (true, Some(1), 1)] {
            let mut pager = ScanPager::new(bounds("a", Some("z")), reverse, None, limit).with_mode(ScanMode::Count);
            while let Some(request) = pager.next_request() {
                assert_eq!(pager.take(serve(&request)), Ok(vec![]));
            }
            assert_eq!(pager.counted(), expected);
        }
        let mut pager = ScanPager::new(bounds("a", Some("z")), false, None, None).with_mode(ScanMode::Keys);
        let answer = serve(&pager.next_request().unwrap());
        let Response::Scanned { rows: brought, .. } = &answer else { panic!("a page") };
        assert!(!brought[0].value.value.is_empty());
        let rows = pager.take(answer.clone()).unwrap();
        assert_eq!((&rows[0].key, rows[0].value.timestamp), (&brought[0].key, brought[0].value.timestamp));
        assert!(rows.iter().all(|row| row.value.value.is_empty()));
    }

    #[test]
    fn rows_that_were_counted_are_counted_over_ranges_and_never_taken_for_rows() {
        let page = |counted, resume: Option<&str>| Response::Scanned {
            rows: vec![],
            counted,
            resume: resume.map(key),
            at: Timestamp(3),
            within: None,
        };
        let all = ScanPager::new(bounds("a", Some("z")), false, None, Some(9_000));
        let mut pager = all.clone().with_mode(ScanMode::Count).with_pages(6_000, 1);
        pager.take(page(6_000, Some("g"))).unwrap();
        let Some(Request::Scan { max_rows, mode: ScanMode::Count, .. }) = pager.next_request() else { panic!("more") };
        assert_eq!((max_rows, pager.read_at()), (3_000, Some(Timestamp(3))));
        pager.take(page(3_000, Some("p"))).unwrap();
        assert_eq!((pager.next_request(), pager.counted()), (None, 9_000));
        for mode in [ScanMode::Rows, ScanMode::Keys] {
            assert!(all.clone().with_mode(mode).take(page(1, None)).is_err(), "rows would be lost without a word");
        }
    }

    #[test]
    fn bounds_without_a_key_need_no_request() {
        assert_eq!(ScanPager::new(bounds("b", Some("b")), false, None, None).next_request(), None);
        assert_eq!(DeletePager::new(bounds("b", Some("a"))).next_request(), None);
    }

    #[test]
    fn a_page_that_makes_no_way_is_a_misfit() {
        let page = |resume: &str| Response::Scanned {
            rows: vec![],
            counted: 0,
            resume: Some(key(resume)),
            at: Timestamp(1),
            within: None,
        };
        assert!(ScanPager::new(bounds("b", Some("d")), false, None, None).take(page("b")).is_err());
        assert!(ScanPager::new(bounds("b", Some("d")), true, None, None).take(page("d")).is_err());
        let mut last = ScanPager::new(bounds("b", Some("d")), true, None, None);
        assert!(last.take(page("b")).is_ok());
        assert_eq!(last.next_request(), None, "nothing lies before the start");
    }

    #[test]
    fn deletion_counts_over_its_pages() {
        let mut pager = DeletePager::new(bounds("a", Some("z")));
        let page = |deleted, resume: Option<&str>| Response::RangeDeleted {
            deleted,
            resume: resume.map(key),
            timestamp: Timestamp(1),
        };
        pager.take(&page(1_000, Some("m"))).unwrap();
        let request = pager.next_request().unwrap();
        assert_eq!(request, Request::DeleteRange { bounds: bounds("m", Some("z")), max_keys: 1_000 });
        pager.take(&page(5, None)).unwrap();
        assert_eq!((pager.next_request(), pager.deleted()), (None, 1_005));
    }
}
