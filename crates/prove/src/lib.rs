//! What can be shown afterwards: the story in words, delivery figures, the health report.

pub mod story;
