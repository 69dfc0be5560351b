//! Whole networks: what comes out, that it means the same, and that it comes out the same twice.

mod common;

use common::{NETWORKS, assert_equal, network, options};
use sparsec_rewrite::rewrite;

#[test]
fn networks_keep_their_meaning() {
    for (name, _) in NETWORKS {
        let graph = network(name);
        let rewritten = rewrite(&graph, &options()).expect("rewrites").graph;
        assert_equal(&graph, &rewritten);
    }
}

#[test]
fn two_rewrites_give_one_text() {
    for (name, _) in NETWORKS {
        let [a, b] = [(), ()].map(|()| rewrite(&network(name), &options()).expect("rewrites"));
        assert_eq!(a.graph.to_string(), b.graph.to_string());
        assert_eq!(a.report, b.report);
    }
}

#[test]
fn snapshots() {
    for (name, _) in NETWORKS {
        let rewritten = rewrite(&network(name), &options()).expect("rewrites");
        insta::assert_snapshot!(name, rewritten.graph.to_string());
    }
}
