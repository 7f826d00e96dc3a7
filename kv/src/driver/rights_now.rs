//! The rights by which requests are judged where they enter.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::core::rights::{Asker, Rights};

/// The rights that were handed out last. Whoever asks again and again looks at a number, and at them only when it has changed.
#[derive(Default)]
pub struct RightsNow {
    /// Counts those that were handed out; 0: none were, and nobody is let through.
    generation: AtomicU64,
    rights: RwLock<Arc<Rights>>,
}

impl RightsNow {
    /// Hands out others.
    pub fn set(&self, rights: Arc<Rights>) {
        *self.rights.write() = rights;
        // Behind them: whoever sees the number sees them, or later ones.
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Shows them to somebody who has not seen them.
    pub fn show(&self, asker: &mut Asker) {
        let generation = self.generation.load(Ordering::Acquire);
        asker.look(generation, || Arc::clone(&self.rights.read()));
    }

    /// Which they are.
    pub fn get(&self) -> Arc<Rights> {
        Arc::clone(&self.rights.read())
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::{Key, KeyspaceId, Rejected, Request, TrustDomain};

    use super::*;
    use crate::core::permit::Authority;

    #[test]
    fn nobody_is_let_through_before_rights_were_handed_out_and_everybody_sees_the_last_ones() {
        let now = RightsNow::default();
        let request = Request::Get { keys: vec![Key::bound(KeyspaceId::DEFAULT, b"k")], at: None };
        let mut asker = Asker::new(Authority::Client);
        now.show(&mut asker);
        assert!(matches!(asker.check(&request), Err(Rejected::Unavailable(_))));
        now.set(Arc::new(Rights::insecure()));
        now.show(&mut asker);
        assert_eq!(asker.check(&request), Ok(()));
        now.set(Arc::new(Rights::unknown(TrustDomain::new("f").unwrap())));
        now.show(&mut asker);
        assert!(matches!(asker.check(&request), Err(Rejected::Forbidden(_))));
    }
}
