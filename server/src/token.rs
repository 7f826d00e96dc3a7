//! `holdfast token`: one-time tokens by which new stores join.

use std::time::Duration;

use clap::{Args, Subcommand};
use holdfast_client::admin::{Admin, JoinToken, SiteName, Timestamp, TokenId, TokenInfo, Tokens};
use holdfast_output::{errln, out, outln};
use holdfast_types::limits;
use serde_json::{Value, json};

use crate::connecting::Through;
use crate::table::Table;
use crate::{help, membership};

/// `holdfast token`.
#[derive(Args, Debug)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Subcommand, Debug)]
enum TokenCommand {
    /// Make a token by which one new store of a site may join, and print it
    #[command(after_help = help::TOKEN_CREATE)]
    Create(CreateArgs),
    /// List the tokens that have not expired, without their secrets
    #[command(after_help = help::TOKEN_LIST)]
    List(ListArgs),
    /// End a token before its time
    #[command(after_help = help::TOKEN_REVOKE)]
    Revoke(RevokeArgs),
}

/// `holdfast token create`.
#[derive(Args, Debug)]
struct CreateArgs {
    /// The site of the store that is to join
    #[arg(long, value_name = "NAME", value_parser = SiteName::new)]
    site: SiteName,
    /// How long the token is good for, up to seven days
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = crate::durations::duration)]
    ttl: Duration,
    /// How it finds the fleet, and prints
    #[command(flatten)]
    common: CommonArgs,
}

/// `holdfast token list`.
#[derive(Args, Debug)]
struct ListArgs {
    /// How it finds the fleet, and prints
    #[command(flatten)]
    common: CommonArgs,
}

/// `holdfast token revoke`.
#[derive(Args, Debug)]
struct RevokeArgs {
    /// The token, as `holdfast token list` names it
    #[arg(value_name = "ID", value_parser = token_id)]
    id: TokenId,
    /// How it finds the fleet, and prints
    #[command(flatten)]
    common: CommonArgs,
}

fn token_id(text: &str) -> Result<TokenId, String> {
    text.parse().map_err(|_| "a token is named by 16 hexadecimal digits: `holdfast token list` shows them".to_owned())
}

/// What all of them take.
#[derive(Args, Debug)]
struct CommonArgs {
    /// Where it goes
    #[command(flatten)]
    through: Through,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl CommonArgs {
    fn admin(&self) -> anyhow::Result<Admin> {
        self.through.admin()
    }
}

/// Runs a subcommand.
pub async fn run(args: &TokenArgs) -> anyhow::Result<()> {
    match &args.command {
        TokenCommand::Create(args) => create(args).await,
        TokenCommand::List(args) => list(args).await,
        TokenCommand::Revoke(args) => revoke(args).await,
    }
}

/// The secret is made here and told to nobody but whoever reads standard output: the fleet is told its digest.
async fn create(args: &CreateArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        (limits::JOIN_TOKEN_TTL_MIN..=limits::JOIN_TOKEN_TTL_MAX).contains(&args.ttl),
        "--ttl {}: a token is good for {} at least and {} at most",
        humantime::format_duration(args.ttl),
        humantime::format_duration(limits::JOIN_TOKEN_TTL_MIN),
        humantime::format_duration(limits::JOIN_TOKEN_TTL_MAX)
    );
    let mut secret = [0; JoinToken::SECRET_BYTES];
    getrandom::fill(&mut secret).map_err(|error| anyhow::anyhow!("the system gives no random bits: {error}"))?;
    let digest = membership::digest_of(&secret);
    let made = args.common.admin()?.create_join_token(&args.site, args.ttl, digest).await?;
    let token = JoinToken::new(made.id, secret);
    if args.common.json {
        let mut told = as_json(&made);
        told["token"] = token.reveal().into();
        outln!("{told}")?;
    } else {
        outln!("{}", token.reveal())?;
        errln!(
            "It lets one new store of site {} in, within {}: HOLDFAST_JOIN_TOKEN=... holdfast start --join {} ... It is shown this once.",
            made.site,
            humantime::format_duration(args.ttl),
            args.common.through.at.join(",")
        );
    }
    Ok(())
}

async fn list(args: &ListArgs) -> anyhow::Result<()> {
    let tokens = args.common.admin()?.join_tokens().await?;
    if args.common.json {
        outln!("{}", Value::Array(tokens.tokens.iter().map(as_json).collect()))?;
        return Ok(());
    }
    out!("{}", table(&tokens))?;
    Ok(())
}

async fn revoke(args: &RevokeArgs) -> anyhow::Result<()> {
    let gone = args.common.admin()?.revoke_join_token(args.id).await?;
    if args.common.json {
        outln!("{}", as_json(&gone))?;
        return Ok(());
    }
    match gone.used {
        None => outln!("Token {} for site {} lets nobody in any more.", gone.id, gone.site)?,
        Some((store, _)) => outln!(
            "Token {} for site {} is gone. It had let {store} in, which stays a member: `holdfast drain {store}` and `holdfast forget {store}` take \
             it out.",
            gone.id,
            gone.site
        )?,
    }
    Ok(())
}

fn table(tokens: &Tokens) -> Table {
    let mut table = Table::new(&["id", "site", "good for", "used", "made by"]);
    for token in &tokens.tokens {
        let used = token.used.map_or_else(|| "-".to_owned(), |(store, _)| format!("by {store}"));
        let left = left(token.expires_at, tokens.now);
        let by = token.created_by.clone().unwrap_or_else(|| "-".to_owned());
        table.row(vec![token.id.to_string(), token.site.to_string(), left, used, by]);
    }
    table
}

fn left(expires_at: Timestamp, now: Timestamp) -> String {
    let seconds = expires_at.ms().saturating_sub(now.ms()) / 1_000;
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

fn as_json(token: &TokenInfo) -> Value {
    // As strings: they have 64 bits.
    let stamp = |at: Timestamp| at.0.to_string();
    json!({
        "id": token.id.to_string(),
        "site": token.site.as_str(),
        "created_at": stamp(token.created_at),
        "expires_at": stamp(token.expires_at),
        "created_by": token.created_by,
        "used_by_store": token.used.map(|(store, _)| store.0),
        "used_at": token.used.map(|(_, at)| stamp(at)),
    })
}

#[cfg(test)]
mod tests {
    use holdfast_client::admin::StoreId;

    use super::*;

    fn info(used: Option<(StoreId, Timestamp)>) -> TokenInfo {
        TokenInfo {
            id: TokenId::of(0xfe),
            site: SiteName::new("b").unwrap(),
            created_at: Timestamp::from_ms(1_000),
            expires_at: Timestamp::from_ms(3_601_000),
            created_by: Some("spiffe://f/operator/ann".into()),
            used,
        }
    }

    #[test]
    fn tokens_are_listed_with_whom_they_let_in_and_how_long_they_are_good_for() {
        let used = Some((StoreId(4), Timestamp::from_ms(2_000)));
        let tokens = Tokens { tokens: vec![info(None), info(used)], now: Timestamp::from_ms(61_000) };
        let shown = table(&tokens).to_string();
        let rows: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["00000000000000fe", "b", "59m", "-", "spiffe://f/operator/ann"]);
        assert_eq!(rows[2][3..5], ["by", "s4"]);
        assert_eq!(as_json(&info(used))["used_by_store"], json!(4));
        assert_eq!(as_json(&info(None))["used_by_store"], json!(null));
    }
}
