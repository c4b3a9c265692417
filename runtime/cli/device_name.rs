//! The value of `--device`, and what names of other programs' devices mean here.

use pronk::backend::DeviceChoice;

/// Names that users of other programs type, and what to type here.
const GUESSES: [(&[&str], &str); 5] = [
    (
        &["metal", "vulkan", "opengl", "gles", "dx12", "directx", "d3d12", "webgpu", "mps"],
        "wgpu runs on Vulkan, Metal, DirectX 12 and OpenGL",
    ),
    (&["gpu", "igpu", "default"], "auto takes the first GPU that can run the model"),
    (&["rocm", "hip", "amd", "radeon", "intel", "sycl", "xpu", "opencl"], "wgpu runs on GPUs of AMD and Intel"),
    (&["nvidia"], "cuda runs on GPUs of NVIDIA, and so does wgpu"),
    (&["none", "host"], "cpu runs without a GPU"),
];

/// Parses the value of `--device`. Errors: no such device; the message names those that there are.
pub fn device(text: &str) -> Result<DeviceChoice, String> {
    text.parse().map_err(|e| match hint(text) {
        Some(hint) => format!("{hint}; {e}"),
        None => format!("{e}"),
    })
}

/// What to type in place of `text`: `Vulkan0` of llama.cpp is `wgpu:0`.
fn hint(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    if lower != text && lower.parse::<DeviceChoice>().is_ok() {
        return Some(format!("{lower} is written in small letters"));
    }
    let name = lower.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches(':');
    let index = lower[name.len()..].trim_start_matches(':');
    if name == "cuda" && index.parse::<u8>().is_ok() {
        return Some(format!("cuda:{index} is that device"));
    }
    GUESSES.iter().find(|(names, _)| names.contains(&name)).map(|(_, hint)| (*hint).to_string())
}
