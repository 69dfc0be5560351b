//! Channels that stand or fall together: a union-find forest in which a class can be pinned.

/// Classes of channels. A channel is a number; see [`Classes::add`].
#[derive(Debug, Default)]
pub(super) struct Classes {
    parent: Vec<u32>,
    pinned: Vec<bool>,
}

impl Classes {
    /// New channels, each a class of its own.
    pub(super) fn add(&mut self, count: usize) -> Vec<u32> {
        let first = self.parent.len() as u32;
        let new = first..first + count as u32;
        self.parent.extend(new.clone());
        self.pinned.resize(self.parent.len(), false);
        new.collect()
    }

    /// Makes one class of two.
    pub(super) fn union(&mut self, a: u32, b: u32) {
        let (a, b) = (self.find(a), self.find(b));
        let (low, high) = (a.min(b), a.max(b));
        self.parent[high as usize] = low;
        self.pinned[low as usize] |= self.pinned[high as usize];
    }

    /// Keeps a channel, and with it its class.
    pub(super) fn pin(&mut self, channel: u32) {
        let root = self.find(channel);
        self.pinned[root as usize] = true;
    }

    /// Whether a channel is kept.
    pub(super) fn is_pinned(&mut self, channel: u32) -> bool {
        let root = self.find(channel);
        self.pinned[root as usize]
    }

    fn find(&mut self, mut channel: u32) -> u32 {
        loop {
            let parent = self.parent[channel as usize];
            if parent == channel {
                return channel;
            }
            self.parent[channel as usize] = self.parent[parent as usize];
            channel = parent;
        }
    }
}
