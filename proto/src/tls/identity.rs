//! The key and the self-signed certificate of a portal or a Tentacle, and the file that they live in.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use contract::Thumbprint;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::Digest as _;

use super::provider;

/// The key and certificate of this side of a connection. Cheap to clone; never shown.
#[derive(Clone)]
pub struct Identity {
    certified: Arc<CertifiedKey>,
    certificate: CertificateDer<'static>,
    key: Arc<PrivateKeyDer<'static>>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Identity").field(&self.thumbprint()).finish()
    }
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A key or certificate could not be made.
    #[error("cannot make a key and a certificate for \"{name}\"")]
    Generate {
        /// The name in the certificate.
        name: String,
        /// What the library says.
        source: rcgen::Error,
    },
    /// The file could not be read.
    #[error("cannot read the identity file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file could not be written.
    #[error("cannot write the identity file {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file holds no key with its certificate.
    #[error(
        "the identity file {} holds no private key with its certificate in PEM form: {why}. Restore it from a backup, or \
         delete it to get a new identity, which the other side must then be told", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// The SHA-256 of a certificate in DER form.
pub fn thumbprint_of(certificate: &CertificateDer<'_>) -> Thumbprint {
    Thumbprint(sha2::Sha256::digest(certificate.as_ref()).into())
}

impl Identity {
    /// A new key (ECDSA P-256) and a self-signed certificate with `name` as its common name. Nothing is written.
    pub fn generate(name: &str) -> Result<Self, IdentityError> {
        let (_, pem) = generate_pem(name)?;
        Self::from_pem(pem.as_bytes(), Path::new("(new)"))
    }

    /// Reads key and certificate from a PEM file.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let pem = fs::read(path).map_err(|source| IdentityError::Read { path: path.to_owned(), source })?;
        Self::from_pem(&pem, path)
    }

    /// Reads the file, or makes a new identity in it where there is none: mode 0600, complete or not there at all. Of two
    /// programs that do this at once both get the same identity.
    pub fn load_or_create(path: &Path, name: &str) -> Result<Self, IdentityError> {
        match Self::load(path) {
            Err(IdentityError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let (_, pem) = generate_pem(name)?;
        write_new(path, pem.as_bytes()).map_err(|source| IdentityError::Write { path: path.to_owned(), source })?;
        Self::load(path)
    }

    fn from_pem(pem: &[u8], path: &Path) -> Result<Self, IdentityError> {
        let damaged = |why: &dyn ToString| IdentityError::Damaged { path: path.to_owned(), why: why.to_string() };
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| damaged(&error))?;
        let certificate = CertificateDer::from_pem_slice(pem).map_err(|error| damaged(&error))?;
        let certified = CertifiedKey::from_der(vec![certificate.clone()], key.clone_key(), &provider())
            .map_err(|error| damaged(&error))?;
        Ok(Self { certified: Arc::new(certified), certificate, key: Arc::new(key) })
    }

    /// What the other side pins.
    pub fn thumbprint(&self) -> Thumbprint {
        thumbprint_of(&self.certificate)
    }

    /// The certificate.
    pub fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    /// The private key; for a TLS configuration and nothing else.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }

    /// Key and certificate together; for a TLS configuration and nothing else.
    pub fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}

fn generate_pem(name: &str) -> Result<(rcgen::Certificate, String), IdentityError> {
    let failed = |source| IdentityError::Generate { name: name.to_owned(), source };
    let key = rcgen::KeyPair::generate().map_err(failed)?;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let certificate = params.self_signed(&key).map_err(failed)?;
    let pem = format!("{}{}", key.serialize_pem(), certificate.pem());
    Ok((certificate, pem))
}

/// Temporary file (0600), sync, rename that does not replace, sync of the folder.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => File::open(folder)?.sync_all(),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn an_identity_is_made_once_and_then_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.pem");
        let made = Identity::load_or_create(&path, "web-1").unwrap();
        assert_eq!(Identity::load_or_create(&path, "other").unwrap().thumbprint(), made.thumbprint());
        assert_eq!(Identity::load(&path).unwrap().thumbprint(), made.thumbprint());
        assert_eq!(thumbprint_of(&made.certificate()), made.thumbprint());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn two_starts_at_once_agree() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.pem");
        let make = || Identity::load_or_create(&path, "web-1").unwrap().thumbprint();
        let (a, b) = std::thread::scope(|scope| {
            let (a, b) = (scope.spawn(make), scope.spawn(make));
            (a.join().unwrap(), b.join().unwrap())
        });
        assert_eq!(a, b);
    }

    #[test]
    fn a_damaged_file_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.pem");
        for text in ["", "-----BEGIN CERTIFICATE-----\nxx", "junk"] {
            fs::write(&path, text).unwrap();
            let error = Identity::load_or_create(&path, "web-1").unwrap_err();
            assert!(matches!(error, IdentityError::Damaged { .. }), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_key_with_the_certificate_of_another_is_damaged() {
        let (_, a) = generate_pem("a").unwrap();
        let (b, _) = generate_pem("b").unwrap();
        let mixed = format!("{}{}", &a[..a.find("-----BEGIN CERTIFICATE").unwrap()], b.pem());
        let error = Identity::from_pem(mixed.as_bytes(), Path::new("mixed.pem")).unwrap_err();
        assert!(error.to_string().contains("mixed.pem"), "{error}");
    }

    #[test]
    fn the_key_is_not_shown() {
        let shown = format!("{:?}", Identity::generate("a").unwrap());
        assert!(shown.len() < 100, "{shown}");
    }
}
