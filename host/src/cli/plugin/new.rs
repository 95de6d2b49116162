//! `millstream plugin new`: a project that builds and has a test, from templates inside the binary.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::super::failure::Failure;
use super::super::output;
use crate::error::Kind;
use crate::ids::PluginName;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  millstream plugin new my-filter\n  millstream plugin new sums --template aggregate --sdk ../millstream/sdk"
)]
pub(in crate::cli) struct New {
    /// Name of the plugin, and of the folder that is made
    name: PluginName,
    /// What the plugin is to be
    #[arg(long, value_enum, default_value_t)]
    template: Template,
    /// Folder of the `millstream-sdk` crate; that of the sources this program was built from, unless given
    #[arg(long, value_name = "PATH")]
    sdk: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Template {
    /// Rows in, rows out: filters, parses, routes
    #[default]
    Transform,
    /// Folds rows into windows: counts, sums, sketches
    Aggregate,
}

macro_rules! template {
    ($folder:literal) => {
        [
            ("Cargo.toml", include_str!(concat!("../templates/", $folder, "/Cargo.toml.tmpl"))),
            ("README.md", include_str!(concat!("../templates/", $folder, "/README.md.tmpl"))),
            ("src/lib.rs", include_str!(concat!("../templates/", $folder, "/src/lib.rs.tmpl"))),
            (".gitignore", "/target\n/*.wasm\n"),
        ]
    };
}

impl Template {
    const fn files(self) -> [(&'static str, &'static str); 4] {
        match self {
            Self::Transform => template!("transform"),
            Self::Aggregate => template!("aggregate"),
        }
    }
}

impl New {
    pub(super) fn run(self) -> Result<(), Failure> {
        let folder = PathBuf::from(self.name.as_str());
        let sdk = self.sdk()?;
        let fill = |text: &str| {
            let krate = self.name.as_str().replace('-', "_");
            text.replace("{{name}}", self.name.as_str()).replace("{{crate}}", &krate).replace("{{sdk}}", &sdk)
        };
        std::fs::create_dir(&folder).map_err(|error| Failure::file("make folder", &folder, &error))?;
        for (name, text) in self.template.files() {
            write(&folder.join(name), &fill(text))?;
        }
        output::say(format_args!(
            "wrote plugin `{0}`; next: millstream plugin test {0}, then plugin build {0}",
            self.name
        ));
        output::line(folder.display())
    }

    /// The dependency on the SDK, as a manifest names it.
    fn sdk(&self) -> Result<String, Failure> {
        let sources = || match option_env!("MILLSTREAM_WORKSPACE") {
            Some(workspace) => Path::new(workspace).join("sdk"),
            // Built as a dependency of something else, where this workspace's configuration is not read.
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk"),
        };
        let folder = self.sdk.clone().unwrap_or_else(sources);
        let found = std::fs::canonicalize(&folder).ok().filter(|folder| folder.join("Cargo.toml").is_file());
        let found = found.ok_or_else(|| {
            let detail =
                format!("`{}` does not have the crate `millstream-sdk`: say where it is with --sdk", folder.display());
            Failure::new("sdk_not_found", Kind::NotFound, detail)
        })?;
        Ok(format!("{{ path = {} }}", toml::Value::from(found.display().to_string())))
    }
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    let written = match file.parent() {
        Some(folder) => std::fs::create_dir_all(folder).and_then(|()| std::fs::write(file, text)),
        None => std::fs::write(file, text),
    };
    written.map_err(|error| Failure::file("write", file, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_have_no_place_holder_that_is_not_filled() {
        for (name, text) in [Template::Transform, Template::Aggregate].into_iter().flat_map(Template::files) {
            let text = text.replace("{{name}}", "").replace("{{crate}}", "").replace("{{sdk}}", "");
            assert!(!text.contains("{{") || name == "src/lib.rs", "{name}: {text}");
        }
    }
}
