//! What lies in folders, and who may read it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use holdfast_trust::authority::Issued;
use holdfast_trust::{Place, Trust, TrustError};

use crate::forge::Fleet;

fn open(folder: &Path) -> Result<String, TrustError> {
    Trust::open(Place::folder(folder)).map(|trust| trust.own().principal.to_string())
}

fn write(folder: &Path, names: [&str; 3], issued: &Issued) {
    let texts = [&issued.certificate_pem, &issued.key_pem, &issued.bundle_pem];
    for (name, text) in names.into_iter().zip(texts) {
        fs::write(folder.join(name), text).unwrap();
    }
    fs::set_permissions(folder.join(names[1]), Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn files_of_cert_manager_and_of_spire_are_read_as_they_are() {
    let issued = Fleet::new("f.example").store_a();
    for names in [
        ["tls.crt", "tls.key", "ca.crt"],
        ["svid.pem", "svid_key.pem", "bundle.pem"],
        ["svid.pem", "svid_key.pem", "svid_bundle.pem"],
        ["svid.0.pem", "svid.0.key", "bundle.0.pem"],
        ["svid.pem", "key.pem", "bundle.pem"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), names, &issued);
        assert_eq!(open(folder.path()).unwrap(), "spiffe://f.example/site/a/store");
        fs::remove_file(folder.path().join(names[2])).unwrap();
        assert!(matches!(open(folder.path()).unwrap_err(), TrustError::Unreadable { .. }), "without a bundle");
    }
}

#[test]
fn a_folder_without_certificates_says_what_belongs_there() {
    let folder = tempfile::tempdir().unwrap();
    let why = open(folder.path()).unwrap_err();
    assert_eq!(why, TrustError::Empty { folder: folder.path().to_owned() });
    assert!(why.to_string().contains("tls.crt, tls.key and ca.crt"), "{why}");
    assert!(matches!(open(&folder.path().join("gone")).unwrap_err(), TrustError::Empty { .. }));
}

#[test]
fn a_key_that_everybody_can_read_is_refused_and_one_for_the_group_is_not() {
    let folder = tempfile::tempdir().unwrap();
    Fleet::new("f.example").store_a().write(folder.path()).unwrap();
    let key = folder.path().join("tls.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    for mode in [0o604, 0o644, 0o602, 0o601, 0o777] {
        fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        let why = open(folder.path()).unwrap_err();
        assert_eq!(why, TrustError::OpenToAll { path: key.clone(), mode });
        assert!(why.to_string().contains("chmod 0600") && why.to_string().contains("defaultMode: 0440"), "{why}");
    }
    for mode in [0o600, 0o400, 0o440, 0o640] {
        fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        assert!(open(folder.path()).is_ok(), "{mode:o}");
    }
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    Fleet::new("f.example").store_a().write(folder.path()).unwrap();
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        let (path, kept) = (folder.path().join(name), fs::read(folder.path().join(name)).unwrap());
        let large = [kept.as_slice(), &vec![b'\n'; holdfast_types::limits::TRUST_FILE_BYTES]].concat();
        fs::write(&path, large).unwrap();
        let why = open(folder.path()).unwrap_err();
        assert!(matches!(&why, TrustError::Unreadable { path: at, .. } if *at == path), "{why}");
        fs::write(&path, kept).unwrap();
    }
    assert!(open(folder.path()).is_ok());
}

#[test]
fn nothing_that_is_printed_for_people_who_look_for_errors_has_a_key_in_it() {
    let issued = Fleet::new("f.example").store_a();
    let secret = issued.key_pem.lines().nth(1).unwrap().to_owned();
    let material = issued.material().unwrap();
    let shown = [format!("{issued:?}"), format!("{material:?}"), format!("{:?}", Trust::from_material(material))];
    for shown in &shown {
        assert!(!shown.contains(&secret) && !shown.contains("PRIVATE"), "{shown}");
    }
    let garbled = Issued { key_pem: issued.key_pem.replace("END", "MIDDLE"), ..issued };
    let why = format!("{:?}", garbled.material().unwrap_err());
    assert!(!why.contains(&secret), "{why}");
}
