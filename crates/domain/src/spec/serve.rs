//! `[serve]`: how versions are served, and what the gateway may do with requests to them.

use super::check_command;
use crate::problem::Problem;
use crate::time::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[serve]`: a program that Steersman starts, or the address of a server that others run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServeSection {
    /// Program and arguments of a model server that speaks the Open Inference Protocol V2, run in the spec file's
    /// folder. `{artifact}` is the version's folder, `{port}` the port to listen on, `{version}` and `{model}` its
    /// names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Instead of `command`: the address of the server of a version, `http://` or `https://`, with `{version}` and
    /// `{model}` in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Where the server speaks gRPC, if that is another address than `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_url: Option<String>,
    /// Which requests may be sent a second time: copies for a candidate, and again when a connection broke.
    #[serde(default)]
    pub repeatable: Repeatable,
    /// How long a server may take to become ready.
    #[serde(default = "default_ready_timeout")]
    #[schemars(with = "String")]
    pub ready_timeout: Period,
    /// Names of environment variables that are passed on beside `PATH`, `HOME`, `LANG` and `TMPDIR`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<String>,
}

fn default_ready_timeout() -> Period {
    Period::from_seconds(60)
}

/// Which requests may be sent a second time: as a copy for the candidate, or again to the same server when a connection
/// broke before any answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Repeatable {
    /// Those that only read, by their method.
    Reads,
    /// Predictions by the Open Inference Protocol or V1 too, as they change nothing.
    #[default]
    Predictions,
    /// All: the owner declares that they change nothing.
    All,
}

impl ServeSection {
    /// What contradicts itself.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let Some(url) = &self.url else {
            return check_command("serve.command", &self.command, &["{artifact}", "{port}"]);
        };
        if !self.command.is_empty() {
            return Err(Problem::invalid("`command` and `url` exclude each other")
                .field("serve.url")
                .hint("a program that Steersman starts, or the address of one that others run"));
        }
        let addresses = [("serve.url", Some(url)), ("serve.grpc_url", self.grpc_url.as_ref())];
        for (field, address) in addresses {
            let Some(address) = address else { continue };
            if !(address.starts_with("http://") || address.starts_with("https://")) {
                return Err(Problem::invalid(format!("`{address}` is not an address"))
                    .field(field)
                    .hint("write it as `http://models.example.org:8080/{version}`"));
            }
            if !address.contains("{version}") {
                return Err(Problem::invalid("does not contain `{version}`")
                    .field(field)
                    .hint("each version has a server of its own; Steersman puts `v1`, `v2`, ... there"));
            }
        }
        Ok(())
    }
}
