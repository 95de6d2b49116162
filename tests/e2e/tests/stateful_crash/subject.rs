//! A server with all pipelines, and producers that send to it.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::ensure;
use e2e::PATIENCE;
use harness::{Client, Server};

use crate::answer::Answer;
use crate::pipelines::{CLICKS, LEFT, NAMES, PIPELINES, PLUGINS, RIGHT};
use crate::stream::{Feed, Stream};

/// Topics that are sent to.
const TOPICS: [&str; 3] = [CLICKS, LEFT, RIGHT];

/// See the module.
pub struct Subject {
    server: Server,
    seed: u64,
    feeds: Vec<Feed>,
}

impl Subject {
    pub fn new(seed: u64) -> anyhow::Result<Self> {
        Self::with_sizes(seed, seed)
    }

    /// With rows of that seed, sent in batches of other sizes.
    fn with_sizes(seed: u64, sizes: u64) -> anyhow::Result<Self> {
        let server = Server::start()?;
        let client = server.client();
        client.push_plugins(PLUGINS)?;
        for topic in TOPICS.iter().chain([&NAMES]) {
            client.create_topic(topic, 1)?;
        }
        // Every other key has a name, as it will have for good.
        let names: String =
            (0..40).step_by(2).map(|key| format!("{{\"key\":\"k{key}\",\"value\":\"name {key}\"}}\n")).collect();
        client.produce_json(NAMES, &names)?;
        for (_, manifest) in PIPELINES {
            client.apply(manifest)?;
        }
        let feed = |(id, topic)| Feed::new(Stream::new(topic, seed), client.clone(), id, sizes.wrapping_add(id as u64));
        let feeds = (1..).zip(TOPICS).map(feed).collect();
        Ok(Self { server, seed, feeds })
    }

    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    pub fn client(&self) -> Client {
        self.server.client()
    }

    /// Disturbs the server while producers send. It has to run again afterwards.
    pub fn while_sending(&mut self, disturb: impl FnOnce(&mut Server) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let (server, feeds) = (&mut self.server, &mut self.feeds);
        let enough = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let enough = &enough;
            let producers: Vec<_> = feeds.iter_mut().map(|feed| scope.spawn(move || feed.send_until(enough))).collect();
            let disturbed = disturb(server);
            enough.store(true, Ordering::Relaxed);
            for producer in producers {
                let sent = producer.join().map_err(|_| anyhow::anyhow!("a producer panicked"))?;
                // That nobody answered a producer is no news where the server could not be started again.
                if disturbed.is_ok() {
                    sent?;
                }
            }
            disturbed
        })
    }

    /// Waits until all pipelines have read all that there is.
    pub fn drained(&self) -> anyhow::Result<()> {
        for (name, _) in PIPELINES {
            self.client().drained(name, PATIENCE)?;
        }
        Ok(())
    }

    /// Sends the same rows to a server to which nothing happens, and compares.
    pub fn check(mut self) -> anyhow::Result<String> {
        let mut calm = Self::with_sizes(self.seed, !self.seed)?;
        for (feed, sent) in calm.feeds.iter_mut().zip(&self.feeds) {
            feed.send_up_to(sent.stream.rows)?;
        }
        let (expected, found) = (calm.end()?, self.end()?);
        expected.compare(&found)?;
        let rows: u64 = self.feeds.iter().map(|feed| feed.stream.rows).sum();
        ensure!(rows > 0, "nothing was sent");
        Ok(format!("{rows} rows: lost 0, doubled 0; {found}"))
    }

    fn end(&mut self) -> anyhow::Result<Answer> {
        for feed in &mut self.feeds {
            feed.close()?;
        }
        self.drained()?;
        Answer::read(&self.client())
    }
}
