//! V1: a list of instances in, a list of predictions out.

use serde::Deserialize;
use serde_json::Value as Json;
use steersman_domain::Problem;

#[derive(Deserialize)]
struct Request {
    instances: Vec<Json>,
}

#[derive(Deserialize)]
struct Response {
    predictions: Vec<Json>,
}

pub(super) fn instances(body: &[u8]) -> Result<Vec<Json>, Problem> {
    serde_json::from_slice::<Request>(body)
        .map(|request| request.instances)
        .map_err(|error| Problem::invalid(format!("the request is not an inference request: {error}")))
}

pub(super) fn predictions(body: &[u8]) -> Result<Vec<Json>, Problem> {
    serde_json::from_slice::<Response>(body)
        .map(|response| response.predictions)
        .map_err(|error| Problem::invalid(format!("the answer is not an inference answer: {error}")))
}
