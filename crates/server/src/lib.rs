//! The platform: its loop, HTTP API and pages
