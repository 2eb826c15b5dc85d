//! A small file system that a test may fill: ext4 on a loop device, or memory, seen only by a test and its daemons.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Mounts in a mount namespace of its own; whatever happens to the test, it is gone with it.
pub struct SmallDisk {
    holder: Child,
    mount: PathBuf,
    kind: &'static str,
    user_namespace: bool,
}

/// Says which mount worked, then waits until its input ends, which it does with the test.
const HOLD: &str = r#"
mkfs.ext4 -q -F "$1" && mount -o loop "$1" "$2" && echo ext4 && exec cat
mount -t tmpfs -o "size=$3" orbitmq "$2" && echo tmpfs && exec cat
"#;

impl SmallDisk {
    /// A file system of so many bytes, or why there is none.
    ///
    /// # Errors
    /// The machine allows no mounts, not even in a user namespace.
    pub fn new(directory: &Path, bytes: u64) -> Result<Self, String> {
        let mount = directory.join("disk");
        std::fs::create_dir_all(&mount).unwrap();
        let image = directory.join("disk.image");
        std::fs::File::create(&image).and_then(|file| file.set_len(bytes)).unwrap();
        let mut reasons = Vec::new();
        for user_namespace in [false, true] {
            match hold(&image, &mount, bytes, user_namespace) {
                Ok((holder, kind)) => return Ok(Self { holder, mount, kind, user_namespace }),
                Err(reason) => reasons.push(reason),
            }
        }
        Err(reasons.join("; "))
    }

    /// The command that runs a daemon where the file system is seen.
    #[must_use]
    pub fn enter(&self) -> Vec<OsString> {
        let target = self.holder.id().to_string();
        let user: &[&str] = if self.user_namespace { &["--user", "--preserve-credentials"] } else { &[] };
        let words = ["nsenter", "--target", &target, "--mount"].into_iter().chain(user.iter().copied());
        words.map(OsString::from).collect()
    }

    /// Its root as daemons see it.
    #[must_use]
    pub fn mount(&self) -> &Path {
        &self.mount
    }

    /// Its root as the test sees it.
    #[must_use]
    pub fn from_outside(&self) -> PathBuf {
        let inside = self.mount.strip_prefix("/").unwrap();
        PathBuf::from(format!("/proc/{}/root", self.holder.id())).join(inside)
    }

    /// `ext4` or `tmpfs`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

fn hold(image: &Path, mount: &Path, bytes: u64, user_namespace: bool) -> Result<(Child, &'static str), String> {
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if user_namespace {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["sh", "-c", HOLD, "hold"]).args([image, mount]).arg(bytes.to_string());
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut holder = spawned.map_err(|error| format!("unshare: {error}"))?;
    let mut line = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
    match line.trim() {
        "ext4" => Ok((holder, "ext4")),
        "tmpfs" => Ok((holder, "tmpfs")),
        _ => {
            let ended = holder.wait_with_output().unwrap();
            Err(String::from_utf8_lossy(&ended.stderr).trim().to_owned())
        }
    }
}
