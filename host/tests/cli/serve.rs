use std::io::Read as _;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::program::{Server, program, run, until};

fn refused(folder: &std::path::Path, listen: &str) -> crate::program::Ended {
    run(program().args(["serve", "--log", "off", "--listen", listen, "--data"]).arg(folder), b"")
}

#[test]
fn a_second_server_on_the_same_folder_gives_up_and_the_first_goes_on() {
    let server = Server::start();
    let message = refused(server.folder.path(), "127.0.0.1:0").failed(4, "data_folder_in_use");
    assert!(message.contains(server.folder.path().to_str().unwrap()), "{message}");
    server.run(&["topic", "create", "t"]).ok();
}

#[test]
fn an_address_that_is_taken_or_that_others_can_reach_is_refused() {
    let server = Server::start();
    let other = tempfile::tempdir().unwrap();
    refused(other.path(), server.url.trim_start_matches("http://")).failed(4, "cannot_listen");
    refused(other.path(), "0.0.0.0:0").failed(1, "listen_not_loopback");
    assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 0, "nothing was opened");
}

#[test]
fn a_server_that_is_asked_to_stop_ends_well_and_keeps_everything() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = program();
        command.args(["serve", "--listen", "127.0.0.1:0", "--log", "warn", "--data"]).arg(folder.path());
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = process.stdout.take().unwrap();
        // The line comes in one piece, or in several on a bad day.
        let mut message = String::new();
        while !message.ends_with('\n') {
            let mut byte = [0];
            stdout.read_exact(&mut byte).unwrap();
            message.push(char::from(byte[0]));
        }
        let url = message.trim().strip_prefix("listening on ").unwrap().to_owned();
        run(program().args(["topic", "create", "t", "--server", &url]), b"").ok();
        kill_process(Pid::from_child(&process), signal).unwrap();
        let status = until("its end", || process.try_wait().unwrap());
        assert_eq!(status.code(), Some(0));
        stdout.read_to_string(&mut message).unwrap();
        assert_eq!(message.lines().count(), 1, "standard output has one line: {message}");
        let mut log = String::new();
        process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert_eq!(log, "");
    }
}

#[test]
fn a_catalog_that_was_tampered_with_stops_the_start_by_name() {
    let mut server = Server::start();
    server.process.kill().unwrap();
    server.process.wait().unwrap();
    let stray = server.folder.path().join("catalog/stray.json");
    std::fs::write(&stray, "{}").unwrap();
    let message = refused(server.folder.path(), "127.0.0.1:0").failed(7, "catalog_corrupt");
    assert!(message.contains("stray.json"), "{message}");
    std::fs::remove_file(stray).unwrap();
    server.kill_and_restart();
    server.run(&["topic", "list"]).ok();
}

#[test]
fn help_has_examples_and_wrong_usage_the_code_for_it() {
    let help = run(program().arg("--help"), b"").ok();
    assert!(help.contains("Examples:") && help.contains("millstream serve --data"), "{help}");
    assert_eq!(run(program().arg("serv"), b"").code, Some(2));
    run(program().args(["--log", "a=b=c", "plugin", "list"]), b"").failed(1, "invalid_log_filter");
}
