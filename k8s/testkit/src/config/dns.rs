//! CoreDNS' configuration: the site's own names from its API server, those of the other sites from theirs.

use super::Context;
use crate::plan::Site;
use std::fmt::{Display, Write};
use std::path::Path;

/// A block of a Corefile: a head, and lines or blocks in it.
struct Block {
    head: String,
    lines: Vec<String>,
    blocks: Vec<Block>,
}

impl Block {
    fn new(head: impl Display) -> Block {
        Block { head: head.to_string(), lines: Vec::new(), blocks: Vec::new() }
    }

    fn line(mut self, line: impl Display) -> Block {
        self.lines.push(line.to_string());
        self
    }

    fn block(mut self, block: Block) -> Block {
        self.blocks.push(block);
        self
    }

    fn write(&self, depth: usize, text: &mut String) {
        let indent = "    ".repeat(depth);
        writeln!(text, "{indent}{} {{", self.head).expect("a String takes everything");
        for line in &self.lines {
            writeln!(text, "{indent}    {line}").expect("a String takes everything");
        }
        for block in &self.blocks {
            block.write(depth + 1, text);
        }
        writeln!(text, "{indent}}}").expect("a String takes everything");
    }
}

/// The Corefile of one node. `others` are the other sites, whose names are asked of their first nodes: headless services' names then
/// lead to pods of any site, since the pods' network is flat.
pub(super) fn corefile(context: &Context<'_>, kubeconfig: &Path, others: &[Site]) -> String {
    let Context { state, site, node, .. } = context;
    let bind = format!("bind {} {}", site.dns_address(), node.address);
    let names = Block::new(format_args!("kubernetes {} in-addr.arpa ip6.arpa", site.domain()))
        .line(format_args!("kubeconfig {}", kubeconfig.display()))
        .line("pods insecure")
        .line("ttl 5");
    // Zones that are put into the folder count without a restart.
    let own =
        Block::new(".:53").line(&bind).line("errors").line("ready 127.0.0.1:8181").line("reload 2s 1s").line("cache 5");
    let mut blocks = vec![own.block(names)];
    for other in others {
        let forward = format!("forward . {}", other.nodes[0].address);
        blocks.push(
            Block::new(format_args!("{}:53", other.domain())).line(&bind).line("errors").line("cache 5").line(forward),
        );
    }
    let mut text = format!("import {}/*.zone\n", state.site(site).zones().display());
    blocks.iter().for_each(|block| block.write(0, &mut text));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sandbox::tests::with_context;

    #[test]
    fn names_of_other_sites_are_asked_of_their_first_nodes() {
        with_context(|context| {
            let others = [Site::new("west", 2, 1)];
            let text = corefile(context, Path::new("/k"), &others);
            assert!(text.contains("kubernetes east.test in-addr.arpa ip6.arpa {"), "{text}");
            assert!(text.contains("west.test:53 {") && text.contains("forward . 10.80.2.1"), "{text}");
            assert!(text.contains("bind 10.101.0.10 10.80.1.1"), "{text}");
        });
    }
}
