//! Reports, readiness figures and verification
