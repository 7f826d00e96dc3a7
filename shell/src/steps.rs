//! Steps of work, counted in tests alone: that time is linear in the text is claimed of them, not of a clock.

/// Counts steps: bytes looked at, items gone through. Whatever could grow with the square of its input says here how much it did.
#[cfg(not(test))]
pub(crate) fn count(_steps: usize) {}

#[cfg(test)]
pub(crate) use self::counted::{count, grows_linearly};

#[cfg(test)]
mod counted {
    use std::cell::Cell;

    thread_local! {
        static STEPS: Cell<usize> = const { Cell::new(0) };
    }

    pub(crate) fn count(steps: usize) {
        STEPS.set(STEPS.get() + steps);
    }

    /// Four times the input takes about four times the steps, and takes some.
    pub(crate) fn grows_linearly<I>(what: &str, input: impl Fn(usize) -> I, work: impl Fn(I)) {
        let steps = |size| {
            let input = input(size);
            STEPS.set(0);
            work(input);
            STEPS.get()
        };
        let (few, many) = (steps(1_000), steps(4_000));
        assert!(few >= 1_000, "{what}: only {few} steps were counted");
        assert!(many <= few * 5, "{what}: {few} steps became {many}");
    }
}
