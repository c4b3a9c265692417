//! Runs the program on a terminal of its own.

use super::program::pronk;
use nix::pty::openpty;
use std::fs::File;
use std::io::Read;
use std::process::Stdio;

/// All bytes that a terminal gets on stdout and stderr, where `args` reads nothing. Lines end with `\r\n`.
pub fn on_terminal(args: &[&str]) -> String {
    let terminal = openpty(None, None).expect("a terminal");
    let end = || Stdio::from(terminal.slave.try_clone().expect("a handle"));
    let mut child = pronk(args).stdout(end()).stderr(end()).spawn().expect("the program starts");
    drop(terminal.slave);
    let (mut shown, mut part) = (vec![], [0; 4096]);
    let mut screen = File::from(terminal.master);
    // Reading fails when nothing has the terminal open any more.
    while let Ok(n @ 1..) = screen.read(&mut part) {
        shown.extend_from_slice(&part[..n]);
    }
    child.wait().expect("the program ends");
    String::from_utf8(shown).expect("UTF-8")
}
