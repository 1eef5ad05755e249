//! Macros: enums with texts, and early returns.

/// Defines enums together with the text of each variant.
///
/// A variant may name, in brackets, the source of the rule behind it: a section of the Raft paper
/// ("§…") or of the dissertation. `if` arms before the text select another text, depending on the
/// fields. The trait after the colon is `core::error::Error` for errors.
macro_rules! described_enum {
    ($($(#[$meta:meta])* pub enum $name:ident $(: $error:path)? {$(
        $(#[$doc:meta])*
        $variant:ident
        $(($value:ident: $value_type:ty))?
        $({$($(#[$field_doc:meta])* $field:ident: $field_type:ty,)+})?
        $([$source:expr])? =>
        $(if ($($case:tt)+) $case_text:literal $(, $case_part:expr)*; else)*
        $text:literal $(, $part:expr)*;
    )+})+) => {$(
        $(#[$meta])*
        pub enum $name {$(
            $(#[$doc])*
            $variant $(($value_type))? $({$($(#[$field_doc])* $field: $field_type,)+})?,
        )+}

        impl $name {
            /// Passes the source, which may be empty, and the text to `describe`.
            fn describe<T>(
                &self,
                describe: impl FnOnce(&'static str, core::fmt::Arguments<'_>) -> T,
            ) -> T {
                match self {$(
                    Self::$variant $(($value))? $({$($field),+})? => {
                        let source = [$($source,)? ""][0];
                        $(if $($case)+ {
                            return describe(source, format_args!($case_text $(, $case_part)*));
                        })*
                        describe(source, format_args!($text $(, $part)*))
                    }
                )+}
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                self.describe(|_, text| f.write_fmt(text))
            }
        }

        $(impl $error for $name {})?
    )+};
}

/// Returns an error from the function unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $error:expr $(,)?) => {
        if !$condition {
            return Err($error);
        }
    };
}

pub(crate) use {described_enum, ensure};
