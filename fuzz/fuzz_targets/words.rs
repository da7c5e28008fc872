//! What people and model servers write: specs, configurations, periods, times, ids, calls of the Open Inference Protocol.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;
use steersman_domain::config::ServerConfig;
use steersman_domain::oip::{InferRequest, InferResponse};
use steersman_domain::{ModelName, ModelSpec, Period, RecordId, spec::FalseAlarms, time::parse_time};

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = serde_json::from_slice::<InferRequest>(data) {
        let _ = request.rows();
    }
    if let Ok(response) = serde_json::from_slice::<InferResponse>(data) {
        let _ = response.rows();
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(period) = text.parse::<Period>() {
        assert_eq!(period.to_string().parse::<Period>().unwrap(), period);
    }
    if let Ok(at) = parse_time(text) {
        assert_eq!(parse_time(&at.to_string()).unwrap(), at);
    }
    if let Ok(name) = text.parse::<ModelName>() {
        assert_eq!(name.as_str(), text);
    }
    let _ = text.parse::<RecordId>();
    let _ = text.parse::<FalseAlarms>();
    let _ = ModelSpec::parse(text);
    let _ = ServerConfig::parse(text, Path::new("."));
});
