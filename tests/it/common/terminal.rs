//! Runs the program on a terminal of its own.

use super::program::pronk;
use nix::pty::{Winsize, openpty};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

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

/// A program whose only terminal is this one, as a user has it.
#[cfg(target_os = "linux")]
pub struct Dialog {
    child: Child,
    keys: File,
    shown: Receiver<Vec<u8>>,
    /// What was shown and not asked for yet.
    rest: String,
}

#[cfg(target_os = "linux")]
impl Dialog {
    /// Starts it on a terminal of 40 columns, with these environment variables.
    pub fn start(args: &[&str], variables: &[(&str, &str)]) -> Dialog {
        let size = Winsize { ws_row: 24, ws_col: 40, ws_xpixel: 0, ws_ypixel: 0 };
        let terminal = openpty(Some(&size), None).expect("a terminal");
        let end = || Stdio::from(terminal.slave.try_clone().expect("a handle"));
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(env!("CARGO_BIN_EXE_pronk")).args(args).env("TERM", "xterm").env_remove("NO_COLOR");
        command.envs(variables.iter().copied()).stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().expect("setsid of util-linux");
        drop(command);
        drop(terminal.slave);
        let keys = File::from(terminal.master);
        let mut screen = keys.try_clone().expect("a handle");
        let (sender, shown) = channel();
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(n @ 1..) = screen.read(&mut part) {
                if sender.send(part[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        Dialog { child, keys, shown, rest: String::new() }
    }

    /// Types keys.
    pub fn keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("a terminal");
    }

    /// All that is shown until `text`, that included. Fails if it does not come within a minute.
    pub fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.rest.find(text) {
                let rest = self.rest.split_off(at + text.len());
                return std::mem::replace(&mut self.rest, rest);
            }
            let more = self.shown.recv_timeout(Duration::from_secs(60));
            let more = more.unwrap_or_else(|e| panic!("{text:?} is not shown ({e}): {:?}", self.rest));
            self.rest += &String::from_utf8_lossy(&more);
        }
    }

    /// Waits for its end, and gives the exit code. Fails if it does not end within a minute.
    pub fn end(mut self) -> Option<i32> {
        for _ in 0..600 {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("it does not end; shown: {:?}", self.rest);
    }
}

/// After a failed test too.
#[cfg(target_os = "linux")]
impl Drop for Dialog {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}
