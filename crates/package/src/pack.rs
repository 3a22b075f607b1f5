//! Writes a package. The same input gives the same bytes: no times, no random names, entries in one order.
//!
//! Called by the build (`cargo xtask pack-tentacle`), by tests and by benchmarks.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use contract::{PackageId, Version};
use quick_xml::escape::escape;
use tempfile::NamedTempFile;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::archive::PackageFile;
use crate::digest::{CHUNK_BYTES, sha256_bytes};
use crate::error::PackageError;
use crate::limits::Limits;
use crate::name::percent_encode;
use crate::sys;

/// Declares the encoding of every XML part.
const XML: &str = r#"<?xml version="1.0" encoding="utf-8"?>"#;

const NUSPEC_SCHEMA: &str = "http://schemas.microsoft.com/packaging/2013/05/nuspec.xsd";
const MANIFEST_RELATION: &str = "http://schemas.microsoft.com/packaging/2010/07/manifest";
const PROPERTIES_RELATION: &str =
    "http://schemas.openxmlformats.org/package/2006/relationships/metadata/core-properties";
const PROPERTIES_TYPE: &str = "application/vnd.openxmlformats-package.core-properties+xml";
const RELATIONS_TYPE: &str = "application/vnd.openxmlformats-package.relationships+xml";

/// The type of every part that the package format does not know.
const BYTES_TYPE: &str = "application/octet";

/// Hexadecimal digits in names that stand for the content, where other tools put random ones.
const NAME_DIGITS: usize = 32;

/// What a package is to hold.
#[derive(Clone, Debug)]
pub struct PackRequest<'a> {
    /// Its id.
    pub id: &'a PackageId,
    /// Its version.
    pub version: &'a Version,
    /// What it is for; NuGet wants one.
    pub description: &'a str,
    /// Who made it, separated by commas; NuGet wants one.
    pub authors: &'a str,
    /// Each file and its name in the package, with `/` between the parts. The order does not matter.
    pub files: &'a [(PathBuf, String)],
}

/// Writes the package `<id>.<version>.nupkg` into the folder `out`, over one of that name, and returns its path.
///
/// Files keep their executable bit. A package that this crate would refuse to install is not written.
pub fn pack(request: &PackRequest<'_>, out: &Path) -> Result<PathBuf, PackageError> {
    let path = out.join(format!("{}.{}.nupkg", request.id, request.version));
    let unwritten = |source| PackageError::Write { path: path.clone(), source };
    let temporary = NamedTempFile::new_in(out).map_err(unwritten)?;
    let mut writer = ZipWriter::new(BufWriter::with_capacity(CHUNK_BYTES, temporary));
    write_format(&mut writer, request).map_err(unwritten)?;
    let mut files: Vec<_> = request.files.iter().collect();
    files.sort_by(|(_, a), (_, b)| a.cmp(b));
    for (source, name) in files {
        write_file(&mut writer, source, name, &path)?;
    }
    let buffered = writer.finish().map_err(|error| unwritten(error.into()))?;
    let temporary = buffered.into_inner().map_err(|error| unwritten(error.into_error()))?;
    sys::set_mode(temporary.as_file(), sys::FILE_MODE).map_err(unwritten)?;
    PackageFile::open(temporary.path(), &Limits::default())?;
    temporary.persist(&path).map_err(|error| unwritten(error.error))?;
    Ok(path)
}

/// Writes the Tentacle package for a runtime, `Octopus.Tentacle.<runtime>.<version>.nupkg`, into the folder `out`. It
/// holds `program` as `tentacle` (`tentacle.exe` for Windows).
pub fn pack_tentacle(runtime: &str, version: &Version, program: &Path, out: &Path) -> Result<PathBuf, PackageError> {
    let id = PackageId::tentacle(runtime).map_err(PackageError::Id)?;
    let name = if runtime.starts_with("win-") { "tentacle.exe" } else { "tentacle" };
    let files = [(program.to_owned(), name.to_owned())];
    let description = format!("Octopus Tentacle for {runtime}.");
    pack(&PackRequest { id: &id, version, description: &description, authors: "Octopus", files: &files }, out)
}

type Writer = ZipWriter<BufWriter<NamedTempFile>>;

fn write_format(writer: &mut Writer, request: &PackRequest<'_>) -> io::Result<()> {
    let nuspec_name = format!("{}.nuspec", request.id);
    let nuspec = nuspec(request);
    let digits = &sha256_bytes(nuspec.as_bytes()).to_string()[..NAME_DIGITS];
    let properties_name = format!("package/services/metadata/core-properties/{digits}.psmdcp");
    let parts = [
        ("_rels/.rels", relations(&nuspec_name, &properties_name)),
        (nuspec_name.as_str(), nuspec),
        ("[Content_Types].xml", content_types(request)),
        (properties_name.as_str(), properties(request)),
    ];
    for (name, text) in parts {
        writer.start_file(name, options(sys::FILE_MODE, 0))?;
        writer.write_all(text.as_bytes())?;
    }
    Ok(())
}

fn write_file(writer: &mut Writer, source: &Path, name: &str, out: &Path) -> Result<(), PackageError> {
    let unread = |error| PackageError::Source { path: source.to_owned(), source: error };
    let unwritten = |source| PackageError::Write { path: out.to_owned(), source };
    let mut file = File::open(source).map_err(unread)?;
    let metadata = file.metadata().map_err(unread)?;
    let mode = if sys::mode(&metadata) & 0o111 == 0 { sys::FILE_MODE } else { sys::PROGRAM_MODE };
    let options = options(mode, metadata.len());
    writer.start_file(percent_encode(name), options).map_err(|error| unwritten(error.into()))?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = crate::digest::read_full(&mut file, &mut chunk).map_err(unread)?;
        if count == 0 {
            return Ok(());
        }
        writer.write_all(&chunk[..count]).map_err(unwritten)?;
    }
}

fn options(mode: u32, size: u64) -> SimpleFileOptions {
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
        .unix_permissions(mode)
        .large_file(size >= u64::from(u32::MAX))
}

fn nuspec(request: &PackRequest<'_>) -> String {
    let PackRequest { id, version, description, authors, .. } = request;
    let (authors, description) = (escape(*authors), escape(*description));
    format!(
        "{XML}\n<package xmlns=\"{NUSPEC_SCHEMA}\">\n  <metadata>\n    <id>{id}</id>\n    <version>{version}</version>\n    \
         <authors>{authors}</authors>\n    <requireLicenseAcceptance>false</requireLicenseAcceptance>\n    \
         <description>{description}</description>\n  </metadata>\n</package>\n"
    )
}

fn relations(nuspec: &str, properties: &str) -> String {
    let relation = |kind: &str, target: &str| {
        let id = &sha256_bytes(target.as_bytes()).to_string()[..NAME_DIGITS];
        format!("  <Relationship Type=\"{kind}\" Target=\"/{}\" Id=\"R{id}\" />\n", escape(target))
    };
    format!(
        "{XML}\n<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\">\n{}{}\
         </Relationships>\n",
        relation(MANIFEST_RELATION, nuspec),
        relation(PROPERTIES_RELATION, properties),
    )
}

/// One type for each extension, and one for each file that has none.
fn content_types(request: &PackRequest<'_>) -> String {
    let (mut extensions, mut others) = (BTreeSet::from(["nuspec".to_owned()]), BTreeSet::new());
    for (_, path) in request.files {
        let name = path.rsplit('/').next().unwrap_or(path);
        match name.rsplit_once('.').map(|(_, extension)| extension.to_lowercase()) {
            Some(extension) if !extension.is_empty() => extensions.insert(percent_encode(&extension)),
            _ => others.insert(percent_encode(path)),
        };
    }
    extensions.remove("rels");
    extensions.remove("psmdcp");
    let default = |extension: &str, kind| format!("  <Default Extension=\"{extension}\" ContentType=\"{kind}\" />\n");
    let mut text = format!("{XML}\n<Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\">\n");
    text += &default("rels", RELATIONS_TYPE);
    text += &default("psmdcp", PROPERTIES_TYPE);
    extensions.iter().for_each(|extension| text += &default(extension, BYTES_TYPE));
    for path in others {
        text += &format!("  <Override PartName=\"/{path}\" ContentType=\"{BYTES_TYPE}\" />\n");
    }
    text + "</Types>\n"
}

fn properties(request: &PackRequest<'_>) -> String {
    let PackRequest { id, version, description, authors, .. } = request;
    let (authors, description) = (escape(*authors), escape(*description));
    format!(
        "{XML}\n<coreProperties xmlns:dc=\"http://purl.org/dc/elements/1.1/\" \
         xmlns=\"http://schemas.openxmlformats.org/package/2006/metadata/core-properties\">\n  \
         <dc:creator>{authors}</dc:creator>\n  <dc:description>{description}</dc:description>\n  \
         <dc:identifier>{id}</dc:identifier>\n  <version>{version}</version>\n</coreProperties>\n"
    )
}
