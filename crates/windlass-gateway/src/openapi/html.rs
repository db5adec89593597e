//! The pieces of HTML that the page is made of. Everything that is shown is escaped.

/// One line of a list of fields, parameters or answers.
pub(super) fn entry(page: &mut String, name: &str, kind: &str, required: bool, text: &str) {
    add(page, &format!("<div><dt><code>{}</code><span class=\"kind\">{kind}</span>", escape(name)));
    if required {
        add(page, "<span class=\"must\">required</span>");
    }
    add(page, "</dt><dd>");
    prose(page, text);
    add(page, "</dd></div>");
}

/// Paragraphs, lists of lines that begin with `- `, and words in backticks.
pub(super) fn prose(page: &mut String, text: &str) {
    for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
        let mut in_list = false;
        let mut line = String::new();
        for next in paragraph.trim().lines().chain([""]) {
            let item = next.strip_prefix("- ");
            if (item.is_some() || next.is_empty()) && !line.is_empty() {
                let tag = if in_list { "li" } else { "p" };
                add(page, &format!("<{tag}>{}</{tag}>", marked(&line)));
                line.clear();
            }
            if item.is_some() && !in_list {
                add(page, "<ul>");
                in_list = true;
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line += item.unwrap_or(next);
        }
        if in_list {
            add(page, "</ul>");
        }
    }
}

/// Text with what is in backticks as code.
fn marked(text: &str) -> String {
    let mut out = String::new();
    for (at, part) in text.split('`').enumerate() {
        let part = escape(part);
        out += &if at % 2 == 0 { part } else { format!("<code>{part}</code>") };
    }
    out
}

pub(super) fn add(page: &mut String, html: &str) {
    page.push_str(html);
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_escaped() {
        let mut page = String::new();
        prose(&mut page, "a <b> `c & \"d\"`\n\n- one\n- two\n  more");
        assert_eq!(
            page,
            "<p>a &lt;b&gt; <code>c &amp; &quot;d&quot;</code></p>\
             <ul><li>one</li><li>two   more</li></ul>"
        );
    }
}
