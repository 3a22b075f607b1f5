//! Uploads against a real folder: cut, resumed, corrupted and lied about.

use super::*;

const SIZE: usize = 300_000;

struct Fixture {
    _folder: tempfile::TempDir,
    path: PathBuf,
    bytes: Vec<u8>,
    sha256: Sha256,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..SIZE).map(|i| (i % 251) as u8).collect();
    let sha256 = package::sha256_bytes(&bytes);
    Fixture { path: folder.path().to_owned(), _folder: folder, bytes, sha256 }
}

impl Fixture {
    fn open(&self) -> Arc<Uploads> {
        Arc::new(Uploads::open(self.path.clone()))
    }

    async fn begin(&self, uploads: &Arc<Uploads>) -> Result<UploadOffset, Refusal> {
        uploads.begin(BeginUpload { sha256: self.sha256, size: SIZE as u64 }).await
    }

    async fn send(&self, uploads: &Arc<Uploads>, from: usize, to: usize) -> Result<Uploaded, Refusal> {
        let start = UploadStart { sha256: self.sha256, offset: from as u64 };
        let pieces: Vec<_> = self.bytes[from..to].chunks(70_000).map(|b| Ok(Bytes::copy_from_slice(b))).collect();
        uploads.receive(start, tokio_stream::iter(pieces)).await
    }

    fn files(&self) -> usize {
        std::fs::read_dir(&self.path).unwrap().count()
    }
}

#[tokio::test]
async fn an_upload_that_is_cut_anywhere_goes_on_from_there_in_this_or_the_next_process() {
    for cut in [0, 1, SIZE / 2, SIZE - 1] {
        for restart in [false, true] {
            let fixture = fixture();
            let mut uploads = fixture.open();
            assert_eq!(fixture.begin(&uploads).await.unwrap(), UploadOffset(0));
            let uploaded = fixture.send(&uploads, 0, cut).await.unwrap();
            assert_eq!(uploaded, Uploaded { offset: UploadOffset(cut as u64), complete: false });
            assert!(!uploads.package(fixture.sha256).exists());
            if restart {
                drop(uploads);
                uploads = fixture.open();
            }
            assert_eq!(fixture.begin(&uploads).await.unwrap(), UploadOffset(cut as u64), "cut at {cut}");
            assert!(fixture.send(&uploads, cut, SIZE).await.unwrap().complete);
            assert_eq!(std::fs::read(uploads.package(fixture.sha256)).unwrap(), fixture.bytes);
            assert_eq!(fixture.begin(&uploads).await.unwrap(), UploadOffset(SIZE as u64));
            assert_eq!(fixture.files(), 1);
        }
    }
}

#[tokio::test]
async fn a_broken_stream_keeps_what_came() {
    let fixture = fixture();
    let uploads = fixture.open();
    fixture.begin(&uploads).await.unwrap();
    let pieces = [Ok(Bytes::copy_from_slice(&fixture.bytes[..1000])), Err(tonic::Status::cancelled("gone"))];
    let start = UploadStart { sha256: fixture.sha256, offset: 0 };
    assert_eq!(uploads.receive(start, tokio_stream::iter(pieces)).await.unwrap_err().kind, RefusalKind::Internal);
    // The writer ends a moment later.
    assert!(fixture.send(&uploads, 1000, SIZE).await.unwrap().complete);
}

#[tokio::test]
async fn a_folder_that_is_deleted_between_two_streams_is_made_again_and_the_upload_begins_anew() {
    let fixture = fixture();
    let uploads = fixture.open();
    fixture.begin(&uploads).await.unwrap();
    fixture.send(&uploads, 0, SIZE / 2).await.unwrap();
    std::fs::remove_dir_all(&fixture.path).unwrap();
    assert_eq!(fixture.begin(&uploads).await.unwrap(), UploadOffset(0));
    assert!(fixture.send(&uploads, 0, SIZE).await.unwrap().complete);
    assert_eq!(std::fs::read(uploads.package(fixture.sha256)).unwrap(), fixture.bytes);
}

#[tokio::test]
async fn what_is_deleted_or_cut_in_the_middle_of_a_stream_is_told_and_the_upload_begins_anew() {
    let harms: [fn(&Fixture); 3] = [
        |fixture| std::fs::remove_dir_all(&fixture.path).unwrap(),
        |fixture| std::fs::remove_file(cache::part_path(&fixture.path, fixture.sha256)).unwrap(),
        |fixture| drop(std::fs::File::create(cache::part_path(&fixture.path, fixture.sha256)).unwrap()),
    ];
    for harm in harms {
        let fixture = fixture();
        let uploads = fixture.open();
        fixture.begin(&uploads).await.unwrap();
        let (queue, writing) = uploads.write(UploadStart { sha256: fixture.sha256, offset: 0 }).await.unwrap();
        let (first, second) = fixture.bytes.split_at(SIZE / 2);
        queue.send(Bytes::copy_from_slice(first)).await.unwrap();
        let part = cache::part_path(&fixture.path, fixture.sha256);
        while file_size(&part) != Some(SIZE as u64 / 2) {
            tokio::task::yield_now().await;
        }
        harm(&fixture);
        queue.send(Bytes::copy_from_slice(second)).await.unwrap();
        drop(queue);
        let refusal = writing.await.unwrap().unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Busy, "{refusal}");
        assert_eq!(fixture.begin(&uploads).await.unwrap(), UploadOffset(0));
        assert!(fixture.send(&uploads, 0, SIZE).await.unwrap().complete);
        assert_eq!(std::fs::read(uploads.package(fixture.sha256)).unwrap(), fixture.bytes);
    }
}

#[tokio::test]
async fn corrupted_bytes_are_thrown_away_and_the_upload_can_begin_anew() {
    let mut fixture = fixture();
    let uploads = fixture.open();
    fixture.begin(&uploads).await.unwrap();
    fixture.bytes[SIZE / 2] ^= 1;
    let refusal = fixture.send(&uploads, 0, SIZE).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::DigestMismatch);
    assert_eq!(fixture.files(), 0);
    fixture.bytes[SIZE / 2] ^= 1;
    assert_eq!(fixture.begin(&uploads).await.unwrap(), UploadOffset(0));
    assert!(fixture.send(&uploads, 0, SIZE).await.unwrap().complete);
}

#[tokio::test]
async fn a_lie_about_the_size_is_refused() {
    let fixture = fixture();
    let uploads = fixture.open();
    let begin = async |size| uploads.begin(BeginUpload { sha256: fixture.sha256, size }).await;
    assert_eq!(begin(0).await.unwrap_err().kind, RefusalKind::BadRequest);
    assert_eq!(begin(PACKAGE_MAX + 1).await.unwrap_err().kind, RefusalKind::BadRequest);
    begin(SIZE as u64 - 1).await.unwrap();
    let refusal = fixture.send(&uploads, 0, SIZE).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::BadRequest, "{refusal}");
    assert_eq!(fixture.files(), 0);
    fixture.begin(&uploads).await.unwrap();
    assert!(fixture.send(&uploads, 0, SIZE).await.unwrap().complete);
    assert_eq!(begin(SIZE as u64 - 1).await.unwrap_err().kind, RefusalKind::BadRequest);
}

#[tokio::test]
async fn a_whole_part_of_a_dead_process_was_never_checked_and_is_not_believed() {
    let fixture = fixture();
    let uploads = fixture.open();
    std::fs::write(cache::part_path(&fixture.path, fixture.sha256), vec![0; SIZE]).unwrap();
    assert_eq!(fixture.begin(&uploads).await.unwrap(), UploadOffset(0));
    assert!(fixture.send(&uploads, 0, SIZE).await.unwrap().complete);
}

#[tokio::test]
async fn an_upload_at_another_place_or_without_begin_is_refused_and_changes_nothing() {
    let fixture = fixture();
    let uploads = fixture.open();
    assert_eq!(fixture.send(&uploads, 0, 10).await.unwrap_err().kind, RefusalKind::Busy);
    fixture.begin(&uploads).await.unwrap();
    fixture.send(&uploads, 0, 10).await.unwrap();
    let refusal = fixture.send(&uploads, 5, 20).await.unwrap_err();
    assert!(refusal.sentence.contains("byte 10"), "{refusal}");
    assert!(fixture.send(&uploads, 10, SIZE).await.unwrap().complete);
}

#[tokio::test]
async fn a_second_writer_of_the_same_package_is_refused_as_busy() {
    let fixture = fixture();
    let uploads = fixture.open();
    fixture.begin(&uploads).await.unwrap();
    let start = UploadStart { sha256: fixture.sha256, offset: 0 };
    let (queue, writing) = uploads.write(start).await.unwrap();
    assert_eq!(fixture.send(&uploads, 0, SIZE).await.unwrap_err().kind, RefusalKind::Busy);
    drop(queue);
    writing.await.unwrap().unwrap();
    assert!(fixture.send(&uploads, 0, SIZE).await.unwrap().complete);
}

#[tokio::test]
async fn two_writers_never_share_a_file_not_even_two_processes() {
    let fixture = fixture();
    let (first, second) = (fixture.open(), fixture.open());
    fixture.begin(&first).await.unwrap();
    fixture.send(&first, 0, 10).await.unwrap();
    fixture.begin(&second).await.unwrap();
    assert_eq!(fixture.send(&second, 10, SIZE).await.unwrap_err().kind, RefusalKind::Busy);
    assert!(fixture.send(&first, 10, SIZE).await.unwrap().complete);
}

#[tokio::test]
async fn a_package_that_was_touched_since_it_arrived_is_hashed_again_and_refused() {
    let fixture = fixture();
    let uploads = fixture.open();
    fixture.begin(&uploads).await.unwrap();
    assert!(fixture.send(&uploads, 0, SIZE).await.unwrap().complete);
    let is_digest = |error: &PackageError| matches!(error, PackageError::Digest { .. });
    // These bytes are no package, so it is refused either way: what tells is for which reason.
    assert!(!is_digest(&uploads.verified(fixture.sha256).err().unwrap()));
    let mut bytes = fixture.bytes.clone();
    bytes[SIZE / 2] ^= 1;
    std::fs::write(uploads.package(fixture.sha256), bytes).unwrap();
    assert!(is_digest(&uploads.verified(fixture.sha256).err().unwrap()));
}
