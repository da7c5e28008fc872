//! Rows through a model server, by the Open Inference Protocol.

use std::time::Duration;
use steersman_domain::oip::{InferRequest, InferResponse, Row};
use steersman_domain::{ErrorKind, ModelName, Problem, Schema};

/// The output for each row; none where the server gives no number. `batch` rows go into one request.
pub async fn score(
    url: &str,
    model: &ModelName,
    schema: &Schema,
    rows: &[Row],
    batch: usize,
) -> Result<Vec<Option<f64>>, Problem> {
    let upstream = |what: String| Problem::new(ErrorKind::Upstream, format!("the model server {what}"));
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(60))
        .build()
        .map_err(|error| Problem::internal(format!("no HTTP client: {error}")))?;
    let mut outputs = Vec::with_capacity(rows.len());
    for chunk in rows.chunks(batch.max(1)) {
        let rows: Vec<&Row> = chunk.iter().collect();
        let request = InferRequest::for_rows(None, schema, &rows);
        let response = client.post(format!("{url}/v2/models/{model}/infer")).json(&request).send().await;
        let response = response.map_err(|error| upstream(format!("cannot be reached: {error}")))?;
        let status = response.status();
        let text = response.text().await.map_err(|error| upstream(format!("broke off: {error}")))?;
        if !status.is_success() {
            let shown: String = text.chars().take(300).collect();
            return Err(upstream(format!("answered {status}: {shown}")));
        }
        let answer: InferResponse = serde_json::from_str(&text)
            .map_err(|error| upstream(format!("gave no inference answer: {error}")))?;
        let answers = answer.rows()?;
        if answers.len() != chunk.len() {
            return Err(upstream(format!("gave {} rows for {}", answers.len(), chunk.len())));
        }
        let output = &schema.prediction.name;
        if answers.iter().any(|row| !row.contains_key(output)) {
            return Err(upstream(format!("gave no output `{output}`"))
                .hint("name the output as `model.prediction` of the spec does"));
        }
        outputs.extend(answers.iter().map(|row| row.get(output).and_then(serde_json::Value::as_f64)));
    }
    Ok(outputs)
}
