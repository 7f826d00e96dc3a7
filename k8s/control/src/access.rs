//! Kubeconfigs that expire, for the account that operates a fleet and may do nothing else.

use k8s_openapi::ByteString;
use kube::config::Kubeconfig;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::link::Link;

/// In a kubeconfig, the list of servers.
const SERVERS: &str = "clusters";
/// In an entry of that list and in a context, the server.
const SERVER: &str = "cluster";

/// A token, and when it ends.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    secret: String,
    /// As the API server says it: it may grant less time than was asked for.
    pub expires: String,
}

/// The access to one site: the context that the fleet file names, and a token for it.
pub struct Access {
    /// The context.
    pub context: String,
    /// The token.
    pub token: Token,
}

/// The account that operates a fleet.
#[must_use]
pub fn account(fleet: &str) -> String {
    format!("{fleet}-operator")
}

/// Asks for a token of an account.
pub async fn token(link: &Link, namespace: &str, account: &str, seconds: u64) -> Result<Token, Failure> {
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
    let question = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": seconds}});
    let answer = link.ask(&path, &question).await?;
    let text = |field: &str| answer["status"][field].as_str().map(ToOwned::to_owned);
    let missing = || Failure::Answer { what: format!("a token of {account}"), why: "there is none in it".to_owned() };
    let (secret, expires) = text("token").zip(text("expirationTimestamp")).ok_or_else(missing)?;
    Ok(Token { secret, expires })
}

/// A kubeconfig with these accesses only. Its contexts are called as in the fleet file, so that it fits `--kubeconfig`.
pub fn kubeconfig(source: &Kubeconfig, namespace: &str, accesses: &[Access]) -> Result<String, Failure> {
    let source = serde_json::to_value(source).map_err(|error| Failure::Kubeconfig(error.to_string()))?;
    let (mut servers, mut users, mut contexts) = (Vec::new(), Vec::new(), Vec::new());
    for access in accesses {
        let name = &access.context;
        servers.push(json!({"name": name, SERVER: server(&source, name)?}));
        users.push(json!({"name": name, "user": {"token": access.token.secret}}));
        contexts.push(json!({"name": name, "context": {SERVER: name, "user": name, "namespace": namespace}}));
    }
    let config = json!({
        "apiVersion": "v1", "kind": "Config", SERVERS: servers, "users": users, "contexts": contexts,
        "current-context": accesses.first().map(|access| &access.context),
    });
    // Certificates are one long word: folded, other readers would find spaces in it.
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(&config, options).map_err(|error| Failure::Kubeconfig(error.to_string()))
}

/// The server of a context, with its certificate in it instead of beside it.
fn server(source: &Value, context: &str) -> Result<Value, Failure> {
    let named = |list: &Value, name: &str| {
        let found = list.as_array().into_iter().flatten().find(|entry| entry["name"] == name).cloned();
        found.ok_or_else(|| Failure::NoContext(context.to_owned()))
    };
    let server = named(&source["contexts"], context)?["context"][SERVER].as_str().unwrap_or_default().to_owned();
    let mut server = named(&source[SERVERS], &server)?[SERVER].take();
    let file = server.as_object_mut().and_then(|server| server.remove("certificate-authority"));
    if let Some(file) = file.as_ref().and_then(Value::as_str) {
        let unread = |why: String| Failure::Context { context: context.to_owned(), why };
        let bytes = std::fs::read(file).map_err(|error| unread(format!("{file}: {error}")))?;
        server["certificate-authority-data"] =
            serde_json::to_value(ByteString(bytes)).map_err(|error| unread(error.to_string()))?;
    }
    Ok(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubeconfig_has_the_server_the_token_and_nothing_else_of_the_source() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "certificate").unwrap();
        let server = json!({"server": "https://10.0.0.1:6443", "certificate-authority": file.path()});
        let text = json!({
            "apiVersion": "v1", "kind": "Config",
            SERVERS: [{"name": "k1", SERVER: server}],
            "users": [{"name": "admin", "user": {"token": "all-powerful"}}],
            "contexts": [{"name": "east", "context": {SERVER: "k1", "user": "admin"}}],
        });
        let source = Kubeconfig::from_yaml(&text.to_string()).unwrap();
        let token = Token { secret: "short-lived".into(), expires: "soon".into() };
        let made = kubeconfig(&source, "holdfast", &[Access { context: "east".into(), token }]).unwrap();
        assert!(!made.contains("all-powerful") && !made.contains("certificate-authority:"), "{made}");
        let made: Value = serde_saphyr::from_str(&made).unwrap();
        assert_eq!(made[SERVERS][0][SERVER]["server"], "https://10.0.0.1:6443");
        assert_eq!(made[SERVERS][0][SERVER]["certificate-authority-data"], "Y2VydGlmaWNhdGU=");
        assert_eq!(
            (&made["users"][0]["user"]["token"], &made["current-context"]),
            (&json!("short-lived"), &json!("east"))
        );
        assert_eq!(made["contexts"][0]["context"]["namespace"], "holdfast");
    }
}
