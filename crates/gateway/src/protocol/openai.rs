//! Chat, completions, responses and embeddings as OpenAI has them. An answer may be a stream of events; of one that is
//! longer than what is captured, the beginning and the end are read.

use super::Told;
use crate::capture::Payload;
use serde::Deserialize;
use serde_json::Value as Json;
use std::borrow::Cow;

const PATHS: [&str; 6] =
    ["chat/completions", "completions", "responses", "embeddings", "moderations", "rerank"];

/// Whether a path is one of these.
pub(super) fn speaks(path: &str) -> bool {
    let path = path.strip_prefix("/openai").unwrap_or(path);
    path.strip_prefix("/v1/").is_some_and(|rest| PATHS.contains(&rest))
}

#[derive(Deserialize)]
struct WithModel<'a> {
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
}

pub(super) fn told(body: &[u8]) -> Told<'_> {
    let model = serde_json::from_slice::<WithModel<'_>>(body).ok().and_then(|body| body.model);
    Told { model, id: None }
}

/// What was said in one call.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Exchange {
    /// What was asked: the text of the last message of a user, or the prompt.
    pub prompt: Option<String>,
    /// What was answered, as far as it was captured.
    pub completion: Option<String>,
    /// Tokens of the question, as the server counted them.
    pub prompt_tokens: Option<u64>,
    /// Tokens of the answer.
    pub completion_tokens: Option<u64>,
    /// Why the answer ended.
    pub finish_reason: Option<String>,
    /// Whether the answer was a stream of events.
    pub streamed: bool,
    /// The middle of question or answer is missing.
    pub cut: bool,
}

/// Reads a call. What is not understood is left out: a conversation is recorded as far as it is known.
pub(super) fn exchange(request: &Payload, response: &Payload) -> Exchange {
    let mut exchange = Exchange { cut: !(request.whole() && response.whole()), ..Exchange::default() };
    if let Ok(asked) = serde_json::from_slice::<Json>(&request.bytes) {
        let messages = asked["messages"].as_array().or(asked["input"].as_array());
        let last = messages.and_then(|messages| {
            messages.iter().rev().find(|message| message["role"] == "user").or(messages.last())
        });
        let prompt = last.map(|message| if message.is_string() { message } else { &message["content"] });
        exchange.prompt =
            text(prompt.unwrap_or(&Json::Null)).or(text(&asked["prompt"])).or(text(&asked["input"]));
    }
    if let Ok(answer) = serde_json::from_slice::<Json>(&response.bytes) {
        exchange.add(&answer);
        return exchange;
    }
    for line in response.bytes.split(|&byte| byte == b'\n') {
        let Some(data) = line.strip_prefix(b"data:") else { continue };
        exchange.streamed = true;
        if let Ok(event) = serde_json::from_slice::<Json>(data.trim_ascii()) {
            exchange.add(&event);
        }
    }
    exchange
}

impl Exchange {
    /// Takes in an answer, or one event of it.
    fn add(&mut self, answer: &Json) {
        // Of several choices the first is kept.
        let choice = &answer["choices"][0];
        let piece = text(&choice["message"]["content"])
            .or(text(&choice["delta"]["content"]))
            .or(text(&choice["text"]))
            .or(text(&answer["output_text"]))
            .or((answer["type"] == "response.output_text.delta").then(|| text(&answer["delta"])).flatten());
        if let Some(piece) = piece {
            self.completion.get_or_insert_default().push_str(&piece);
        }
        if let Some(reason) = choice["finish_reason"].as_str() {
            self.finish_reason = Some(reason.to_owned());
        }
        let usage = if answer["usage"].is_object() { &answer["usage"] } else { &answer["response"]["usage"] };
        let count = |one: &str, other: &str| usage[one].as_u64().or(usage[other].as_u64());
        self.prompt_tokens = count("prompt_tokens", "input_tokens").or(self.prompt_tokens);
        self.completion_tokens = count("completion_tokens", "output_tokens").or(self.completion_tokens);
    }
}

/// A text, or the texts of a message in parts.
fn text(content: &Json) -> Option<String> {
    match content {
        Json::String(text) => Some(text.clone()),
        Json::Array(parts) => {
            let texts: Vec<&str> =
                parts.iter().filter_map(|part| part["text"].as_str().or(part.as_str())).collect();
            (!texts.is_empty()).then(|| texts.join("\n"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn payload(text: &str) -> Payload {
        Payload { bytes: text.to_owned().into(), length: text.len() as u64, ..Payload::default() }
    }

    #[test]
    fn a_stream_of_events_says_the_same_as_one_answer() {
        let asked =
            payload(&json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}).to_string());
        let usage = json!({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5});
        let one =
            json!({"choices": [{"message": {"content": "Hello!"}, "finish_reason": "stop"}], "usage": usage});
        let events = [
            json!({"choices": [{"delta": {"role": "assistant"}}]}),
            json!({"choices": [{"delta": {"content": "Hel"}}]}),
            json!({"choices": [{"delta": {"content": "lo!"}, "finish_reason": "stop"}]}),
            json!({"choices": [], "usage": usage}),
        ];
        let stream: String = events.iter().map(|event| format!("data: {event}\r\n\r\n")).collect();
        let whole = exchange(&asked, &payload(&one.to_string()));
        let streamed = exchange(&asked, &payload(&(stream + "data: [DONE]\n\n")));
        assert_eq!(Exchange { streamed: true, ..whole.clone() }, streamed);
        assert_eq!((whole.prompt.as_deref(), whole.completion.as_deref()), (Some("Hi"), Some("Hello!")));
        assert_eq!((whole.prompt_tokens, whole.completion_tokens), (Some(3), Some(2)));
        assert_eq!(exchange(&payload("[1,"), &payload("oops")), Exchange::default());
    }
}
