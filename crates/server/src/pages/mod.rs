//! Pages.
use crate::Platform;
use axum::Router;
/// Pages.
pub fn router() -> Router<Platform> { Router::new() }
