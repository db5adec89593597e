//! The documents: short, plain, and true to the files that they name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{checkout, text, windlass};

/// Most words of the front page, and of the architecture.
const README_WORDS: usize = 700;
const ARCHITECTURE_WORDS: usize = 2_000;

/// Most words of a sentence: on average in a document, and of any.
const MEAN_WORDS: usize = 25;
const MOST_WORDS: usize = 40;

/// Longest line outside of tables and code, in characters.
const LINE: usize = 120;

/// What a reader is sent to from the front page, and the documents beside the code.
const DOCUMENTS: [&str; 5] =
    ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];
const FOLDERS: [&str; 10] = [
    "docs",
    "docs/reference",
    "examples/compose",
    "examples/flask",
    "examples/python",
    "clients/python",
    "tests/bench",
    "tests/cluster",
    "tests/scale",
    "tests",
];

fn read(path: &str) -> String {
    fs::read_to_string(checkout().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn pages_of(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(checkout().join(folder)).unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    let mut pages: Vec<_> =
        names.filter(|name| name.ends_with(".md")).map(|name| format!("{folder}/{name}")).collect();
    pages.sort();
    pages
}

/// The pages whose prose is bounded.
fn prose_pages() -> Vec<String> {
    let first = ["README.md", "ARCHITECTURE.md"].map(str::to_owned);
    first.into_iter().chain(pages_of("docs")).collect()
}

fn all_pages() -> Vec<String> {
    let folders = FOLDERS.iter().flat_map(|folder| pages_of(folder));
    DOCUMENTS.iter().map(|&page| page.to_owned()).chain(folders).collect()
}

/// The lines outside of code blocks, with their numbers.
fn outside_of_code(document: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    document.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        (!in_code && !is_fence).then_some((index + 1, line))
    })
}

fn is_table(line: &str) -> bool {
    line.trim_start().starts_with('|')
}

fn is_item(line: &str) -> bool {
    let line = line.trim_start();
    let number = line.trim_start_matches(|c: char| c.is_ascii_digit());
    line.starts_with("- ") || (number.len() < line.len() && number.starts_with(". "))
}

/// The sentences of paragraphs and lists, each as its words. What is in backticks is one word.
fn sentences(document: &str) -> Vec<Vec<String>> {
    let mut paragraphs = vec![String::new()];
    for (_, line) in outside_of_code(document) {
        let trimmed = line.trim();
        let is_prose = !trimmed.is_empty() && !trimmed.starts_with(['#', '|', '!']);
        if !is_prose || is_item(line) {
            paragraphs.push(String::new());
        }
        if is_prose && let Some(paragraph) = paragraphs.last_mut() {
            paragraph.push_str(trimmed);
            paragraph.push(' ');
        }
    }
    let mut sentences = Vec::new();
    for paragraph in paragraphs {
        let spans = paragraph.split('`').enumerate();
        let plain: String =
            spans.map(|(index, span)| if index % 2 == 0 { span } else { "code" }).collect();
        let mut sentence = Vec::new();
        for word in plain.split_whitespace() {
            if word.chars().any(char::is_alphanumeric) {
                sentence.push(word.to_owned());
            }
            let end = word.trim_end_matches(['*', ')', '"']);
            if end.ends_with(['.', '!', '?']) && !sentence.is_empty() {
                sentences.push(std::mem::take(&mut sentence));
            }
        }
        if !sentence.is_empty() {
            sentences.push(sentence);
        }
    }
    sentences
}

/// The targets of `[text](target)`, also where the text is on two lines.
fn links(document: &str) -> Vec<String> {
    let prose: Vec<&str> = outside_of_code(document).map(|(_, line)| line).collect();
    let prose = prose.join("\n");
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).collect()
}

/// The anchor that a heading has on a page: lower case, words joined by hyphens, other marks left out.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().replace(' ', "-")
}

/// `a/{b,c}.rs` as `a/b.rs` and `a/c.rs`.
fn alternatives(path: &str) -> Vec<String> {
    match path.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
        Some((before, (middle, after))) => {
            middle.split(',').map(|one| format!("{before}{one}{after}")).collect()
        }
        None => vec![path.to_owned()],
    }
}

/// What is in backticks and names a file or a folder of the checkout: its first word begins with a name at
/// the top.
fn paths(document: &str, top: &BTreeSet<String>) -> Vec<String> {
    let prose: Vec<&str> = outside_of_code(document).map(|(_, line)| line).collect();
    let prose = prose.join("\n");
    let spans = prose.split('`').skip(1).step_by(2);
    let firsts = spans.filter_map(|span| span.split_whitespace().next());
    let named = firsts
        .filter(|path| path.split_once('/').is_some_and(|(top_name, _)| top.contains(top_name)));
    named.flat_map(alternatives).collect()
}

fn top_names() -> BTreeSet<String> {
    let entries = fs::read_dir(checkout()).unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    // What is built is named in documents and not there before.
    names.filter(|name| name != "target").collect()
}

#[test]
fn the_front_page_and_the_architecture_are_short() {
    for (page, most) in [("README.md", README_WORDS), ("ARCHITECTURE.md", ARCHITECTURE_WORDS)] {
        let words = read(page).split_whitespace().count();
        assert!(words <= most, "{page} has {words} words, {most} at most");
    }
}

#[test]
fn sentences_are_short() {
    for page in prose_pages() {
        let sentences = sentences(&read(&page));
        let words: usize = sentences.iter().map(Vec::len).sum();
        assert!(
            words <= MEAN_WORDS * sentences.len(),
            "{page}: {words} words in {} sentences",
            sentences.len()
        );
        for sentence in sentences {
            assert!(sentence.len() <= MOST_WORDS, "{page}: {}", sentence.join(" "));
        }
    }
}

#[test]
fn lines_are_short() {
    for page in prose_pages() {
        let document = read(&page);
        for (number, line) in outside_of_code(&document) {
            // A word without a space, such as an address, cannot be broken.
            let is_one_word = line.trim_start_matches([' ', '-']).split_whitespace().count() <= 1;
            let is_short = line.chars().count() <= LINE;
            assert!(is_short || is_table(line) || is_one_word, "{page}:{number}: {line}");
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    for page in all_pages() {
        let from = checkout().join(&page);
        for link in links(&read(&page)) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, fragment) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let target: PathBuf =
                if file.is_empty() { from.clone() } else { from.parent().unwrap().join(file) };
            assert!(target.exists(), "{page}: {link}");
            if !fragment.is_empty() {
                let document = fs::read_to_string(&target).unwrap();
                let is_there = outside_of_code(&document)
                    .any(|(_, line)| line.starts_with('#') && anchor(line) == fragment);
                assert!(is_there, "{page}: {link}: no such heading");
            }
        }
    }
}

#[test]
fn every_path_that_a_document_names_is_there() {
    let top = top_names();
    let mut count = 0;
    for page in prose_pages().into_iter().chain(["CONTRIBUTING.md".to_owned()]) {
        for path in paths(&read(&page), &top) {
            count += 1;
            assert!(checkout().join(&path).exists(), "{page}: `{path}`");
        }
    }
    assert!(count > 30, "only {count} paths were found");
}

#[test]
fn the_architecture_names_every_crate() {
    let architecture = read("ARCHITECTURE.md");
    for entry in fs::read_dir(checkout().join("crates")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        assert!(architecture.contains(&format!("| `{name}` |")), "{name} is not in its table");
    }
}

#[test]
fn the_index_names_every_page() {
    let index: BTreeSet<_> = links(&read("docs/README.md")).into_iter().collect();
    for page in pages_of("docs") {
        let name = Path::new(&page).file_name().unwrap().to_str().unwrap();
        assert!(
            name == "README.md" || index.contains(name),
            "docs/README.md has no link to {name}"
        );
    }
}

#[test]
fn the_diagrams_are_those_of_their_sources() {
    let script = checkout().join("docs/pictures/diagrams.py");
    let output = Command::new("python3").arg(script).arg("--check").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// The rows of the table below this heading, each as its cells.
fn table(document: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, below) = document.split_once(&format!("\n{heading}\n")).expect(heading);
    let lines = below.lines().skip_while(|line| !is_table(line)).take_while(|line| is_table(line));
    let cells = lines.map(|line| {
        let cells = line.trim().trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    });
    // Without the names of the columns and the line below them.
    cells.skip(2).collect()
}

#[test]
fn the_front_pages_comparison_is_that_of_the_report() {
    let (readme, report) = (read("README.md"), read("tests/bench/report.md"));
    let compared = table(&readme, "## Comparison");
    let (speed, takes) = (table(&report, "## Speed"), table(&report, "## What it takes"));
    let systems =
        |table: &[Vec<String>]| table.iter().map(|row| row[0].clone()).collect::<Vec<_>>();
    assert_eq!(systems(&compared), systems(&speed));
    for ((row, speed), takes) in compared.iter().zip(&speed).zip(&takes) {
        let tiny = speed[1].split(" / ").next().unwrap();
        let (_, of_ideal) = speed[3].split_once(", ").unwrap();
        let figures = [
            format!("{tiny} ms"),
            of_ideal.to_owned(),
            format!("{} ms", speed[5]),
            format!("{} MiB", takes[2]),
        ];
        let shown = [&row[1], row[2].trim_end_matches(" of ideal"), &row[3], &row[4]];
        assert_eq!(figures.each_ref().map(String::as_str), shown, "{}", row[0]);
    }
}

/// What a reader pastes first, once the program is installed.
#[test]
fn the_front_pages_server_answers_when_its_commands_are_pasted() {
    let readme = read("README.md");
    let blocks = readme.split("```sh\n").skip(1).filter_map(|rest| rest.split_once("```"));
    let block = blocks.map(|(block, _)| block).find(|block| block.starts_with("windlass serve"));
    let block = block.expect("README.md starts a server");
    // Its own port and directory: others may be in use on this machine.
    let data = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let serve = format!("windlass serve --listen 127.0.0.1:{port}");
    let block = block
        .replace("windlass serve", &serve)
        .replace("127.0.0.1:7070", &format!("127.0.0.1:{port}"))
        .replace("/var/tmp/windlass", data.path().to_str().unwrap());
    let program = windlass();
    let path = std::env::join_paths(
        std::iter::once(program.parent().unwrap().to_owned())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    // Ends the server, too, when a command before has failed.
    let script = format!("trap 'kill $! 2>/dev/null || true' EXIT\nset -e\n{block}");
    let output = Command::new("timeout")
        .args(["60", "bash", "-c", &script])
        .env("PATH", path.unwrap())
        .current_dir(data.path())
        .output()
        .unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", text(&output.stderr));
    assert!(said.contains(r#""hello""#), "{said}");
}
