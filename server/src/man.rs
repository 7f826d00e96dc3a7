//! `holdfast man`: the manual, a page for each subcommand. Options and synopsis are written by clap_mangen from the definition of
//! the command line; the sections below them come from the help texts.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Command, CommandFactory, ValueHint};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use holdfast_output::{out, outln};

use crate::cli::Cli;

/// `holdfast man`.
#[derive(Args, Debug)]
pub struct ManArgs {
    /// Write a page for each subcommand into this directory; without it the page holdfast(1) is printed
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

/// Prints the main page or writes all pages.
pub fn run(args: &ManArgs) -> anyhow::Result<()> {
    let pages = pages()?;
    let Some(dir) = &args.dir else {
        let (_, main) = pages.into_iter().next().context("there is a page for the program itself")?;
        out!("{}", String::from_utf8(main).context("a page is text")?)?;
        return Ok(());
    };
    std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    let count = pages.len();
    for (name, page) in pages {
        let path = dir.join(name);
        std::fs::write(&path, page).with_context(|| format!("writing {}", path.display()))?;
    }
    outln!("{count} pages written to {}", dir.display())?;
    Ok(())
}

/// All pages with their file names; the first is that of the program.
fn pages() -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add_pages(command, &mut pages)?;
    Ok(pages)
}

fn add_pages(command: Command, pages: &mut Vec<(String, Vec<u8>)>) -> anyhow::Result<()> {
    let below: Vec<_> = command.get_subcommands().filter(|one| !one.is_hide_set()).cloned().collect();
    pages.push(page(command)?);
    below.into_iter().try_for_each(|one| add_pages(one, pages))
}

fn page(command: Command) -> anyhow::Result<(String, Vec<u8>)> {
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let has_subcommands = command.has_subcommands();
    let man = Man::new(command)
        .title(name.to_uppercase())
        .manual("Holdfast")
        .source(concat!("holdfast ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if has_subcommands {
        man.render_subcommands_section(&mut page)?;
    }
    sections(&after).to_writer(&mut page)?;
    if name != "holdfast" {
        let mut roff = Roff::new();
        roff.control("SH", ["SEE ALSO"]);
        roff.text([bold("holdfast"), roman("(1)")]);
        roff.to_writer(&mut page)?;
    }
    Ok((format!("{name}.1"), page))
}

/// A help text as sections: one or two words and a colon begin one, indented lines stand as they are.
fn sections(text: &str) -> Roff {
    let mut roff = Roff::new();
    let mut in_section = false;
    let mut verbatim = false;
    for line in text.lines() {
        let is_indented = line.starts_with(' ');
        if verbatim && !is_indented {
            roff.control("fi", []);
        } else if !verbatim && is_indented {
            roff.control("PP", []).control("nf", []);
        }
        verbatim = is_indented;
        match line.strip_suffix(':').filter(|heading| !is_indented && heading.split(' ').count() <= 2) {
            Some(heading) => {
                // The exit codes have their name in all manuals.
                let heading = if heading == "Exit codes" { "EXIT STATUS".to_owned() } else { heading.to_uppercase() };
                roff.control("SH", [heading.as_str()]);
                in_section = true;
            }
            None if line.is_empty() => in_section = false,
            None => {
                if !in_section && !is_indented {
                    roff.control("SH", ["NOTES"]);
                    in_section = true;
                }
                roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
            }
        }
    }
    if verbatim {
        roff.control("fi", []);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(name: &str) -> String {
        let page = pages().unwrap().into_iter().find(|(file, _)| file == name);
        String::from_utf8(page.unwrap_or_else(|| panic!("there is no page {name}")).1).unwrap()
    }

    #[test]
    fn every_subcommand_has_a_page() {
        let names: Vec<_> = pages().unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names[0], "holdfast.1");
        for subcommand in Cli::command().get_subcommands().filter(|one| !one.is_hide_set()) {
            assert!(names.contains(&format!("holdfast-{}.1", subcommand.get_name())), "{names:?}");
        }
        assert!(names.contains(&"holdfast-config-show.1".to_owned()), "{names:?}");
    }

    #[test]
    fn pages_show_options_environment_examples_and_exit_status() {
        let page = text_of("holdfast-get.1");
        for part in ["HOLDFAST_AT", "127.0.0.1:7300", ".SH EXAMPLES", "holdfast get greeting", ".SH \"EXIT STATUS\""] {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
    }

    #[test]
    fn a_help_text_becomes_sections() {
        let roff = sections("Said first.\n\nExamples:\n  holdfast get a\n\nExit codes:\n  0  done").to_roff();
        let headings: Vec<_> = roff.lines().filter(|line| line.starts_with(".SH")).collect();
        assert_eq!(headings, [".SH NOTES", ".SH EXAMPLES", ".SH \"EXIT STATUS\""]);
        assert_eq!(roff.matches(".nf").count(), roff.matches(".fi").count());
    }
}
