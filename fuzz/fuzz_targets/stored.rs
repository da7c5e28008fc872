//! Stored forms: profiles, leaves of the ledger, signed roots.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steersman_ledger::leaf::{decode, encode};
use steersman_ledger::{Signer, Verifier};
use steersman_stats::profile::ColumnProfile;

fuzz_target!(|data: &[u8]| {
    if let Ok(profile) = ColumnProfile::from_bytes(data) {
        // What is read can be merged with itself and written again.
        let mut twice = profile.clone();
        if twice.merge(&profile).is_ok() {
            let _ = twice.to_bytes();
        }
    }
    if let Ok(entry) = decode(0, data) {
        assert_eq!(decode(0, &encode(&entry).unwrap()).unwrap(), entry);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Verifier::parse(text);
        let verifier = Verifier::parse(&Signer::new("fuzz", &[7; 32]).verifier_key()).unwrap();
        assert!(verifier.verify(text).is_err(), "nobody signed this");
    }
});
