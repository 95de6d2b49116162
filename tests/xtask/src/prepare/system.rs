//! The parts of the system that are not Rust: a C and a C++ compiler, and libclang with its headers, which generates
//! RocksDB's bindings.

use std::path::{Path, PathBuf};

use super::works;
use crate::command::command;

/// Makes sure of them, by the system's package manager.
pub(super) fn prepare() -> Result<(), String> {
    let needs = missing();
    if needs.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = needs.iter().map(|need| need.what).collect();
    println!("this machine lacks: {}", names.join(", "));
    let Some(manager) = MANAGERS.iter().find(|manager| works(manager.program, &["--version"])) else {
        return Err(format!(
            "install {} with your system's package manager, then run this again (LIBCLANG_PATH may name libclang's folder)",
            names.join(", ")
        ));
    };
    let commands = manager.commands(&needs);
    let Some(prefix) = privilege(manager) else {
        let lines: Vec<String> = commands.iter().map(|line| format!("    sudo {}", line.join(" "))).collect();
        return Err(format!("this needs root; run\n\n{}\n\nand then this command again", lines.join("\n")));
    };
    for line in &commands {
        let words: Vec<&str> = prefix.iter().chain(line).copied().collect();
        if let [program, arguments @ ..] = words.as_slice() {
            command(program, arguments).env("DEBIAN_FRONTEND", "noninteractive").run()?;
        }
    }
    match missing().first() {
        None => Ok(()),
        Some(need) => Err(format!("{} is still missing after its installation", need.what)),
    }
}

/// Something that the build needs, and the packages that have it.
struct Need {
    what: &'static str,
    is_there: fn() -> bool,
    apt: &'static str,
    dnf: &'static str,
    apk: &'static str,
    brew: &'static str,
}

const NEEDS: [Need; 3] = [
    Need {
        what: "a C compiler",
        is_there: || works("cc", &["--version"]),
        apt: "gcc libc6-dev",
        dnf: "gcc",
        apk: "gcc musl-dev",
        brew: "gcc",
    },
    Need {
        what: "a C++ compiler",
        is_there: || works("c++", &["--version"]),
        apt: "g++",
        dnf: "gcc-c++",
        apk: "g++",
        brew: "gcc",
    },
    Need {
        what: "libclang",
        is_there: has_libclang,
        apt: "libclang-dev",
        dnf: "clang-devel",
        apk: "clang-dev",
        brew: "llvm",
    },
];

fn missing() -> Vec<&'static Need> {
    NEEDS.iter().filter(|need| !(need.is_there)()).collect()
}

/// A system's package manager.
struct Manager {
    program: &'static str,
    /// Run before an installation.
    update: &'static [&'static str],
    install: &'static [&'static str],
    packages: fn(&Need) -> &'static str,
    as_root: bool,
}

const MANAGERS: [Manager; 4] = [
    Manager {
        program: "apt-get",
        update: &["apt-get", "update", "-qq"],
        install: &["apt-get", "install", "-y", "-qq", "--no-install-recommends"],
        packages: |need| need.apt,
        as_root: true,
    },
    Manager {
        program: "dnf",
        update: &[],
        install: &["dnf", "install", "-y", "-q"],
        packages: |need| need.dnf,
        as_root: true,
    },
    Manager {
        program: "apk",
        update: &[],
        install: &["apk", "add", "--no-cache"],
        packages: |need| need.apk,
        as_root: true,
    },
    Manager { program: "brew", update: &[], install: &["brew", "install"], packages: |need| need.brew, as_root: false },
];

impl Manager {
    fn commands(&self, needs: &[&'static Need]) -> Vec<Vec<&'static str>> {
        let packages = needs.iter().flat_map(|need| (self.packages)(need).split(' '));
        let install = self.install.iter().copied().chain(packages).collect();
        if self.update.is_empty() { vec![install] } else { vec![self.update.to_vec(), install] }
    }
}

/// What must stand before the package manager's commands; `None` where this user may not run them.
fn privilege(manager: &Manager) -> Option<&'static [&'static str]> {
    if !manager.as_root || command("id", &["-u"]).read().as_deref() == Some("0") {
        return Some(&[]);
    }
    works("sudo", &["-n", "true"]).then_some(&["sudo", "-n"])
}

/// Whether libclang and the compiler's own headers (`stddef.h`), which it reads, are where its loader looks.
fn has_libclang() -> bool {
    if let Some(folder) = std::env::var_os("LIBCLANG_PATH") {
        let path = PathBuf::from(folder);
        return is_libclang(&path) || holds_libclang(&path);
    }
    let mut folders: Vec<PathBuf> = ["/usr/lib64", "/usr/lib", "/usr/local/lib"].map(PathBuf::from).to_vec();
    folders.extend(["/opt/homebrew/opt/llvm/lib", "/usr/local/opt/llvm/lib"].map(PathBuf::from));
    folders.push("/Library/Developer/CommandLineTools/usr/lib".into());
    folders
        .extend(children("/usr/lib").into_iter().filter(|path| named(path, "llvm", "")).map(|path| path.join("lib")));
    folders.iter().any(|folder| holds_libclang(folder) && has_headers(folder))
}

fn holds_libclang(folder: &Path) -> bool {
    children(folder).iter().any(|file| is_libclang(file))
}

fn is_libclang(file: &Path) -> bool {
    // `libclang-cpp` is another library.
    (named(file, "libclang", ".dylib") || (named(file, "libclang", "") && file.to_string_lossy().contains(".so")))
        && !named(file, "libclang-cpp", "")
}

/// `FOLDER/clang/VERSION/include/stddef.h`; some systems keep it in `/usr/lib` beside a library in `/usr/lib64`.
fn has_headers(folder: &Path) -> bool {
    let places = [folder.join("clang"), PathBuf::from("/usr/lib/clang")];
    places.iter().flat_map(children).any(|version| version.join("include/stddef.h").exists())
}

fn children(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let Ok(entries) = folder.as_ref().read_dir() else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).collect()
}

fn named(path: &Path, start: &str, end: &str) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(start) && name.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_libclang_itself_is_taken_for_it() {
        for name in ["libclang.so", "libclang-14.so.14.0.6", "libclang.so.1", "libclang.dylib"] {
            assert!(is_libclang(Path::new(name)), "{name}");
        }
        for name in ["libclang-cpp.so.14", "libclang.a", "libclangBasic.a", "liblldb.so"] {
            assert!(!is_libclang(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn one_installation_brings_all_that_is_missing() {
        let needs: Vec<&'static Need> = NEEDS.iter().collect();
        let [apt, dnf, ..] = &MANAGERS;
        assert_eq!(
            apt.commands(&needs).last().map(|line| line.join(" ")).as_deref(),
            Some("apt-get install -y -qq --no-install-recommends gcc libc6-dev g++ libclang-dev")
        );
        assert_eq!(dnf.commands(&needs).len(), 1);
    }
}
