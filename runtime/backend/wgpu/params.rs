//! What a kernel gets once, at load: the uniform `Params` of its shader, field for field. The shader says what each field means.

use bytemuck::Pod;

/// The fields of a struct, for comparing it with the shader's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mirror {
    /// Bytes.
    pub size: usize,
    /// Names and byte offsets.
    pub fields: &'static [(&'static str, usize)],
}

/// The parameters of a kernel.
pub trait Params: Pod {
    /// Its fields.
    const MIRROR: Mirror;
}

/// Declares a struct of parameters.
macro_rules! params {
    ($Name:ident { $($field:ident: $ty:ty),* $(,)? }) => {
        #[repr(C)]
        #[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
        pub(super) struct $Name {
            $($field: $ty,)*
        }

        impl $crate::backend::wgpu::params::Params for $Name {
            const MIRROR: $crate::backend::wgpu::params::Mirror = $crate::backend::wgpu::params::Mirror {
                size: size_of::<$Name>(),
                fields: &[$((stringify!($field), std::mem::offset_of!($Name, $field)),)*],
            };
        }
    };
}
pub(super) use params;
