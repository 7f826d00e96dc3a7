//! The fleet file of the stage. JSON, which is YAML too.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The fleet, as the file has it.
#[derive(Clone, Debug)]
pub struct FleetFile {
    /// Its name.
    pub name: String,
    /// Its namespace in every site.
    pub namespace: String,
    /// The image, by digest.
    pub image: String,
    /// Memory of each store. Another amount is another template, which is rolled out.
    pub memory: String,
    /// Sites, in the order in which they were added.
    pub sites: Vec<FileSite>,
}

/// One site.
#[derive(Clone, Debug)]
pub struct FileSite {
    /// Its name, and that of its context.
    pub name: String,
    /// The UID of its namespace kube-system.
    pub uid: String,
    /// The addresses of its pods.
    pub pod_cidr: String,
    /// How many stores it has.
    pub stores: u32,
}

impl FleetFile {
    pub(crate) fn new(name: &str, image: &str) -> FleetFile {
        FleetFile {
            name: name.to_owned(),
            namespace: "holdfast".to_owned(),
            image: image.to_owned(),
            memory: "768Mi".to_owned(),
            sites: Vec::new(),
        }
    }

    pub(crate) fn add_site(&mut self, name: &str, uid: &str, pod_cidr: &str) {
        let [name, uid, pod_cidr] = [name, uid, pod_cidr].map(str::to_owned);
        self.sites.push(FileSite { name, uid, pod_cidr, stores: 1 });
    }

    /// Changes how many stores a site has.
    ///
    /// # Panics
    /// When there is no such site.
    pub fn set_stores(&mut self, site: &str, stores: u32) {
        self.sites.iter_mut().find(|found| found.name == site).expect("a site of the fleet").stores = stores;
    }

    /// How many stores there are.
    pub fn stores(&self) -> usize {
        self.sites.iter().map(|site| site.stores as usize).sum()
    }

    /// The trust domain of its stores, programs and operators.
    pub fn domain(&self) -> String {
        format!("{}.example", self.name)
    }

    /// The Secret with the certificate of a site's stores, by the name that the program expects.
    pub fn secret(&self, site: &str) -> String {
        format!("{}-{site}-tls", self.name)
    }

    /// The file.
    pub fn text(&self) -> String {
        let sites: Vec<Value> = self.sites.iter().map(FileSite::value).collect();
        let file = json!({
            "apiVersion": "holdfast.dev/v1",
            "kind": "Fleet",
            "name": self.name,
            "namespace": self.namespace,
            "image": self.image,
            "connectivity": {"mode": "flat-mirror"},
            "trust": {"mode": "secret", "domain": self.domain()},
            "stores": 1,
            "storage": {"class": "shared", "size": "1Gi"},
            "resources": {"cpu": "1", "memory": self.memory},
            "sites": sites,
        });
        format!("{file:#}\n")
    }
}

impl FileSite {
    fn value(&self) -> Value {
        let mut all: BTreeMap<&str, Value> = [
            ("name", json!(self.name)),
            ("context", json!(self.name)),
            ("uid", json!(self.uid)),
            ("podCidrs", json!([self.pod_cidr])),
        ]
        .into();
        if self.stores != 1 {
            all.insert("overrides", json!({"stores": self.stores}));
        }
        json!(all)
    }
}
