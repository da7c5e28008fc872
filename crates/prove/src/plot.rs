//! The frame of a plot: where values lie, its grid and the labels below.

use crate::chart::{escape, number, ticks};
use std::fmt::Write as _;

/// Class, width and margins of a kind of plot, in pixels.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) class: &'static str,
    pub(crate) width: f64,
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) top: f64,
    pub(crate) bottom: f64,
}

/// A plot of this height, and the ranges of its values.
pub(crate) struct Frame {
    pub(crate) layout: Layout,
    pub(crate) height: f64,
    pub(crate) x: (f64, f64),
    pub(crate) y: (f64, f64),
}

impl Frame {
    /// Where a value lies from the left.
    pub(crate) fn x(&self, value: f64) -> f64 {
        let share = (value - self.x.0) / (self.x.1 - self.x.0).max(f64::MIN_POSITIVE);
        let Layout { width, left, right, .. } = self.layout;
        left + share.clamp(0.0, 1.0) * (width - left - right)
    }

    /// Where a value lies from the top.
    pub(crate) fn y(&self, value: f64) -> f64 {
        let share = (value - self.y.0) / (self.y.1 - self.y.0).max(f64::MIN_POSITIVE);
        let Layout { top, bottom, .. } = self.layout;
        self.height - bottom - share.clamp(0.0, 1.0) * (self.height - bottom - top)
    }

    /// The beginning of the plot; the caller closes it.
    pub(crate) fn open(&self, title: &str) -> String {
        let title = escape(title);
        let Layout { class, width, .. } = self.layout;
        format!(
            r#"<svg class="{class}" viewBox="0 0 {width} {}" role="img" aria-label="{title}"><title>{title}</title>"#,
            self.height
        )
    }

    /// Lines across at round values, labelled on the left.
    pub(crate) fn grid(&self, svg: &mut String, percent: bool) {
        let Layout { width, left, right, .. } = self.layout;
        for tick in ticks(self.y.0, self.y.1) {
            let y = self.y(tick);
            let label = if percent { format!("{} %", number(100.0 * tick)) } else { number(tick) };
            let _ = write!(
                svg,
                r#"<line class="grid" x1="{left}" x2="{:.1}" y1="{y:.1}" y2="{y:.1}"/><text class="axis" x="{:.1}" y="{:.1}" text-anchor="end">{label}</text>"#,
                width - right,
                left - 5.0,
                y + 4.0
            );
        }
    }

    /// Round values below.
    pub(crate) fn values_below(&self, svg: &mut String) {
        for tick in ticks(self.x.0, self.x.1) {
            self.below(svg, self.x(tick), &number(tick));
        }
    }

    /// A label below the axis.
    pub(crate) fn below(&self, svg: &mut String, x: f64, label: &str) {
        let y = self.height - self.layout.bottom + 16.0;
        let _ =
            write!(svg, r#"<text class="axis" x="{x:.1}" y="{y:.1}" text-anchor="middle">{label}</text>"#);
    }
}
