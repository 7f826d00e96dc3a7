//! What stands below the options in the help of each subcommand: examples and exit codes. The man pages have sections of the same
//! names. Every line that begins with two spaces and names `holdfast` is a command that a test parses.

/// What all subcommands end with, unless they say more.
macro_rules! exits {
    () => {
        "Exit codes:\n  0  it was done\n  1  it was not, and standard error says why\n  2  the command line was not understood"
    };
}

/// `holdfast`.
pub const MAIN: &str = "\
To begin:
  holdfast demo                  # a load, one site killed, every acknowledged write read back
  holdfast dev                   # a fleet of three sites on this machine, until Ctrl-C
  holdfast put greeting hello    # in a second terminal
  holdfast get greeting

`holdfast help COMMAND` shows examples of each. `holdfast man` writes a manual, `holdfast completions` what a shell needs.

Exit codes:
  0  it was done; a store: it was told to stop
  1  it was not, or the answer is no (`get`: no such key); standard error says why
  2  the command line was not understood
141  the reader of standard output went away, as `head` does";

/// `holdfast start`.
pub const START: &str = "\
Every value comes from its default, the file, the environment or the flag; the later wins.
A store proves who it is, and is reached, by TLS: with --tls it has a certificate of its site, which `holdfast ca`, cert-manager or SPIRE make, and takes
new ones while it runs. On a machine of your own --insecure is enough; said twice it is for networks that keep everybody else out.
A store that finds no fleet waits: found one with `holdfast init`, once, or name stores of one with --join.
SIGTERM and Ctrl-C hand its leaders over and stop it. In a pod the proof of the site (HOLDFAST_SITE_ID) must be given.

Examples:
  holdfast start --insecure --site a --data-dir data/a
  holdfast start --tls /etc/holdfast/tls --data-dir data/b --join 10.0.1.5:7300,10.0.3.5:7300 \\
    --listen 0.0.0.0:7300 --advertise 10.0.2.5:7300 --listen-store 0.0.0.0:7400 --advertise-store 10.0.2.5:7400
  holdfast start --config /etc/holdfast.toml
  HOLDFAST_TLS=/etc/holdfast/tls HOLDFAST_DATA_DIR=/var/lib/holdfast holdfast start --log-json

Exit codes:
  0  it was told to stop, and did
  1  it could not start, or a disk failed under it; standard error says why
  2  the command line was not understood
  4  the fleet has forgotten it: wipe its volume, and it joins as a new store
  5  it runs in a pod, and the proof of its site is missing: set HOLDFAST_SITE_ID
  6  the proof of its site is not the one that it joined with, and the fleet does not accept it: docs/runbooks/moved-site.md";

/// `holdfast init`.
pub const INIT: &str = concat!(
    "\
A second init is refused. Other stores join by `holdfast start --join`. With TLS it takes the certificate of an operator: one that is there
(--tls alone), or the first, which --operator and --issuer make on the way.

Examples:
  holdfast init
  holdfast init --wait && holdfast put greeting hello     # once the store serves
  holdfast init --at 10.0.1.5:7300 --tls ann
  holdfast init --operator ann --issuer ca/people --tls ann
  HOLDFAST_FLEET_TOKEN=secret holdfast init --json

",
    exits!()
);

/// `holdfast status`.
pub const STATUS: &str = "\
--wait ready: until every store that is to stay answers, and every range is led. --wait balanced: until besides every range has its voters, every
site leads something, and nothing has moved for ten seconds. Then the fleet is shown. What is missing when the time is over is said.

Examples:
  holdfast status
  holdfast status --ranges
  holdfast status --at 10.0.1.5:7300,10.0.2.5:7300    # the first that answers
  holdfast status --wait ready --timeout 30s
  holdfast status --wait balanced --json | jq '.stores[].leaders'
  holdfast status --json | jq '.stores[] | select(.alive | not)'

Exit codes:
  0  it was shown, and is as it was waited for
  1  no store could be asked, or with --wait: the time was over first; standard error says what is missing
  2  the command line was not understood";

/// `holdfast drain`.
pub const DRAIN: &str = "\
A store that leaves is emptied: its leaders go at once, its replicas one by one, each only when another store has a copy that has caught
up. It is on record, so restarts change nothing of it; --cancel does. All stores that leave are judged together, and refused before anything
moves when the others could not hold or serve what they have, or when one is dead (`holdfast forget`). Waits until nothing is left, and says how far it is.

--local is for the end of a pod (preStop) and the like: the store on this machine hands its leaders over and fails /readyz, and keeps its
replicas. What nobody else can lead stays. A store that is not stopped within two minutes after that goes on as before.

Examples:
  holdfast drain s4
  holdfast drain s4 s5 --at 10.0.1.5:7300,10.0.2.5:7300
  holdfast drain s4 --no-wait && holdfast status
  holdfast drain s4 --cancel
  holdfast drain --local --within 20s
  holdfast drain --local --cancel

Exit codes:
  0  the stores are empty, or with --no-wait and --cancel: it is on record; with --local: also when the time was over first
  1  refused, or taken back by somebody else meanwhile, or no store could be asked; standard error says why
  2  the command line was not understood";

/// `holdfast forget`.
pub const FORGET: &str = concat!(
    "\
Refused while the store holds replicas, and while any store hears it unless it was drained: `holdfast drain` it, or stop it for good and wait
until placement has replaced what it held. For a store that is stopped for a while only, do nothing. There is no way back: should the store return, every other one refuses it and its
process ends; start it with an empty data directory then, and it joins as a new store. Forgetting it a second time is a success.

Examples:
  holdfast forget s4
  holdfast forget 4 --at 10.0.1.5:7300,10.0.2.5:7300    # any store but the one that is to be forgotten
  holdfast forget s4 --json
  holdfast forget --never-started                       # those that were let in, and have not come in ten minutes

",
    exits!()
);

/// `holdfast site`.
pub const SITE: &str = concat!(
    "\
Examples:
  holdfast site move east --to 77aa1b2c-1111-4222-8333-444455556666
  holdfast status

",
    exits!()
);

/// `holdfast site move`.
pub const SITE_MOVE: &str = concat!(
    "\
For a site whose Kubernetes cluster was rebuilt, or moved to another one: the same name, another UID. Refused while any store of the site is
alive or is heard by another. Afterwards new stores join under the name with the new proof, and stores whose volumes moved with the site
start again; those that prove the old UID are refused for good, and end with exit code 6. What held the lost volumes is forgotten store
by store: `holdfast forget`. Moving it to where it is already is a success. See docs/runbooks/moved-site.md.

Examples:
  holdfast site move east --to 77aa1b2c-1111-4222-8333-444455556666
  holdfast site move east --to 77aa1b2c-1111-4222-8333-444455556666 --at 10.0.2.5:7300,10.0.3.5:7300    # stores of other sites
  holdfast site move east --to 77aa1b2c-1111-4222-8333-444455556666 --json

",
    exits!()
);

/// `holdfast token`.
pub const TOKEN: &str = concat!(
    "\
Examples:
  holdfast token create --site b --ttl 1h
  holdfast token list
  holdfast token revoke 9f86d081884c7d65

",
    exits!()
);

/// `holdfast token create`.
pub const TOKEN_CREATE: &str = concat!(
    "\
Prints the token on standard output, once: the fleet keeps a digest of its secret, and no copy. One new store of the site joins with it, and may ask
again when an answer was lost; whoever else shows it is refused. It stands for the fleet's shared secret, and in a fleet with TLS for the certificate
while joining; the streams to the other stores take a certificate all the same.

Examples:
  holdfast token create --site b
  holdfast token create --site b --ttl 15m --json | jq -r .token
  HOLDFAST_JOIN_TOKEN=\"$(holdfast token create --site b)\" holdfast start --tls tls/b --data-dir data/b --join 10.0.1.5:7300

",
    exits!()
);

/// `holdfast token list`.
pub const TOKEN_LIST: &str = concat!(
    "\
Examples:
  holdfast token list
  holdfast token list --json | jq '.[] | select(.used_by_store == null)'

",
    exits!()
);

/// `holdfast token revoke`.
pub const TOKEN_REVOKE: &str = concat!(
    "\
A store that joined with the token stays a member.

Examples:
  holdfast token revoke 9f86d081884c7d65

",
    exits!()
);

/// `holdfast demo`.
pub const DEMO: &str = "\
Examples:
  holdfast demo
  holdfast demo --seconds 9
  holdfast demo --tls
  holdfast demo --input people.csv --key id --clients 128
  holdfast demo --sites 5 --stores-per-site 2 --json

Exit codes:
  0  nothing was lost, nothing was done twice, nothing failed
  1  something was, or the demo could not run
  2  the command line was not understood";

/// `holdfast load`.
pub const LOAD: &str = "\
Examples:
  holdfast load --site east --seconds 60
  holdfast load --site east --at prod.holdfast.svc:7300 --prefix drill/east/ --json

Exit codes:
  0  nothing was lost, nothing was done twice, nothing failed
  1  something was, or the load could not run
  2  the command line was not understood";

/// `holdfast dev`.
pub const DEV: &str = concat!(
    "\
While it runs it takes lines from standard input:
  kill SITE     kills every store of a site with SIGKILL
  start SITE    starts them again on their data
  status        shows who runs
  quit          stops all stores and ends, as Ctrl-C does

Examples:
  holdfast dev
  holdfast dev --sites 5
  holdfast dev --tls                          # with certificates of an authority of its own
  holdfast dev --dir data/dev                 # keeps the data; the same line goes on with it
  holdfast dev --first-port 0 --json          # any free ports, printed for a program

",
    exits!()
);

/// `holdfast import`.
pub const IMPORT: &str = "\
Every record of the file is a row that is stored, or is named with its line and its reason, and then the exit code is 1. What is stored is what
was written: the row as a JSON object with its columns in order, digits as they stand; with --raw the bytes of one column. A key that is there
already is overwritten; of lines with the same key the last one wins, unless --on-duplicate says otherwise.

An import that was broken off goes on where it stopped, with the same file and options into the same keyspace of the same fleet: it keeps how far
it got beside the file, or in ~/.local/state/holdfast/imports where that cannot be, and removes that at its end. --restart begins anew.
An import of standard input keeps nothing. What `holdfast export` wrote needs no options: keys, values and expiries are restored.

Examples:
  holdfast import people.csv
  holdfast import people.csv.gz --key id --keyspace people --at 10.0.1.5:7300
  holdfast import events.jsonl --key event_id --expires until --on-duplicate first
  holdfast import prices.csv --delimiter=';' --encoding windows-1252 --null NULL --raw --value price
  holdfast import people.tsv --columns id,name,born --no-escapes
  holdfast import people.csv --dry-run --on-duplicate error
  holdfast import people.csv --rejects bad.csv --rate 5000 --json
  psql -c \"COPY people TO STDOUT (FORMAT csv, HEADER)\" | holdfast import - --format csv --key id

Exit codes:
  0  every row was loaded, or left out as --on-duplicate first has it
  1  some rows were bad and left out, each named with its line; or it was broken off
  2  the command line was not understood";

/// `holdfast export`.
pub const EXPORT: &str = "\
FILE says what it is, and proves that it is whole: `holdfast import FILE` stores the same keys, values and expiries, into any fleet and keyspace. Each range
is read as it was at one moment, all ranges together only with --at. FILE is replaced when everything is read. An export that was broken off goes on where it stopped
(FILE.holdfast-export remembers the place, FILE.holdfast-export.part the rows); --restart begins anew. Rows on standard output begin anew each time.

Examples:
  holdfast export -o people.jsonl
  holdfast export -o backup/people.csv.gz --keyspace people --connect 10.0.1.5:7300,10.0.2.5:7300
  holdfast export -o users.tsv.zst --prefix user/
  holdfast export -o half.jsonl --start a --end-hex ff00 --at 1763841600123.0
  holdfast export -o - --format csv | head -3
  holdfast export -o - --keyspace one | holdfast import - --keyspace two

Exit codes:
  0    every row was written
  1    it was broken off, and standard error says why
  2    the command line was not understood
  141  the reader of standard output went away, as `head` does";

/// `holdfast get`.
pub const GET: &str = "\
Examples:
  holdfast get greeting
  holdfast get picture > picture.png
  holdfast get people/7 people/8 people/9
  holdfast get people/7 --json | jq -r .value
  holdfast get --key-hex 0001ff --hex
  holdfast get greeting --at 10.0.1.5:7300,10.0.2.5:7300

In a pipe or a file the value of one key is byte for byte what was put, and nothing behind it; on a terminal what is no plain text is shown
escaped (--raw: not there either). Of several keys each is a row, as `scan` prints them, in the order in which they were named.

Exit codes:
  0  every value was printed
  1  there is no such key, or it could not be read; standard error says which
  2  the command line was not understood";

/// `holdfast put`.
pub const PUT: &str = "\
A value that is - comes from standard input, one by --file from a file, byte for byte, and is refused as soon as it is larger than a value may be.
Of --if-absent, --if-version and --if-value one may be given: what it asks for is looked at in the same step in which the value is written.

Examples:
  holdfast put greeting hello
  holdfast put picture --file picture.png
  gzip -c log.txt | holdfast put logs/monday -
  holdfast put session/7 alive --ttl 10m
  holdfast put lock/backup \"$HOSTNAME\" --if-absent --ttl 5m
  holdfast put people/7 '{\"name\":\"Ada\"}' --if-version 1795371571982.0
  holdfast put --key-hex 0001ff 'a key that is no text'
  holdfast put -- -5 'a key that begins with a dash'

Exit codes:
  0  it was written
  1  the condition did not hold, or it could not be written; standard error says which
  2  the command line was not understood";

/// `holdfast delete`.
pub const DELETE: &str = "\
Deleting a key that does not exist is a success. --prefix counts the keys and asks first; where nobody can be asked it wants --yes. It deletes a
thousand keys at a time: what was broken off has deleted some of them.

Examples:
  holdfast delete greeting
  holdfast delete people/7 --json
  holdfast delete --prefix tmp/
  holdfast delete --prefix tmp/ --yes

Exit codes:
  0  it was deleted
  1  it was not, or the answer was no; standard error says which
  2  the command line was not understood";

/// `holdfast scan`.
pub const SCAN: &str = concat!(
    "\
Keys are ordered bytewise. Bounds that no key can lie between are an error.

Examples:
  holdfast scan
  holdfast scan --prefix people/
  holdfast scan b d --limit 10              # from b up to d, without d
  holdfast scan --reverse --limit 1         # the last key
  holdfast scan --prefix people/ --count    # counted where they are stored
  holdfast scan --prefix tmp/ --keys-only --print0 --limit 100000 | xargs -0 -n 100 holdfast get
  holdfast scan --prefix people/ --limit 100000 --json | jq -r .key

A row is a line: key, tab, value. In a pipe or a file tab, line end, carriage return and backslash within them are \\t, \\n, \\r and \\\\, as `holdfast sql
--format tsv` writes them, and every other byte is as it was put. On a terminal whatever is no plain text is escaped. --hex prints digits, --print0 ends
each key and each value by a zero byte, --json an object a row.

",
    exits!()
);

/// `holdfast config`.
pub const CONFIG: &str = concat!(
    "\
Examples:
  holdfast config show --insecure --site a --data-dir data/a
  holdfast config show --config /etc/holdfast.toml --json

",
    exits!()
);

/// What the subcommands of `fleet` end with.
macro_rules! fleet_exits {
    () => {
        "Exit codes:\n  0  it was done\n  1  a file could not be read or written; standard error says why\n  2  the fleet file is invalid, or the command line was not understood"
    };
}

/// `holdfast fleet`.
pub const FLEET: &str = concat!(
    "\
One file describes all sites of a fleet. validate, explain, render and schema talk to nobody; the others talk to the API server of each site, with
the context that the file names and after its UID was found to be the one of the file.

Examples:
  holdfast fleet validate fleet.yaml
  holdfast fleet explain fleet.yaml
  holdfast fleet render fleet.yaml --out rendered && kubectl --context east apply -k rendered/east
  holdfast fleet plan fleet.yaml && holdfast fleet apply fleet.yaml
  holdfast fleet schema > fleet.schema.json

",
    fleet_exits!()
);

/// `holdfast fleet validate`.
pub const FLEET_VALIDATE: &str = concat!(
    "\
Each finding is one line: FILE:LINE:COLUMN, error or warning, the value it speaks of, and what to do. Warnings leave the file valid.

Examples:
  holdfast fleet validate fleet.yaml
  holdfast fleet validate fleet.yaml --json | jq -r '.findings[].message'

",
    fleet_exits!()
);

/// `holdfast fleet explain`.
pub const FLEET_EXPLAIN: &str = concat!(
    "\
Examples:
  holdfast fleet explain fleet.yaml

",
    fleet_exits!()
);

/// `holdfast fleet render`.
pub const FLEET_RENDER: &str = concat!(
    "\
Each site gets a folder below DIR, which `kubectl apply -k` takes. DIR remembers what was written into it: what is rendered no more is removed, and
a DIR with other files in it is refused. The same file gives the same bytes.

Examples:
  holdfast fleet render fleet.yaml --out rendered
  kubectl --context east apply -k rendered/east

",
    fleet_exits!()
);

/// What the subcommands of `fleet` that look at the sites end with.
macro_rules! looking_exits {
    () => {
        "Exit codes:\n  0  everything was looked at, and is as the file says\n  1  it could not begin; standard error says why\n  2  something differs; or the fleet file is invalid, or the command line was not understood\n  3  not everything could be looked at"
    };
}

/// `holdfast fleet plan`.
pub const FLEET_PLAN: &str = concat!(
    "\
Every object is tried by a dry run of server-side apply, as the field manager `holdfast`. Shown are what would be created, each field that would change,
fields that others own, objects of the fleet that are rendered no more, and what an apply has left half done, in a site and between sites, with what
goes on with it. Nothing is written.

Examples:
  holdfast fleet plan fleet.yaml
  holdfast fleet plan fleet.yaml --site east --kubeconfig access.yaml
  holdfast fleet plan fleet.yaml --json | jq -r '.sites[].objects[] | select(.verdict != \"unchanged\") | .name'

",
    looking_exits!()
);

/// `holdfast fleet apply`.
pub const FLEET_APPLY: &str = "\
One site after the other: first its UID, then a dry run of everything, then it is written, then changed pods are replaced one by one from the highest number
on. Between two pods, and between two sites, Kubernetes and the stores must agree that all is well. A site that does not answer is left out
and told; a site that does not settle ends it. Fewer stores are refused until those that would go hold nothing. Nothing is deleted, but for
old configurations with --prune. Broken off, it can be done again.

Examples:
  holdfast fleet apply fleet.yaml
  holdfast fleet apply fleet.yaml --site east --prune
  holdfast fleet apply fleet.yaml --at 10.10.0.5:7300,10.20.0.5:7300    # ask the stores there, and not through the API servers

Exit codes:
  0  all sites are as the file says
  1  a site refused something, or did not settle; what it says is on standard output
  2  the fleet file is invalid, or the command line was not understood
  3  all is done, but for sites that could not be reached";

/// `holdfast fleet status`.
pub const FLEET_STATUS: &str = concat!(
    "\
Examples:
  holdfast fleet status fleet.yaml
  holdfast fleet status fleet.yaml --json | jq '.sites[] | select(.error)'

",
    looking_exits!()
);

/// `holdfast fleet audit`.
pub const FLEET_AUDIT: &str = concat!(
    "\
Finds fields that are not as the file says, with who wrote them and when; other writers of the fleet's objects; objects that are missing or rendered no more;
another UID; policies and rights that not all sites have alike; rights that the stores have and must not, or that you need and have not. A site
that does not answer is never well.

Examples:
  holdfast fleet audit fleet.yaml
  holdfast fleet audit fleet.yaml --json | jq -r '.sites[].findings[].message'

",
    looking_exits!()
);

/// `holdfast fleet sync`.
pub const FLEET_SYNC: &str = concat!(
    "\
For the modes flat-mirror and calico-bgp: the Services of other sites' stores lead to the addresses that their pods have now. It only adds and changes
addresses: those of a site that does not answer stay.

Examples:
  holdfast fleet sync fleet.yaml
  holdfast fleet sync fleet.yaml --watch                # keep on, until Ctrl-C or SIGTERM
  holdfast fleet sync fleet.yaml --watch --site east    # write into one site, for one process in each

",
    looking_exits!()
);

/// `holdfast fleet access`.
pub const FLEET_ACCESS: &str = concat!(
    "\
After the first apply nobody needs to be an administrator any more: the account FLEET-operator may do what plan, apply, status, audit and sync need. Whoever
makes the access must be allowed to make tokens of that account. The contexts are called as in the fleet file.

Examples:
  holdfast fleet access fleet.yaml --out access.yaml
  holdfast fleet access fleet.yaml --site east --hours 1 > access.yaml
  holdfast fleet plan fleet.yaml --kubeconfig access.yaml

",
    looking_exits!()
);

/// `holdfast fleet schema`.
pub const FLEET_SCHEMA: &str = concat!(
    "\
For editors: begin the fleet file with `# yaml-language-server: $schema=fleet.schema.json`.

Examples:
  holdfast fleet schema > fleet.schema.json

",
    fleet_exits!()
);

/// `holdfast completions`.
pub const COMPLETIONS: &str = concat!(
    "\
Examples:
  holdfast completions bash > ~/.local/share/bash-completion/completions/holdfast
  holdfast completions zsh > ~/.zfunc/_holdfast                 # with `fpath+=~/.zfunc` before compinit
  holdfast completions fish > ~/.config/fish/completions/holdfast.fish
  source <(holdfast completions bash)                           # for this bash only

",
    exits!()
);

/// `holdfast man`.
pub const MAN: &str = concat!(
    "\
Examples:
  holdfast man | man -l -                                # the page holdfast(1)
  holdfast man --dir ~/.local/share/man/man1             # a page for each subcommand too: man holdfast-start

",
    exits!()
);
