//! Generic addresses: each space but the global one has a window of its own.

use crate::ty::Space;

/// Where the windows start. Global allocations lie below all of them.
pub(crate) const SHARED_WINDOW: u64 = 0x7000_0000_0000;
pub(crate) const LOCAL_WINDOW: u64 = 0x7100_0000_0000;
pub(crate) const PARAM_WINDOW: u64 = 0x7200_0000_0000;
const WINDOW_BYTES: u64 = 1 << 32;

/// In the parameter space, variables of called functions start here; they lie in the frame of local memory.
pub(crate) const PARAM_FRAME: u64 = 0x10_0000;

/// Where the window of a space starts; 0 for global memory, whose addresses are generic ones already.
pub(crate) fn window(space: Space) -> u64 {
    match space {
        Space::Shared => SHARED_WINDOW,
        Space::Local => LOCAL_WINDOW,
        Space::Param => PARAM_WINDOW,
        _ => 0,
    }
}

/// Does the generic address lie in the space?
pub(crate) fn in_space(address: u64, space: Space) -> bool {
    match space {
        Space::Shared | Space::Local | Space::Param => address.wrapping_sub(window(space)) < WINDOW_BYTES,
        Space::Global | Space::Const => address < SHARED_WINDOW,
        Space::Generic => true,
    }
}
