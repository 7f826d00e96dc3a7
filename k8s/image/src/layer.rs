//! A layer: files as a compressed tar, the same bytes for the same files.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use crate::contents::File;

/// A blob of the image, and its digest.
pub struct Blob {
    /// `sha256:...`.
    pub digest: String,
    /// What it holds.
    pub bytes: Vec<u8>,
}

impl Blob {
    /// A blob of these bytes.
    pub fn new(bytes: Vec<u8>) -> Blob {
        Blob { digest: digest(&bytes), bytes }
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        u64::try_from(self.bytes.len()).unwrap_or(u64::MAX)
    }
}

/// A layer, compressed.
pub struct Layer {
    /// What is stored and pulled.
    pub blob: Blob,
    /// The digest of the tar before it was compressed.
    pub diff_id: String,
    /// The size of the tar.
    pub unpacked: u64,
}

/// Makes a layer of files, which must be sorted, with the folders above them.
pub fn layer(files: &[File<'_>]) -> Result<Layer> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut folders = BTreeSet::new();
    for file in files {
        let path = file.path.trim_start_matches('/');
        let above: Vec<_> = Path::new(path).ancestors().skip(1).filter(|path| *path != Path::new("")).collect();
        for folder in above.into_iter().rev() {
            if folders.insert(folder.to_path_buf()) {
                append(&mut archive, &format!("{}/", folder.display()), EntryType::Directory, 0o755, &[])?;
            }
        }
        append(&mut archive, path, EntryType::Regular, file.mode(), file.bytes)?;
    }
    let tar = archive.into_inner().context("cannot end the layer")?;
    // No name and no time in the header of gzip either.
    let mut packed = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    packed.write_all(&tar).context("cannot compress the layer")?;
    let blob = Blob::new(packed.finish().context("cannot compress the layer")?);
    Ok(Layer { blob, diff_id: digest(&tar), unpacked: u64::try_from(tar.len())? })
}

/// Adds an entry that belongs to root and has no time: times that differ would be digests that differ.
pub fn append<W: Write>(
    archive: &mut tar::Builder<W>,
    path: &str,
    kind: EntryType,
    mode: u32,
    bytes: &[u8],
) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(u64::try_from(bytes.len())?);
    archive.append_data(&mut header, path, bytes).with_context(|| format!("cannot add {path}"))
}

fn digest(bytes: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_give_the_same_layer_and_folders_come_first() {
        let file = |path, bytes| File { path, bytes, executable: false };
        let files = [file("/a/b/one", b"1".as_slice()), file("/a/two", b"2".as_slice())];
        let made = layer(&files).unwrap();
        assert_eq!(made.blob.digest, layer(&files).unwrap().blob.digest);
        assert_ne!(made.blob.digest, layer(&files[..1]).unwrap().blob.digest);
        let unpacked = flate2::read::GzDecoder::new(made.blob.bytes.as_slice());
        let mut archive = tar::Archive::new(unpacked);
        let paths: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                assert_eq!((entry.header().mtime().unwrap(), entry.header().uid().unwrap()), (0, 0));
                entry.path().unwrap().display().to_string()
            })
            .collect();
        assert_eq!(paths, ["a/", "a/b/", "a/b/one", "a/two"]);
    }
}
