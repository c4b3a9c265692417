//! Modules: what can be loaded, and what they hold.

use super::{PTX, device, fails, fill, function, get, host, module, ok, read, words};
use crate::api::link::{cuLinkAddData_v2, cuLinkComplete, cuLinkCreate_v2, cuLinkDestroy};
use crate::api::memory::cuMemGetInfo_v2;
use crate::api::module::{
    cuModuleGetFunction, cuModuleGetFunctionCount, cuModuleGetGlobal_v2, cuModuleLoad, cuModuleLoadData,
    cuModuleLoadDataEx, cuModuleUnload,
};
use crate::api::occupancy::{cuOccupancyMaxActiveBlocksPerMultiprocessor, cuOccupancyMaxPotentialBlockSize};
use crate::raw::{In, Out, Text};
use crate::status::Status;
use std::ffi::CStr;

#[test]
fn variables_have_addresses_until_the_module_is_unloaded() {
    device();
    let free = || {
        let (mut free, mut total) = (0, 0);
        ok(cuMemGetInfo_v2(Out::of(&mut free), Out::of(&mut total)));
        free
    };
    let before = free();
    let loaded = module();
    assert_eq!(get(|out| cuModuleGetFunctionCount(out, loaded)), 2);
    let (mut address, mut bytes) = (0, 0);
    let name = Text::of(c"total");
    ok(cuModuleGetGlobal_v2(Out::of(&mut address), Out::of(&mut bytes), loaded, name));
    assert_eq!((read(address, 1), bytes), (vec![7], 4));
    let out = words(8);
    ok(fill(function(loaded, c"fill"), 0, out, 1, 8));
    assert_eq!(read(address, 1), [15]);
    fails(cuModuleGetGlobal_v2(Out::of(&mut 0), Out::of(&mut 0), loaded, Text::of(c"none")), Status::NotFound);
    fails(cuModuleGetFunction(Out::of(&mut 0), loaded, Text::of(c"none")), Status::NotFound);
    ok(cuModuleUnload(loaded));
    ok(crate::api::memory::cuMemFree_v2(out));
    assert_eq!(free(), before);
}

/// What the assembler would say goes into the caller's buffer, with the line.
#[test]
fn what_cannot_be_loaded_says_why() {
    device();
    let mut log = [0u8; 200];
    let mut load = |image: &[u8]| {
        log.fill(b'?');
        let options = [5, 6]; // CU_JIT_ERROR_LOG_BUFFER, and its size
        let values = [log.as_mut_ptr().expose_provenance() as u64, log.len() as u64];
        let code = cuModuleLoadDataEx(Out::of(&mut 0), host(image), 2, In::of(&options), In::of(&values));
        let said = CStr::from_bytes_until_nul(&log).expect("a text").to_string_lossy().into_owned();
        (Status::of(code), said)
    };
    let unknown =
        b".version 8.4\n.target sm_80\n.address_size 64\n.visible .entry k()\n{\n  frob.u32 %r1;\n  ret;\n}\n\0";
    let (status, said) = load(unknown);
    assert_eq!(status, Some(Status::InvalidPtx));
    assert!(said.starts_with("module:6: ") && said.contains("frob.u32"), "{said}");
    let (status, said) = load(b"\x7fELF and more\0");
    assert_eq!(status, Some(Status::NoBinaryForGpu));
    assert!(said.starts_with("machine code (a cubin)"), "{said}");
    fails(cuModuleLoadData(Out::of(&mut 0), 0), Status::InvalidValue);
    fails(cuModuleLoad(Out::of(&mut 0), Text::of(c"/nowhere/a.ptx")), Status::FileNotFound);
}

#[test]
fn the_linker_gives_back_what_can_be_loaded() {
    device();
    let link = get(|out| cuLinkCreate_v2(0, In::from_address(0), In::from_address(0), out));
    let add = |kind, text: &CStr| {
        let (data, n) = (host(text.to_bytes_with_nul()), text.count_bytes() + 1);
        let none = (In::from_address(0), In::from_address(0));
        cuLinkAddData_v2(link, kind, data, n, Text::of(c"name"), 0, none.0, none.1)
    };
    ok(add(1, PTX));
    ok(add(1, c".version 8.4\n.target sm_80\n.address_size 64\n.visible .entry other() { ret; }\n"));
    fails(add(0, c"a cubin"), Status::NotSupported);
    let (mut image, mut bytes) = (0, 0);
    ok(cuLinkComplete(link, Out::of(&mut image), Out::of(&mut bytes)));
    assert!(bytes > PTX.count_bytes());
    let loaded = get(|out| cuModuleLoadData(out, image));
    ok(cuLinkDestroy(link));
    function(loaded, c"fill");
    function(loaded, c"other");
}

/// An H100: 64 warps and 32 blocks.
#[test]
fn occupancy_is_of_the_gpu() {
    device();
    let kernel = function(module(), c"fill");
    let blocks = |threads| get(|out| cuOccupancyMaxActiveBlocksPerMultiprocessor(out, kernel, threads, 0));
    assert_eq!([32, 256, 1024].map(blocks), [32, 8, 2]);
    let (mut grid, mut block) = (0, 0);
    let code = cuOccupancyMaxPotentialBlockSize(Out::of(&mut grid), Out::of(&mut block), kernel, None, 0, 0);
    ok(code);
    assert_eq!((grid, block), (8, 1024), "4 multiprocessors");
    let none = cuOccupancyMaxActiveBlocksPerMultiprocessor(Out::of(&mut grid), kernel, 0, 0);
    fails(none, Status::InvalidValue);
}
