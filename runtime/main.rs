mod cli;
#[cfg(unix)]
mod lost_pages;

fn main() -> std::process::ExitCode {
    // Mesa's device selection layer asks for a Wayland session and complains on stderr where there is none.
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
    #[cfg(unix)]
    lost_pages::explained();
    cli::main()
}
