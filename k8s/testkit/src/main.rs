//! `holdfast-clusters`: real Kubernetes clusters on this machine, for development.

mod arguments;

use arguments::{Arguments, Command, Inside, Instance};
use clap::Parser;
use holdfast_testkit::{Clusters, Delay, Error, Options, Result, Tools, inside};
use std::process::{Command as Process, ExitCode};
use std::time::Instant;

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    let open = |instance: &Instance| Clusters::open(&instance.name);
    match command {
        Command::Up { instance, nodes, without_policies, extras } => up(Options {
            name: instance.name,
            nodes,
            policies: !without_policies,
            extras: extras.list(),
            ..Options::default()
        })?,
        Command::Down { instance } => Clusters::end(&instance.name)?,
        Command::Kill { instance, site, node } => match node {
            Some(node) => open(&instance)?.kill_node(&site, node)?,
            None => open(&instance)?.kill(&site)?,
        },
        Command::Return { instance, site, node } => match node {
            Some(node) => open(&instance)?.bring_back_node(&site, node)?,
            None => open(&instance)?.bring_back(&site)?,
        },
        Command::Cut { instance, first, second, one_way } => match one_way {
            true => open(&instance)?.cut_one_way(&first, &second)?,
            false => open(&instance)?.cut(&first, &second)?,
        },
        Command::Heal { instance, sites } => match sites.as_slice() {
            [first, second] => open(&instance)?.heal(first, second)?,
            _ => open(&instance)?.heal_all()?,
        },
        Command::Delay { instance, first, second, latency, jitter } => {
            let delay = Delay { latency: latency.into(), jitter: jitter.into() };
            open(&instance)?.delay(&first, &second, delay)?;
        }
        Command::Loss { instance, first, second, percent } => open(&instance)?.loss(&first, &second, percent)?,
        Command::Freeze { instance, site } => open(&instance)?.freeze(&site)?,
        Command::Thaw { instance, site } => open(&instance)?.thaw(&site)?,
        Command::Status { instance } => status(&open(&instance)?)?,
        Command::Kubectl { instance, site, arguments } => {
            return exit_code(open(&instance)?.kubectl_command(&site)?.args(arguments));
        }
        Command::Load { instance, archive } => open(&instance)?.load_image(&archive)?,
        Command::Kubeconfig { instance } => println!("{}", open(&instance)?.kubeconfig().display()),
        Command::Run { instance, words } => {
            let (program, arguments) = words.split_first().expect("clap asks for one at least");
            return exit_code(open(&instance)?.command_in_fabric(program).args(arguments));
        }
        Command::Tools { extras } => Tools::build(&extras.list()).map(drop)?,
        Command::AddNode { instance, site } => {
            let number = open(&instance)?.add_node(&site)?;
            println!("{site} has a node {number} now");
        }
        Command::Inside(inside) => run_inside(inside)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn run_inside(command: Inside) -> Result<()> {
    match command {
        Inside::NodeLaunch { cgroup, spec } => inside::node_launch(&cgroup, &spec),
        Inside::NodeEnter { cgroup, spec } => inside::node_enter(&cgroup, &spec),
        Inside::NodeInit { spec } => inside::node_init(&spec),
        Inside::NodeRun { spec } => inside::node_run(&spec),
        Inside::FabricInit => inside::fabric_init(),
        Inside::DelayLines { cgroup, listen, detached } => inside::delay_lines(&cgroup, &listen, detached),
    }
}

fn up(options: Options) -> Result<()> {
    let begin = Instant::now();
    let clusters = Clusters::up(&options)?;
    println!("up after {:.1} s", begin.elapsed().as_secs_f64());
    status(&clusters)?;
    clusters.leave();
    Ok(())
}

fn status(clusters: &Clusters) -> Result<()> {
    for site in clusters.sites() {
        let (pods, services) = (site.pod_cidr(), site.service_cidr());
        println!("{}: {} domain {} pods {pods} services {services}", site.name, site.api_server(), site.domain());
    }
    clusters.node_states().iter().for_each(|(node, state)| println!("{node}: {state}"));
    clusters.link_states()?.iter().for_each(|link| println!("{link}"));
    println!("kubeconfig: {}", clusters.kubeconfig().display());
    Ok(())
}

/// Runs a program to its end with this one's input and output, and returns its exit code.
fn exit_code(command: &mut Process) -> Result<ExitCode> {
    let status = command.status();
    let failed = |e: std::io::Error| Error::Program { program: format!("{command:?}"), output: e.to_string() };
    let status = status.map_err(failed)?;
    // Killed by a signal, it has no code of its own.
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
