//! Carries intents out: runs, model servers, routes
