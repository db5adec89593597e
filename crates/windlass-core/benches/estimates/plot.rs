//! What was estimated against what happened, as a picture.

use super::Pair;

/// Some estimates of one kind.
pub(crate) struct Panel<'a> {
    pub(crate) title: &'a str,
    pub(crate) pairs: &'a [Pair],
    /// The bound that they are judged by.
    pub(crate) factor: f64,
}

const SIDE: f64 = 260.0;
const LEFT: f64 = 52.0;
const TOP: f64 = 40.0;
const STEP: f64 = SIDE + 66.0;

/// Both axes go from a second to so many powers of ten.
const DECADES: f64 = 4.0;

/// A dot for each pair, on the diagonal where the estimate was right; grey between the bounds.
pub(crate) fn draw(panels: &[Panel<'_>]) -> String {
    let (width, height) = (LEFT + STEP * panels.len() as f64, TOP + SIDE + 52.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for (at, panel) in (0..).zip(panels) {
        draw_panel(&mut svg, panel, LEFT + STEP * f64::from(at));
    }
    svg + "</svg>\n"
}

fn draw_panel(svg: &mut String, panel: &Panel<'_>, left: f64) {
    let (right, bottom) = (left + SIDE, TOP + SIDE);
    let along = |seconds: f64| seconds.max(1.0).log10().min(DECADES) / DECADES * SIDE;
    let x = |seconds| left + along(seconds);
    let y = |seconds| bottom - along(seconds);
    let Panel { title, pairs, factor } = panel;
    *svg +=
        &format!("<text x=\"{left}\" y=\"{}\" font-weight=\"bold\">{title}</text>\n", TOP - 16.0);
    let shift = factor.log10() / DECADES * SIDE;
    *svg += &format!(
        "<path d=\"M{left} {bottom}V{}L{} {TOP}H{right}V{}L{} {bottom}z\" fill=\"#eee\"/>\n",
        bottom - shift,
        right - shift,
        TOP + shift,
        left + shift
    );
    *svg +=
        &format!("<path d=\"M{left} {TOP}V{bottom}H{right}\" fill=\"none\" stroke=\"#555\"/>\n");
    *svg += &format!("<path d=\"M{left} {bottom}L{right} {TOP}\" stroke=\"#999\"/>\n");
    for power in 0..=DECADES as i32 {
        let seconds = 10_f64.powi(power);
        *svg += &format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{seconds}</text>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{seconds}</text>\n",
            x(seconds),
            bottom + 16.0,
            left - 5.0,
            y(seconds) + 4.0
        );
    }
    *svg += &format!(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">estimated, in seconds</text>\n<text x=\"{}\" y=\"{}\">\
         real</text>\n<g fill=\"#1665b0\" fill-opacity=\"0.35\">\n",
        left + SIDE / 2.0,
        bottom + 34.0,
        left + 6.0,
        TOP + 4.0
    );
    for (told, was) in *pairs {
        *svg += &format!("<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"1.8\"/>\n", x(*told), y(*was));
    }
    *svg += "</g>\n";
}
