//! Where everything of an instance lies on disk: state, volumes, keys, logs.

use crate::error::{At, Error, Result};
use crate::plan::{Instance, Node, Site};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Holds a folder for each instance. On disk and not on a tmpfs, so that stores wait for a disk here too.
const INSTANCES: &str = "/var/tmp/holdfast-clusters";

/// The folder of one instance.
#[derive(Clone, Debug)]
pub(crate) struct State {
    root: PathBuf,
}

impl State {
    pub(crate) fn of(instance: &str) -> State {
        State { root: Path::new(INSTANCES).join(instance) }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The names of all instances that have a folder.
    pub(crate) fn instances() -> Vec<String> {
        let entries = fs::read_dir(INSTANCES).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// What the instance consists of; its absence is an error that says what to do.
    pub(crate) fn instance(&self) -> Result<Instance> {
        if !self.instance_file().exists() {
            let name = self.root.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let up = format!("there is no instance {name}: start it with `holdfast-clusters up --name {name}`");
            return Err(Error::Invalid(up));
        }
        read_json(&self.instance_file())
    }

    pub(crate) fn instance_file(&self) -> PathBuf {
        self.root.join("instance.json")
    }

    /// The file with a context for each site.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.root.join("kubeconfig")
    }

    /// What is wrong on purpose between the sites.
    pub(crate) fn links_file(&self) -> PathBuf {
        self.root.join("links.json")
    }

    /// The socket of the process that delays packets.
    pub(crate) fn delay_socket(&self) -> PathBuf {
        self.root.join("delay.sock")
    }

    /// OCI archives that every node imports.
    pub(crate) fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// Logs of what belongs to no node.
    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    pub(crate) fn site(&self, site: &Site) -> SiteFolder {
        SiteFolder(self.root.join(&site.name))
    }

    pub(crate) fn node(&self, site: &Site, node: &Node) -> NodeFolder {
        NodeFolder(self.root.join(&site.name).join(node.number.to_string()))
    }
}

/// The folder of one site.
#[derive(Clone, Debug)]
pub(crate) struct SiteFolder(PathBuf);

impl SiteFolder {
    pub(crate) fn pki(&self) -> PathBuf {
        self.0.join("pki")
    }

    pub(crate) fn etcd(&self) -> PathBuf {
        self.0.join("etcd")
    }

    /// A volume that all its nodes see.
    pub(crate) fn shared_volume(&self, number: u8) -> PathBuf {
        self.0.join("volumes").join(number.to_string())
    }

    /// Further zones for CoreDNS, a file each.
    pub(crate) fn zones(&self) -> PathBuf {
        self.0.join("zones")
    }

    /// The kubeconfig of one of its components.
    pub(crate) fn kubeconfig(&self, user: &str) -> PathBuf {
        self.0.join("kubeconfigs").join(user)
    }
}

/// The folder of one node.
#[derive(Clone, Debug)]
pub(crate) struct NodeFolder(PathBuf);

impl NodeFolder {
    /// A file of configuration.
    pub(crate) fn config(&self, name: &str) -> PathBuf {
        self.0.join("config").join(name)
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// What takes the place of /var/lib/NAME in the sandbox.
    pub(crate) fn library(&self, name: &str) -> PathBuf {
        self.0.join("lib").join(name)
    }

    /// A local volume.
    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        self.0.join("volumes").join(name)
    }

    /// containerd's socket: here, so that it can be reached without entering the sandbox.
    pub(crate) fn containerd_socket(&self) -> PathBuf {
        self.0.join("containerd.sock")
    }

    /// Exists since this boot's containerd answers and all images are imported.
    pub(crate) fn started_marker(&self) -> PathBuf {
        self.0.join("started")
    }

    /// The names of the image archives that were imported.
    pub(crate) fn imported(&self) -> PathBuf {
        self.0.join("imported")
    }
}

/// Makes a folder, and those above it, that only root can look into.
pub(crate) fn make_folder(path: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).at(path)
}

/// Writes a file that only root can read, at once or not at all.
pub(crate) fn write_file(path: &Path, text: &str) -> Result<()> {
    make_folder(path.parent().expect("files of the state lie in a folder"))?;
    holdfast_files::replace(path, text.as_bytes()).at(path)
}

pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value);
    write_file(path, &text.map_err(|source| Error::Json { what: path.display().to_string(), source })?)
}

pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).at(path)?;
    serde_json::from_str(&text).map_err(|source| Error::Json { what: path.display().to_string(), source })
}

/// Removes a file that may be gone already.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).at(path),
        _ => Ok(()),
    }
}
