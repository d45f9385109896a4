// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

//! What bpf(2) of a kernel takes: `rustc --test -C target-feature=+crt-static`.

use std::ffi::{c_char, c_long};
use std::io;

extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

#[cfg(target_arch = "x86_64")]
const BPF: c_long = 321;
#[cfg(target_arch = "aarch64")]
const BPF: c_long = 280;
const MAP_CREATE: c_long = 0;
const PROG_LOAD: c_long = 5;

/// `attr` is the beginning of `union bpf_attr`; what it does not have is 0.
fn bpf(command: c_long, attr: &[u32]) -> io::Result<()> {
    match unsafe { syscall(BPF, command, attr.as_ptr(), attr.len() * 4) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn map(kind: u32, key: u32, value: u32, flags: u32) -> io::Result<()> {
    bpf(MAP_CREATE, &[kind, key, value, 4096, flags])
}

fn program(kind: u32, attach: u32, instructions: &[u64]) -> io::Result<()> {
    let license: *const c_char = c"GPL".as_ptr();
    let (code, license) = (instructions.as_ptr() as u64, license as u64);
    let mut attr = [0; 18];
    attr[..6].copy_from_slice(&[
        kind, instructions.len() as u32, code as u32, (code >> 32) as u32, license as u32, (license >> 32) as u32,
    ]);
    attr[17] = attach;
    bpf(PROG_LOAD, &attr)
}

const RETURN_1: [u64; 2] = [0x1_0000_00b7, 0x95]; // r0 = 1; exit

#[test]
fn hash_map() {
    map(1, 4, 8, 0).unwrap();
}

#[test]
fn arena_map() {
    map(33, 0, 0, 1 << 10).unwrap();
}

#[test]
fn netfilter_program() {
    program(32, 45, &RETURN_1).unwrap();
}

#[test]
fn signed_division() {
    // r0 = 1; r0 s/= 3; exit
    program(1, 0, &[RETURN_1[0], 0x3_0001_0037, RETURN_1[1]]).unwrap();
}

#[test]
fn load_acquire() {
    // *(u64 *)(r10 - 8) = 0; r0 = load_acquire((u64 *)(r10 - 8)); exit
    program(1, 0, &[0xfff8_0a7a, 0x100_fff8_a0db, RETURN_1[1]]).unwrap();
}
