//! Where things last: SQL tables for the ledger, windows and measurements
