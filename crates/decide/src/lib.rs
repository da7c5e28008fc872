//! Triggers, gates, the rollout state machine and its judge: state and clock in, intents out
