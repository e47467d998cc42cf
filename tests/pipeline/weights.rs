//! Where weights come from: folders, a server, files of Python.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use daf_core::block::Blocks;
use daf_core::data::Normalization;
use daf_core::typetag;
use daf_core::weights::{self, Pretrained, WeightFolders, Weights};
use daf_core::{Backbone, BoxError, Extractor, Kind as PartKind, Stage};
use daf_models::backbone::ResNet18;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};
use tracing_subscriber::util::SubscriberInitExt;

use crate::program::{SMALL, daf, folder, names, run, snapshot, succeed};
use crate::registry::every;

/// A backbone whose weights are published at an address of the test's.
#[derive(Debug, Serialize, Deserialize)]
struct Elsewhere {
    weights: Weights,
    url: String,
}

#[typetag::serde(name = "published_elsewhere")]
impl Backbone for Elsewhere {
    fn stages(&self) -> Vec<Stage> {
        ResNet18::default().stages()
    }
    fn weights(&self) -> &Weights {
        &self.weights
    }
    fn pretrained(&self) -> Option<Pretrained> {
        Some(Pretrained {
            name: "elsewhere",
            aliases: &["somewhere"],
            url: self.url.clone(),
            sha256: hash(&body()),
            license: "MIT",
            preprocessing: Normalization::Imagenet,
        })
    }
    fn build(&self, blocks: &Blocks) -> Result<Box<dyn Extractor>, BoxError> {
        ResNet18::default().build(blocks)
    }
}

/// A server that gives every request the same answer.
struct Server {
    address: String,
    requests: Arc<AtomicUsize>,
}

impl Server {
    /// `length` is what the answer claims its body to have.
    fn start(status: &'static str, body: Vec<u8>, length: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                counter.fetch_add(1, Ordering::SeqCst);
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                    request.push(byte[0]);
                }
                let head =
                    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all(head.as_bytes());
                let _ = stream.write_all(&body);
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn hash(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn body() -> Vec<u8> {
    (0..300_000u32).flat_map(u32::to_le_bytes).collect()
}

/// File that the weights of a backbone stand for.
fn resolve(folders: &WeightFolders, backbone: &Elsewhere) -> daf_core::Result<Option<PathBuf>> {
    folders.resolve(
        backbone.weights(),
        backbone.pretrained().as_ref(),
        backbone.typetag_name(),
    )
}

fn folders(user: Option<&Path>, cache: &Path) -> WeightFolders {
    WeightFolders {
        user: user.map(Path::to_path_buf),
        cache: cache.into(),
        progress: None,
    }
}

#[test]
fn a_download_is_checked_and_kept() {
    let server = Server::start("200 OK", body(), body().len());
    let name = "elsewhere.v1.pth".to_owned();
    let backbone = Elsewhere {
        weights: Weights::Imagenet,
        url: format!("{}/models/{name}", server.address),
    };
    let folder = tempfile::tempdir().unwrap();
    // The cache is made when it is needed.
    let cache = folder.path().join("a/b");
    let folders = folders(None, &cache);
    let file = resolve(&folders, &backbone).unwrap().unwrap();
    assert_eq!(file, cache.join(&name));
    assert!(fs::read(&file).unwrap() == body());
    assert_eq!(server.requests(), 1);
    assert_eq!(resolve(&folders, &backbone).unwrap(), Some(file));
    assert_eq!(server.requests(), 1, "the second time the file is there");
    assert_eq!(names(&cache), [name]);
}

#[test]
fn a_download_that_fails_says_what_to_do_and_leaves_nothing() {
    let right = "elsewhere.v1.pth";
    let half = body()[..body().len() / 2].to_vec();
    let cases = [
        (
            Server::start("404 Not Found", b"no such file".to_vec(), 12).address,
            "404",
        ),
        (
            Server::start("500 Internal Server Error", Vec::new(), 0).address,
            "500",
        ),
        (
            Server::start("200 OK", half, body().len()).address,
            "the connection broke off",
        ),
        (
            Server::start("200 OK", b"sorry".to_vec(), 5).address,
            "its SHA-256 should begin with",
        ),
        // A port that no server is given unless it asks for it.
        ("http://127.0.0.1:1".to_owned(), "efused"),
    ];
    for (address, message) in cases {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
        let url = format!("{address}/{right}");
        let of = |weights| Elsewhere {
            weights,
            url: url.clone(),
        };
        let error = resolve(&folders(None, &cache), &of(Weights::Imagenet)).unwrap_err();
        let error = error.to_string();
        for part in [
            message,
            &url,
            "set DAF_WEIGHTS",
            "`weights: random`",
            &cache.display().to_string(),
        ] {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
        assert!(!error.contains('\n'), "{error}");
        assert!(names(&cache).is_empty(), "{:?}", names(&cache));

        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone());
        let guard = subscriber.finish().set_default();
        assert_eq!(resolve(&folders(None, &cache), &of(Weights::Auto)).unwrap(), None);
        drop(guard);
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(
            log.contains("WARN") && log.contains("no published weights, going on with random ones"),
            "{log}"
        );
        assert!(log.contains(message), "{log}");
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn weights_on_a_page_are_not_downloaded_but_asked_for() {
    let server = Server::start("200 OK", body(), body().len());
    let folder = tempfile::tempdir().unwrap();
    let url = format!("{}/project/networks/", server.address);
    for weights in [Weights::Imagenet, Weights::Pretrained] {
        let backbone = Elsewhere {
            weights,
            url: url.clone(),
        };
        let error = resolve(&folders(None, folder.path()), &backbone).unwrap_err();
        let error = error.to_string();
        for part in [
            &url,
            "elsewhere.safetensors",
            "set DAF_WEIGHTS",
            "`weights: random`",
        ] {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
        let own = folder.path().join("elsewhere.safetensors");
        fs::write(&own, body()).unwrap();
        assert_eq!(
            resolve(&folders(Some(folder.path()), folder.path()), &backbone).unwrap(),
            Some(own.clone())
        );
        fs::remove_file(own).unwrap();
    }
    assert_eq!(server.requests(), 0);
}

#[test]
fn every_backbone_finds_its_own_file_among_those_of_all_the_others() {
    let recipes = every::<Box<dyn Backbone>>(PartKind::Backbone);
    let published = || recipes.iter().filter_map(|(_, recipe)| recipe.pretrained());
    let files = |record: &Pretrained| {
        let names = [record.name].into_iter().chain(record.aliases.iter().copied());
        let mut files: Vec<String> = names.map(|name| format!("{name}.safetensors")).collect();
        if record.is_downloadable() {
            files.push(record.file_name().to_owned());
        }
        files
    };
    let folder = tempfile::tempdir().unwrap();
    // Of other networks, as PyTorch and DINOv2 publish them.
    let others = [
        "vgg16_bn-6c64b313.pth",
        "dinov2_vits14_reg4_pretrain.pth",
        "vit_s14",
    ];
    for file in published()
        .flat_map(|record| files(&record))
        .chain(others.map(str::to_owned))
    {
        fs::write(folder.path().join(file), "").unwrap();
    }
    for record in published() {
        for file in files(&record) {
            // Those of one network are taken away one by one.
            let folders = folders(Some(folder.path()), folder.path());
            let found = folders.find(&record).unwrap().expect(&file);
            let name = found.file_name().and_then(|name| name.to_str()).unwrap();
            assert!(
                files(&record).iter().any(|own| own == name),
                "{}: {name}",
                record.name
            );
            fs::remove_file(found).unwrap();
        }
        assert_eq!(
            folders(Some(folder.path()), folder.path()).find(&record).unwrap(),
            None
        );
    }
}

#[test]
fn the_users_folder_or_file_comes_before_cache_and_download() {
    let server = Server::start("404 Not Found", Vec::new(), 0);
    let published = "elsewhere-0123abcd.pth";
    let backbone = Elsewhere {
        weights: Weights::Imagenet,
        url: format!("{}/{published}", server.address),
    };
    let folder = tempfile::tempdir().unwrap();
    let (user, cache) = (folder.path().join("user"), folder.path().join("cache"));
    for (folder, name) in [
        (&cache, published),
        // The name must be the network's own; in the cache it must be the published file's.
        (&cache, "elsewhere-mine.pth"),
        (&user, "elsewhere50-0123abcd.pth"),
        (&user, "elsewhere-notes.txt"),
    ] {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(name), "").unwrap();
    }
    let find = |user: Option<&Path>| resolve(&folders(user, &cache), &backbone).map(Option::unwrap);
    assert_eq!(find(None).unwrap(), cache.join(published));
    assert_eq!(find(Some(&user)).unwrap(), cache.join(published));
    for name in ["elsewhere-own.safetensors", published] {
        fs::write(user.join(name), "").unwrap();
        assert_eq!(find(Some(&user)).unwrap(), user.join(name));
    }
    let file = user.join("elsewhere-notes.txt");
    assert_eq!(find(Some(&file)).unwrap(), file);
    let error = find(Some(Path::new("/no/such"))).unwrap_err().to_string();
    assert_eq!(error, "/no/such: DAF_WEIGHTS names neither a folder nor a file");
    assert_eq!(server.requests(), 0);

    let own = |path: PathBuf| Elsewhere {
        weights: Weights::File(path),
        url: String::new(),
    };
    let folders = folders(Some(&user), &cache);
    assert_eq!(resolve(&folders, &own(file.clone())).unwrap(), Some(file));
    let error = resolve(&folders, &own("no/such.pth".into()))
        .unwrap_err()
        .to_string();
    assert_eq!(error, "no/such.pth: there is no such file of weights");
    assert_eq!(server.requests(), 0);
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

#[test]
fn a_state_dict_of_python_is_read_with_names_shapes_and_values() {
    let mut tensors = weights::read(&fixture("state_dict.pth")).unwrap();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let half = |numbers: &[i64]| numbers.iter().map(|n| 0.5 * *n as f64).collect::<Vec<f64>>();
    let expected = [
        ("bn1.num_batches_tracked", vec![], vec![7.0]),
        ("bn1.running_mean", vec![3], vec![-1.0, 0.25, 3.0]),
        ("bn1.running_var", vec![1], vec![9.0]),
        (
            "conv1.weight",
            vec![2, 3, 2, 1],
            half(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        ),
        (
            "fc.weight",
            vec![3, 4],
            half(&[0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]),
        ),
    ];
    assert_eq!(tensors.len(), expected.len(), "{tensors:?}");
    for ((name, tensor), (expected_name, size, values)) in tensors.iter().zip(expected) {
        assert_eq!(name, expected_name);
        assert_eq!(tensor.size(), size, "{name}");
        let flat: Tensor = tensor.to_kind(Kind::Double).contiguous().view(-1);
        assert_eq!(Vec::<f64>::try_from(flat).unwrap(), values, "{name}");
    }
}

#[test]
fn a_pickle_that_calls_a_function_is_refused_and_the_function_not_called() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("resnet18-executes.pth");
    fs::copy(fixture("executes.pth"), &file).unwrap();
    let error = weights::read(&file).unwrap_err().to_string();
    assert!(
        error.contains("resnet18-executes.pth: damaged or not a file of tensors"),
        "{error}"
    );
    assert!(!error.contains('\n'), "{error}");
    assert!(
        error.contains("`posix.system`") && error.contains("nothing was executed"),
        "{error}"
    );
    assert!(!Path::new("executed").exists());

    fs::write(folder.path().join("p.yaml"), SMALL).unwrap();
    let said = run(
        folder.path(),
        "train p.yaml -o run --set method.teacher.weights=resnet18-executes.pth",
    );
    said.fails(2, &["resnet18-executes.pth: damaged or not a file of tensors"]);
    assert!(!folder.path().join("executed").exists());
}

#[test]
fn files_that_are_no_weights_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let sound = fs::read(fixture("state_dict.pth")).unwrap();
    for (name, content) in [
        ("empty.pth", &b""[..]),
        ("half.pth", &sound[..sound.len() / 2]),
        ("text.pth", b"<html>404 not found</html>"),
        ("empty.safetensors", b""),
        ("text.safetensors", b"<html>404 not found</html>"),
        ("pickle.safetensors", &sound),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let error = weights::read(&path).unwrap_err().to_string();
        let begin = format!("{}: damaged or not a", path.display());
        assert!(error.starts_with(&begin) && !error.contains('\n'), "{error}");
    }
    let error = weights::read(&folder.path().join("none.pth"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("none.pth: No such file"), "{error}");
}

#[test]
fn the_program_takes_weights_from_files_and_folders_and_refuses_what_does_not_fit() {
    let folder = folder(SMALL);
    let folder = folder.path();
    succeed(folder, "train p.yaml -o a --set trainer.steps=1");
    let teacher = folder.join("a/weights/teacher.safetensors");
    // The batch norms of an untrained network have mean 0 and weight 1, as those of a folded one.
    assert!(weights::is_folded(&weights::read(&teacher).unwrap()));
    let mut tensors = weights::read(&teacher).unwrap();
    for (name, tensor) in &mut tensors {
        if name == "bn1.running_mean" {
            let _ = tensor.fill_(0.5);
        }
    }
    assert!(!weights::is_folded(&tensors));
    let own = folder.join("own");
    fs::create_dir(&own).unwrap();
    weights::write(&own.join("resnet18-own.safetensors"), tensors).unwrap();

    // Published weights are looked for in DAF_WEIGHTS, without a connection.
    let train = "train p.yaml --set trainer.steps=1 --set method.teacher.weights=imagenet";
    for (name, weights) in [("b", "own"), ("c", "own/resnet18-own.safetensors")] {
        let mut command = daf(folder, train);
        let output = command
            .args(["-o", name])
            .env("DAF_WEIGHTS", weights)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let kept = weights::read(&folder.join(name).join("weights/teacher.safetensors")).unwrap();
        let (_, mean) = kept.iter().find(|(name, _)| name == "bn1.running_mean").unwrap();
        assert_eq!(mean.get(0).double_value(&[]), 0.5);
    }
    let mut command = daf(folder, train);
    let output = command
        .args(["-o", "d"])
        .env("DAF_WEIGHTS", "nowhere")
        .output()
        .unwrap();
    crate::program::Said::from(output).fails(2, &["nowhere: DAF_WEIGHTS names neither a folder nor a file"]);

    let set = |name: &str, key: &str, file: &str| {
        run(
            folder,
            &format!("train p.yaml --set trainer.steps=1 -o {name} --set method.{key}.weights={file}"),
        )
    };
    let before = snapshot(&folder.join("a"));
    set("e", "student", "a/weights/teacher.safetensors").fails(
        2,
        &[
            "a/weights/teacher.safetensors has its batch norms folded",
            "student.weights",
        ],
    );
    let pretrained = set("f", "student", "own/resnet18-own.safetensors");
    assert_eq!(pretrained.code, Some(0), "{}", pretrained.error);
    // A network may stand below a name of its own, as that of a run's student does.
    let student = weights::read(&folder.join("a/weights/student.safetensors")).unwrap();
    let inside = set("g", "teacher", "a/weights/student.safetensors");
    assert_eq!(inside.code, Some(0), "{}", inside.error);
    let kept = weights::read(&folder.join("g/weights/teacher.safetensors")).unwrap();
    for (name, tensor) in kept {
        let (_, given) = student
            .iter()
            .find(|(n, _)| *n == format!("student.{name}"))
            .unwrap();
        assert_eq!(tensor, *given, "{name}");
    }
    let changed = |file: &str, change: &dyn Fn(&str) -> Vec<String>| {
        let tensors = student.iter().flat_map(|(name, tensor)| {
            let named = |name| (name, tensor.shallow_clone());
            change(name).into_iter().map(named)
        });
        weights::write(&folder.join(file), tensors.collect()).unwrap();
    };
    changed("twice.safetensors", &|name| {
        vec![name.into(), format!("ema.{name}")]
    });
    set("h", "teacher", "twice.safetensors").fails(
        2,
        &["twice.safetensors: it holds the network below `ema.student.` and `student.`"],
    );
    changed("part.safetensors", &|name| match name {
        "student.bn1.bias" => vec![],
        name => vec![name.into()],
    });
    set("i", "teacher", "part.safetensors").fails(
        2,
        &[
            "part.safetensors: the weights are of another network",
            "`bn1.bias` is missing",
            "more",
        ],
    );
    assert!(
        snapshot(&folder.join("a")) == before,
        "files of weights are only read"
    );
}
