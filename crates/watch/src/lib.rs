//! Windows, profiles, monitors and signals
